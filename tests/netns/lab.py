"""The lab: a host under test, its LAN, a router, a proxy and a piece of internet, as namespaces.

    lan ---+                                 +--- net    web .80, dns .53 (allowed) .54, ssh .22
           |  br-lan   router   br-net       |
    host --+ 192.168.50.0/24  203.0.113.0/24 +--- proxy  .10
     |  \\___ eth1 192.168.60.0/24 (second uplink, on demand)
     +--- ctr  172.30.0.0/24 (container behind the bridge ctr0, on demand)

IPv6 everywhere beside it. The host's cable is watched at the router's end (wire.py).
"""
import contextlib
import os
import socket
import struct
import sys
import time

import kernel
import wire
from sandbox import WORK

HOST = ("192.168.50.2", "fd50::2")
HOST2 = ("192.168.60.2", "fd60::2")
LAN = ("192.168.50.3", "fd50::3")
ROUTER = ("192.168.50.1", "fd50::1")
CONTAINER = ("172.30.0.2", "fd30::2")
PROXY = ("203.0.113.10", "2001:db8:113::10")
WEB = ("203.0.113.80", "2001:db8:113::80")
DNS = ("203.0.113.53", "2001:db8:113::53")
OTHER_DNS = ("203.0.113.54", "2001:db8:113::54")
SSH = ("203.0.113.22", "2001:db8:113::22")
CLOSED = ("203.0.113.81", "2001:db8:113::81")          # there, nothing listens
UNREACHABLE = ("198.51.100.1", "2001:db8:51::1")       # the router answers host unreachable
PROHIBITED = ("198.51.100.2", "2001:db8:51::2")        # ... administratively prohibited
FILTERED = ("198.51.100.3", "2001:db8:51::3")          # silence
V4, V6 = 0, 1

HTTP, HTTPS, WHO, SINK, SOURCE, SSHD = 80, 443, 7000, 7001, 7002, 22
HOST_MAC, HOST2_MAC = "02:00:00:00:50:02", "02:00:00:00:60:02"

COMMON_SYSCTLS = {
    "ipv4/tcp_congestion_control": "reno", "ipv6/conf/all/accept_dad": 0, "ipv6/conf/default/accept_dad": 0,
    "ipv6/conf/all/accept_ra": 0, "ipv6/conf/default/accept_ra": 0,
}
ROUTER_SYSCTLS = {"ipv4/ip_forward": 1, "ipv6/conf/all/forwarding": 1, "ipv4/icmp_ratelimit": 0,
                  "ipv6/icmp/ratelimit": 0, "ipv4/icmp_msgs_per_sec": 100000}


class Lab:
    """Namespaces and cables; everything else is made on demand by the other modules."""

    def __init__(self, verbose=False):
        self.verbose = verbose
        self.work = WORK
        self._closers = []
        self.host, self.router, self.net, self.proxy, self.lan = (
            kernel.NetNs(name) for name in ("pvh", "pvr", "pvn", "pvp", "pvl"))
        self.container = None
        self.uplinks = ["tohost"]
        self._wire_up()
        with self.host:   # /sys as the host under test sees it
            kernel.mount("sysfs", "/sys", "sysfs")
        self.set_resolvers(DNS)

    # -- topology ------------------------------------------------------------------------------

    def _wire_up(self):
        for namespace in (self.host, self.router, self.net, self.proxy, self.lan):
            namespace.sysctl(COMMON_SYSCTLS)
            namespace.ip("link set lo up")
        self.router.sysctl(ROUTER_SYSCTLS)
        cables = ((self.host, "eth0", HOST_MAC, "tohost"), (self.lan, "eth0", "02:00:00:00:50:03", "tolan"),
                  (self.net, "eth0", "02:00:00:00:71:80", "tonet"), (self.proxy, "eth0", "02:00:00:00:71:10", "toproxy"))
        self.router.ip("link add br-lan type bridge", "link add br-net type bridge", *(
            f"link add {port} type veth peer name {link} address {mac} netns {ns.name}"
            for ns, link, mac, port in cables))
        self.router.ip(
            "link set tohost master br-lan", "link set tolan master br-lan", "link set tonet master br-net",
            "link set toproxy master br-net", "addr add 192.168.50.1/24 dev br-lan", "addr add fd50::1/64 dev br-lan nodad",
            "addr add 203.0.113.1/24 dev br-net", "addr add 2001:db8:113::1/64 dev br-net nodad",
            *(f"link set {link} up" for link in ("tohost", "tolan", "tonet", "toproxy", "br-lan", "br-net")),
            "route add unreachable 198.51.100.1", "route add prohibit 198.51.100.2", "route add blackhole 198.51.100.3",
            "-6 route add unreachable 2001:db8:51::1", "-6 route add prohibit 2001:db8:51::2",
            "-6 route add blackhole 2001:db8:51::3")
        self._address(self.host, "eth0", "24", [HOST], ROUTER)
        self._address(self.lan, "eth0", "24", [LAN], ROUTER)
        self._address(self.proxy, "eth0", "24", [PROXY], ("203.0.113.1", "2001:db8:113::1"))
        self._address(self.net, "eth0", "24", [WEB, DNS, OTHER_DNS, SSH, CLOSED], ("203.0.113.1", "2001:db8:113::1"))

    @staticmethod
    def _address(namespace, link, prefix, pairs, gateway):
        lines = [f"link set {link} up"]
        for four, six in pairs:
            lines += [f"addr add {four}/{prefix} dev {link}", f"addr add {six}/64 dev {link} nodad"]
        if gateway:
            lines += [f"route add default via {gateway[0]}", f"-6 route add default via {gateway[1]}"]
        namespace.ip(*lines)

    def add_uplink(self):
        """A second way out of the host: eth1, without a default route."""
        self.router.ip(f"link add tohost2 type veth peer name eth1 address {HOST2_MAC} netns pvh",
                       "addr add 192.168.60.1/24 dev tohost2", "addr add fd60::1/64 dev tohost2 nodad", "link set tohost2 up")
        self._address(self.host, "eth1", "24", [HOST2], None)
        self.uplinks.append("tohost2")

    def add_container(self):
        """A container routed behind the host, on the bridge ctr0."""
        self.container = kernel.NetNs("pvc")
        self.container.sysctl(COMMON_SYSCTLS)
        self.host.sysctl({"ipv4/ip_forward": 1, "ipv6/conf/all/forwarding": 1})
        self.host.ip("link add ctr0 type bridge", "link add vctr type veth peer name eth0 netns pvc",
                     "link set vctr master ctr0", "link set vctr up", "link set ctr0 up",
                     "addr add 172.30.0.1/24 dev ctr0", "addr add fd30::1/64 dev ctr0 nodad")
        self.container.ip("link set lo up")
        self._address(self.container, "eth0", "24", [CONTAINER], ("172.30.0.1", "fd30::1"))
        self.router.ip("route add 172.30.0.0/24 via 192.168.50.2", "-6 route add fd30::/64 via fd50::2")

    def masquerade(self):
        """The container's packets leave with the host's address, as with docker."""
        self.host.run(["nft", "-f", "-"], input="".join(f"""
            table {family} dock {{
              chain post {{
                type nat hook postrouting priority srcnat;
                {family} saddr {network} oifname != "ctr0" masquerade
              }}
            }}""" for family, network in (("ip", "172.30.0.0/24"), ("ip6", "fd30::/64"))))

    def set_resolvers(self, addresses):
        with open("/etc/resolv.conf", "w", encoding="ascii") as file:
            file.writelines(f"nameserver {address}\n" for address in addresses)

    # -- oracle --------------------------------------------------------------------------------

    def capture(self, proxies=(), dns=DNS, inbound=(), direct=(), **more):
        allowed = wire.Allowed(proxies=tuple(proxies), dns=tuple(dns), inbound=tuple(inbound),
                               direct=tuple(direct), **more)
        return wire.Capture(self.router, self.uplinks, allowed, self._sentinel)

    def _sentinel(self, port, address):
        """An ARP request of the host that nobody answers; see wire.py."""
        link, mac = {"tohost": ("eth0", HOST_MAC), "tohost2": ("eth1", HOST2_MAC)}[port]
        source = bytes.fromhex(mac.replace(":", ""))
        body = struct.pack("!HHBBH6s4s6s4s", 1, 0x0800, 6, 4, 1, source, b"\0" * 4, b"\0" * 6, socket.inet_aton(address))
        with self.host:
            sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        with contextlib.closing(sock):
            sock.bind((link, 0x0806))
            with contextlib.suppress(OSError):   # a link that is down: the caller repeats
                sock.send(b"\xff" * 6 + source + struct.pack("!H", 0x0806) + body)

    # -- ends ----------------------------------------------------------------------------------

    def on_close(self, function):
        self._closers.append(function)

    def path(self, *parts):
        """A path in the lab's own folder; its parent exists."""
        path = os.path.join(self.work, *parts)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        return path

    def say(self, text):
        if self.verbose:
            print(f"[{time.monotonic():.3f}] {text}", file=sys.stderr, flush=True)

    def close(self):
        """Ends what was started, last first. The sandbox ends whatever is left."""
        errors = []
        while self._closers:
            try:
                self._closers.pop()()
            except Exception as error:  # noqa: the others must be closed too
                errors.append(error)
        if errors:
            raise errors[0]

    def __enter__(self):
        return self

    def __exit__(self, kind, value, _):
        try:
            self.close()
        except Exception:
            if kind is None:
                raise


def wait_until(condition, timeout=10.0, what="the condition", step=0.005):
    """Polls until condition() is true and returns its value; AssertionError after `timeout` seconds."""
    deadline = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {timeout} s: {what}")
        time.sleep(step)
        step = min(step * 1.5, 0.1)
