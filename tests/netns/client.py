"""The client oracle: what an application on the host sees."""
import dataclasses
import errno
import os
import select
import socket
import struct
import time

import kernel
import lab as labs
from servers import dns_query, family_of

DIRECT, VIA_PROXY, ERROR = "DIRECT", "VIA-PROXY", "ERROR"
UNKNOWN = "FROM-ELSEWHERE"       # the server saw neither the host nor a proxy: no test may take it for one of them
PROXY_SOURCES = labs.PROXY + labs.LAN    # one case has its proxy in the LAN


@dataclasses.dataclass
class Result:
    kind: str = ERROR
    error: str = ""                # errno's name, "EOF", "TIMEOUT"
    seconds: float = 0.0
    peer: str = ""                 # who the server saw

    def __str__(self):
        return f"{self.kind}{' ' + self.error if self.error else ''}{' (' + self.peer + ')' if self.peer else ''} {self.seconds:.3f} s"


def name_of(number):
    return errno.errorcode.get(number, str(number))


def connect(lab, address, port, timeout=20, namespace=None, uid=None, mark=None, device=None, source=None, receive_buffer=None):
    """A connected TCP socket of an application on the host; OSError as connect(2) gives it."""
    sock = (namespace or lab.host).socket(family_of(address), socket.SOCK_STREAM, uid=uid)
    try:
        if receive_buffer:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        if mark is not None:
            sock.setsockopt(socket.SOL_SOCKET, kernel.SO_MARK, mark)
        if device is not None:
            sock.setsockopt(socket.SOL_SOCKET, kernel.SO_BINDTODEVICE, device.encode())
        if source is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind(source)
        sock.settimeout(timeout)
        sock.connect((address, port))
        return sock
    except BaseException:
        sock.close()
        raise


def probe(lab, address, port=labs.WHO, timeout=20, direct_sources=labs.HOST + labs.HOST2 + labs.CONTAINER, **options):
    """Connects, reads the whoami line, says which way it went."""
    began, result = time.monotonic(), Result()
    try:
        with connect(lab, address, port, timeout, **options) as sock:
            line = b""
            while not line.endswith(b"\n"):
                data = sock.recv(200)
                if not data:
                    result.error = "EOF"
                    break
                line += data
            else:
                result.peer = line.split()[0].decode()
                result.kind = (DIRECT if result.peer in direct_sources else
                               VIA_PROXY if result.peer in PROXY_SOURCES else UNKNOWN)
    except TimeoutError:
        result.error = "TIMEOUT"
    except OSError as error:
        result.error = name_of(error.errno) if error.errno else type(error).__name__
        if error.errno == errno.ETIMEDOUT:
            result.error = "ETIMEDOUT"
    result.seconds = time.monotonic() - began
    return result


def both(lab, pair, port=labs.WHO, **options):
    """The same probe over IPv4 and IPv6."""
    return [probe(lab, address, port, **options) for address in pair]


def udp(lab, address, port, data=b"probe", timeout=0.5, namespace=None, **options):
    """"SENT" (nothing came back), "REPLY" or errno's name. Errors of ICMP come too."""
    uid, device, broadcast = options.pop("uid", None), options.pop("device", None), options.pop("broadcast", False)
    with (namespace or lab.host).socket(family_of(address), socket.SOCK_DGRAM, uid=uid) as sock:
        try:
            if device:
                sock.setsockopt(socket.SOL_SOCKET, kernel.SO_BINDTODEVICE, device.encode())
            if broadcast:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
            if options.get("source"):
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                sock.bind(options["source"])
            sock.connect((address, port))
            sock.settimeout(timeout)
            sock.send(data)
            sock.recv(2048)
            return "REPLY"
        except TimeoutError:
            return "SENT"
        except OSError as error:
            return name_of(error.errno)


def dns(lab, address, name="example.test", kind=1, timeout=0.5, **options):
    return udp(lab, address, 53, dns_query(name, kind), timeout, **options)


def ping(lab, address, timeout=0.5, namespace=None):
    """One ICMP echo request over a raw socket: "SENT", "REPLY" or errno's name."""
    six = ":" in address
    family, protocol = (socket.AF_INET6, socket.IPPROTO_ICMPV6) if six else (socket.AF_INET, socket.IPPROTO_ICMP)
    body = struct.pack("!HH", os.getpid() & 0xffff, 1) + b"proxyvpn"
    head = struct.pack("!BBH", 128 if six else 8, 0, 0)
    total = sum(struct.unpack("!8H", head + body))
    total = (total >> 16) + (total & 0xffff)
    head = struct.pack("!BBH", 128 if six else 8, 0, ~(total + (total >> 16)) & 0xffff)
    with (namespace or lab.host).socket(family, socket.SOCK_RAW, protocol) as sock:
        try:
            sock.sendto(head + body, (address, 0))
        except OSError as error:
            return name_of(error.errno)
        deadline = time.monotonic() + timeout
        while (left := deadline - time.monotonic()) > 0:
            if not select.select([sock], [], [], left)[0]:
                break
            data, peer = sock.recvfrom(2048)
            kind = data[0] if six else data[(data[0] & 15) * 4]
            if kind == (129 if six else 0) and peer[0] == address:
                return "REPLY"
        return "SENT"


def read_exactly(sock, count):
    data = bytearray()
    while len(data) < count:
        part = sock.recv(count - len(data))
        if not part:
            break
        data += part
    return bytes(data)


def some(results):
    """One result or several as a list; none would mean that nothing was looked at."""
    results = list(results) if isinstance(results, (list, tuple)) else [results]
    assert results, "there is no result to look at"
    return results


def expect_way(results, kind, what=""):
    for result in some(results):
        assert result.kind == kind, f"{what or 'probe'}: expected {kind}, got {result}"


def expect_refused(results, within=2.0, errors=None, what=""):
    """An error at once: no direct packet, no hanging."""
    for result in some(results):
        assert result.kind == ERROR, f"{what or 'probe'}: expected an error, got {result}"
        assert result.error not in ("TIMEOUT", "EOF"), f"{what or 'probe'}: {result}"
        assert result.seconds < within, f"{what or 'probe'}: took too long: {result}"
        if errors:
            assert result.error in errors, f"{what or 'probe'}: expected {errors}, got {result}"
