"""The soak's applications: connections of every kind, one after the other, each checked to the byte.

Every kind answers nothing and raises AssertionError or OSError when it did not go as it would
without a proxy.
"""
import errno
import random
import select
import socket
import struct
import time

from bench_lab import CHECK, ECHO, ECHO_PORTS, NET, SOURCE

PERIOD, RUN = 65521, 131072     # as in net.h
CLOSED_PORT = 9
PATIENCE = 60


def _pattern():
    state, out = 1, bytearray()
    for _ in range(PERIOD):
        state = (state * 1103515245 + 12345) & 0x7FFFFFFF
        out.append((state >> 16) & 0xFF)
    while len(out) < PERIOD + RUN:
        out += out[:PERIOD]
    return memoryview(bytes(out[:PERIOD + RUN]))


PATTERN = _pattern()


def pattern_at(offset, length):
    at = offset % PERIOD
    return PATTERN[at:at + min(length, RUN)]


class Client:
    """One thread's applications in the client namespace."""

    def __init__(self, namespace, seed, largest):
        self.namespace, self.random, self.largest = namespace, random.Random(seed), largest
        self.done = {}

    def one(self):
        kind = self.random.choice(KINDS)
        kind(self)
        self.done[kind.__name__] = self.done.get(kind.__name__, 0) + 1

    def _socket(self, v6):
        sock = self.namespace.socket(socket.AF_INET6 if v6 else socket.AF_INET)
        sock.settimeout(PATIENCE)
        return sock

    def _connect(self, port, receive_buffer=0):
        v6 = self.random.random() < 0.3
        sock = self._socket(v6)
        try:
            if receive_buffer:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
            sock.connect((NET["server6"] if v6 else NET["server"], port))
        except BaseException:
            sock.close()
            raise
        return sock

    def _size(self):
        return int(self.largest * self.random.random() ** 3) + 1     # mostly small


def _receive_pattern(sock, size, got=0):
    """`size` bytes of the pattern, then the end of the stream."""
    while True:
        data = sock.recv(RUN // 2)
        if not data:
            break
        assert data == pattern_at(got, len(data)), f"other bytes than were sent, at {got} of {size}"
        got += len(data)
    assert got == size, f"{got} of {size} bytes came"


def download(client):
    size = client._size()
    with client._connect(SOURCE) as sock:
        sock.sendall(struct.pack("=Q", size))
        _receive_pattern(sock, size)


def upload(client):
    size, sent = client._size(), 0
    with client._connect(CHECK) as sock:
        while sent < size:
            sent += sock.send(pattern_at(sent, min(RUN, size - sent)))
        sock.shutdown(socket.SHUT_WR)
        answer = b""
        while len(answer) < 16:
            data = sock.recv(16)
            assert data, "the connection ended before the server's count"
            answer += data
        count, wrong = struct.unpack("=QQ", answer)
        assert (count, wrong) == (size, 0), f"the server got {count} of {size} bytes, {wrong} buffers wrong"


def echo_and_half_close(client):
    """Both directions at once; the end goes ahead of what is still coming back."""
    size, sent, got = client._size() // 4 + 1, 0, 0
    with client._connect(ECHO + client.random.randrange(ECHO_PORTS)) as sock:
        sock.setblocking(False)
        deadline = time.monotonic() + PATIENCE
        while True:
            assert time.monotonic() < deadline, f"{got} of {size} bytes came back in {PATIENCE} s"
            readable, writable, _ = select.select([sock], [sock] if sent < size else [], [], 1)
            if writable:
                sent += sock.send(pattern_at(sent, min(RUN, size - sent)))
                if sent == size:
                    sock.shutdown(socket.SHUT_WR)
            if readable:
                data = sock.recv(RUN // 2)
                if not data:
                    break
                assert data == pattern_at(got, len(data)), f"other bytes came back, at {got}"
                got += len(data)
        assert got == size, f"{got} of {size} bytes came back"


def stalled_download(client):
    """An application that stops reading for a while: everything behind it has to wait, and nothing is lost."""
    size = client.largest
    with client._connect(SOURCE, receive_buffer=65536) as sock:
        sock.sendall(struct.pack("=Q", size))
        first = sock.recv(1000)
        assert first == pattern_at(0, len(first)), "other bytes than were sent, at the start"
        time.sleep(client.random.uniform(0.2, 3.0))
        _receive_pattern(sock, size, len(first))


def reset_in_the_middle(client):
    with client._connect(SOURCE) as sock:
        sock.sendall(struct.pack("=Q", 1 << 40))
        for _ in range(client.random.randrange(1, 10)):
            assert sock.recv(RUN // 2), "an endless stream ended"
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def give_up_at_once(client):
    """Closes before the connection stands, or just after."""
    sock = client._socket(False)
    with sock:
        sock.setblocking(False)
        sock.connect_ex((NET["server"], ECHO))
        time.sleep(client.random.uniform(0, 0.003))


def refused(client):
    try:
        client._connect(CLOSED_PORT).close()
    except OSError as error:
        assert error.errno == errno.ECONNREFUSED, f"a closed port: {error}"
        return
    raise AssertionError("a closed port accepted")


def short(client):
    with client._connect(ECHO) as sock:
        sock.sendall(b"x")
        assert sock.recv(1) == b"x", "no echo"


KINDS = (download, upload, echo_and_half_close, stalled_download, reset_in_the_middle, give_up_at_once, refused, short, short, short)
