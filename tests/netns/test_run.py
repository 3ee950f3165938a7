"""`proxyvpn run`: one command behind the proxy, as an ordinary user without any privilege."""
import fcntl
import hashlib
import os
import pty
import select
import shutil
import signal
import struct
import subprocess
import termios
import time

import lab as labs
import product
import real_proxies
import sandbox
import servers
import snapshot
import web
from cases import case
from kernel import run
from lab import wait_until

# What the kernel gives somebody who has nothing: another user, no group but its own, no capability
# in any set, and no program that could give one.
NOTHING = ["setpriv", f"--reuid={sandbox.OTHER_UID}", f"--regid={sandbox.OTHER_GID}", "--clear-groups",
           "--inh-caps=-all", "--ambient-caps=-all", "--bounding-set=-all", "--no-new-privs"]


class Runner:
    """The binary as a file of nobody in particular, run by a user who owns nothing."""

    def __init__(self, lab, proxy, prefix=tuple(NOTHING)):
        self.lab, self.proxy, self.prefix = lab, proxy, prefix
        self.ours = product.Product(lab)
        os.makedirs("/run/lab/plain", exist_ok=True)
        self.binary = shutil.copy(self.ours.binary, "/run/lab/plain/proxyvpn")
        os.chmod(self.binary, 0o755)
        self.ours.binary = self.binary

    def argv(self, *command, options=()):
        return self.lab.host.argv([*self.prefix, self.binary, "run", "--proxy-url", self.proxy.url(), *options,
                                   "--", *command])

    def run(self, *command, options=(), timeout=60, argv=None, env=None, **more):
        done = run(argv or self.argv(*command, options=options), check=False, timeout=timeout, cwd="/",
                   env=self.ours.environment(env), **more)
        assert not product.SANITIZER.search(done.stderr or ""), done.stderr
        self.lab.say(f"{' '.join(command)}: exit {done.returncode} {done.stdout}{done.stderr}")
        return done

    def popen(self, *command, **more):
        return subprocess.Popen(self.argv(*command), cwd="/", env=self.ours.environment(), text=True, **more)


def ways_out(runner, ground):
    """HTTP and HTTPS by name and by address; the server saw the proxy, the proxy saw the name."""
    for url in (f"http://{web.NAME}/who", f"https://{web.NAME}/who", f"http://{labs.WEB[0]}/who", f"http://[{labs.WEB[1]}]/who"):
        done = runner.run("curl", "-sS", "--max-time", "40", "--cacert", ground.ca, url)
        assert done.returncode == 0 and done.stdout.strip() in labs.PROXY, f"{url}: {done.returncode} {done.stdout}{done.stderr}"
    for target in (f"{web.NAME}:80", f"{web.NAME}:443", f"{labs.WEB[0]}:80", f"[{labs.WEB[1]}]:80"):
        wait_until(lambda wanted=target: wanted in runner.proxy.connects(), 10, f"the proxy logs {target}")


INSIDE = r'''
import errno, os, socket, sys, time
def attempt(function):
    began = time.monotonic()
    try:
        result = function()
    except OSError as error:
        result = errno.errorcode.get(error.errno, error.errno)
    took = time.monotonic() - began
    return result if took < 3 else f"{result} after {took:.1f} s"
def udp(family, address):
    def go():
        sock = socket.socket(family, socket.SOCK_DGRAM)
        sock.settimeout(10)
        sock.connect((address, 443))
        sock.send(b"quic?")
        return sock.recv(10)
    return go
def loopback():
    listener = socket.create_server(("127.0.0.1", 0))
    with socket.create_connection(listener.getsockname(), 5) as client:
        return "connected" if client.getpeername() == listener.getsockname() else "to somebody else"
def stream_dns():
    query = bytes.fromhex("123401000001000000000000") + b"\3web\4test\0" + bytes.fromhex("00010001")
    sock = socket.create_connection(("198.19.255.254", 53), 10)
    sock.sendall(len(query).to_bytes(2, "big") + query)
    size = int.from_bytes(sock.recv(2, socket.MSG_WAITALL), "big")
    return sock.recv(size, socket.MSG_WAITALL)[-4:].hex()
web4, web6, outside = sys.argv[1:4]
print("uid", os.getuid(), os.getgid())
sets = ("CapInh", "CapPrm", "CapEff", "CapAmb")
print("caps", *(line.split()[1] for line in open("/proc/self/status") if line[:6] in sets))
print("udp4", attempt(udp(socket.AF_INET, web4)))
print("udp6", attempt(udp(socket.AF_INET6, web6)))
print("loopback", attempt(loopback))
print("machine's loopback", attempt(lambda: socket.create_connection(("127.0.0.1", int(outside)), 5)))
print("refused", attempt(lambda: socket.create_connection(("203.0.113.81", 7000), 10)))
print("tcp dns", attempt(stream_dns))
print("links", " ".join(sorted(name for _, name in socket.if_nameindex())))
print("resolvers", *(line.split()[1] for line in open("/etc/resolv.conf") if line.startswith("nameserver")))
'''


def what_it_sees(runner):
    """Its own user, no capability, two links, quick errors for what a proxy cannot carry."""
    with open("/run/lab/inside.py", "w", encoding="ascii") as file:
        file.write(INSIDE)
    with runner.lab.host.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        with runner.lab.host.socket() as control:
            control.connect(("127.0.0.1", port))      # there is something that could be reached
        done = runner.run("/usr/bin/python3", "/run/lab/inside.py", *labs.WEB, str(port), timeout=90)
    assert done.returncode == 0, f"{done.returncode} {done.stdout}{done.stderr}"
    keys = ("uid", "caps", "udp4", "udp6", "machine's loopback", "loopback", "refused", "tcp dns", "links",
            "resolvers")
    lines = done.stdout.splitlines()
    seen = {key: line[len(key) + 1:] for line in lines for key in keys if line.startswith(key + " ")}
    assert seen.pop("tcp dns", "").startswith("c612"), f"no stand-in over TCP: {done.stdout}"
    expected = {"uid": f"{sandbox.OTHER_UID} {sandbox.OTHER_GID}", "caps": " ".join(4 * ["0" * 16]),
                "udp4": "ECONNREFUSED", "udp6": "ECONNREFUSED", "loopback": "connected",
                "machine's loopback": "ECONNREFUSED", "refused": "ECONNREFUSED", "links": "lo tun0",
                "resolvers": "198.19.255.254"}
    assert seen == expected, f"{seen}\nnot\n{expected}\n{done.stdout}{done.stderr}"


def exit_codes(runner):
    for command, code in ((["true"], 0), (["sh", "-c", "exit 7"], 7), (["sh", "-c", "kill -TERM $$"], 128 + 15),
                          (["sh", "-c", "kill -KILL $$"], 128 + 9), (["/nowhere/at/all"], 127), (["/etc/passwd"], 126)):
        done = runner.run(*command)
        assert done.returncode == code, f"{command}: exit {done.returncode}, not {code}: {done.stderr}"
    done = runner.run("sh", "-c", 'printf "%s|" "$@"', "sh", "a b", "", "--verbose", "--")
    assert done.stdout == "a b||--verbose|--|", f"words were changed: {done.stdout!r}"
    done = runner.run("cat", input="through\n")
    assert done.stdout == "through\n" and done.stderr == "", f"{done.stdout!r} {done.stderr!r}"


def no_one_left(runner):
    runner.ours.wait_gone()


@case("run_through_squid", timeout=120)
def test_run_squid(lab):
    """An ordinary user with nothing at all: names, HTTP, HTTPS, IPv6; nothing but the proxy on the wire."""
    proxy = real_proxies.squid(lab, "basic")
    ground = web.Web(lab)
    dns = servers.Dns(lab, names={web.NAME: labs.WEB})
    runner = Runner(lab, proxy)
    before = snapshot.take(lab)
    with lab.capture(proxies=proxy.endpoints, dns=()):    # no DNS either: the proxy finds the names
        ways_out(runner, ground)
        what_it_sees(runner)
        exit_codes(runner)
    asked_by = {client for _, _, client, _ in dns.queries}
    assert asked_by and asked_by <= set(labs.PROXY), f"names were asked for by {asked_by}"
    no_one_left(runner)
    snapshot.assert_same(before, snapshot.take(lab), "after run")


@case("run_through_tinyproxy", timeout=90)
def test_run_tinyproxy(lab):
    """The same way out through tinyproxy."""
    proxy = real_proxies.tinyproxy(lab)
    ground = web.Web(lab)
    servers.Dns(lab, names={web.NAME: labs.WEB})
    runner = Runner(lab, proxy)
    with lab.capture(proxies=proxy.endpoints, dns=()):
        ways_out(runner, ground)
    no_one_left(runner)


@case("run_as_root", timeout=90)
def test_run_as_root(lab):
    """Root's command is root, may become another user, and has no other way out either."""
    proxy = real_proxies.tinyproxy(lab, auth=False)
    ground = web.Web(lab)
    servers.Dns(lab, names={web.NAME: labs.WEB})
    runner = Runner(lab, proxy, prefix=())
    with lab.capture(proxies=proxy.endpoints, dns=()):
        ways_out(runner, ground)
        assert runner.run("id", "-u").stdout == "0\n"
        done = runner.run("setpriv", "--reuid=64011", "--regid=64011", "--clear-groups", "id", "-u")
        assert done.returncode == 0 and done.stdout == "64011\n", f"{done.stdout}{done.stderr}"
        done = runner.run("nsenter", f"--net={lab.host.path}", "true")
        assert done.returncode != 0 and "Operation not permitted" in done.stderr, \
            f"root's command could enter the machine's own network: {done.returncode} {done.stderr}"
    no_one_left(runner)


# -- signals and terminals ---------------------------------------------------------------------------

class Terminal:
    """A command on a terminal of its own, under a shell with job control."""

    def __init__(self, runner):
        pid, self.fd = pty.fork()
        if pid == 0:
            os.chdir("/")
            argv = runner.lab.host.argv([*runner.prefix, "bash", "--norc", "-i"])
            os.execvpe(argv[0], argv, {**runner.ours.environment(), "PS1": "ready$ ", "HISTFILE": ""})
        self.pid, self.text = pid, ""
        self.wait("ready$ ")

    def type(self, text):
        self.text = ""
        os.write(self.fd, text.encode())

    def wait(self, word, timeout=40):
        deadline = time.monotonic() + timeout
        while word not in self.text:
            assert time.monotonic() < deadline, f"{word!r} does not come: {self.text!r}"
            if select.select([self.fd], [], [], 0.1)[0]:
                try:
                    self.text += os.read(self.fd, 4096).decode("utf-8", "replace")
                except OSError:
                    raise AssertionError(f"the terminal is gone before {word!r}: {self.text!r}") from None
        return self.text

    def close(self):
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        os.close(self.fd)


# One process: a shell that is stopped between vfork(2) and exec of a child never reports that it stopped, here as anywhere.
# With write(2): a handler may not print() while print() is at work.
# It counts for half a second longer than the last SIGINT: one that came twice would be seen.
WAITS = """import os,signal,time
def say(*words): os.write(1, (" ".join(map(str, words)) + "\\n").encode())
sizes = []
interrupts = []
def interrupted(*_):
  interrupts.append(time.monotonic())
  say("got INT")
def resized(*_):
  sizes.append(os.get_terminal_size()[::-1])
  say(*sizes[-1])
signal.signal(signal.SIGINT, interrupted)
signal.signal(signal.SIGWINCH, resized)
say("started")
while not interrupts or time.monotonic() < interrupts[-1] + 0.5: time.sleep(0.05)
say("interrupts", len(interrupts), "sizes", len(sizes))
os._exit(5)"""


@case("run_signals_and_terminal", timeout=120)
def test_run_signals(lab):
    """SIGTERM passes on; Ctrl-C, Ctrl-Z with fg, and the window's size reach the command once."""
    proxy = real_proxies.tinyproxy(lab, auth=False)
    runner = Runner(lab, proxy)
    # A signal to proxyvpn alone: the command gets it and decides.
    process = runner.popen("sh", "-c", 'trap "echo got TERM; exit 3" TERM; echo started; while :; do sleep 0.05; done',
                           stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout.readline() == "started\n"
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=30)
    assert (process.returncode, out) == (3, "got TERM\n"), f"{process.returncode} {out!r} {err!r}"
    # The command is not told when proxyvpn is killed outright; it ends all the same.
    process = runner.popen("sh", "-c", "echo started; exec sleep 1000", stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout.readline() == "started\n"
    sleeps = lambda: run(["pgrep", "-x", "sleep"], check=False).stdout
    wait_until(sleeps, 20, "sleep runs")
    process.kill()
    process.wait(30)
    wait_until(lambda: not sleeps(), 20, "sleep has ended")
    process.stdout.close(), process.stderr.close()

    terminal = Terminal(runner)
    command = " ".join(f"'{word}'" for word in [runner.binary, "run", "--proxy-url", proxy.url(), "--"])
    script = lab.path("waits.py")
    with open(script, "w", encoding="ascii") as file:
        file.write(WAITS)
    os.chmod(script, 0o644)
    terminal.type(f"{command} /usr/bin/python3 {script}\n")
    terminal.wait("started\r\n")
    fcntl.ioctl(terminal.fd, termios.TIOCSWINSZ, struct.pack("HHHH", 33, 111, 0, 0))
    terminal.wait("33 111")
    terminal.type("\x1a")
    terminal.wait("Stopped")
    terminal.wait("ready$ ")
    terminal.type("fg\n")
    terminal.wait("run")
    time.sleep(0.3)
    terminal.type("\x03")
    terminal.wait("interrupts 1 sizes 1\r\n")
    terminal.wait("ready$ ")
    terminal.type("echo code=$?\n")
    terminal.wait("code=5")
    terminal.close()
    no_one_left(runner)


@case("run_errors", timeout=90)
def test_run_errors(lab):
    """What this machine does not allow is said with what to do, exit 125, and the command is not run."""
    proxy = real_proxies.tinyproxy(lab, auth=False)
    runner = Runner(lab, proxy)

    def expect(done, *words):
        assert done.returncode == 125 and done.stdout == "", f"exit {done.returncode}: {done.stdout}{done.stderr}"
        for word in words:
            assert word in done.stderr, f"{word!r} is not in: {done.stderr}"

    node = "/run/lab/dev/tun"
    os.chmod(node, 0o600)
    expect(runner.run("echo", "ran"), "/dev/net/tun", "0666")
    os.chmod(node, 0o666)
    # The limit counts for this user namespace alone, which goes with the command.
    inner = Runner(lab, proxy, prefix=("unshare", "--user", "--map-root-user", "sh", "-c",
                                       "echo 0 >/proc/sys/user/max_user_namespaces; exec \"$@\"", "sh"))
    expect(inner.run("echo", "ran"), "sysctl -w user.max_user_namespaces=10000")
    os.rename("/etc/resolv.conf", "/etc/resolv.conf.away")
    expect(runner.run("echo", "ran"), "/etc/resolv.conf", "touch")
    os.rename("/etc/resolv.conf.away", "/etc/resolv.conf")
    done = runner.run(options=("--verbose",))
    assert done.returncode == 2 and "no command is given" in done.stderr, f"{done.returncode} {done.stderr}"
    # A proxy that is not there: the command runs and its connections fail at once.
    proxy.stop()
    # And who ends at the first error hears why all the same, every time.
    for _ in range(5):
        began = time.monotonic()
        done = runner.run("curl", "-sS", "--max-time", "30", f"http://{labs.WEB[0]}/")
        assert done.returncode == 7 and "proxy lost" in done.stderr, f"{done.returncode} {done.stderr}"
        assert time.monotonic() - began < 10, "it hung"
    no_one_left(runner)


OTHER_RECORDS = r'''
import socket, struct, sys, time
def ask(kind, name):
    query = struct.pack("!6H", 0x4711, 0x0100, 1, 0, 0, 0) + b"".join(bytes([len(part)]) + part.encode() for part in name.split(".")) + b"\0"
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.settimeout(10)
    sock.connect(("198.19.255.254", 53))
    began = time.monotonic()
    sock.send(query + struct.pack("!2H", kind, 1))
    head = struct.unpack("!6H", sock.recv(2000)[:12])
    return f"rcode {head[1] & 15} answers {head[3]}" + (" slow" if time.monotonic() - began > 2 else "")
for kind, name in ((1, "web.test"), (15, "web.test"), (16, "web.test"), (33, "_sip._tcp.web.test"), (65, "web.test"), (1, "proxyvpn.invalid")):
    print(kind, ask(kind, name))
'''


@case("run_ping_and_other_records", timeout=90)
def test_run_ping(lab):
    """ping is told at once that it is forbidden; MX, TXT and SRV get NOTIMP, HTTPS nothing, at once; nothing but the proxy on the wire."""
    proxy = real_proxies.tinyproxy(lab, auth=False)
    runner = Runner(lab, proxy, prefix=tuple(NOTHING[:4]))
    with lab.capture(proxies=proxy.endpoints, dns=()):
        for target in (web.NAME, labs.WEB[0], labs.WEB[1]):
            began = time.monotonic()
            done = runner.run("ping", "-n", "-c", "1", "-W", "20", target)
            assert done.returncode == 1 and time.monotonic() - began < 15, f"{target}: {done.returncode} {done.stdout}{done.stderr}"
            assert "+1 errors" in done.stdout and ("Packet filtered" in done.stdout or "prohibited" in done.stdout), f"{target}: {done.stdout}"
        done = runner.run("/usr/bin/python3", "-c", OTHER_RECORDS)
    expected = ["1 rcode 0 answers 1", "15 rcode 4 answers 0", "16 rcode 4 answers 0", "33 rcode 4 answers 0", "65 rcode 0 answers 0", "1 rcode 3 answers 0"]
    assert done.stdout.splitlines() == expected, f"{done.stdout}{done.stderr}"
    no_one_left(runner)


LEFT_BEHIND = r'''
import errno, os, socket, sys, time
with open("/run/lab/left/pid", "w") as file:
    file.write(str(os.getpid()))
def way():
    try:
        with socket.create_connection((sys.argv[1], 7000), 10) as sock:
            return sock.recv(100).split()[0].decode()
    except TimeoutError:
        return "TIMEOUT"
    except OSError as error:
        return errno.errorcode.get(error.errno, str(error))
for name in ("during", "after"):
    while not os.path.exists("/run/lab/left/ask-" + name):
        time.sleep(0.02)
    with open("/run/lab/left/new", "w") as file:
        file.write(way())
    os.rename("/run/lab/left/new", "/run/lab/left/" + name)
'''


SEND_AND_END = """import os, socket, sys
sock = socket.create_connection((sys.argv[1], int(sys.argv[2])))
sock.sendall(b"proxyvpn" * (1 << 18))
os._exit(3)"""


@case("run_settings", timeout=120)
def test_run_settings(lab):
    """The proxy from the environment and from files, no secret to the command; what stays behind has no network."""
    proxy = real_proxies.tinyproxy(lab)
    ground = web.Web(lab)
    servers.who_servers(lab, ports=(labs.WHO,))
    servers.Dns(lab, names={web.NAME: labs.WEB})
    runner = Runner(lab, proxy)
    who = ["curl", "-sS", "--max-time", "40", f"http://{web.NAME}/who"]
    show = ["sh", "-c", 'env; tr "\\0" "\\n" </proc/$PPID/cmdline; exec "$@"', "sh", *who]

    def through(done):
        lines = done.stdout.splitlines()
        assert done.returncode == 0 and lines[-1] in labs.PROXY, f"{done.returncode} {done.stdout}{done.stderr}"
        assert "plain-secret" not in done.stdout + done.stderr, f"{done.stdout}{done.stderr}"
        return lines

    base = [*runner.prefix, runner.binary, "run"]
    with lab.capture(proxies=proxy.endpoints, dns=()):
        lines = through(runner.run(argv=lab.host.argv([*base, "--", *show]),
                                   env={"PROXYVPN_PROXY_URL": proxy.url(), "KEPT": "yes"}))
        assert "KEPT=yes" in lines and not [line for line in lines if line.startswith("PROXYVPN_PROXY_URL")], lines
        with open("/run/lab/own.toml", "w", encoding="ascii") as file:
            file.write(f'proxy-url = "http://alice@{labs.PROXY[0]}:{proxy.port}"\n'
                       'password-file = "/run/lab/password"\n')
        with open("/run/lab/password", "w", encoding="ascii") as file:
            file.write("plain-secret\n")
        for path in ("own.toml", "password"):
            os.chown(f"/run/lab/{path}", sandbox.OTHER_UID, sandbox.OTHER_GID)
            os.chmod(f"/run/lab/{path}", 0o600)
        done = runner.run(argv=lab.host.argv([*base, "--config", "/run/lab/own.toml", "--verbose", "--", *who]))
        through(done)
        assert f"{web.NAME}:80" in done.stderr, f"--verbose says nothing of the connection: {done.stderr}"
        lines = through(runner.run(argv=lab.host.argv([*base, "--proxy-url", proxy.url(), "--", *show])))
        assert "--proxy-url" in lines, f"not the command line: {lines}"

        # What it has sent arrives, although it ends at once and nobody waits for an answer.
        sink = servers.serve(lab, labs.SINK, servers.sink)
        for address in labs.WEB:
            done = runner.run("/usr/bin/python3", "-c", SEND_AND_END, address, str(labs.SINK))
            assert done.returncode == 3, f"{done.returncode} {done.stderr}"
        wait_until(lambda: len(sink.sessions) == 2 and all(s.result for s in sink.sessions), 10, "both senders' ends")
        sent = hashlib.sha256(b"proxyvpn" * (1 << 18)).hexdigest()
        assert [s.result for s in sink.sessions] == [sent, sent], [s.result for s in sink.sessions]

        # What the command leaves behind has no network any more when it has ended.
        os.mkdir("/run/lab/left")
        os.chmod("/run/lab/left", 0o777)
        open("/run/lab/left/ask-during", "w", encoding="ascii").close()
        script = ('setsid /usr/bin/python3 -c "$1" "$2" </dev/null >/dev/null 2>&1 & '
                  'while [ ! -e /run/lab/left/during ]; do sleep 0.05; done')
        done = runner.run("sh", "-c", script, "sh", LEFT_BEHIND, labs.WEB[0])
        assert done.returncode == 0, done.stderr

        def told(name):
            with open(f"/run/lab/left/{name}", encoding="ascii") as file:
                return file.read()
        assert told("during") == labs.PROXY[0]
        assert os.path.exists(f"/proc/{told('pid')}"), "nobody was left behind"
        open("/run/lab/left/ask-after", "w", encoding="ascii").close()
        wait_until(lambda: os.path.exists("/run/lab/left/after"), 20, "the one left behind has tried")
        assert told("after") == "ENETUNREACH", told("after")
    assert ground.requests
    no_one_left(runner)
