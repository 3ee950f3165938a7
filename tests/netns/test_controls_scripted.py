"""Positive controls of the scripted proxy, the snapshot and the sandbox itself."""
import errno
import os
import socket
import sys
import time

import client
import lab as labs
import scripted_proxy
import servers
import snapshot
from cases import case


def tunnel(lab, proxy, target, port):
    """CONNECT by hand from the host."""
    sock = client.connect(lab, labs.PROXY[0], proxy.port)
    name = f"[{target}]" if ":" in target else target
    sock.sendall(f"CONNECT {name}:{port} HTTP/1.1\r\nHost: {name}:{port}\r\n\r\n".encode())
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        head += sock.recv(1)
    return sock, head


@case("control_scripted_proxy", product=False)
def test_scripted_proxy(lab):
    """It relays with half-close both ways, passes RST on and gives the statuses of dead targets."""
    sinks = servers.serve(lab, labs.SINK, servers.sink)
    sources = servers.serve(lab, labs.SOURCE, servers.source)
    resets = servers.serve(lab, 7003, lambda conn, _: (conn.recv(1), servers.reset(conn)))
    proxy = scripted_proxy.ScriptedProxy(lab)
    for address in labs.WEB:
        sock, head = tunnel(lab, proxy, address, labs.SINK)
        assert b" 200 " in head
        sock.sendall(b"y" * 5_000_000)
        sock.shutdown(socket.SHUT_WR)
        assert int(servers.read_line(sock).split()[1]) == 5_000_000
        sock, _ = tunnel(lab, proxy, address, labs.SOURCE)
        sock.sendall(b"3000000\n")
        assert servers.read_all(sock)[0] == 3_000_000
        sock.sendall(b"z" * 1_000_000)
        sock.close()
    assert [s.result[0] for s in sources.wait(2, ended=True)] == [1_000_000] * 2
    assert len(sinks.wait(2, ended=True)) == 2
    sock, _ = tunnel(lab, proxy, labs.WEB[0], 7003)
    sock.sendall(b"x")
    try:
        assert sock.recv(1) == b"", "no RST came"
        raise AssertionError("FIN instead of RST")
    except ConnectionResetError:
        pass
    assert resets.sessions
    for address, status in ((labs.CLOSED[0], b" 502 "), (labs.UNREACHABLE[0], b" 503 ")):
        assert status in tunnel(lab, proxy, address, 9)[1]


@case("control_snapshot", product=False)
def test_snapshot(lab):
    """Two snapshots of a quiet host are equal, and each kind of change is seen."""
    before = snapshot.take(lab)
    snapshot.assert_same(before, snapshot.take(lab), "quiet")
    changes = (("ip", "rule", "add", "pref", "77", "fwmark", "9", "lookup", "77"), ("ip", "-6", "route", "add", "unreachable", "2001:db8:9::/48"),
               ("ip", "tuntap", "add", "dev", "tun9", "mode", "tun"), ("nft", "add", "table", "inet", "x"),
               ("sysctl", "-qw", "net.ipv4.conf.eth0.rp_filter=1"), ("ip", "link", "set", "eth0", "mtu", "1400"),
               ("iptables-legacy", "-N", "PROXYVPN"))
    for change in changes:
        lab.host.run(change)
        after = snapshot.take(lab)
        assert snapshot.difference(before, after), f"not seen: {' '.join(change)}"
        before = after


@case("control_sandbox", product=False)
def test_sandbox(lab):
    """The sandbox has its own processes, /etc and TUN node, and an ordinary user may not use the machine's."""
    assert os.stat("/dev/net/tun").st_mode & 0o777 == 0o666
    assert len([p for p in os.listdir("/proc") if p.isdigit()]) < 20
    began = time.monotonic()
    done = lab.host.run(["setpriv", "--reuid=64010", "--regid=64010", "--clear-groups", sys.executable, "-c",
                         "import os; os.open('/dev/net/tun', os.O_RDWR); print('open')"])
    assert done.stdout == "open\n" and time.monotonic() - began < 20
    with lab.host.socket(uid=64010) as sock:
        assert sock.connect_ex((labs.CLOSED[0], 1)) == errno.ECONNREFUSED
