"""A proxy that does as it is told: relays well, or misbehaves in every way a test asks for."""
import dataclasses
import errno
import os
import select
import socket
import ssl
import threading
import time

import lab as labs
from servers import Server, family_of, reset

BUFFER = 1 << 18


@dataclasses.dataclass
class Request:
    """One request head as it came."""
    method: str = ""
    target: str = ""
    headers: dict = dataclasses.field(default_factory=dict)   # names in lower case
    raw: bytes = b""
    when: float = 0.0
    peer: tuple = ()
    early: bytes = b""             # what came behind the head before our answer

    def host_port(self):
        host, _, port = self.target.rpartition(":")
        return host.strip("[]"), int(port)


class ScriptedProxy:
    """Every connection is handed to `script(proxy, conn, request)`; change it while it runs.

    A script called `raw` (attribute `before_head`) is called without reading a request.
    """

    def __init__(self, lab, script=None, port=3128, addresses=labs.PROXY, namespace=None):
        self.lab, self.port, self.addresses = lab, port, addresses
        self.script = script or relay
        self.requests, self.open_tunnels, self.relayed = [], 0, 0
        self.changed = threading.Condition()
        self.namespace = namespace or lab.proxy
        self.endpoints = [(address, port) for address in addresses]
        self._server = None
        self.start()
        lab.on_close(self.stop)

    def start(self):
        self._server = Server(self.namespace, self.addresses, self.port, self._serve)

    def stop(self):
        """Gone at once: nothing listens, open connections get RST."""
        if self._server:
            sessions, self._server = self._server.sessions, (self._server.close(), None)[1]
            for session in sessions:
                try:
                    reset(session.conn)
                except OSError:
                    pass

    @property
    def connections(self):
        return len(self._server.sessions) if self._server else 0

    def url(self, six=False, credentials=""):
        host = f"[{self.addresses[1]}]" if six else self.addresses[0]
        return f"http://{credentials + '@' if credentials else ''}{host}:{self.port}"

    def _serve(self, conn, session):
        if getattr(self.script, "before_head", False):
            return self.script(self, conn, None)
        while True:
            request = read_request(conn, session)
            if request is None:
                return "no request"
            if session.peer in self.addresses and self.namespace is not self.lab.host:
                return "hairpin"         # a tunnel of ours to ourselves: what is in it is not for us
            with self.changed:
                self.requests.append(request)
                self.changed.notify_all()
            outcome = self.script(self, conn, request)
            if outcome != "again":
                return outcome

    def wait(self, count=1, timeout=10):
        with self.changed:
            assert self.changed.wait_for(lambda: len(self.requests) >= count, timeout), \
                f"the proxy saw {len(self.requests)} requests after {timeout} s, not {count}"
            return list(self.requests)

    def targets(self):
        return [request.target for request in self.requests]


def read_request(conn, session):
    data = b""
    while b"\r\n\r\n" not in data:
        part = conn.recv(65536)
        if not part:
            return None
        data += part
    head, _, early = data.partition(b"\r\n\r\n")
    lines = head.decode("latin-1").split("\r\n")
    words = (lines[0] + "  ").split(" ")
    headers = {name.strip().lower(): value.strip() for name, _, value in (x.partition(":") for x in lines[1:])}
    return Request(words[0], words[1], headers, head + b"\r\n\r\n", time.monotonic(),
                   (session.peer, session.peer_port), early)


# -- good behaviour ----------------------------------------------------------------------------------

def open_target(proxy, request, timeout=10, uid=None):
    host, port = request.host_port()
    sock = proxy.namespace.socket(family_of(host), uid=uid)
    sock.settimeout(timeout)
    sock.connect((host, port))
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


def relay(proxy, conn, request, greeting=b"HTTP/1.1 200 OK\r\n\r\n", uid=None):
    """A tunnel with half-close both ways and RST passed on; its sockets are the user `uid`'s."""
    try:
        upstream = open_target(proxy, request, uid=uid)
    except TimeoutError:
        conn.sendall(b"HTTP/1.1 504 Gateway Timeout\r\nContent-Length: 0\r\n\r\n")
        return "504"
    except OSError as error:
        status = "502 Bad Gateway" if error.errno == errno.ECONNREFUSED else "503 Service Unavailable"
        conn.sendall(f"HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n".encode())
        return status
    with proxy.changed:
        proxy.open_tunnels += 1
    try:
        conn.sendall(greeting)
        if request.early:
            upstream.sendall(request.early)
        return pump(proxy, conn, upstream)
    finally:
        upstream.close()
        with proxy.changed:
            proxy.open_tunnels -= 1
            proxy.changed.notify_all()


class _Way:
    """One direction: a bounded buffer between two sockets."""

    def __init__(self, source, sink):
        self.source, self.sink, self.data, self.eof, self.done = source, sink, b"", False, False

    def read(self):
        self.data = self.source.recv(BUFFER)
        self.eof = not self.data

    def write(self):
        sent = self.sink.send(self.data)
        self.data = self.data[sent:] if sent < len(self.data) else b""
        return sent


def pump(proxy, a, b):
    a.setblocking(False)
    b.setblocking(False)
    ways, peers, hung_up = (_Way(a, b), _Way(b, a)), {a.fileno(): a, b.fileno(): b}, set()
    try:
        while not all(way.done for way in ways):
            if -1 in (a.fileno(), b.fileno()):        # stop() of the proxy has closed it
                return "closed"
            interest = dict.fromkeys(peers, 0)
            for way in ways:
                if way.data:
                    interest[way.sink.fileno()] |= select.POLLOUT
                elif not way.eof:
                    interest[way.source.fileno()] |= select.POLLIN
            poll = select.poll()
            for fd, events in interest.items():
                if events or fd not in hung_up:   # without interest still for POLLERR
                    poll.register(fd, events)
            for fd, events in poll.poll():
                if events & select.POLLERR:
                    error = peers[fd].getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                    raise OSError(error, os.strerror(error))
                _turn(proxy, ways, fd, events)
                if events & select.POLLHUP:
                    hung_up.add(fd)
    except BlockingIOError:
        raise
    except OSError:
        reset(b)
        reset(a)
        return "reset"
    return "done"


def _turn(proxy, ways, fd, events):
    for way in ways:
        if events & (select.POLLIN | select.POLLHUP) and way.source.fileno() == fd and not way.data and not way.eof:
            way.read()
        if events & select.POLLOUT and way.sink.fileno() == fd and way.data:
            proxy.relayed += way.write()
        if way.eof and not way.done:
            way.done = True
            way.sink.shutdown(socket.SHUT_WR)


# -- misbehaviour ------------------------------------------------------------------------------------

def answer(text, then="close", body=b""):
    """Answers every request with these lines ("502 Bad Gateway\\nX: y"), then closes, keeps or resets."""
    head = ("HTTP/1.1 " + text.replace("\n", "\r\n") + "\r\n").encode()
    if "content-length" not in text.lower():
        head += f"Content-Length: {len(body)}\r\n".encode()

    def script(_proxy, conn, _request):
        conn.sendall(head + b"\r\n" + body)
        return finish(conn, then)
    return script


def finish(conn, then):
    if then == "again":
        return "again"
    if then == "keep":
        try:
            while conn.recv(65536):
                pass
        except OSError:
            pass
    elif then == "reset":
        reset(conn)
    return then


def raw(data, then="close", first=False, pause=0.0):
    """Sends exactly these bytes (a list: one segment each); first=True: before a request is read."""
    def script(_proxy, conn, _request):
        for part in data if isinstance(data, list) else [data]:
            conn.sendall(part)
            if pause:
                time.sleep(pause)
        return finish(conn, then)
    script.before_head = first
    return script


def hang(_proxy, conn, _request):
    """Takes the request and never answers."""
    return finish(conn, "keep")


def close_at_once(_proxy, conn, _request):
    return "closed"


def reset_at_once(_proxy, conn, _request):
    reset(conn)
    return "reset"


def with_early_bytes(data):
    """The tunnel's first bytes in the same segment as the 200."""
    def script(proxy, conn, request):
        return relay(proxy, conn, request, b"HTTP/1.1 200 Connection established\r\n\r\n" + data)
    return script


def trickle(step=0.005):
    """A good answer, byte by byte, with an interim reply in front."""
    def script(proxy, conn, request):
        for byte in b"HTTP/1.1 103 Early Hints\r\nLink: <x>\r\n\r\nHTTP/1.1 200 OK\r\nX-Long: " + b"a" * 60:
            conn.sendall(bytes([byte]))
            time.sleep(step)
        return relay(proxy, conn, request, b"\r\n\r\n")
    return script


def tls(folder):
    """Speaks TLS: waits for a ClientHello that never comes and answers with an alert."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(f"{folder}/server.pem", f"{folder}/server.key")

    def script(_proxy, conn, _request):
        try:
            context.wrap_socket(conn, server_side=True)
        except OSError:
            pass
        return "tls"
    script.before_head = True
    return script


def per_target(table, otherwise=relay):
    """table: {"host:port" or port number: script}."""
    def script(proxy, conn, request):
        chosen = table.get(request.target) or table.get(request.host_port()[1]) or otherwise
        return chosen(proxy, conn, request)
    return script
