"""Matrix rows 17 to 30, 53, 54 and 69: routes, devices, containers, the LAN."""
import socket
import struct
import time

import client
import lab as labs
import sandbox
import scenes
import scripted_proxy as bad
import servers
from cases import case
from client import DIRECT, VIA_PROXY, both, expect_refused, expect_way, probe

TUN_ADDRESS, TUN_ADDRESS6 = "10.255.255.1", "fd70:7278:7976::1"


@case("row_17_tunnelvision")
def test_row_17(lab):
    """Routes pushed by DHCP (option 121) or RA neither divert nor stop traffic."""
    proxy, ours, daemon = scenes.start(lab)
    lab.lan.sysctl({"ipv4/ip_forward": 1, "ipv6/conf/all/forwarding": 1})
    pushed = [f"route add {prefix} via {via}" for prefix, via in (
        ("203.0.113.64/26", labs.LAN[0]), ("203.0.113.80/32", labs.ROUTER[0]), ("0.0.0.0/1", labs.LAN[0]), ("128.0.0.0/1", labs.LAN[0]))]
    pushed += [f"-6 route add {prefix} via {via}" for prefix, via in (
        ("2001:db8:113::80/128", labs.LAN[1]), ("2000::/3", labs.LAN[1]))]
    with lab.capture(proxies=proxy.endpoints):
        lab.host.ip(*pushed)
        expect_way(both(lab, labs.WEB), VIA_PROXY)
    with lab.capture(proxies=proxy.endpoints):
        lab.host.ip("route add 203.0.113.128/25 dev eth0", "-6 route add 2001:db8:113:8000::/65 dev eth0")
        expect_way(both(lab, labs.WEB), VIA_PROXY)
    scenes.finish(ours, daemon)


@case("row_20_proxy_name_rebound")
def test_row_20(lab):
    """A resolver that calls the web server "the proxy" gains nothing: the application's connections to it stay proxied."""
    web = servers.serve(lab, 80, servers.who)
    names = {"proxy.test": labs.WEB}
    servers.Dns(lab, names=names)
    ours = scenes.product.Product(lab)
    daemon = ours.up("--proxy-url", "http://proxy.test:80", "--connect-timeout", "2")
    rebound = [(address, 80) for address in labs.WEB]
    with lab.capture(proxies=rebound):
        for result in both(lab, labs.WEB, 80):
            assert result.kind == "ERROR", f"reached the web server: {result}"
        real = bad.ScriptedProxy(lab, port=80)
        names["proxy.test"] = labs.PROXY                   # the right answer comes later
        daemon_way = [(address, 80) for address in labs.PROXY]
    with lab.capture(proxies=rebound + daemon_way):
        labs.wait_until(lambda: probe(lab, labs.WEB[0], 80, timeout=5).kind == VIA_PROXY, 40, "the new address is used", step=0.2)
        expect_way(both(lab, labs.WEB, 80), VIA_PROXY)
    assert real.requests and web.sessions
    scenes.finish(ours, daemon)


@case("row_21_bind_to_device")
def test_row_21(lab):
    """SO_BINDTODEVICE, open to every user, finds no way out: TCP and UDP, IPv4 and IPv6, both uplinks."""
    lab.add_uplink()
    lab.host.ip("route add default via 192.168.60.1 metric 5000", "-6 route add default via fd60::1 metric 5000")
    servers.who_servers(lab)
    for device in ("eth0", "eth1"):      # control: without the product both reach the web
        expect_way([probe(lab, address, device=device) for address in labs.WEB], DIRECT)
    proxy = bad.ScriptedProxy(lab)
    ours = scenes.product.Product(lab)
    daemon = ours.up("--proxy-url", proxy.url())
    with lab.capture(proxies=proxy.endpoints):
        for device in ("eth0", "eth1"):
            for address in labs.WEB:
                for uid in (None, sandbox.TEST_UID):
                    result = probe(lab, address, device=device, uid=uid, timeout=0.7)
                    assert result.kind != DIRECT, f"{device} {address}: {result}"
                    assert client.udp(lab, address, 443, device=device, uid=uid) not in ("SENT", "REPLY")
        for source in ("192.168.50.2", "192.168.60.2"):        # bound addresses are no way around either
            assert probe(lab, labs.WEB[0], source=(source, 0)).kind == VIA_PROXY
    scenes.finish(ours, daemon)


@case("row_23_second_uplink")
def test_row_23(lab):
    """A better default route over another uplink while up: applications stay proxied, the daemon follows main."""
    proxy, ours, daemon = scenes.start(lab)
    lab.add_uplink()
    with lab.capture(proxies=proxy.endpoints):
        expect_way(both(lab, labs.WEB), VIA_PROXY)
        lab.host.ip("route add 203.0.113.0/24 via 192.168.60.1", "-6 route add 2001:db8:113::/64 via fd60::1")
        labs.wait_until(lambda: all(r.kind == VIA_PROXY for r in both(lab, labs.WEB, timeout=3)), 20, "proxied over the new uplink")
        assert proxy.requests[-1].peer[0] in labs.HOST2, proxy.requests[-1].peer
    scenes.finish(ours, daemon)


def container_probe(lab, address, port=labs.WHO, **options):
    return probe(lab, address, port, namespace=lab.container, **options)


@case("row_24_container_tcp")
def test_row_24(lab):
    """A container's TCP is proxied, IPv4 and IPv6, routed and with masquerading, also with strict rp_filter."""
    lab.host.sysctl({"ipv4/conf/all/rp_filter": 1, "ipv4/conf/default/rp_filter": 1})
    lab.add_container()
    proxy, ours, daemon = scenes.start(lab)
    with lab.capture(proxies=proxy.endpoints):
        expect_way([container_probe(lab, address) for address in labs.WEB], VIA_PROXY)
        expect_way(both(lab, labs.WEB), VIA_PROXY)
    lab.masquerade()
    with lab.capture(proxies=proxy.endpoints):
        expect_way([container_probe(lab, address) for address in labs.WEB], VIA_PROXY)
        for address in labs.CLOSED:
            expect_refused(container_probe(lab, address, 99), errors=("ECONNREFUSED",))
    scenes.finish(ours, daemon)


@case("row_25_container_udp_and_dns")
def test_row_25(lab):
    """A container's UDP is refused; DNS goes to the allowed resolvers only."""
    lab.add_container()
    proxy, ours, daemon = scenes.start(lab)
    servers.Dns(lab, addresses=labs.OTHER_DNS)
    with lab.capture(proxies=proxy.endpoints):
        for address in labs.WEB + labs.OTHER_DNS:
            port = 443 if address in labs.WEB else 53
            outcome = client.udp(lab, address, port, servers.dns_query("x.test"), namespace=lab.container)
            assert outcome not in ("SENT", "REPLY"), f"{address}: {outcome}"
            assert client.ping(lab, address, namespace=lab.container, timeout=0.2) != "REPLY"
        for address in labs.DNS:
            assert client.dns(lab, address, namespace=lab.container, timeout=5) == "REPLY", address
    scenes.finish(ours, daemon)


@case("row_11_forged_dns_reply")
def test_row_11(lab):
    """Unsolicited "answers" from port 53 do not come in to a container, not even from an allowed resolver."""
    lab.add_container()
    proxy, ours, daemon = scenes.start(lab)
    for family, address, resolvers in ((socket.AF_INET, labs.CONTAINER[0], (labs.DNS[0], labs.OTHER_DNS[0])),
                                       (socket.AF_INET6, labs.CONTAINER[1], (labs.DNS[1], labs.OTHER_DNS[1]))):
        with lab.container.socket(family, socket.SOCK_DGRAM) as victim:
            victim.bind((address, 5555))
            victim.settimeout(0.4)
            for resolver in resolvers:
                _send_from_53(lab, family, resolver, address)
                try:
                    data = victim.recv(100)
                    raise AssertionError(f"a forged answer from {resolver} came in: {data!r}")
                except TimeoutError:
                    pass
    for address in labs.DNS:                                             # while asked answers do
        assert client.dns(lab, address, namespace=lab.container, timeout=5) == "REPLY"
    assert proxy
    scenes.finish(ours, daemon)


def _send_from_53(lab, family, source, target):
    """A UDP datagram from source:53 over a raw socket (a server has the port)."""
    data = struct.pack("!HHHH", 53, 5555, 8 + 6, 0) + b"forged"
    with lab.net.socket(family, socket.SOCK_RAW, socket.IPPROTO_UDP) as raw:
        if family == socket.AF_INET6:
            raw.setsockopt(socket.IPPROTO_IPV6, 7, 6)                    # IPV6_CHECKSUM: the kernel fills it in
        raw.bind((source, 0))
        raw.sendto(data, (target, 0))


@case("row_27_published_port")
def test_row_27(lab):
    """A published container port, and the host's own way to the container, stay direct."""
    lab.add_container()
    servers.serve(lab, 80, servers.who, namespace=lab.container, addresses=labs.CONTAINER)
    lab.host.run(["nft", "-f", "-"], input="""
        table ip publish {
          chain pre { type nat hook prerouting priority dstnat; iifname "eth0" tcp dport 8080 dnat to 172.30.0.2:80; }
        }""")
    assert client.read_exactly(client.connect(lab, labs.HOST[0], 8080, namespace=lab.lan), 12) == b"192.168.50.3"
    proxy, ours, daemon = scenes.start(lab)
    with lab.capture(proxies=proxy.endpoints, inbound=(8080,)):
        with client.connect(lab, labs.HOST[0], 8080, namespace=lab.lan) as sock:
            assert servers.read_line(sock).startswith(b"192.168.50.3")
            sock.sendall(b"x" * 100_000)
            assert len(client.read_exactly(sock, 100_000)) == 100_000
        for address in labs.CONTAINER:
            with client.connect(lab, address, 80) as sock:
                assert servers.read_line(sock).split()[0].decode() in ("172.30.0.1", "fd30::1")
    scenes.finish(ours, daemon)


@case("row_28_macvlan")
def test_row_28(lab):
    """A macvlan guest is outside inet hooks: said at start where its device can be seen; --egress-guard stops it."""
    servers.who_servers(lab)
    guest = labs.kernel.NetNs("pvm")
    guest.sysctl(labs.COMMON_SYSCTLS)
    lab.host.ip("link add mv0 link eth0 netns pvm type macvlan mode private")
    guest.ip("link set mv0 up", "addr add 192.168.50.66/24 dev mv0", "addr add fd50::66/64 dev mv0 nodad",
             "route add default via 192.168.50.1", "-6 route add default via fd50::1")
    proxy = bad.ScriptedProxy(lab)
    ours = scenes.product.Product(lab)
    lab.host.ip("link add mv1 link eth0 type macvlan mode private")
    said = ours.run("up", "--dry-run", "--proxy-url", proxy.url()).stderr
    assert "warning: guests on mv1 send around this machine's packet filter" in said and "--egress-guard" in said, said
    lab.host.ip("link del mv1")
    seen = [probe(lab, address, namespace=guest, direct_sources=("192.168.50.66", "fd50::66")) for address in labs.WEB]
    expect_way(seen, DIRECT, "control")
    daemon = ours.up("--proxy-url", proxy.url())
    with lab.capture(proxies=proxy.endpoints) as wire:
        expect_way([probe(lab, a, namespace=guest, direct_sources=("192.168.50.66", "fd50::66")) for a in labs.WEB], DIRECT, "documented limit")
        wire.stop()
        assert {f.source for f in wire.leaks} <= {"192.168.50.66", "fd50::66"}, wire.lines()
        wire.leaks.clear()
    scenes.finish(ours, daemon)
    daemon = ours.up("--proxy-url", proxy.url(), "--egress-guard")
    with lab.capture(proxies=proxy.endpoints):
        for address in labs.WEB:
            assert probe(lab, address, namespace=guest, timeout=1).kind == "ERROR"
        expect_way(both(lab, labs.WEB), VIA_PROXY)
    scenes.finish(ours, daemon)


@case("row_63_packet_sockets")
def test_row_63(lab):
    """Root's AF_PACKET frames are outside inet hooks (documented); --egress-guard stops them."""
    proxy, ours, daemon = scenes.start(lab)
    with lab.capture(proxies=proxy.endpoints) as wire:
        _raw_frames(lab)
        wire.stop()
        assert {f.kind for f in wire.leaks} == {"udp"} and len(wire.leaks) == 2, wire.lines()
        wire.leaks.clear()
    scenes.finish(ours, daemon)
    daemon = ours.up("--proxy-url", proxy.url(), "--egress-guard")
    with lab.capture(proxies=proxy.endpoints):
        _raw_frames(lab)
        expect_way(both(lab, labs.WEB), VIA_PROXY)
        for address in labs.DNS:
            assert client.dns(lab, address, timeout=5) == "REPLY"
    scenes.finish(ours, daemon)


def _raw_frames(lab):
    """A UDP datagram over IPv4 and IPv6 to the web server, as whole frames."""
    mac = bytes.fromhex(labs.HOST_MAC.replace(":", ""))
    udp = struct.pack("!HHHH", 5555, 443, 8 + 3, 0) + b"raw"
    four = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(udp), 1, 0, 64, 17, 0) + socket.inet_aton(labs.HOST[0]) + socket.inet_aton(labs.WEB[0])
    total = sum(struct.unpack("!10H", four))
    total = ~((total & 0xffff) + (total >> 16)) & 0xffff
    four = four[:10] + struct.pack("!H", total) + four[12:]
    six = struct.pack("!IHBB", 6 << 28, len(udp), 17, 64) + socket.inet_pton(socket.AF_INET6, labs.HOST[1]) + socket.inet_pton(socket.AF_INET6, labs.WEB[1])
    for ethertype, head in ((0x0800, four), (0x86dd, six)):
        with lab.host.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as sock:
            sock.bind(("eth0", ethertype))
            try:
                sock.send(b"\xff" * 6 + mac + struct.pack("!H", ethertype) + head + udp)
            except OSError:
                pass


@case("row_29_packets_to_the_tun_address")
def test_row_29(lab):
    """CVE-2019-14899: SYN, SYN/ACK and pings to the TUN's address from the LAN are met with silence."""
    proxy, ours, daemon = scenes.start(lab)
    lab.lan.ip(f"route add {TUN_ADDRESS}/32 via {labs.HOST[0]}", f"-6 route add {TUN_ADDRESS6}/128 via {labs.HOST[1]}")
    with lab.capture(proxies=proxy.endpoints):
        for address in (TUN_ADDRESS, TUN_ADDRESS6):
            for flags in (0x02, 0x12, 0x10, 0x04):
                _tcp_segment(lab, address, 40000, flags)
            assert client.ping(lab, address, namespace=lab.lan) == "SENT"
            assert client.udp(lab, address, 9, namespace=lab.lan) == "SENT"
    scenes.finish(ours, daemon)


def _tcp_segment(lab, address, port, flags):
    segment = struct.pack("!HHIIBBHHH", 443, port, 1000, 2000, 5 << 4, flags, 1000, 0, 0)
    with lab.lan.socket(servers.family_of(address), socket.SOCK_RAW, socket.IPPROTO_TCP) as sock:
        if ":" in address:
            sock.setsockopt(socket.IPPROTO_IPV6, 7, 16)
        else:
            source = socket.inet_aton(labs.LAN[0]) + socket.inet_aton(address) + struct.pack("!HH", 6, len(segment))
            total = sum(struct.unpack(f"!{(len(source) + len(segment)) // 2}H", source + segment))
            total = (total & 0xffff) + (total >> 16)
            segment = segment[:16] + struct.pack("!H", ~((total & 0xffff) + (total >> 16)) & 0xffff) + segment[18:]
        sock.sendto(segment, (address, 0))


@case("row_30_arp_for_the_tun_address")
def test_row_30(lab):
    """ARP requests from the LAN do not reveal the TUN's address; after down the host answers none either."""
    before = lab.host.run(["nft", "list", "ruleset"]).stdout
    proxy, ours, daemon = scenes.start(lab)
    with lab.capture(proxies=proxy.endpoints) as wire:
        lab.lan.run(["arping", "-c", "1", "-w", "2", "-I", "eth0", labs.HOST[0]])     # control
        done = lab.lan.run(["arping", "-c", "2", "-w", "1", "-I", "eth0", TUN_ADDRESS], check=False)
        wire.stop()
        replies = {f.source for f in wire.frames if f.kind == "arp" and f.icmp_type == 2}
        assert replies == {labs.HOST[0]}, f"ARP replies for {replies}"
    assert done.returncode != 0
    scenes.finish(ours, daemon)
    assert lab.host.run(["nft", "list", "ruleset"]).stdout == before


@case("row_53_no_default_route")
def test_row_53(lab):
    """No default route and a proxy on the LAN: everything is proxied."""
    proxy = bad.ScriptedProxy(lab, namespace=lab.lan, addresses=labs.LAN)
    servers.who_servers(lab)
    lab.host.ip("route del default", "-6 route del default")
    ours = scenes.product.Product(lab)
    daemon = ours.up("--proxy-url", proxy.url())
    with lab.capture(proxies=proxy.endpoints):
        expect_way([probe(lab, a) for a in labs.WEB], VIA_PROXY)
    scenes.finish(ours, daemon)


@case("row_54_ipv6_only_host")
def test_row_54(lab):
    """A host without IPv4 reaches IPv4 and IPv6 through an IPv6 proxy."""
    lab.host.run(["ip", "-4", "addr", "flush", "dev", "eth0"])
    lab.set_resolvers(labs.DNS[1:])
    proxy = bad.ScriptedProxy(lab)
    servers.who_servers(lab)
    ours = scenes.product.Product(lab)
    daemon = ours.up("--proxy-url", proxy.url(six=True))
    with lab.capture(proxies=proxy.endpoints):
        expect_way(both(lab, labs.WEB), VIA_PROXY)
    scenes.finish(ours, daemon)


@case("row_69_inbound_services")
def test_row_69(lab):
    """Services of this machine answer the LAN and the internet, IPv4 and IPv6; UDP answers are refused."""
    servers.serve(lab, 2222, servers.who, namespace=lab.host, addresses=labs.HOST)
    proxy, ours, daemon = scenes.start(lab)
    with lab.capture(proxies=proxy.endpoints, inbound=(2222,)):
        for namespace in (lab.lan, lab.net):
            for address in labs.HOST:
                with client.connect(lab, address, 2222, namespace=namespace) as sock:
                    assert servers.read_line(sock)
                    sock.sendall(b"y" * 200_000)
                    assert len(client.read_exactly(sock, 200_000)) == 200_000
        with lab.host.socket(socket.AF_INET, socket.SOCK_DGRAM) as service, lab.lan.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
            service.bind((labs.HOST[0], 5300))
            peer.sendto(b"question", (labs.HOST[0], 5300))
            service.settimeout(5)
            _, who = service.recvfrom(100)
            try:
                service.sendto(b"answer", who)
                raise AssertionError("a UDP answer was sent")
            except PermissionError:
                pass
        lab.host.run(["conntrack", "-F"])
        with client.connect(lab, labs.HOST[0], 2222, namespace=lab.lan) as sock:
            assert servers.read_line(sock)
            lab.host.run(["conntrack", "-F"])
            time.sleep(0.05)
            sock.sendall(b"after a flush of conntrack")
            assert len(client.read_exactly(sock, 26)) == 26
    scenes.finish(ours, daemon)
