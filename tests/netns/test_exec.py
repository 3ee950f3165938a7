"""`proxyvpn exec --direct`: one command outside of the tunnel, everything else inside."""
import os

import kernel
import lab as labs
import scenes
import servers
from cases import Skip, case
from client import DIRECT, VIA_PROXY, both, expect_way, probe
from kernel import run
from lab import wait_until

CLONE_NEWCGROUP = 0x02000000
ROOT = "/sys/fs/cgroup"
GROUP = f"{ROOT}/proxyvpn-direct"

PROBE = r'''
import socket, sys
def tcp(address):
    with socket.create_connection((address, 7000), 10) as sock:
        return sock.recv(100).split()[0].decode()
def udp(address):
    sock = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM)
    sock.settimeout(5)
    sock.sendto(bytes.fromhex("123401000001000000000000") + b"\3web\4test\0" + bytes.fromhex("00010001"), (address, 53))
    return "answered" if sock.recv(500) else ""
for what in sys.argv[1:]:
    kind, _, address = what.partition("=")
    try:
        print(what, {"tcp": tcp, "udp": udp}[kind](address))
    except OSError as error:
        print(what, type(error).__name__)
'''


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


def _rmdir(path):
    try:
        os.rmdir(path)
        return True
    except OSError:
        return False


def direct(ours, *what, **options):
    """{probe: how it went} of one command outside of the tunnel."""
    done = ours.run("exec", "--direct", "--", "/usr/bin/python3", "-c", PROBE, *what, **options)
    assert done.returncode == 0, f"exec: {done.returncode} {done.stdout}{done.stderr}"
    return dict(line.rsplit(" ", 1) for line in done.stdout.splitlines())


@case("exec_direct", timeout=90)
def test_exec_direct(lab):
    """TCP, UDP and DNS of one command go direct, all others stay in; the group goes with down and after a crash."""
    private_groups(lab)
    servers.Dns(lab, addresses=labs.OTHER_DNS)
    proxy, ours, daemon = scenes.start(lab)
    expect_way(both(lab, labs.WEB), VIA_PROXY)
    seen = direct(ours, *(f"tcp={a}" for a in labs.WEB), *(f"udp={a}" for a in labs.OTHER_DNS))
    for address, own in zip(labs.WEB, labs.HOST):
        assert seen[f"tcp={address}"] == own, f"not direct: {seen}"
    for address in labs.OTHER_DNS:
        assert seen[f"udp={address}"] == "answered", f"UDP did not go direct: {seen}"
    # Everybody else, with the group in force: nothing but the proxy on the wire.
    with lab.capture(proxies=proxy.endpoints):
        expect_way(both(lab, labs.WEB), VIA_PROXY)
        done = lab.host.run(["/usr/bin/python3", "-c", PROBE, f"udp={labs.OTHER_DNS[0]}"])
        assert "answered" not in done.stdout, f"UDP of others goes direct: {done.stdout}"
    # The rules are made anew when the network changes, and the group stays in them.
    lab.host.ip("addr add 192.168.50.77/24 dev eth0")
    wait_until(lambda: direct(ours, f"tcp={labs.WEB[0]}")[f"tcp={labs.WEB[0]}"] == labs.HOST[0], 10, "still direct")

    done = ours.run("exec", "--direct", "--", "sh", "-c", "exit 9")
    assert done.returncode == 9, done.stderr
    assert ours.run("exec", "--direct", "--", "/nowhere").returncode == 127
    assert ours.run("exec", "--", "true").returncode == 2
    other = ours.run("exec", "--direct", "--", "echo", "ran", user="pvother")
    assert other.returncode == 125 and other.stdout == "", f"a stranger got out: {other.stdout}{other.stderr}"
    # Nobody but root can join the group.
    joined = run(["setpriv", "--reuid=64011", "--clear-groups", "sh", "-c", f"echo $$ >{GROUP}/cgroup.procs"], check=False)
    assert joined.returncode != 0, "an ordinary user joined the group"

    daemon.kill()
    ours.wait_gone()
    assert os.path.isdir(GROUP)
    ours.down()
    assert not os.path.isdir(GROUP), "down after a crash leaves the group"
    expect_way(probe(lab, labs.WEB[0]), DIRECT)

    # One that others may write to is not used.
    os.mkdir(GROUP)
    os.chown(f"{GROUP}/cgroup.procs", 64011, 64011)
    daemon = ours.up("--proxy-url", proxy.url())
    done = ours.run("exec", "--direct", "--", "true")
    assert done.returncode == 125 and "others than root" in done.stderr, f"{done.returncode} {done.stderr}"
    os.rmdir(GROUP)
    assert direct(ours, f"tcp={labs.WEB[0]}")[f"tcp={labs.WEB[0]}"] == labs.HOST[0]
    scenes.finish(ours, daemon)
    assert not os.path.isdir(GROUP), "down leaves the group"


@case("exec_direct_as_user", timeout=60)
def test_exec_direct_as_user(lab):
    """A daemon that is not root's cannot make the group: said, and nothing is run."""
    private_groups(lab)
    proxy, ours, daemon = scenes.start(lab, user="pvtest")
    done = ours.run("exec", "--direct", "--", "echo", "ran")
    assert done.returncode == 125 and done.stdout == "" and "root has started" in done.stderr, \
        f"{done.returncode} {done.stdout}{done.stderr}"
    with lab.capture(proxies=proxy.endpoints):
        expect_way(both(lab, labs.WEB), VIA_PROXY)
    scenes.finish(ours, daemon)
