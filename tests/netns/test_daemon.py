"""What the daemon offers while it runs: counters, persistent killswitch, privileges of its processes."""
import array
import base64
import errno
import fcntl
import os
import re
import termios

import client
import lab as labs
import product
import sandbox
import scenes
import scripted_proxy as bad
import servers
import snapshot
from cases import case
from client import DIRECT, VIA_PROXY, both, expect_refused, expect_way
from test_rows_traffic import refused_at_once


def ask(lab, verb, uid=64010, gid=64010, groups="64012"):
    """What the control socket answers to an ordinary user of the install group."""
    code = ("import socket,sys\ns=socket.socket(socket.AF_UNIX)\ns.settimeout(10)\ns.connect('/run/proxyvpn/control')\n"
            f"s.sendall(b'{verb}\\n')\nwhile d:=s.recv(65536): sys.stdout.write(d.decode())")
    return lab.host.run(["setpriv", f"--reuid={uid}", f"--regid={gid}", f"--groups={groups}", "/usr/bin/python3", "-c", code]).stdout


def refused(lab):
    """{reason: packets} of the killswitch's counters."""
    return {reason: int(count) for reason, count in re.findall(r"refused-(\S+)\s+(\d+) packet", ask(lab, "counters"))}


@case("killswitch_counters")
def test_counters(lab):
    """Refused packets are counted by reason, and the user who may command reads them without root."""
    proxy, ours, daemon = scenes.start(lab, user="pvtest")
    before = refused(lab)
    assert before, ask(lab, "counters")
    for _ in range(5):
        for address in labs.WEB:
            refused_at_once(lambda a=address: client.udp(lab, a, 443), "udp")
            client.ping(lab, address, timeout=0.01)
        for address in labs.OTHER_DNS:
            refused_at_once(lambda a=address: client.dns(lab, a), "dns")
    after = refused(lab)
    for reason in ("udp", "dns", "icmp"):
        assert after[reason] - before[reason] >= 10, f"{reason}: {before} -> {after}"
    assert "Up" in ask(lab, "status") and "u:p" not in ask(lab, "status")
    assert proxy
    scenes.finish(ours, daemon)


@case("persist_killswitch_and_unlock")
def test_persist(lab):
    """--persist-killswitch stays shut after down; unlock opens; nothing is left."""
    servers.who_servers(lab)
    proxy, ours = bad.ScriptedProxy(lab), product.Product(lab)
    before = snapshot.take(lab)
    daemon = ours.up("--proxy-url", proxy.url(), "--persist-killswitch")
    expect_way(both(lab, labs.WEB), VIA_PROXY)
    scenes.finish(ours, daemon)
    with lab.capture(proxies=proxy.endpoints, dns=()):
        expect_refused(both(lab, labs.WEB))
        for address in labs.WEB:
            refused_at_once(lambda a=address: client.udp(lab, a, 443), "udp while locked")
        ours.down()                      # down with nothing running does not unlock
        expect_refused(both(lab, labs.WEB))
        daemon = ours.up("--proxy-url", proxy.url())
        expect_way(both(lab, labs.WEB), VIA_PROXY)
    scenes.finish(ours, daemon)
    done = ours.run("unlock")
    assert done.returncode == 0, done.stderr
    snapshot.assert_same(before, snapshot.take(lab), "unlock")
    expect_way(both(lab, labs.WEB), DIRECT)


def session_from_outside(lab, address, port=2222):
    """A client on the LAN with a session to a service of the host, which says who it sees and then echoes."""
    sock = client.connect(lab, address, port, namespace=lab.lan, timeout=5)
    assert servers.read_line(sock), "no greeting"
    answers(sock)
    return sock


def answers(sock):
    sock.sendall(b"are you there\n")
    assert client.read_exactly(sock, 14) == b"are you there\n"


@case("persist_keeps_what_the_run_allowed")
def test_persist_keeps(lab):
    """Shut after `down`: resolvers, --exclude, --exempt-user and inbound sessions work as in the run; the proxy is nobody's."""
    excluded = ("203.0.113.81/32", "2001:db8:113::81/128")
    servers.serve(lab, 2222, servers.who, namespace=lab.host, addresses=labs.HOST)
    servers.serve(lab, labs.WHO, servers.who, addresses=labs.CLOSED)
    before = snapshot.take(lab)
    proxy, ours, daemon = scenes.start(lab, "--persist-killswitch", "--exempt-user", "pvother", "--exclude", excluded[0], "--exclude", excluded[1])
    sessions = [session_from_outside(lab, address) for address in labs.HOST]
    scenes.finish(ours, daemon)
    # What the exempt user may reach is everything: it asks for one address that is nobody else's.
    with lab.capture(proxies=(), direct=(*excluded, "203.0.113.54/32", "2001:db8:113::54/128"), inbound=(2222,)):
        expect_refused(both(lab, labs.WEB), what="an ordinary connection")
        for address, exempt in zip(labs.PROXY, labs.OTHER_DNS):
            expect_refused([client.probe(lab, address, port=proxy.endpoints[0][1])], what="the proxy itself")
            expect_refused([client.probe(lab, exempt)], what="the exempt user's address, asked by somebody else")
        expect_way(both(lab, labs.CLOSED), DIRECT, "an excluded network")
        for address in labs.DNS:
            assert client.dns(lab, address, timeout=5) == "REPLY", f"allowed resolver {address}"
        for address in labs.WEB:
            refused_at_once(lambda a=address: client.dns(lab, a), "another resolver")
        servers.serve(lab, labs.WHO, servers.who, addresses=labs.OTHER_DNS)
        expect_way(both(lab, labs.OTHER_DNS, uid=sandbox.OTHER_UID), DIRECT, "the exempt user")
        for sock in sessions:
            answers(sock)
        for address in labs.HOST:
            session_from_outside(lab, address).close()
    ours.run("unlock")
    for sock in sessions:
        answers(sock)
        sock.close()
    snapshot.assert_same(before, snapshot.take(lab), "unlock")


@case("lock_without_a_run")
def test_lock(lab):
    """`lock` alone: nothing leaves but answers to who came in, before or after; own connections are cut at once; `unlock` opens."""
    servers.who_servers(lab)
    servers.Dns(lab, names=scenes.NAMES)
    servers.serve(lab, 2222, servers.who, namespace=lab.host, addresses=labs.HOST)
    ours, before = product.Product(lab), snapshot.take(lab)
    sessions = [session_from_outside(lab, address) for address in labs.HOST]
    servers.serve(lab, labs.SINK, servers.sink)
    own = [client.connect(lab, address, labs.SINK) for address in labs.WEB]
    done = ours.run("lock")
    assert done.returncode == 0, done.stderr
    with lab.capture(dns=(), inbound=(2222,)):
        for sock in own:
            sock.settimeout(2)
            try:
                assert not sock.recv(100), "a connection of this machine goes on"
            except OSError as error:             # without a byte sent: the socket was destroyed
                assert error.errno in (errno.ECONNABORTED, errno.ECONNRESET), f"a connection of this machine: {error!r}"
        for sock in sessions:
            answers(sock)
        expect_refused(both(lab, labs.WEB))
        for address in (*labs.WEB, *labs.DNS):
            refused_at_once(lambda a=address: client.udp(lab, a, 443), "udp while locked")
            refused_at_once(lambda a=address: client.dns(lab, a), "dns while locked")
        for address in labs.HOST:
            session_from_outside(lab, address).close()
    for sock in (*sessions, *own):
        sock.close()
    assert ours.run("unlock").returncode == 0
    snapshot.assert_same(before, snapshot.take(lab), "unlock after lock")
    expect_way(both(lab, labs.WEB), DIRECT)


def status_of(pid):
    with open(f"/proc/{pid}/status", encoding="ascii", errors="replace") as file:
        return dict(line.rstrip("\n").split(":\t", 1) for line in file if ":\t" in line)


@case("privileges_of_processes")
def test_privileges(lab):
    """Only the supervisor may have CAP_NET_ADMIN, not effective while it waits; workers have nothing and can gain nothing."""
    servers.who_servers(lab)
    proxy = bad.ScriptedProxy(lab)
    for user in (None, "pvtest"):
        ours = product.Product(lab, user=user)
        daemon = ours.up("--proxy-url", proxy.url())
        expect_way(both(lab, labs.WEB), VIA_PROXY)
        supervisor = status_of(daemon.pid)
        assert int(supervisor["CapEff"], 16) == 0, f"the supervisor waits with capabilities {supervisor['CapEff']}"
        # Root's one also: KILL, SETGID, SETUID, SETPCAP, to make its workers another user's and end them, and
        # DAC_OVERRIDE for the group of exec --direct.
        allowed = 1 << 12 if user else 1 << 12 | 0x1e2
        assert int(supervisor["CapPrm"], 16) & ~allowed == 0, f"the supervisor keeps {supervisor['CapPrm']}"
        children = [pid for pid, parent in ours.pids().items() if parent == daemon.pid]
        assert children
        for pid in children:
            status = status_of(pid)
            for name in ("CapPrm", "CapEff", "CapInh", "CapAmb"):
                assert int(status[name], 16) == 0, f"process {pid} has {name} {status[name]}"
            assert status["NoNewPrivs"] == "1", f"process {pid} may gain privileges"
        for pid in ours.workers(daemon.pid):
            if not product.is_sanitized():
                assert status_of(pid)["Seccomp"] == "2", "a worker without a seccomp filter"
            links = product.descriptors(pid)
            assert any(link.endswith("/net/tun") for link in links), links
            own = ("/memfd", "socket:", "anon_inode:", "pipe:", "/dev/n", daemon.log_path)
            foreign = [x for x in links if not x.startswith(own)]
            assert not foreign, f"a worker holds {foreign}"
        scenes.finish(ours, daemon)


@case("excluded_networks")
def test_exclude(lab):
    """--exclude goes direct, TCP and UDP, but DNS there stays refused; everything else is proxied."""
    proxy, ours, daemon = scenes.start(lab, "--exclude", "203.0.113.80/32", "--exclude", "2001:db8:113::80/128")
    servers.serve(lab, labs.WHO, servers.who, addresses=labs.CLOSED)
    with lab.capture(proxies=proxy.endpoints, direct=("203.0.113.80/32", "2001:db8:113::80/128")):
        expect_way(both(lab, labs.WEB), DIRECT)
        expect_way(both(lab, labs.CLOSED), VIA_PROXY)
        for address in labs.WEB:
            assert client.udp(lab, address, 443) == "ECONNREFUSED"
            refused_at_once(lambda a=address: client.dns(lab, a), "dns to an excluded network")
    scenes.finish(ours, daemon)


@case("logs_nobody_reads")
def test_logs(lab):
    """--verbose into a pipe that is full and never read: connections flow, `down` ends it."""
    proxy, ours = bad.ScriptedProxy(lab), product.Product(lab)
    servers.who_servers(lab)
    reader, writer = os.pipe()
    fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 4096)
    daemon = ours.start("--proxy-url", proxy.url(), "--verbose", output=writer)
    daemon.wait_ready()
    for _ in range(60):
        expect_way(both(lab, labs.WEB), VIA_PROXY)
    waiting = array.array("i", [0])
    fcntl.ioctl(reader, termios.FIONREAD, waiting)
    assert waiting[0] > 3500, f"the pipe is not full: {waiting[0]} bytes"
    expect_way(both(lab, labs.WEB), VIA_PROXY)
    scenes.finish(ours, daemon)
    os.close(writer)
    os.close(reader)


@case("separate_arguments")
def test_separate_arguments(lab):
    """--proxy-host, -port, --username, --password-file, --tun-name, --tun-cidr in place of the URL; --proxy-ip, repeated, looks no name up."""
    proxy, dns = bad.ScriptedProxy(lab), servers.Dns(lab)
    servers.who_servers(lab)
    ours = product.Product(lab)
    with open("/run/lab/secret", "w", encoding="utf-8") as file:
        file.write("gehörtdazu: %41@/\n")
    os.chmod("/run/lab/secret", 0o600)
    daemon = ours.up("--proxy-host", "proxy.example.com", "--proxy-port", "3128", "--username", "alice", "--password-file", "/run/lab/secret",
                     "--tun-name", "corp0", "--tun-cidr", "10.77.0.1/24", "--proxy-ip", labs.CLOSED[0], "--proxy-ip", labs.PROXY[1])
    addresses = lab.host.run(["ip", "-br", "address", "show", "dev", "corp0"]).stdout
    assert "10.77.0.1/24" in addresses, addresses
    with lab.capture(proxies=[(labs.CLOSED[0], 3128), (labs.PROXY[1], 3128)], dns=()):
        expect_way(both(lab, labs.WEB), VIA_PROXY)
    assert not dns.queries, dns.queries
    wanted = "Basic " + base64.b64encode("alice:gehörtdazu: %41@/".encode()).decode()
    assert {r.headers.get("proxy-authorization") for r in proxy.requests} == {wanted}, proxy.requests
    assert "warning" not in daemon.log(), daemon.log()
    scenes.finish(ours, daemon)
    for url, header in (("http://alice:@203.0.113.10:3128", "alice:"), ("http://al%40ice:p%3Aw%2F%25@[2001:db8:113::10]:3128/", "al@ice:p:w/%")):
        daemon = ours.up("--proxy-url", url)
        expect_way(both(lab, labs.WEB), VIA_PROXY)
        assert proxy.requests[-1].headers["proxy-authorization"] == "Basic " + base64.b64encode(header.encode()).decode(), url
        scenes.finish(ours, daemon)


@case("stub_with_known_upstreams")
def test_stub(lab):
    """Behind a loopback stub the resolvers are those of systemd-resolved's own file, IPv4 and IPv6; --allow-dns adds, --dns replaces."""
    proxy, ours = bad.ScriptedProxy(lab), product.Product(lab)
    servers.who_servers(lab)
    servers.Dns(lab)
    servers.Dns(lab, addresses=labs.OTHER_DNS)
    lab.set_resolvers(["127.0.0.53"])
    os.makedirs("/run/systemd/resolve")
    with open("/run/systemd/resolve/resolv.conf", "w", encoding="ascii") as file:
        file.write("".join(f"nameserver {address}\n" for address in labs.DNS))
    for options, allowed, refused_ones in (((), labs.DNS, labs.OTHER_DNS), (("--allow-dns", labs.OTHER_DNS[0]), labs.OTHER_DNS[:1], labs.OTHER_DNS[1:]),
                                           (("--dns", labs.OTHER_DNS[0], "--dns", labs.OTHER_DNS[1]), labs.OTHER_DNS, labs.DNS)):
        daemon = ours.up("--proxy-url", proxy.url(), *options)
        for address in allowed:
            assert address in daemon.log() and client.dns(lab, address, timeout=5) == "REPLY", f"{options}: {address}"
        for address in refused_ones:
            refused_at_once(lambda a=address: client.dns(lab, a), f"{options}: dns to {address}")
        scenes.finish(ours, daemon)
