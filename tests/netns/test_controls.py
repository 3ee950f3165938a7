"""Positive controls: the oracles see what they must see, without the product."""
import socket
import time

import client
import lab as labs
import servers
from cases import case
from client import DIRECT, both, expect_way, probe


@case("row_00_oracle_control", product=False)
def test_oracle_control(lab):
    """Down state: TCP, UDP and ICMP probes over IPv4 and IPv6 are all visible on the wire."""
    servers.who_servers(lab)
    servers.Dns(lab)
    with lab.capture(dns=()) as wire:
        expect_way(both(lab, labs.WEB), DIRECT)
        for address in labs.WEB:
            assert client.udp(lab, address, 443) == "ECONNREFUSED"
            assert client.ping(lab, address) == "REPLY"
        for address in labs.DNS:
            assert client.dns(lab, address) == "REPLY"
        wire.stop()
        seen = {(f.kind, f.target, f.dport) for f in wire.leaks}
        for address, icmp in zip(labs.WEB, ("icmp", "icmp6")):
            for expected in (("tcp", address, labs.WHO), ("udp", address, 443), (icmp, address, 0)):
                assert expected in seen, f"{expected} was not seen on the wire; seen: {seen}"
        for address in labs.DNS:
            assert ("udp", address, 53) in seen
        wire.leaks.clear()


@case("control_wire_allows", product=False)
def test_wire_allows(lab):
    """The allow-list lets through what it names and nothing beside it."""
    servers.Dns(lab)
    servers.serve(lab, 3128, servers.sink, namespace=lab.proxy, addresses=labs.PROXY)
    proxies = [(address, 3128) for address in labs.PROXY]
    with lab.capture(proxies=proxies):
        for address in labs.DNS:
            assert client.dns(lab, address) == "REPLY"
        for address in labs.PROXY:
            with client.connect(lab, address, 3128) as sock:
                sock.sendall(b"CONNECT 203.0.113.80:80 HTTP/1.1\r\n\r\n")
    with lab.capture(proxies=proxies) as wire:
        with client.connect(lab, labs.PROXY[0], 3128) as sock:
            sock.sendall(b"SECRET, not a CONNECT")
        wire.stop()
        assert wire.leaks and b"SECRET" in wire.leaks[0].payload
        wire.leaks.clear()
    with lab.capture(proxies=proxies) as wire:
        assert client.dns(lab, labs.OTHER_DNS[0]) in ("ECONNREFUSED", "SENT")
        wire.stop()
        assert [f.target for f in wire.leaks] == [labs.OTHER_DNS[0]]
        wire.leaks.clear()


@case("control_targets", product=False)
def test_targets(lab):
    """Refused, unreachable, prohibited and filtered targets are what they claim, directly."""
    for address in labs.CLOSED:
        assert probe(lab, address, 9).error == "ECONNREFUSED"
    for address in labs.UNREACHABLE + labs.PROHIBITED:
        result = probe(lab, address, 9)
        assert result.error in ("EHOSTUNREACH", "ENETUNREACH", "EACCES"), result
    for address in labs.FILTERED:
        assert probe(lab, address, 9, timeout=0.3).error == "TIMEOUT"


@case("control_second_uplink_and_container", product=False)
def test_second_uplink_and_container(lab):
    """Both extra paths carry packets and are seen; macvlan and AF_PACKET senders too."""
    servers.who_servers(lab)
    lab.add_uplink()
    lab.add_container()
    with lab.capture(dns=()) as wire:
        result = [probe(lab, address, namespace=lab.container) for address in labs.WEB]
        expect_way(result, DIRECT)
        lab.host.ip("route add 203.0.113.80/32 via 192.168.60.1", "-6 route add 2001:db8:113::80/128 via fd60::1")
        expect_way(both(lab, labs.WEB), DIRECT)
        wire.stop()
        sources = {f.source for f in wire.leaks}
        assert set(labs.CONTAINER + labs.HOST2) <= sources, sources
        wire.leaks.clear()


@case("control_half_close", product=False)
def test_half_close_control(lab):
    """The half-close servers do what the tests of the product rely on."""
    sinks = servers.serve(lab, labs.SINK, servers.sink)
    with client.connect(lab, labs.WEB[0], labs.SINK) as sock:
        sock.sendall(b"x" * 100_000)
        sock.shutdown(socket.SHUT_WR)
        digest, total = servers.read_line(sock).split()
    assert int(total) == 100_000 and sinks.wait(ended=True)[0].result == digest.decode()
    sources, began = servers.serve(lab, labs.SOURCE, servers.source), time.monotonic()
    with client.connect(lab, labs.WEB[1], labs.SOURCE) as sock:      # the other way round: the server's FIN first
        sock.sendall(b"1000\n")
        assert servers.read_all(sock)[0] == 1000
        sock.sendall(b"still heard")
    assert sources.wait(ended=True)[0].result[0] == len(b"still heard")
    assert time.monotonic() - began < 5
