"""Matrix rows 1 to 16 and 62: what leaves a machine whose tunnel is up."""
import socket
import struct
import time

import client
import lab as labs
import product
import sandbox
import scenes
import scripted_proxy as bad
import servers
from cases import case
from client import DIRECT, VIA_PROXY, both, expect_refused, expect_way, probe

BYPASS, CAPTURE = 0x20000000, 0x10000000
REFUSED = ("EPERM", "EACCES", "EHOSTUNREACH", "ENETUNREACH")      # what a refused sendto(2) gives


def refused_at_once(send, what):
    began = time.monotonic()
    outcome = send()
    assert outcome in REFUSED, f"{what}: {outcome}"
    assert time.monotonic() - began < 0.4, f"{what}: not at once"


@case("row_01_tcp_capture")
def test_row_01(lab):
    """TCP over IPv4 and IPv6 is proxied; nothing but the proxy's flows on the wire."""
    proxy, ours, daemon = scenes.start(lab)
    with lab.capture(proxies=proxy.endpoints) as wire:
        for port in (labs.HTTP, labs.WHO):
            expect_way(both(lab, labs.WEB, port), VIA_PROXY)
        wire.stop()
        assert wire.counts["proxy"] > 10, wire.counts
    assert proxy.targets() == ["203.0.113.80:80", "[2001:db8:113::80]:80", "203.0.113.80:7000", "[2001:db8:113::80]:7000"]
    scenes.finish(ours, daemon)
    expect_way(both(lab, labs.WEB), DIRECT)


def fastest_refusal(lab, address, attempts=30, answered=None):
    """Seconds until connect(2) had failed with ECONNREFUSED, in the best of the attempts: what else this
    machine does only adds. `answered()`: the moment from which to count, when it is not the call's."""
    seconds = []
    for _ in range(attempts):
        with lab.host.socket(socket.AF_INET6, socket.SOCK_STREAM) as sock:
            began = time.monotonic()
            outcome = client.name_of(sock.connect_ex((address, labs.WHO)))
            ended = time.monotonic()
        assert outcome == "ECONNREFUSED", outcome
        seconds.append(ended - (answered() if answered else began))
    return min(seconds)


@case("row_02_ipv6_with_an_ipv4_proxy")
def test_row_02(lab):
    """IPv6 is proxied when the proxy is reached over IPv4; refused within a millisecond without IPv6 on the TUN, or when the proxy has said that it has none."""
    answers = [0.0]

    def no_six(proxy, conn, request):
        if request.target.startswith("["):
            answers.append(time.monotonic())
            return bad.answer("503 Service Unavailable")(proxy, conn, request)
        return bad.relay(proxy, conn, request)
    proxy, ours, daemon = scenes.start(lab)
    with lab.capture(proxies=proxy.endpoints[:1]):
        expect_way(both(lab, labs.WEB), VIA_PROXY)
        proxy.script = no_six
        expect_refused(probe(lab, labs.WEB[1]), within=1, errors=("ECONNREFUSED",))
        took = fastest_refusal(lab, labs.WEB[1], answered=lambda: answers[-1])
        assert 0 < took < (0.005 if product.is_sanitized() else 0.001), f"refused {took * 1e3:.2f} ms after the proxy's answer"
        expect_way(probe(lab, labs.WEB[0]), VIA_PROXY)
    scenes.finish(ours, daemon)
    daemon = ours.up("--proxy-url", proxy.url(), "--tun-cidr6", "none")
    with lab.capture(proxies=proxy.endpoints[:1]):
        expect_refused(probe(lab, labs.WEB[1]), within=1, errors=("ECONNREFUSED",))
        took = fastest_refusal(lab, labs.WEB[1])
        assert took < 0.001, f"refused after {took * 1e3:.2f} ms"
        expect_way(probe(lab, labs.WEB[0]), VIA_PROXY)
    scenes.finish(ours, daemon)


@case("row_03_udp")
def test_row_03(lab):
    """UDP (QUIC) is refused at once, for root and for users."""
    proxy, ours, daemon = scenes.start(lab)
    with lab.capture(proxies=proxy.endpoints):
        for address in labs.WEB + labs.PROXY + labs.LAN:
            for uid in (None, sandbox.TEST_UID):
                refused_at_once(lambda a=address, u=uid: client.udp(lab, a, 443, uid=u), f"udp to {address}")
    scenes.finish(ours, daemon)


@case("row_04_icmp")
def test_row_04(lab):
    """Echo requests from raw sockets and ping sockets stay in."""
    lab.host.sysctl({"ipv4/ping_group_range": "0 2147483647"})
    proxy, ours, daemon = scenes.start(lab)
    with lab.capture(proxies=proxy.endpoints):
        for address in labs.WEB + labs.LAN:
            assert client.ping(lab, address) in REFUSED + ("SENT",), address
            family, protocol = (socket.AF_INET6, 58) if ":" in address else (socket.AF_INET, 1)
            with lab.host.socket(family, socket.SOCK_DGRAM, protocol) as sock:
                try:
                    sock.sendto(struct.pack("!BBHHH", 128 if protocol == 58 else 8, 0, 0, 0, 1) + b"x", (address, 0))
                except OSError:
                    pass
    scenes.finish(ours, daemon)


@case("row_06_multicast_and_broadcast")
def test_row_06(lab):
    """mDNS, SSDP and broadcasts are refused; IGMP is not on the wire."""
    proxy, ours, daemon = scenes.start(lab)
    with lab.capture(proxies=proxy.endpoints):
        for address, port in (("224.0.0.251", 5353), ("239.255.255.250", 1900), ("192.168.50.255", 9999), ("255.255.255.255", 9999)):
            refused_at_once(lambda a=address, p=port: client.udp(lab, a, p, broadcast=True), f"udp to {address}")
        with lab.host.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            member = socket.inet_aton("224.1.2.3") + socket.inet_aton("192.168.50.2")
            sock.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, member)
            time.sleep(0.05)
        with lab.host.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sock:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, 2)
            with lab.host:
                index = socket.if_nametoindex("eth0")
            try:
                sock.sendto(b"x", ("ff02::fb", 5353, 0, index))
                raise AssertionError("IPv6 multicast was sent")
            except OSError as error:
                assert client.name_of(error.errno) in REFUSED, error
        time.sleep(1.2)      # the kernel reports a membership within a second (IGMPv3, random delay)
    scenes.finish(ours, daemon)


@case("row_07_dns_allowed")
def test_row_07(lab):
    """Names through the resolvers of resolv.conf, UDP over IPv4 and IPv6."""
    proxy, ours, daemon = scenes.start(lab)
    with lab.capture(proxies=proxy.endpoints):
        for address in labs.DNS:
            for uid in (None, sandbox.TEST_UID):
                assert client.dns(lab, address, uid=uid, timeout=5) == "REPLY", address
    scenes.finish(ours, daemon)


@case("row_08_dns_to_another_resolver")
def test_row_08(lab):
    """Any other resolver is refused at once, on the internet, on the LAN, and at the proxy."""
    proxy, ours, daemon = scenes.start(lab)
    servers.Dns(lab, addresses=labs.OTHER_DNS)
    with lab.capture(proxies=proxy.endpoints):
        for address in labs.OTHER_DNS + labs.LAN + labs.ROUTER + labs.PROXY:
            refused_at_once(lambda a=address: client.dns(lab, a), f"dns to {address}")
    scenes.finish(ours, daemon)


def dns_over_tcp(lab, address):
    """The answer's length, over TCP."""
    query = servers.dns_query("example.test")
    with client.connect(lab, address, 53) as sock:
        sock.sendall(struct.pack("!H", len(query)) + query)
        return struct.unpack("!H", client.read_exactly(sock, 2))[0]


@case("row_09_dns_over_tcp")
def test_row_09(lab):
    """TCP port 53: direct to the allowed resolvers, through the proxy to any other."""
    proxy, ours, daemon = scenes.start(lab)
    others = servers.Dns(lab, addresses=labs.OTHER_DNS)
    with lab.capture(proxies=proxy.endpoints):
        for address in labs.DNS + labs.OTHER_DNS:
            assert dns_over_tcp(lab, address) > 20
    assert {peer for _, _, peer, _ in others.queries} == set(labs.PROXY)
    assert proxy.targets() == ["203.0.113.54:53", "[2001:db8:113::54]:53"]
    scenes.finish(ours, daemon)


@case("row_10_dns_and_allow_lan")
def test_row_10(lab):
    """--allow-lan opens the LAN, but DNS to a LAN host that is no allowed resolver stays refused."""
    servers.serve(lab, 8080, servers.who, namespace=lab.lan, addresses=labs.LAN)
    servers.serve(lab, 53, servers.who, namespace=lab.lan, addresses=labs.LAN)
    proxy, ours, daemon = scenes.start(lab, "--allow-lan")
    with lab.capture(proxies=proxy.endpoints, direct=("192.168.50.0/24", "fd50::/64")) as wire:
        expect_way(both(lab, labs.LAN, 8080), DIRECT)
        expect_way(both(lab, labs.WEB), VIA_PROXY)
        for address in labs.LAN:
            refused_at_once(lambda a=address: client.dns(lab, a), f"dns to {address}")
            result = probe(lab, address, 53, timeout=5)
            assert result.kind != DIRECT, f"tcp/53 to {address}: {result}"
        wire.stop()
        dns = [str(f) for f in wire.frames if f.dport == 53]
        assert not dns, f"DNS to the LAN: {dns}"
    scenes.finish(ours, daemon)
    daemon = ours.up("--proxy-url", proxy.url(), "--allow-lan", "--dns", labs.LAN[0])
    assert probe(lab, labs.LAN[0], 53).kind == DIRECT
    refused_at_once(lambda: client.dns(lab, labs.DNS[0]), "the resolver of resolv.conf after --dns")
    scenes.finish(ours, daemon)


@case("row_12_stub_resolver")
def test_row_12(lab):
    """Only a loopback stub and no upstream known: up warns, and names fail closed."""
    lab.set_resolvers(["127.0.0.53"])
    stub = lab.host.socket(socket.AF_INET, socket.SOCK_DGRAM)
    stub.bind(("127.0.0.53", 53))
    upstream = []

    def forward():
        while True:
            query, peer = stub.recvfrom(2048)
            upstream.append(client.udp(lab, labs.OTHER_DNS[0], 53, query))
            stub.sendto(query[:2] + b"\x81\x82" + query[4:], peer)
    sandbox.in_thread(forward)
    proxy, ours, daemon = scenes.start(lab)
    daemon.wait_log(r"(?i)(resolver|dns)")
    assert "--dns" in daemon.log() or "--allow-dns" in daemon.log(), f"up does not say what to pass:\n{daemon.log()}"
    with lab.capture(proxies=proxy.endpoints, dns=()):
        assert client.dns(lab, "127.0.0.53", timeout=5) == "REPLY"
    assert upstream and upstream[0] in REFUSED, upstream
    scenes.finish(ours, daemon)


def to_the_proxy(lab, proxy, address, **options):
    """An application speaks to the proxy's own address; what the proxy saw of it."""
    seen = len(proxy.requests)
    try:
        with client.connect(lab, address, proxy.port, **options) as sock:
            sock.sendall(b"SECRET payload of an application\r\n\r\n")
            sock.settimeout(2)
            try:
                sock.recv(100)
            except TimeoutError:
                pass
    except OSError:
        pass
    return proxy.requests[seen:]


@case("row_13_application_to_the_proxy")
def test_row_13(lab):
    """An application that connects to the proxy's address and port itself goes through the tunnel like any other."""
    proxy, ours, daemon = scenes.start(lab)
    with lab.capture(proxies=proxy.endpoints):
        for address in labs.PROXY:
            for uid in (None, sandbox.TEST_UID):
                requests = to_the_proxy(lab, proxy, address, uid=uid)
                assert requests and requests[0].method == "CONNECT", f"the application reached the proxy itself: {requests}"
    scenes.finish(ours, daemon)


@case("row_14_spoofed_mark")
def test_row_14(lab):
    """Our mark on another user's socket opens nothing: neither to the web nor to the proxy."""
    proxy, ours, daemon = scenes.start(lab)
    with lab.capture(proxies=proxy.endpoints):
        for mark in (BYPASS, BYPASS | 7, CAPTURE, 0x30000000):
            for address in labs.WEB:
                result = probe(lab, address, mark=mark, uid=sandbox.TEST_UID)
                assert result.kind != DIRECT, f"mark {mark:#x} to {address}: {result}"
        for address in labs.PROXY:
            requests = to_the_proxy(lab, proxy, address, mark=BYPASS, uid=sandbox.TEST_UID)
            assert all(request.method == "CONNECT" for request in requests), "the mark opened the proxy's address"
        for address in labs.WEB:
            refused_at_once(lambda a=address: _marked_udp(lab, a), "udp with our mark")
    scenes.finish(ours, daemon)


def _marked_udp(lab, address):
    with lab.host.socket(servers.family_of(address), socket.SOCK_DGRAM) as sock:
        sock.setsockopt(socket.SOL_SOCKET, 36, BYPASS)
        try:
            sock.sendto(b"x", (address, 443))
        except OSError as error:
            return client.name_of(error.errno)
    return "SENT"


@case("row_15_daemon_user_and_mark_to_elsewhere")
def test_row_15(lab):
    """Even the daemon's own user with the mark reaches nothing but the proxy's exact address and port."""
    proxy, ours, daemon = scenes.start(lab)        # the daemon's user is root here, and so are these sockets
    servers.serve(lab, 3129, servers.who, namespace=lab.proxy, addresses=labs.PROXY)
    with lab.capture(proxies=proxy.endpoints):
        for address in labs.WEB:
            result = probe(lab, address, mark=BYPASS)
            assert result.kind != DIRECT, f"{address}: {result}"
        for address in labs.PROXY:                 # another port of the proxy's address
            result = probe(lab, address, 3129, mark=BYPASS)
            assert result.kind != DIRECT, f"{address}: {result}"
    scenes.finish(ours, daemon)


@case("row_62_dhcp_and_neighbours")
def test_row_62(lab):
    """DHCP broadcasts and neighbour discovery go on; DHCP by unicast and by other ports does not."""
    proxy, ours, daemon = scenes.start(lab)
    with lab.capture(proxies=proxy.endpoints) as wire:
        assert client.udp(lab, "255.255.255.255", 67, broadcast=True, source=("0.0.0.0", 68)) == "SENT"
        lab.host.run(["ip", "neigh", "flush", "all"])
        lab.host.run(["ip", "-6", "neigh", "flush", "all"])
        for address in labs.DNS:         # needs the router's hardware address again
            assert client.dns(lab, address, timeout=5) == "REPLY"
        refused_at_once(lambda: client.udp(lab, labs.ROUTER[0], 67, source=("0.0.0.0", 68)), "unicast DHCP")
        refused_at_once(lambda: client.udp(lab, "255.255.255.255", 67, broadcast=True, source=("0.0.0.0", 6868)), "from another port")
        with lab.host:
            index = socket.if_nametoindex("eth0")
        with lab.host.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sock:
            sock.bind(("::", 546))
            sock.sendto(b"solicit", ("ff02::1:2", 547, 0, index))
        wire.stop()
        assert wire.counts["dhcp"] == 2 and wire.counts["arp"] and wire.counts["ndp"], wire.counts
    scenes.finish(ours, daemon)
