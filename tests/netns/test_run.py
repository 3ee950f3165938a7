"""`proxyvpn run`: one command behind the proxy, as an ordinary user without any privilege."""
import fcntl
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

    def run(self, *command, options=(), timeout=60, **more):
        done = run(self.argv(*command, options=options), check=False, timeout=timeout, cwd="/",
                   env=self.ours.environment(), **more)
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
    return result if took < 8 else f"{result} after {took:.1f} s"
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
    client = socket.create_connection(listener.getsockname(), 5)
    return "connected" if client else ""
def stream_dns():
    query = bytes.fromhex("123401000001000000000000") + b"\3web\4test\0" + bytes.fromhex("00010001")
    sock = socket.create_connection(("198.19.255.254", 53), 10)
    sock.sendall(len(query).to_bytes(2, "big") + query)
    size = int.from_bytes(sock.recv(2, socket.MSG_WAITALL), "big")
    return sock.recv(size, socket.MSG_WAITALL)[-4:].hex()
web4, web6 = sys.argv[1:3]
print("uid", os.getuid(), os.getgid())
print("caps", [line.split()[1] for line in open("/proc/self/status") if line.startswith("CapEff")][0])
print("udp4", attempt(udp(socket.AF_INET, web4)))
print("udp6", attempt(udp(socket.AF_INET6, web6)))
print("loopback", attempt(loopback))
print("refused", attempt(lambda: socket.create_connection(("203.0.113.81", 7000), 10)))
print("tcp dns", attempt(stream_dns))
print("links", " ".join(sorted(name for _, name in socket.if_nameindex())))
print("resolv", open("/etc/resolv.conf").read().split()[-3])
print("variable", os.environ.get("PROXYVPN_PROXY_URL"))
'''


def what_it_sees(runner):
    """Its own user, no capability, two links, quick errors for what a proxy cannot carry."""
    with open("/run/lab/inside.py", "w", encoding="ascii") as file:
        file.write(INSIDE)
    done = runner.run("/usr/bin/python3", "/run/lab/inside.py", *labs.WEB, timeout=90)
    assert done.returncode == 0, f"{done.returncode} {done.stdout}{done.stderr}"
    seen = dict(line.partition(" ")[::2] for line in done.stdout.splitlines())
    seen["tcp"] = seen.get("tcp", "")
    expected = {"uid": f"{sandbox.OTHER_UID} {sandbox.OTHER_GID}", "caps": "0" * 16, "udp4": "ECONNREFUSED",
                "udp6": "ECONNREFUSED", "loopback": "connected", "links": "lo tun0", "resolv": "198.19.255.254",
                "variable": "None"}
    for key, value in expected.items():
        assert seen.get(key) == value, f"{key}: {seen.get(key)!r}, not {value!r}\n{done.stdout}{done.stderr}"
    assert seen["refused"] in ("ECONNREFUSED", "EHOSTUNREACH"), done.stdout
    assert seen["tcp"].startswith("dns c612"), f"no stand-in over TCP: {done.stdout}"


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
    assert asked_by <= set(labs.PROXY), f"names were asked for by {asked_by}"
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
        done = runner.run("setpriv", "--reuid=64011", "--regid=64011", "--clear-groups", "id", "-u")
        assert done.stdout.strip() == "64011", f"{done.stdout}{done.stderr}"
        done = runner.run("nsenter", f"--net={lab.host.path}", "true")
        assert done.returncode != 0, "root's command could enter the machine's own network"
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
WAITS = """import os,signal,time
def say(*words): os.write(1, (" ".join(map(str, words)) + "\\n").encode())
def interrupted(*_):
  say("got INT")
  os._exit(5)
signal.signal(signal.SIGINT, interrupted)
signal.signal(signal.SIGWINCH, lambda *_: say(*os.get_terminal_size()[::-1]))
say("started")
while True: time.sleep(0.05)"""


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
    process.kill()
    process.wait(30)
    wait_until(lambda: not run(["pgrep", "-x", "sleep"], check=False).stdout, 20, "sleep has ended")
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
    terminal.wait("got INT")
    terminal.wait("ready$ ")
    assert terminal.text.count("got INT") == 1, terminal.text
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
    began = time.monotonic()
    done = runner.run("curl", "-sS", "--max-time", "30", f"http://{labs.WEB[0]}/")
    assert done.returncode == 7 and "proxy lost" in done.stderr, f"{done.returncode} {done.stderr}"
    assert time.monotonic() - began < 25, "it hung"
    no_one_left(runner)
