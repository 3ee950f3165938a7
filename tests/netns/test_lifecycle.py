"""up and down: what is left behind, what is refused before anything changes, what may be read."""
import os
import re
import signal
import subprocess
import time

import client
import lab as labs
import product
import sandbox
import scenes
import scripted_proxy as bad
import servers
import snapshot
from cases import Skip, case
from client import DIRECT, VIA_PROXY, both, expect_way
from lab import wait_until

MOST_STEPS = 20


def ground(lab, user=None):
    """Proxy, servers, product; nothing is up."""
    proxy = bad.ScriptedProxy(lab)
    servers.who_servers(lab)
    servers.Dns(lab, names=scenes.NAMES)
    return proxy, product.Product(lab, user=user)


@case("up_and_down_leave_nothing")
def test_leave_nothing(lab):
    """Rules, routes, links, nft, iptables and sysctls are exactly as before: after down, Ctrl-C, SIGTERM; down twice."""
    proxy, ours = ground(lab)
    before = snapshot.take(lab)
    assert ours.down().stderr is not None          # nothing runs: works, exits 0
    snapshot.assert_same(before, snapshot.take(lab), "down with nothing running")
    for name, end in (("down", lambda d: ours.down()), ("Ctrl-C", lambda d: d.stop(signal.SIGINT)),
                      ("SIGTERM", lambda d: d.stop(signal.SIGTERM))):
        daemon = ours.up("--proxy-url", proxy.url())
        expect_way(both(lab, labs.WEB), VIA_PROXY)
        assert snapshot.difference(before, snapshot.take(lab)), "up changed nothing?"
        end(daemon)
        assert daemon.wait_exit() in (0, -signal.SIGINT, 130, 143), f"{name}: exit {daemon.process.returncode}"
        ours.wait_gone()
        snapshot.assert_same(before, snapshot.take(lab), name)
        ours.down()
        ours.down()
        snapshot.assert_same(before, snapshot.take(lab), f"{name}, then down twice")
        expect_way(both(lab, labs.WEB), DIRECT)


@case("row_59_teardown_is_complete")
def test_row_59(lab):
    """SIGKILL, then down: nothing is left; also as an ordinary user, and with other tools' rules beside ours."""
    lab.add_container()
    lab.host.ip("rule add pref 100 fwmark 0x99 lookup 99", "-6 rule add pref 100 fwmark 0x99 lookup 99")
    lab.host.run(["nft", "add", "table", "inet", "theirs"])
    proxy, ours = ground(lab, user="pvtest")
    before = snapshot.take(lab)
    daemon = ours.up("--proxy-url", proxy.url())
    expect_way(both(lab, labs.WEB), VIA_PROXY)
    daemon.kill()
    ours.wait_gone()
    with lab.capture(proxies=proxy.endpoints):
        for result in both(lab, labs.WEB, timeout=2):
            assert result.kind == "ERROR", result
    ours.down()
    snapshot.assert_same(before, snapshot.take(lab), "SIGKILL, then down as the ordinary user")
    expect_way(both(lab, labs.WEB), DIRECT)
    daemon = ours.up("--proxy-url", proxy.url(), "--egress-guard", "--allow-lan", "--exclude", "198.51.100.0/24")
    scenes.finish(ours, daemon)
    snapshot.assert_same(before, snapshot.take(lab), "up with everything, then down")


def needs_hooks():
    if not product.wants_hooks():
        raise Skip("this build has no crash hooks (the dev preset has them)")


def each_step(ours, proxy, variable, *options):
    """Starts with the hook at every step until the start succeeds: yields (step, daemon)."""
    for step in range(1, MOST_STEPS):
        daemon = ours.start("--proxy-url", proxy.url(), *options, env={variable: str(step)})
        wait_until(lambda daemon=daemon: daemon.process.poll() is not None or daemon.is_ready(), 30, f"step {step} is decided")
        if daemon.process.poll() is None:
            assert step > 4, f"the start has only {step - 1} steps?"
            scenes.finish(ours, daemon)
            return
        yield step, daemon
    raise AssertionError("the start never succeeded")


@case("failed_start_at_every_step", timeout=90)
def test_failed_start(lab):
    """A start that fails after step n, for every n: exit status, a sentence, and nothing left."""
    needs_hooks()
    proxy, ours = ground(lab)
    before, steps = snapshot.take(lab), 0
    for steps, daemon in each_step(ours, proxy, "PROXYVPN_TEST_FAIL_AFTER_STEP"):
        assert daemon.process.returncode != 0, f"step {steps}: exit 0"
        ours.wait_gone()
        snapshot.assert_same(before, snapshot.take(lab), f"failure after step {steps}")
        assert daemon.log().strip(), f"step {steps}: not a word"
        expect_way(both(lab, labs.WEB), DIRECT)
    assert steps >= 5, steps
    snapshot.assert_same(before, snapshot.take(lab), "at the end")


@case("row_33_crash_at_every_step", timeout=120)
def test_row_33(lab):
    """SIGKILL after step n of the start, for every n: nothing in clear afterwards, down cleans up, IPv4 and IPv6, UDP too."""
    needs_hooks()
    proxy, ours = ground(lab)
    before, steps = snapshot.take(lab), 0
    for steps, daemon in each_step(ours, proxy, "PROXYVPN_TEST_CRASH_AFTER_STEP"):
        assert daemon.process.returncode == -signal.SIGKILL, f"step {steps}: exit {daemon.process.returncode}: {daemon.log()}"
        ours.wait_gone()
        with lab.capture(proxies=proxy.endpoints):
            for result in both(lab, labs.WEB, timeout=1):
                assert result.kind == "ERROR", f"after a crash at step {steps}: {result}"
            for address in labs.WEB:
                assert client.udp(lab, address, 443) not in ("SENT", "REPLY", "ECONNREFUSED"), f"step {steps}: udp went out"
                client.probe(lab, address, device="eth0", timeout=0.3)
        if steps % 2:
            ours.down()
            snapshot.assert_same(before, snapshot.take(lab), f"crash after step {steps}, then down")
            expect_way(both(lab, labs.WEB), DIRECT)
        else:                        # or the next start takes over what it finds
            with lab.capture(proxies=proxy.endpoints):
                daemon = ours.up("--proxy-url", proxy.url())
                expect_way(both(lab, labs.WEB), VIA_PROXY)
            scenes.finish(ours, daemon)
            snapshot.assert_same(before, snapshot.take(lab), f"crash after step {steps}, up, down")
    assert steps >= 5, steps


@case("row_33_down_at_every_step", timeout=120)
def test_down_at_every_step(lab):
    """`down` while the start stands still behind step n, for every n: shut meanwhile from the first step on, exit 0, nothing left."""
    needs_hooks()
    proxy, ours = ground(lab)
    before, steps = snapshot.take(lab), 0
    for step in range(MOST_STEPS):
        daemon = ours.start("--proxy-url", proxy.url(), env={"PROXYVPN_TEST_STOP_AFTER_STEP": str(step)})
        wait_until(lambda daemon=daemon: daemon.is_ready() or _is_stopped(daemon.pid), 30, f"step {step} is reached")
        stopped = _is_stopped(daemon.pid)
        if step and stopped:
            with lab.capture(proxies=proxy.endpoints):
                for result in both(lab, labs.WEB, timeout=1):
                    assert result.kind != DIRECT, f"open while the start stands behind step {step}: {result}"
        ours.down(timeout=60)
        assert daemon.wait_exit() in (0, 1), f"step {step}: {daemon.process.returncode}: {daemon.log()}"
        ours.wait_gone()
        snapshot.assert_same(before, snapshot.take(lab), f"down while behind step {step}")
        expect_way(both(lab, labs.WEB), DIRECT)
        if not stopped:
            break
        steps = step
    assert 5 <= steps < MOST_STEPS - 1, steps


def _is_stopped(pid):
    with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
        return file.read().rpartition(")")[2].split()[0] == "T"


@case("detach")
def test_detach(lab):
    """--detach returns once traffic flows; a start that fails gives its reason and another exit status; down ends it."""
    proxy, ours = ground(lab)
    before = snapshot.take(lab)
    # Through a pipe, as in x=$(proxyvpn up --detach): it must end, so the daemon may not hold it.
    done = ours.run("up", "--proxy-url", proxy.url(), "--detach", timeout=20)
    assert done.returncode == 0, done.stdout + done.stderr
    expect_way(both(lab, labs.WEB), VIA_PROXY)
    assert ours.pids(), "nothing runs in the background"
    second = ours.run("up", "--proxy-url", proxy.url(), "--detach")
    assert second.returncode != 0 and (second.stderr + second.stdout).strip(), "a second instance started"
    expect_way(both(lab, labs.WEB), VIA_PROXY)
    ours.down()
    ours.wait_gone()
    snapshot.assert_same(before, snapshot.take(lab), "detach and down")
    failed = ours.run("up", "--proxy-url", proxy.url(), "--detach", "--tun-name", "eth0")
    assert failed.returncode != 0 and "eth0" in failed.stderr, f"{failed.returncode} {failed.stderr}"
    snapshot.assert_same(before, snapshot.take(lab), "a detached start that failed")
    # The proxy is tried before --detach says that traffic flows.
    for name, script, credentials, reason in (("a wrong password", bad.answer("407 No\nProxy-Authenticate: Basic realm=x"), "u:wrong-word", "407"),
                                              ("nonsense", bad.raw(b"SSH-2.0-OpenSSH\r\n"), "", "not as an HTTP proxy")):
        proxy.script = script
        failed = ours.run("up", "--proxy-url", proxy.url(credentials=credentials), "--detach", timeout=30)
        assert failed.returncode == 1 and reason in failed.stderr, f"{name}: {failed.returncode} {failed.stdout} {failed.stderr}"
        assert "wrong-word" not in failed.stderr and not ours.pids(), name
        snapshot.assert_same(before, snapshot.take(lab), name)
    proxy.stop()
    failed = ours.run("up", "--proxy-url", proxy.url(), "--detach", timeout=30)
    assert failed.returncode == 1 and "refuses connections" in failed.stderr, f"{failed.returncode} {failed.stderr}"
    snapshot.assert_same(before, snapshot.take(lab), "no proxy")


@case("row_66_dry_run")
def test_row_66(lab):
    """--dry-run needs no privilege and changes nothing."""
    proxy, ours = ground(lab)
    os.makedirs("/run/lab/plain", exist_ok=True)
    subprocess.run(["cp", ours.binary, "/run/lab/plain/proxyvpn"], check=True)
    os.chmod("/run/lab/plain/proxyvpn", 0o755)
    before = snapshot.take(lab)
    argv = ["setpriv", "--reuid", "64011", "--regid", "64011", "--clear-groups", "--no-new-privs", "/run/lab/plain/proxyvpn",
            "up", "--dry-run", "--proxy-url", proxy.url(credentials="u:hidden-word")]
    done = lab.host.run(argv, check=False, env=ours.environment())
    assert done.returncode == 0, done.stderr
    snapshot.assert_same(before, snapshot.take(lab), "dry run")
    for needle in ("nft", "ip rule", "ip route", "tun0", "28790", "203.0.113.10", "203.0.113.53"):
        assert needle in done.stdout, f"{needle!r} is not in the dry run:\n{done.stdout}"
    assert "hidden-word" not in done.stdout + done.stderr
    assert not proxy.requests


@case("dry_run_can_be_pasted", timeout=90)
def test_dry_run_pasted(lab):
    """What --dry-run prints, pasted into a shell, makes the same rules, routes, device and nft tables as up; `down` takes it away."""
    proxy, ours = ground(lab)
    before = snapshot.take(lab)
    for options in ((), ("--allow-lan", "--exclude", "198.51.100.0/24", "--exempt-user", "pvother", "--egress-guard", "--mtu", "1400"),
                    ("--no-killswitch", "--tun-cidr6", "none", "--tun-name", "tun9", "--route-table", "777", "--rule-priority", "300")):
        tun = "tun9" if "tun9" in options else "tun0"
        text = ours.run("up", "--dry-run", "--proxy-url", proxy.url(), *options).stdout
        daemon = ours.up("--proxy-url", proxy.url(), *options)
        real, real_device = snapshot.take(lab), _device(lab, tun)
        scenes.finish(ours, daemon)
        done = lab.host.run(["sh", "-e"], input=text, check=False, env=ours.environment())
        assert done.returncode == 0, f"{done.stderr}\n{text}"
        pasted = snapshot.take(lab)
        for what in ("rules", "nft"):
            assert plain(real[what]) == plain(pasted[what]), f"{options}: {what}:\n" + "\n".join(
                snapshot.difference({what: plain(real[what])}, {what: plain(pasted[what])}).splitlines()[:40])
        routes = [[line for line in state["routes"] if re.search(r"table (28790|777|778)\b", line) and "fe80" not in line] for state in (real, pasted)]
        assert routes[0] and plain(routes[0]) == plain(routes[1]), f"{options}: {routes}"
        assert real_device == _device(lab, tun), f"{options}: {real_device}\n{_device(lab, tun)}"
        ours.down("--tun-name", tun)
        snapshot.assert_same(before, snapshot.take(lab), f"down of what was pasted {options}")


def _device(lab, name):
    """What was set on the TUN: addresses, MTU, queue, alias, form of its packets, sysctls."""
    show = lab.host.run(["ip", "-d", "address", "show", "dev", name]).stdout
    words = re.findall(r"mtu \d+|qlen \d+|alias \S+|inet6? \S+|addrgenmode \w+|tun type tun pi \w+ vnet_hdr \w+", show)
    assert len(words) >= 5, show
    return sorted(words) + [line for line in snapshot.take(lab)["sysctls"] if f"/conf/{name}/" in line]


def plain(lines):
    """Without what a running daemon adds: the owner's flags, link state, handles."""
    gone = re.compile(r"(# progname.*|flags owner.*|flags persist.*| linkdown| proto \S+| pref medium)")
    return [stripped for line in lines if (stripped := gone.sub("", line).rstrip()) and "flags" not in stripped.split()[:1]]


@case("second_instance")
def test_second_instance(lab):
    """Another up is refused and leaves the first alone; so is one over a foreign tun0 or a table in use (row 51)."""
    proxy, ours = ground(lab)
    daemon = ours.up("--proxy-url", proxy.url())
    during = snapshot.take(lab)
    for options in ((), ("--state-dir", "/run/lab/other-state"), ("--state-dir", "/run/lab/other-state", "--tun-name", "tun7")):
        second = ours.start("--proxy-url", proxy.url(), *options)
        assert second.wait_exit() != 0, f"a second instance runs with {options}"
        assert re.search(r"another proxyvpn is running \((process \d+)\)|another proxyvpn is running in this network namespace", second.log()), second.log()
        assert "proxyvpn down" in second.log(), f"no way out: {second.log()}"
        assert "choose another name" not in second.log(), f"another name does not help: {second.log()}"
        expect_way(both(lab, labs.WEB), VIA_PROXY)
    after = snapshot.take(lab)
    for state in (during, after):
        state.pop("state directory")
    snapshot.assert_same(during, after, "second instances")
    scenes.finish(ours, daemon)


@case("row_51_races_and_foreign_objects", timeout=90)
def test_row_51(lab):
    """Two starts at the same moment: one wins; a foreign tun0, a table in use, taken priorities: refused, untouched."""
    proxy, ours = ground(lab)
    before = snapshot.take(lab)
    for _ in range(3):
        racers = [ours.start("--proxy-url", proxy.url()) for _ in range(2)]
        wait_until(lambda racers=racers: any(r.process.poll() is not None for r in racers) and
                   any(r.process.poll() is None and r.is_ready() for r in racers), 30, "one runs and one gave up")
        winner = [r for r in racers if r.process.poll() is None]
        assert len(winner) == 1 and [r for r in racers if r.process.poll()], [r.process.poll() for r in racers]
        expect_way(both(lab, labs.WEB), VIA_PROXY)
        scenes.finish(ours, winner[0])
    snapshot.assert_same(before, snapshot.take(lab), "races")
    for name, make, unmake in (
            ("a foreign tun0", ["ip tuntap add dev tun0 mode tun"], ["ip link del tun0"]),
            ("a tun0 that is no tun", ["ip link add tun0 type veth peer name tun0p"], ["ip link del tun0"]),
            ("a table in use", ["ip route add 10.9.0.0/16 dev eth0 table 28790"], ["ip route del 10.9.0.0/16 dev eth0 table 28790"])):
        lab.host.run(["sh", "-ec", "\n".join(make)])
        foreign = snapshot.take(lab)
        failed = ours.start("--proxy-url", proxy.url())
        assert failed.wait_exit() != 0, f"started over {name}"
        assert re.search("tun0|28790", failed.log()), f"{name}: {failed.log()}"
        snapshot.assert_same(foreign, snapshot.take(lab), name)
        ours.down()
        snapshot.assert_same(foreign, snapshot.take(lab), f"{name}, then down")
        lab.host.run(["sh", "-ec", "\n".join(unmake)])


@case("preflight_errors", timeout=90)
def test_preflight(lab):
    """Every wrong value or missing precondition: its own sentence with the value, exit not 0, nothing changed."""
    proxy, ours = ground(lab)
    url = ["--proxy-url", proxy.url()]
    with open("/run/lab/password", "w", encoding="ascii") as file:
        file.write("from-a-file\n")
    os.chmod("/run/lab/password", 0)
    table = [
        ([], "proxy"), (["--proxy-url", "http://"], "http"), (["--proxy-url", "socks5://x:1"], "socks5"), (["--proxy-url", "ftp://x:1"], "scheme"), (["--proxy-url", "http://x:0"], "0"),
        (["--proxy-url", "http://x:70000"], "70000"), (["--proxy-url", "http://u:pa ss@x:1"], "space"), (["--proxy-url", "http://u:p@x:1/some/path"], "path"),
        (["--proxy-url", "http://[::1:3128"], r"::1|\]|bracket"), (["--proxy-url", "http://no-such-host.invalid:3128"], "no-such-host.invalid"),
        ([*url, "--tun-name", "a-name-that-is-too-long"], "a-name-that-is-too-long"), ([*url, "--tun-name", "eth0"], "eth0"),
        ([*url, "--tun-cidr", "10.0.0.1/32"], r"10\.0\.0\.1/32"), ([*url, "--tun-cidr", "192.168.50.9/30"], r"192\.168\.50"),
        ([*url, "--tun-cidr", "nonsense"], "nonsense"), ([*url, "--mtu", "12"], "12"), ([*url, "--connect-timeout", "-5"], "-5"),
        ([*url, "--dns", "8.8.8"], r"8\.8\.8"), ([*url, "--exclude", "10.0.0.0/99"], "10.0.0.0/99"), ([*url, "--firewall", "pf"], "pf"),
        ([*url, "--password-file", "/run/lab/not-there", "--username", "u"], "/run/lab/not-there"),
        (["--proxy-host", "203.0.113.10"], "proxy-port"), ([*url, "--no-such-option"], "no-such-option"), ([*url, "--route-table", "254"], "254"),
        ([*url, "--state-dir", "relative"], "relative"), ([*url, "--proxy-ip", "0.0.0.0"], r"0\.0\.0\.0"), ([*url, "--exempt-user", "nobody-here"], "nobody-here"),
    ]
    before, sentences, wrong = snapshot.take(lab), {}, []
    for arguments, pattern in table:
        done = ours.run("up", *arguments, timeout=40)
        if done.returncode in (0, -6, -11) or not re.search(pattern, done.stderr):
            wrong.append(f"up {arguments}: exit {done.returncode}, expected {pattern!r} in: {done.stderr}")
        sentences[done.stderr] = arguments
    assert not wrong, "\n".join(wrong)
    assert len(sentences) >= len(table) - 1, "different mistakes get the same sentence"
    done = product.Product(lab, user="pvtest").run("up", *url, "--username", "u", "--password-file", "/run/lab/password")
    assert done.returncode == 1 and "/run/lab/password cannot be opened: Permission denied" in done.stderr, done.stderr
    assert "from-a-file" not in done.stderr
    snapshot.assert_same(before, snapshot.take(lab), "preflight errors")


@case("row_47_missing_privileges", timeout=90)
def test_row_47(lab):
    """No capability, no_new_privs, nosuid, a closed /dev/net/tun, no such node: each named, nothing changed."""
    proxy, ours = ground(lab, user="pvtest")
    os.makedirs("/run/lab/nosuid", exist_ok=True)
    labs.kernel.mount("tmpfs", "/run/lab/nosuid", "tmpfs", 2, "mode=755")       # MS_NOSUID
    user = ["setpriv", "--reuid=64010", "--regid=64010", f"--groups={sandbox.GROUP_GID}"]
    for target, mode in (("/run/lab/nosuid/proxyvpn", "caps"), ("/run/lab/bin/nocaps", "plain")):
        subprocess.run(["cp", ours.binary, target], check=True)
        os.chmod(target, 0o755)
        if mode == "caps":
            labs.kernel.run(["setcap", "cap_net_admin=eip", target])
    table = [("no capability", [*user, "/run/lab/bin/nocaps"], "(?i)cap_net_admin|capabilit"),
             ("nosuid", [*user, "/run/lab/nosuid/proxyvpn"], "(?i)nosuid"),
             # Two steps: setpriv keeps its own capabilities up to the exec, and those would still count.
             ("no_new_privs", [*user, "setpriv", "--no-new-privs", ours.binary], "(?i)no_new_privs|new privileges")]
    before = snapshot.take(lab)
    for name, argv, pattern in table:
        done = lab.host.run([*argv, "up", "--proxy-url", proxy.url()], check=False, env=ours.environment())
        assert done.returncode > 0, f"{name}: exit {done.returncode}"
        assert re.search(pattern, done.stderr), f"{name}: {done.stderr}"
        snapshot.assert_same(before, snapshot.take(lab), name)
    root = product.Product(lab)          # a container that was started without the capability
    done = root.run("up", "--proxy-url", proxy.url(), prefix=("setpriv", "--bounding-set=-net_admin", "--inh-caps=-net_admin"))
    assert done.returncode > 0 and "bounding set" in done.stderr and "NET_ADMIN" in done.stderr, done.stderr
    snapshot.assert_same(before, snapshot.take(lab), "not in the bounding set")
    os.chmod("/run/lab/dev/tun", 0o600)
    done = ours.run("up", "--proxy-url", proxy.url())
    assert done.returncode > 0 and "/dev/net/tun" in done.stderr, f"closed node: {done.returncode} {done.stderr}"
    snapshot.assert_same(before, snapshot.take(lab), "closed /dev/net/tun")
    os.chmod("/run/lab/dev/tun", 0o666)
    labs.kernel.mount("tmpfs", "/dev/net", "tmpfs", 0, "mode=755")
    done = ours.run("up", "--proxy-url", proxy.url())
    assert done.returncode > 0 and "/dev/net/tun" in done.stderr, f"missing node: {done.returncode} {done.stderr}"
    snapshot.assert_same(before, snapshot.take(lab), "missing /dev/net/tun")


@case("row_67_secrets")
def test_row_67(lab):
    """The password is nowhere to be read: command lines, environments, state files, logs; processes can't be traced."""
    proxy, ours = ground(lab, user="pvtest")
    with open("/run/lab/password-file", "w", encoding="ascii") as file:
        file.write("hush-in-file\n")
    os.chown("/run/lab/password-file", sandbox.TEST_UID, sandbox.TEST_GID)
    os.chmod("/run/lab/password-file", 0o644)
    ways = [(["--proxy-url", proxy.url(credentials="bob:hush-in-url")], {}, "hush-in-url"),
            ([], {"PROXYVPN_PROXY_URL": proxy.url(credentials="bob:hush-in-env")}, "hush-in-env"),
            (["--proxy-url", proxy.url(), "--username", "bob", "--password", "hush-alone"], {}, "hush-alone"),
            (["--proxy-url", proxy.url(), "--username", "bob", "--password-file", "/run/lab/password-file"], {}, "hush-in-file")]
    for arguments, env, secret in ways:
        ours.secrets.append(secret)
        daemon = ours.start(*arguments, "--verbose", env=env)
        daemon.wait_ready()
        expect_way(both(lab, labs.WEB), VIA_PROXY)
        header = proxy.requests[-1].headers["proxy-authorization"]
        assert header == "Basic " + __import__("base64").b64encode(f"bob:{secret}".encode()).decode(), header
        for pid in ours.pids():
            for name in ("cmdline", "environ"):
                with open(f"/proc/{pid}/{name}", "rb") as file:
                    assert secret.encode() not in file.read(), f"{secret} in /proc/{pid}/{name}"
        for folder in ("/run/proxyvpn", "/run/lab/logs"):
            found = labs.kernel.run(["grep", "-rlaF", "-e", secret, "-e", header.split()[1], folder], check=False).stdout
            assert not found, f"{secret} or its header is in {found}"
        for folder, _, files in os.walk("/run/proxyvpn"):
            for name in files:
                mode = os.stat(os.path.join(folder, name)).st_mode
                assert not mode & 0o007, f"{name} is open to everybody: {mode:o}"
        for pid in ours.pids():
            for name in ("maps", "mem", "environ", "fd/0"):
                tried = lab.host.run(["setpriv", "--reuid=64010", "--regid=64010", "--clear-groups", "head", "-c1", f"/proc/{pid}/{name}"], check=False)
                assert tried.returncode != 0, f"/proc/{pid}/{name} can be read by the user of the process"
        if "--password-file" in arguments:
            assert re.search("(?i)password-file.*(read|permission|mode)|read.*password-file", daemon.log()), daemon.log()
        scenes.finish(ours, daemon)


@case("up_says_what_it_did")
def test_up_says(lab):
    """A few lines: proxy and its address, TUN, killswitch, resolvers; --verbose has one line per connection."""
    proxy, ours = ground(lab)
    daemon = ours.up("--proxy-url", "http://proxy.test:3128", "--verbose")
    text = daemon.log()
    for needle in ("proxy.test", labs.PROXY[0], "tun0", labs.DNS[0], labs.DNS[1]):
        assert needle in text, f"{needle} is not in the output:\n{text}"
    assert re.search("(?i)killswitch", text), text
    for count, address in enumerate(labs.WEB, 1):
        with client.connect(lab, address, labs.WHO) as sock:
            servers.read_line(sock)
            sock.sendall(b"1234567")
            client.read_exactly(sock, 7)
        name = re.escape(f"[{address}]:7000" if ":" in address else f"{address}:7000")
        lines = wait_until(lambda name=name: [x for x in daemon.log().splitlines() if re.search(name, x)], 10, f"a line for {name}")
        assert len(lines) == 1, lines
        form = rf"connection id=\d+\.{count} from=\S+ to={name} end=closed status=200 ms=\d+ up=7 down=\d+$"
        assert re.search(form, lines[0]), f"id, target, outcome, duration and bytes are not in {lines}"
    client.probe(lab, labs.CLOSED[0], 9)
    daemon.wait_log(rf'connection id=\S+ from=\S+ to={re.escape(labs.CLOSED[0])}:9 end="refused by the proxy" status=502 '
                    r'ms=\d+ up=0 down=0 reason="the proxy could not connect to the target"$')
    scenes.finish(ours, daemon)
    quiet = ours.up("--proxy-url", proxy.url())
    settled = quiet.log()
    expect_way(both(lab, labs.WEB), VIA_PROXY)
    time.sleep(0.2)
    assert quiet.log() == settled, "without --verbose a connection is not worth a line"
    assert len(settled.splitlines()) <= 12, settled
    scenes.finish(ours, quiet)
