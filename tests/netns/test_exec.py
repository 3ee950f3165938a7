"""`proxyvpn exec --direct`: one command outside of the tunnel, everything else inside."""
import os
import socket
import subprocess
import threading

import kernel
import product
import lab as labs
import scenes
import servers
from cases import Skip, case
from client import DIRECT, VIA_PROXY, both, expect_refused, expect_way, probe
from kernel import run
from lab import wait_until

CLONE_NEWCGROUP = 0x02000000
ROOT = "/sys/fs/cgroup"
GROUP = f"{ROOT}/proxyvpn-direct"

PROBE = r'''
import errno, socket, sys
def tcp(address):
    with socket.create_connection((address, 7000), 10) as sock:
        return sock.recv(100).split()[0].decode()
def udp(address):
    sock = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM)
    sock.settimeout(5)
    sock.connect((address, 53))
    sock.send(bytes.fromhex("123401000001000000000000") + b"\3web\4test\0" + bytes.fromhex("00010001"))
    return "answered" if sock.recv(500) else ""
def echo(address):
    sock = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM)
    sock.settimeout(5)
    sock.connect((address, 7003))
    sock.send(b"echo this")
    return "answered" if sock.recv(500) == b"echo this" else ""
def ping(address):
    six = ":" in address
    sock = socket.socket(*((socket.AF_INET6, socket.SOCK_DGRAM, socket.IPPROTO_ICMPV6) if six else
                           (socket.AF_INET, socket.SOCK_DGRAM, socket.IPPROTO_ICMP)))
    sock.settimeout(5)
    sock.connect((address, 0))
    sock.send(bytes([128 if six else 8]) + bytes(7) + b"proxyvpn")
    return "answered" if sock.recv(500)[8:] == b"proxyvpn" else ""
for what in sys.argv[1:]:
    kind, _, address = what.partition("=")
    try:
        print(what, {"tcp": tcp, "udp": udp, "echo": echo, "ping": ping}[kind](address))
    except TimeoutError:
        print(what, "TIMEOUT")
    except OSError as error:
        print(what, errno.errorcode.get(error.errno, type(error).__name__))
'''

# Holds a connection for as long as it is asked things: "held" says something over it, "new" makes another one.
HOLD = r'''
import socket, sys
def new():
    with socket.create_connection((sys.argv[1], 7000), 10) as sock:
        return sock.recv(100).split()[0].decode()
def say():
    held.sendall(b"word")
    return "echoed" if held.recv(4, socket.MSG_WAITALL) == b"word" else "EOF"
held = socket.create_connection((sys.argv[1], 7000), 10)
print("open from", held.recv(100).split()[0].decode(), flush=True)
for line in sys.stdin:
    try:
        print({"held": say, "new": new}[line.strip()](), flush=True)
    except OSError as error:
        print(type(error).__name__, flush=True)
'''


class Holder:
    """A command outside of the tunnel that lives on."""

    def __init__(self, lab, ours):
        argv = ours.argv(["exec", "--direct", "--", "/usr/bin/python3", "-c", HOLD, labs.WEB[0]])
        self.process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd="/",
                                        env=ours.environment())
        lab.on_close(self.process.kill)
        assert self.process.stdout.readline() == f"open from {labs.HOST[0]}\n"

    def ask(self, word):
        self.process.stdin.write(word + "\n")
        self.process.stdin.flush()
        return self.process.stdout.readline().strip()

    def end(self):
        self.process.communicate(timeout=20)
        return self.process.returncode


def udp_echo(lab):
    """Sends back what comes to UDP port 7003 of the web server."""
    def serve(sock):
        while True:
            try:
                data, client = sock.recvfrom(2048)
                sock.sendto(data, client)
            except OSError:
                return
    for address in labs.WEB:
        sock = lab.net.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM)
        sock.bind((address, 7003))
        lab.on_close(sock.close)
        threading.Thread(target=serve, args=(sock,), daemon=True).start()


def private_groups(lab):
    """A cgroup namespace whose root is a group of this case, mounted where the product looks."""
    whole = "/run/lab/whole"
    os.mkdir(whole)
    try:
        kernel.mount("none", whole, "cgroup2")
    except OSError as error:
        raise Skip(f"no cgroup v2 here: {error}") from None
    ours = f"{whole}/pv-test-{os.getpid()}-{os.urandom(4).hex()}"
    os.mkdir(ours)

    def leave():
        with open(f"{ours}/cgroup.procs", encoding="ascii") as file:
            pids = file.read().split()
        for pid in [*pids, str(os.getpid())]:
            try:
                with open(f"{whole}/cgroup.procs", "w", encoding="ascii") as file:
                    file.write(pid)
            except OSError:
                pass
        wait_until(lambda: not os.path.isdir(ours) or _rmdir(ours), 10, f"{ours} is empty")
    lab.on_close(leave)
    with open(f"{ours}/cgroup.procs", "w", encoding="ascii") as file:
        file.write(str(os.getpid()))
    kernel.unshare(CLONE_NEWCGROUP)
    kernel.mount("none", ROOT, "cgroup2")
    os.chmod(ROOT, 0o555)   # as the kernel makes the root of a machine's hierarchy


def _rmdir(path):
    try:
        os.rmdir(path)
        return True
    except OSError:
        return False


def answers_of(done, what):
    """{probe: how it went}, of each of them."""
    assert done.returncode == 0, f"{done.returncode} {done.stdout}{done.stderr}"
    seen = dict(line.rsplit(" ", 1) for line in done.stdout.splitlines())
    assert seen.keys() == set(what) and what, f"{done.stdout}{done.stderr}"
    return seen


def direct(ours, *what, before=(), **options):
    """{probe: how it went} of one command outside of the tunnel; `before`: what starts it there."""
    done = ours.run("exec", "--direct", "--", *before, "/usr/bin/python3", "-c", PROBE, *what, **options)
    return answers_of(done, what)


def as_others(lab, *what, before=()):
    """The same of a program that nobody has let out."""
    return answers_of(lab.host.run([*before, "/usr/bin/python3", "-c", PROBE, *what], check=False), what)


def not_run(done, code, words):
    """The command was not started, for this reason."""
    assert done.returncode == code and done.stdout == "" and words in done.stderr, \
        f"exit {done.returncode}: {done.stdout}{done.stderr}"


@case("exec_direct", timeout=90)
def test_exec_direct(lab):
    """What a command and its children send goes direct, others stay in; the group goes with down and after a crash."""
    private_groups(lab)
    lab.host.sysctl({"ipv4/ping_group_range": "0 0"})
    servers.Dns(lab, addresses=labs.OTHER_DNS)
    udp_echo(lab)
    not_run(product.Product(lab).run("exec", "--direct", "--", "echo", "ran"), 125, "no proxyvpn is up")
    proxy, ours, daemon = scenes.start(lab)
    expect_way(both(lab, labs.WEB), VIA_PROXY)
    datagrams = [f"udp={a}" for a in labs.OTHER_DNS] + [f"{kind}={a}" for kind in ("echo", "ping") for a in labs.WEB]
    way_out = dict(zip((f"tcp={a}" for a in labs.WEB), labs.HOST)) | dict.fromkeys(datagrams, "answered")
    for before in ((), ("sh", "-c", '"$@"; exit $?', "sh")):       # the command itself, and what it starts
        assert (seen := direct(ours, *way_out, before=before)) == way_out, f"not direct: {seen}"
    # Everybody else, with the group in force: nothing but the proxy on the wire.
    with lab.capture(proxies=proxy.endpoints):
        expect_way(both(lab, labs.WEB), VIA_PROXY)
        for what, how in as_others(lab, *datagrams).items():
            assert how in ("ECONNREFUSED", "EPERM", "EACCES"), f"not refused at once: {what} {how}"
    # The rules are made anew when the network changes and at a reload, and the group stays in them: shown by
    # one that is outside already, as a new one would be put back into the rules.
    holder = Holder(lab, ours)
    lab.set_resolvers([labs.DNS[0]])
    lab.host.ip("addr add 192.168.50.77/24 dev eth0")
    daemon.wait_log("this machine has other resolvers now")
    assert (holder.ask("held"), holder.ask("new")) == ("echoed", labs.HOST[0])
    os.makedirs("/etc/proxyvpn", exist_ok=True)
    with open("/etc/proxyvpn/config.toml", "w", encoding="ascii") as file:
        file.write('exclude = ["203.0.113.128/25"]\n')
    assert "reloaded: exclude" in ours.run("reload").stdout
    assert (holder.ask("held"), holder.ask("new")) == ("echoed", labs.HOST[0])
    os.unlink("/etc/proxyvpn/config.toml")

    done = ours.run("exec", "--direct", "--", "sh", "-c", "exit 9")
    assert done.returncode == 9, done.stderr
    # It has become the command: whoever waits sees how that ended (a shell says 128 + 15).
    assert ours.run("exec", "--direct", "--", "sh", "-c", "kill -TERM $$").returncode == -15
    assert ours.run("exec", "--direct", "--", "/nowhere").returncode == 127
    assert ours.run("exec", "--direct", "--", "/etc/passwd").returncode == 126
    not_run(ours.run("exec", "--", "echo", "ran"), 2, "--direct")
    not_run(ours.run("exec", "--direct"), 2, "no command is given")
    not_run(ours.run_as_stranger("exec", "--direct", "--", "echo", "ran"), 125, "proxyvpn: error: ")
    # Nobody but root can join the group.
    join = ["sh", "-c", f"echo $$ >{GROUP}/cgroup.procs"]
    run(join)
    joined = run(["setpriv", "--reuid=64011", "--clear-groups", *join], check=False)
    assert joined.returncode != 0 and "ermission denied" in joined.stderr, f"a user joined: {joined.stderr}"

    # A crash: the rule stays for who is in the group, and nobody else gets out.
    daemon.kill()
    ours.wait_gone()
    assert os.path.isdir(GROUP)
    assert (holder.ask("held"), holder.ask("new")) == ("echoed", labs.HOST[0])
    expect_refused(both(lab, labs.WEB))
    ours.down()
    assert not os.path.isdir(GROUP), "down after a crash leaves the group"
    expect_way(probe(lab, labs.WEB[0]), DIRECT)
    assert holder.end() == 0

    # One that others may write to is not used.
    os.mkdir(GROUP)
    os.chown(f"{GROUP}/cgroup.procs", 64011, 64011)
    daemon = ours.up("--proxy-url", proxy.url())
    not_run(ours.run("exec", "--direct", "--", "echo", "ran"), 125, "others than root")
    os.rmdir(GROUP)
    web = f"tcp={labs.WEB[0]}"
    assert direct(ours, web) == {web: labs.HOST[0]}
    # The rules know the group by the kernel's number: one made anew under its name is not let out.
    enter = ("sh", "-c", f'echo $$ >{GROUP}/cgroup.procs && exec "$@"', "sh")
    assert as_others(lab, web, before=enter) == {web: labs.HOST[0]}
    wait_until(lambda: _rmdir(GROUP), 10, "the group is empty")
    os.mkdir(GROUP)
    assert as_others(lab, web, before=enter) == {web: labs.PROXY[0]}
    wait_until(lambda: _rmdir(GROUP), 10, "the group is empty")
    # down removes it from under those who are still in it, and cuts their connections.
    holder = Holder(lab, ours)
    scenes.finish(ours, daemon)
    assert not os.path.isdir(GROUP), "down leaves the group"
    assert (how := holder.ask("held")) in ("ConnectionResetError", "ConnectionAbortedError", "BrokenPipeError"), how
    assert holder.end() == 0


@case("exec_direct_needs_nftables", timeout=60)
def test_exec_needs_nftables(lab):
    """Rules of iptables know no groups: said, and nothing is run."""
    private_groups(lab)
    _, ours, daemon = scenes.start(lab, "--firewall", "iptables-nft")
    not_run(ours.run("exec", "--direct", "--", "echo", "ran"), 125, "needs nftables")
    assert not os.path.isdir(GROUP)
    expect_way(both(lab, labs.WEB), VIA_PROXY)
    scenes.finish(ours, daemon)


@case("exec_direct_as_user", timeout=60)
def test_exec_direct_as_user(lab):
    """A daemon that is not root's cannot make the group: said, and nothing is run."""
    private_groups(lab)
    proxy, ours, daemon = scenes.start(lab, user="pvtest")
    not_run(ours.run("exec", "--direct", "--", "echo", "ran"), 125, "root has started")
    with lab.capture(proxies=proxy.endpoints):
        expect_way(both(lab, labs.WEB), VIA_PROXY)
    scenes.finish(ours, daemon)
