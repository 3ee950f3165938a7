"""The wire oracle: what left the host under test, seen from the router's end of the cable.

A capture knows what is allowed to leave; every other frame is a leak and is printed decoded. A
sentinel frame sent by the host at the start and at the end proves that the capture was alive and
that everything sent before has been looked at.
"""
import collections
import dataclasses
import ctypes
import ipaddress
import itertools
import select
import socket
import struct
import threading
import time

ETH_P_ALL = 3
SO_RCVBUFFORCE, SO_ATTACH_FILTER, SOL_PACKET, PACKET_STATISTICS = 33, 26, 263, 6
SNAPLEN = 600
SENTINEL_NET = "192.0.2."          # ARP requests for these (TEST-NET-1) are ours
_numbers = itertools.count(1)


@dataclasses.dataclass
class Frame:
    """One frame from the host, decoded as far as the oracle needs."""
    kind: str = "?"                # "tcp", "udp", "icmp", "icmp6", "arp", "ip<protocol>", "eth0x1234"
    source: str = ""
    target: str = ""
    sport: int = 0
    dport: int = 0
    flags: str = ""                # TCP: letters of "SAFRPU"
    icmp_type: int = -1
    length: int = 0                # payload bytes on the wire
    payload: bytes = b""           # as far as captured
    seq: int = 0
    mac: str = ""
    when: float = 0.0

    def __str__(self):
        ports = f".{self.sport} > {self.target}.{self.dport}" if self.kind in ("tcp", "udp") \
            else f" > {self.target}"
        extra = f" [{self.flags}]" if self.kind == "tcp" else ""
        extra += f" type {self.icmp_type}" if self.icmp_type >= 0 else ""
        data = f" {self.payload[:40]!r}" if self.payload else ""
        return f"{self.kind} {self.source}{ports}{extra} length {self.length}{data}"


def decode(data, when=0.0):
    frame = Frame(when=when, mac=data[6:12].hex(":"))
    ethertype = struct.unpack_from("!H", data, 12)[0]
    body = data[14:]
    try:
        if ethertype == 0x0806:
            frame.kind, frame.icmp_type = "arp", struct.unpack_from("!H", body, 6)[0]
            frame.source = socket.inet_ntop(socket.AF_INET, body[14:18])
            frame.target = socket.inet_ntop(socket.AF_INET, body[24:28])
        elif ethertype == 0x0800:
            total, header = struct.unpack_from("!H", body, 2)[0], (body[0] & 15) * 4
            frame.source = socket.inet_ntop(socket.AF_INET, body[12:16])
            frame.target = socket.inet_ntop(socket.AF_INET, body[16:20])
            _transport(frame, body[9], body[header:], total - header)
        elif ethertype == 0x86dd:
            total, protocol, offset = struct.unpack_from("!H", body, 4)[0], body[6], 40
            frame.source = socket.inet_ntop(socket.AF_INET6, body[8:24])
            frame.target = socket.inet_ntop(socket.AF_INET6, body[24:40])
            while protocol in (0, 43, 60):
                protocol, size = body[offset], 8 + 8 * body[offset + 1]
                offset, total = offset + size, total - size
            _transport(frame, protocol, body[offset:], total)
        else:
            frame.kind = f"eth{ethertype:#06x}"
    except (struct.error, IndexError, ValueError):
        frame.kind = f"malformed-{ethertype:#06x}"
    return frame


def _transport(frame, protocol, data, length):
    if protocol == 6:
        frame.kind = "tcp"
        frame.sport, frame.dport, frame.seq = struct.unpack_from("!HHI", data)
        header, bits = (data[12] >> 4) * 4, data[13]
        frame.flags = "".join(letter for bit, letter in
                              ((2, "S"), (16, "A"), (1, "F"), (4, "R"), (8, "P"), (32, "U")) if bits & bit)
        frame.payload, frame.length = data[header:], length - header
    elif protocol == 17:
        frame.kind = "udp"
        frame.sport, frame.dport = struct.unpack_from("!HH", data)
        frame.payload, frame.length = data[8:], length - 8
    elif protocol in (1, 58):
        frame.kind = "icmp" if protocol == 1 else "icmp6"
        frame.icmp_type, frame.payload, frame.length = data[0], data[8:48], length
    else:
        frame.kind, frame.length = f"ip{protocol}", length


@dataclasses.dataclass
class Allowed:
    """What may leave the host."""
    proxies: tuple = ()            # (address, port): TCP whose first bytes are a CONNECT
    dns: tuple = ()                # addresses, port 53, UDP and TCP
    inbound: tuple = ()            # local ports whose sessions came in from outside
    direct: tuple = ()             # networks that may be reached directly ("192.168.50.0/24")
    first_bytes: tuple = (b"CONNECT ",)   # how a connection to the proxy may begin
    ping_replies: bool = False     # echo replies to pings from outside


class Classifier:
    """Pure: frames in, the class that allows them or None out."""

    def __init__(self, allowed):
        self.allowed = allowed
        self.networks = [ipaddress.ip_network(n) for n in allowed.direct]
        self.first = {}            # flow -> True when its first payload was looked at and good
        self.starts = {}           # flow -> sequence number behind the SYN

    def classify(self, frame):
        if frame.kind == "arp":
            return "arp"
        if frame.kind == "icmp6" and frame.icmp_type in (133, 135, 136):
            return "ndp"
        if frame.kind == "icmp6" and frame.icmp_type in (131, 132, 143):
            return "mld"
        if frame.kind == "icmp" and frame.icmp_type == 0 and self.allowed.ping_replies:
            return "ping-reply"
        if frame.kind == "udp" and (frame.sport, frame.dport, frame.target) == (68, 67, "255.255.255.255"):
            return "dhcp"
        if frame.kind == "udp" and (frame.sport, frame.dport) == (546, 547) \
                and frame.target in ("ff02::1:2", "ff05::1:3"):
            return "dhcp"
        if frame.kind in ("tcp", "udp") and frame.dport == 53 and frame.target in self.allowed.dns:
            return "dns"
        if frame.kind == "tcp" and (frame.target, frame.dport) in self.allowed.proxies:
            return self._proxy(frame)
        if frame.kind == "tcp" and frame.sport in self.allowed.inbound and frame.flags != "S":
            return "inbound"
        if self.networks and frame.target and any(
                ipaddress.ip_address(frame.target) in n for n in self.networks):
            return "direct"
        return None

    def _proxy(self, frame):
        flow = (frame.source, frame.sport, frame.target, frame.dport)
        if "S" in frame.flags:
            self.starts[flow] = (frame.seq + 1) & 0xffffffff
            self.first.pop(flow, None)
        if frame.length and flow not in self.first:
            known = flow in self.starts
            if known and frame.seq != self.starts[flow]:
                return "proxy"     # a later segment overtook the first
            self.first[flow] = not known or any(
                frame.payload.startswith(b[:len(frame.payload)]) for b in self.allowed.first_bytes)
        return "proxy" if self.first.get(flow, True) else None


def _bpf():
    """cBPF: everything but what the router itself sends, cut to SNAPLEN bytes."""
    program = [(0x20, 0, 0, 0xfffff000 + 4), (0x15, 0, 1, 4), (0x06, 0, 0, 0), (0x06, 0, 0, SNAPLEN)]
    code = b"".join(struct.pack("HBBI", *line) for line in program)
    buffer = ctypes.create_string_buffer(code)
    return buffer, struct.pack("HL", len(program), ctypes.addressof(buffer))


class Capture:
    """Runs from construction to stop(). Use through Lab.capture()."""

    def __init__(self, namespace, links, allowed, send_sentinel):
        self.allowed, self.classifier = allowed, Classifier(allowed)
        self.leaks, self.counts, self.dropped = [], collections.Counter(), 0
        self.frames = collections.deque(maxlen=200_000)   # small ones, for tests that look closer
        self._send_sentinel, self._seen = send_sentinel, {}
        self._sockets, self._keep = [], []
        for link in links:
            with namespace:
                sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
            sock.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 128 << 20)
            buffer, program = _bpf()
            self._keep.append(buffer)
            sock.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, program)
            sock.bind((link, ETH_P_ALL))
            sock.setblocking(False)
            self._sockets.append((link, sock))
        self._changed = threading.Condition()
        self._stop = False
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        self.barrier()

    def _run(self):
        poll = select.poll()
        by_fd = {sock.fileno(): (link, sock) for link, sock in self._sockets}
        for fd in by_fd:
            poll.register(fd, select.POLLIN)
        while not self._stop:
            for fd, _ in poll.poll(100):
                self._drain(*by_fd[fd])

    def _drain(self, link, sock):
        for _ in range(512):
            try:
                data = sock.recv(SNAPLEN)
            except (BlockingIOError, OSError):
                return
            frame = decode(data, time.monotonic())
            if frame.kind == "arp" and frame.target.startswith(SENTINEL_NET):
                with self._changed:
                    self._seen[link] = max(self._seen.get(link, 0), int(frame.target.split(".")[3]))
                    self._changed.notify_all()
                continue
            why = self.classifier.classify(frame)
            self.counts[why or "LEAK"] += 1
            if why is None and len(self.leaks) < 10_000:
                self.leaks.append(frame)
            if frame.kind != "tcp" or frame.length < 2000:
                self.frames.append(frame)

    def barrier(self, timeout=20):
        """Returns when all that the host has sent so far has been classified."""
        number = next(_numbers) % 250 + 1
        with self._changed:
            self._seen = {}
        deadline = time.monotonic() + timeout
        for link, _ in self._sockets:
            while True:
                self._send_sentinel(link, f"{SENTINEL_NET}{number}")
                with self._changed:
                    if self._changed.wait_for(lambda link=link: self._seen.get(link) == number, 1.0):
                        break
                if time.monotonic() > deadline:
                    raise AssertionError(f"wire oracle: no sentinel on {link} within {timeout} s")

    def lines(self):
        """The leaks, decoded, each once with its count."""
        counted, example = collections.Counter(), {}
        for frame in self.leaks:
            key = (frame.kind, frame.source, frame.target, frame.dport, frame.flags, frame.icmp_type)
            counted[key] += 1
            example.setdefault(key, str(frame))
        return [f"{count} x {example[key]}" for key, count in counted.most_common(20)]

    def stop(self):
        """Ends the capture; afterwards leaks and counts are final."""
        if self._stop:
            return self
        try:
            self.barrier()
        finally:
            self._stop = True
            self._thread.join(5)
            for _, sock in self._sockets:
                statistics = sock.getsockopt(SOL_PACKET, PACKET_STATISTICS, 8)
                self.dropped += struct.unpack("II", statistics)[1]
                sock.close()
        return self

    def assert_clean(self):
        self.stop()
        assert self.dropped == 0, f"wire oracle: {self.dropped} frames were not looked at"
        assert not self.leaks, "packets in clear on the wire:\n  " + "\n  ".join(self.lines())

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        if kind is None:
            self.assert_clean()
        else:
            try:
                self.stop()
                if self.leaks:
                    print("wire oracle (while the test failed):\n  " + "\n  ".join(self.lines()))
            except (AssertionError, OSError):
                pass
