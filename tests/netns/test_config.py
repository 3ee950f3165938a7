"""The configuration file, as a person and as a service use it."""
import base64
import json
import os
import pty
import re
import select
import signal
import socket
import subprocess
import time

import client
import lab as labs
import product
import sandbox
import scenes
import scripted_proxy
import servers
import snapshot
from cases import case
from client import ERROR, VIA_PROXY, both, expect_refused, expect_way
from lab import wait_until

USER_FILE = "/run/lab/.config/proxyvpn/config.toml"       # HOME is /run/lab
SYSTEM_FILE = "/etc/proxyvpn/config.toml"


def write(path, text, mode=0o644):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
    os.chmod(path, mode)


def table(lab):
    """The firewall rules in force."""
    return lab.host.run(["nft", "list", "table", "inet", "proxyvpn"]).stdout


def ground(lab, user=None):
    proxy = scripted_proxy.ScriptedProxy(lab)
    servers.who_servers(lab)
    servers.Dns(lab, names=scenes.NAMES)
    return proxy, product.Product(lab, user=user)


@case("config_file")
def test_config_file(lab):
    """up takes both files, the user's first; show says whence a value is; down finds the file's state directory."""
    proxy, ours = ground(lab)
    before = snapshot.take(lab)
    write(SYSTEM_FILE, f'proxy-url = "{proxy.url()}"\ntun-name = "system0"\nallow-lan = true\n')
    write(USER_FILE, 'tun-name = "mine0"\nstate-dir = "/run/lab/state"\nexclude = ["198.51.100.0/25"]\n')
    daemon = ours.up("--connect-timeout", "7")
    expect_way(both(lab, labs.WEB)[:1], VIA_PROXY)
    links = [line.split(": ")[1] for line in lab.host.run(["ip", "-o", "link", "show"]).stdout.splitlines()]
    assert "mine0" in links and "system0" not in links, links
    assert "198.51.100.0/25" in table(lab) and "192.168.0.0/16" in table(lab), table(lab)
    shown = json.loads(ours.run("config", "show", "--json", "--connect-timeout", "7").stdout)
    values = {entry["name"]: (entry["value"], entry["from"], entry["source"]) for entry in shown["options"]}
    assert values["tun-name"] == ("mine0", "file", f"{USER_FILE}:1"), values["tun-name"]
    assert values["allow-lan"] == (True, "file", f"{SYSTEM_FILE}:3"), values["allow-lan"]
    assert values["exclude"][0] == ["198.51.100.0/25"], values["exclude"]
    assert values["connect-timeout"] == ("7", "command line", "command line"), values["connect-timeout"]
    assert values["mtu"] == ("1500", "default", "default"), values["mtu"]
    # Flag before environment before file, for each option alone.
    variable = {"PROXYVPN_PROXY_URL": "http://alice:of-the-environment@192.0.2.1:1"}
    for words, wanted in (((), ("http://alice:***@192.0.2.1:1", "environment", "PROXYVPN_PROXY_URL")),
                          (("--proxy-url", "http://192.0.2.2:2"), ("http://192.0.2.2:2", "command line", "command line"))):
        text = ours.run("config", "show", "--json", *words, env=variable).stdout
        shown = {entry["name"]: (entry["value"], entry["from"], entry["source"]) for entry in json.loads(text)["options"]}
        assert shown["proxy-url"] == wanted and shown["tun-name"][1] == "file", shown["proxy-url"]
        assert "of-the-environment" not in text
    assert os.path.exists("/run/lab/state/control") and not os.path.exists(f"{product.STATE_DIR}/control")
    assert ours.run("status").returncode == 0, "status does not find the state directory of the file"
    scenes.finish(ours, daemon)
    snapshot.assert_same(before, snapshot.take(lab), "up and down from a file")


@case("config_file_mistakes")
def test_config_mistakes(lab):
    """A file with mistakes, or one that others may write, stops up before anything changes, with all of them; check tells the same; no secret is shown; down is not stopped."""
    proxy, ours = ground(lab)
    before = snapshot.take(lab)
    write(SYSTEM_FILE, f'proxy-url = "http://alice:hunter2@h:1"\nmtuu = 1\nmtu = 99\ndns = ["x"]\n')
    for done, code in ((ours.run("up"), 2), (ours.run("config", "check"), 1)):
        assert done.returncode == code, done
        text = done.stdout + done.stderr
        for part in (f"{SYSTEM_FILE}:2:1: there is no key 'mtuu'; did you mean 'mtu'?", f"{SYSTEM_FILE}:3:7: mtu '99': must be a number from",
                     f"{SYSTEM_FILE}:4:8: dns 'x'"):
            assert part in text, f"{part!r} is not in {text}"
        assert "hunter2" not in text, text
    shown = ours.run("config", "show")
    assert "hunter2" not in shown.stdout + shown.stderr and "http://alice:***@h:1" in shown.stdout, shown
    ours.down()
    for mode in (0o666, 0o662, 0o602):
        write(SYSTEM_FILE, f'proxy-url = "{proxy.url()}"\n', mode)
        done = ours.run("up")
        assert done.returncode == 1 and "others may write it" in done.stderr and "chmod go-w" in done.stderr, done
    write(SYSTEM_FILE, f'proxy-url = "{proxy.url()}"\n')
    snapshot.assert_same(before, snapshot.take(lab), "starts that were refused")
    # Put right it starts; and when it is broken then, down does its work all the same.
    daemon = ours.up()
    expect_way(both(lab, labs.WEB), VIA_PROXY)
    write(SYSTEM_FILE, "mtuu = 1\n")
    scenes.finish(ours, daemon)
    snapshot.assert_same(before, snapshot.take(lab), "down with a broken file")
    write(SYSTEM_FILE, f'proxy-url = "{proxy.url()}"\n')
    done = ours.run("up", "--config", "/run/lab/nowhere.toml")
    assert done.returncode == 1 and "/run/lab/nowhere.toml" in done.stderr, done
    done = ours.run("--config", "/dev/null", "up")
    assert done.returncode == 2, done


@case("config_file_of_a_user")
def test_config_of_user(lab):
    """The home is that of the user database, not of the environment; a password of the file is nowhere to be read."""
    proxy, ours = ground(lab, user="pvtest")
    write("/run/lab/elsewhere/proxyvpn/config.toml", 'tun-name = "wrong0"\n')
    write(USER_FILE, 'tun-name = "right0"\n')
    done = ours.run("config", "show", env={"XDG_CONFIG_HOME": "/run/lab/elsewhere", "HOME": "/run/lab/elsewhere"})
    assert "wrong0" not in done.stdout and "right0" in done.stdout, done.stdout
    own = "/run/lab/own.toml"
    write(own, f'proxy-url = "{proxy.url()}"\nusername = "alice"\npassword = "hunter2-in-a-file"\n', 0o600)
    os.chown(own, sandbox.TEST_UID, sandbox.TEST_GID)
    ours.secrets.append("hunter2-in-a-file")
    daemon = ours.up("--config", own)
    expect_way(both(lab, labs.WEB), VIA_PROXY)
    pids = ours.pids()
    assert daemon.pid in pids and len(pids) >= 2, pids
    for path in [f"/proc/{pid}/{name}" for pid in pids for name in ("cmdline", "environ")] + state_files():
        with open(path, "rb") as file:
            text = file.read()
        assert b"hunter2-in-a-file" not in text, path
        assert text or path.endswith("/environ"), f"{path} is empty"
    shown = ours.run("config", "show", "--config", own)
    assert shown.returncode == 0 and "alice" in shown.stdout, shown
    assert re.search(r"^password\s.*\*\*\*", shown.stdout, re.M), shown
    assert "hunter2-in-a-file" not in shown.stdout + shown.stderr, shown
    scenes.finish(ours, daemon)
    os.chown(own, sandbox.OTHER_UID, 0)
    os.chmod(own, 0o644)
    done = ours.run("up", "--config", own)
    assert done.returncode == 1 and f"belongs to user {sandbox.OTHER_UID}" in done.stderr, done


def state_files():
    """The regular files of the state directory that hold something."""
    found = [entry.path for entry in os.scandir(product.STATE_DIR) if entry.is_file() and entry.stat().st_size]
    assert found, "there are no state files to look at"
    return found


ECHO = 7007


def echo(conn, _session):
    while data := conn.recv(4096):
        conn.sendall(data)


def say(sock, word):
    sock.sendall(word)
    got = b""
    while len(got) < len(word):
        part = sock.recv(100)
        assert part, f"the connection ended behind {got!r}"
        got += part
    assert got == word, got


@case("reload", timeout=90)
def test_reload(lab):
    """A changed file is applied by reload and by SIGHUP while a flow stays open; what cannot change is named; a broken file changes nothing."""
    proxy, ours = ground(lab)
    servers.serve(lab, ECHO, echo)
    write(SYSTEM_FILE, f'proxy-url = "{proxy.url()}"\n')
    daemon = ours.up()
    expect_way(both(lab, labs.WEB), VIA_PROXY)
    def policy():
        return table(lab)
    assert "203.0.113.77" not in policy() and labs.DNS[0] in policy(), policy()
    with client.connect(lab, labs.WEB[0], ECHO) as held:
        say(held, b"before")
        write(SYSTEM_FILE, f'proxy-url = "{proxy.url()}"\ndns = ["203.0.113.77"]\nexclude = ["203.0.113.128/25"]\nmtu = 1400\nlog-level = "debug"\n')
        done = ours.run("reload")
        assert done.returncode == 0 and "reloaded: dns, exclude, log-level" in done.stdout, done
        assert "only after a new start: mtu" in done.stdout, done
        assert "203.0.113.77" in policy() and "203.0.113.128" in policy(), policy()
        say(held, b"after")
        done = ours.run("reload")
        assert "only after a new start: mtu" in done.stdout and "reloaded" not in done.stdout, done
        expect_way(both(lab, labs.WEB), VIA_PROXY)
        daemon.wait_log(r"connection id=")
        # A mistake: nothing of the file is applied.
        write(SYSTEM_FILE, f'proxy-url = "{proxy.url()}"\ndns = ["203.0.113.78"]\nmtuu = 1\nexclude = ["x"]\n')
        done = ours.run("reload")
        assert done.returncode == 1 and f"{SYSTEM_FILE}:3:1: there is no key 'mtuu'" in done.stderr and ":4:12: exclude 'x'" in done.stderr, done
        assert "nothing was changed" in done.stderr and "203.0.113.77" in policy() and "203.0.113.78" not in policy(), done
        # SIGHUP is the same for a service (NOTIFY_SOCKET is set here), with the rest as it was at first.
        write(SYSTEM_FILE, f'proxy-url = "{proxy.url()}"\ndns = ["203.0.113.79"]\n')
        daemon.process.send_signal(signal.SIGHUP)
        wait_until(lambda: "203.0.113.79" in policy(), 15, "SIGHUP is applied")
        assert "203.0.113.128" not in policy(), policy()
        say(held, b"at the end")
    scenes.finish(ours, daemon)


@case("reload_credentials", timeout=90)
def test_reload_credentials(lab):
    """Refused credentials are put right by reload; no secret is to be read; who may not command may not reload."""
    wanted = "Basic " + base64.b64encode(b"alice:right-hunter2").decode()
    def script(proxy, conn, request):
        if request.headers.get("proxy-authorization") != wanted:
            return scripted_proxy.answer('407 Proxy Authentication Required\nProxy-Authenticate: Basic realm="x"')(proxy, conn, request)
        return scripted_proxy.relay(proxy, conn, request)
    proxy = scripted_proxy.ScriptedProxy(lab, script)
    servers.who_servers(lab)
    servers.Dns(lab, names=scenes.NAMES)
    ours = product.Product(lab, user="pvtest")
    ours.secrets += ["wrong-hunter2", "right-hunter2", wanted.removeprefix("Basic ")]
    file = "/run/lab/own.toml"
    def credentials(password):
        write(file, f'proxy-url = "{proxy.url()}"\nusername = "alice"\npassword = "{password}"\n', 0o600)
        os.chown(file, sandbox.TEST_UID, sandbox.TEST_GID)
    credentials("wrong-hunter2")
    daemon = ours.up("--config", file)
    expect_refused(both(lab, labs.WEB), within=5, errors=("ENETUNREACH",))
    daemon.wait_log("407")
    credentials("right-hunter2")
    done = ours.run_as_stranger("reload")
    assert done.returncode == 1 and done.stdout == "" and "error: " in done.stderr, done
    assert "reloaded" not in daemon.log(), daemon.log()
    expect_refused(both(lab, labs.WEB), within=5, errors=("ENETUNREACH",))
    done = ours.run("reload")
    assert done.returncode == 0 and "reloaded: credentials" in done.stdout and "hunter2" not in done.stdout + done.stderr, done
    wait_until(lambda: both(lab, labs.WEB, timeout=5)[0].kind == VIA_PROXY, 20, "the new credentials count")
    expect_way(both(lab, labs.WEB), VIA_PROXY)
    # A worker that starts later has them too.
    workers = set(ours.workers(daemon.pid))
    assert workers
    for worker in workers:
        os.kill(worker, signal.SIGKILL)
    wait_until(lambda: (now := set(ours.workers(daemon.pid))) and not now & workers, 20, "new workers run")
    wait_until(lambda: both(lab, labs.WEB, timeout=5)[0].kind == VIA_PROXY, 20, "new workers have the new credentials")
    scenes.finish(ours, daemon)


@case("log_forms", timeout=90)
def test_log_forms(lab):
    """JSON lines are JSON, connections numbered; the journal gets fields; off a terminal no colours or progress."""
    proxy, ours = ground(lab)
    daemon = ours.up("--proxy-url", proxy.url(credentials="alice:hunter2-of-logs"), "--log-format", "json", "--verbose")
    ours.secrets.append("hunter2-of-logs")
    expect_way(both(lab, labs.WEB), VIA_PROXY)
    daemon.wait_log(r'"message":"connection"', count=2)
    # Those that are refused at once have a line and a number too.
    proxy.stop()
    refused = 0
    for result in [*both(lab, labs.WEB), *both(lab, labs.WEB)]:
        refused += result.kind == ERROR
    assert refused == 4
    daemon.wait_log(r'"message":"connection".*"reason":"the proxy is lost"', count=3)
    proxy.start()
    scenes.finish(ours, daemon)
    # Standard output, which is for a person, goes into the same file here.
    words = ("proxyvpn is up: ", "  ", "DNS bypass IPs: ")
    person = [line for line in daemon.log().splitlines() if line.startswith(words)]
    assert person and person[0].startswith("proxyvpn is up: "), daemon.log()
    records = [json.loads(line) for line in daemon.log().splitlines() if line not in person]
    assert all(list(record) == ["time", "level", "pid", "message", "fields"] for record in records), records
    connections = [record for record in records if record["message"] == "connection"]
    assert len({record["fields"]["id"] for record in connections}) == len(connections) >= 6, connections
    assert all(record["level"] == "debug" and record["time"].endswith("Z") for record in connections), connections
    # The journal: a socket in its place, and standard error as the stream that JOURNAL_STREAM names.
    os.makedirs("/run/systemd/journal", exist_ok=True)
    journal = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    journal.bind("/run/systemd/journal/socket")
    journal.settimeout(20)
    daemon = ours.up("--proxy-url", proxy.url(), "--verbose", "--log-format", "journal")
    expect_way(both(lab, labs.WEB)[:1], VIA_PROXY)
    fields = {}
    while fields.get("PROXYVPN_EVENT") != "connection":
        fields = dict(line.split("=", 1) for line in journal.recv(65536).decode().splitlines())
    assert fields["PRIORITY"] == "7" and fields["SYSLOG_IDENTIFIER"] == "proxyvpn" and fields["PROXYVPN_ID"], fields
    assert "connection id=" not in daemon.log(), daemon.log()
    scenes.finish(ours, daemon)
    journal.close()
    daemon = ours.up("--proxy-url", proxy.url(), env={"TERM": "xterm"})
    proxy.stop()
    expect_refused(both(lab, labs.WEB), within=5)
    daemon.wait_log("proxy lost")
    scenes.finish(ours, daemon)
    assert "proxyvpn is up" in daemon.log() and "everything is as before" in daemon.log(), daemon.log()
    for word in ("\x1b", "\r", "starting: ", "going down: ", "trying again in"):
        assert word not in daemon.log(), daemon.log()
    daemon = ours.up("--proxy-url", f"http://{labs.PROXY[0]}:3128", "--log-level", "warning")
    expect_refused(both(lab, labs.WEB), within=5)
    daemon.wait_log("proxy lost")
    scenes.finish(ours, daemon)
    assert "going down" not in daemon.log() and "as before" not in daemon.log(), daemon.log()


@case("log_forms_before_the_log", timeout=90)
def test_early_log_forms(lab):
    """--log-format also for what is said before the log begins: wrong options and files, a machine that is not fit, a start in the background that fails; the journal's fields where stderr is the journal; else text, in colours on a terminal."""
    proxy, ours = ground(lab)

    def told(*arguments, code, **options):
        """The JSON lines on standard error, all of it."""
        done = ours.run("up", "--log-format", "json", *arguments, **options)
        assert done.returncode == code, done
        lines = [json.loads(line) for line in done.stderr.splitlines()]
        assert lines and all(list(line) == ["time", "level", "pid", "message", "fields"] for line in lines), done.stderr
        assert all(line["time"].endswith("Z") and "proxyvpn: " not in line["message"] for line in lines), lines
        return [(line["level"], line["message"]) for line in lines]

    def one(lines, level, words):
        assert [message for how, message in lines if how == level and words in message], f"no {level} with {words!r}: {lines}"
    one(told("--bogus", code=2), "error", "there is no option '--bogus'")
    one(told("--proxy-url", "http://h:1", "--mtu", "9", code=2), "error", "--mtu '9'")
    one(told(code=2), "error", "no proxy is given")
    one(told("--proxy-url", proxy.url(), "--config", "/run/lab/nowhere.toml", code=1), "error", "/run/lab/nowhere.toml")
    write("/run/lab/own.toml", 'log-format = "json"\nmtuu = 1\nmtu = "\\u001b[31m9"\n')
    done = ours.run("up", "--config", "/run/lab/own.toml")
    lines = [json.loads(line) for line in done.stderr.splitlines()]
    assert done.returncode == 2 and len(lines) == 2 and "\x1b" not in done.stderr, done.stderr
    assert "/run/lab/own.toml:2:1: there is no key 'mtuu'" in lines[1]["message"] and all(line["level"] == "error" for line in lines), lines
    # Not fit for it: in the foreground and in the background, with a warning before.
    password = "/run/lab/password"
    write(password, "word\n", 0o644)
    for more in ((), ("--detach",)):
        lines = told("--proxy-url", "http://alice@203.0.113.10:3128", "--password-file", password, "--tun-name", "eth0", *more, code=1)
        one(lines, "warning", password)
        one(lines, "error", "eth0")
    proxy.stop()
    one(told("--proxy-url", proxy.url(), "--detach", code=1), "error", "refuses connections")
    # The journal is where stderr leads: fields and no text. Where it leads elsewhere, both.
    os.makedirs("/run/systemd/journal", exist_ok=True)
    journal = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    journal.bind("/run/systemd/journal/socket")
    journal.settimeout(20)
    stream = open("/run/lab/stream", "w+b")
    info = os.fstat(stream.fileno())
    done = subprocess.run(ours.argv(["up", "--proxy-url", "http://h:1", "--mtu", "9"]), stderr=stream, cwd="/",
                          env=ours.environment({"JOURNAL_STREAM": f"{info.st_dev}:{info.st_ino}"}), check=False)
    fields = dict(line.split("=", 1) for line in journal.recv(65536).decode().splitlines())
    assert done.returncode == 2 and fields["PRIORITY"] == "3" and "--mtu '9'" in fields["MESSAGE"], fields
    assert fields["SYSLOG_IDENTIFIER"] == "proxyvpn" and os.fstat(stream.fileno()).st_size == 0, fields
    done = ours.run("up", "--proxy-url", "http://h:1", "--mtu", "9", "--log-format", "journal")
    assert "--mtu '9'" in journal.recv(65536).decode() and done.stderr.startswith("proxyvpn: error: --mtu '9'"), done.stderr
    journal.close()
    stream.close()
    # A person on a terminal.
    for variables, colour in (({"TERM": "xterm"}, True), ({"TERM": "xterm", "NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False)):
        seen = typescript(ours.argv(["up", "--proxy-url", "http://h:1", "--mtu", "9"]), ours.environment(variables))
        assert ("\x1b[1;31merror:\x1b[0m --mtu '9'" in seen) == colour and ("proxyvpn: error: --mtu '9'" in seen) != colour, repr(seen)
        assert "See: proxyvpn up --help" in seen, repr(seen)


def typescript(argv, environment):
    """What a command that ends by itself writes to a terminal."""
    master, slave = pty.openpty()
    process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=slave, stderr=slave, cwd="/", env=environment)
    os.close(slave)
    seen = b""
    while True:
        try:
            part = os.read(master, 65536)
        except OSError:               # everybody has closed it
            break
        if not part:
            break
        seen += part
    os.close(master)
    process.wait(30)
    return seen.decode(errors="replace")


@case("progress_on_a_terminal", timeout=90)
def test_progress(lab):
    """On a terminal: steps of the start, time to the next try, colours unless NO_COLOR; all such lines go again."""
    proxy, ours = ground(lab)
    starting, again, going = "proxyvpn: starting: ", "the proxy is lost: trying again in", "going down: "
    seen, stays = on_a_terminal(lab, proxy, ours, {"TERM": "xterm"}, "\x1b\\[33mwarning:")
    assert all(word in seen for word in (starting, again, going)), seen
    # What stays on the screen has none of the lines that were taken back.
    assert not [word for word in ("starting: ", "trying again in", going) if word in stays], stays
    seen, stays = on_a_terminal(lab, proxy, ours, {"TERM": "xterm", "NO_COLOR": "1"}, "warning: proxy lost")
    assert all(word in seen for word in (starting, again, going)) and "\x1b[3" not in seen, seen
    seen, _ = on_a_terminal(lab, proxy, ours, {"TERM": "dumb"}, "warning: proxy lost")
    assert not [word for word in (starting, again, going, "\x1b", "\r\x1b[K") if word in seen], seen


def on_a_terminal(lab, proxy, ours, variables, warning):
    """up, the proxy away and back, down: (what was written, what of it stays on the screen)."""
    master, slave = pty.openpty()
    argv = ours.argv(["up", "--proxy-url", proxy.url()])
    process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=slave, stderr=slave, cwd="/", start_new_session=True,
                               env=ours.environment(variables))
    os.close(slave)
    seen = ""
    def read_until(pattern, timeout=30):
        nonlocal seen
        end = time.monotonic() + timeout
        while not re.search(pattern, seen):
            assert time.monotonic() < end, f"{pattern!r} is not on the terminal: {seen!r}"
            if select.select([master], [], [], 0.1)[0]:
                seen += os.read(master, 65536).decode(errors="replace")
    read_until("proxyvpn is up")
    proxy.stop()
    both(lab, labs.WEB, timeout=3)
    if variables["TERM"] != "dumb":
        read_until(r"the proxy is lost: trying again in \d+ s")
    read_until(warning)
    proxy.start()
    wait_until(lambda: both(lab, labs.WEB, timeout=3)[0].kind == VIA_PROXY, 30, "the proxy is back")
    ours.down()
    assert process.wait(30) == 0
    read_until("everything is as before")
    os.close(master)
    ours.wait_gone()
    return seen, "\n".join(line.split("\r\x1b[K")[-1] for line in seen.replace("\r\n", "\n").split("\n"))
