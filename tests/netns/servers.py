"""The lab's own servers, as threads of the test: each remembers who connected and how it went."""
import dataclasses
import hashlib
import socket
import struct
import threading
import time

import lab as labs


LINGER_RESET = struct.pack("ii", 1, 0)


def reset(conn):
    """Closes with RST."""
    conn.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_RESET)
    conn.close()


@dataclasses.dataclass
class Session:
    """One accepted connection as its handler left it."""
    peer: str = ""
    peer_port: int = 0
    port: int = 0
    accepted: float = 0.0
    ended: float = 0.0
    result: object = None          # what the handler returned
    error: OSError | None = None   # or how it failed
    conn: object = None


class Server:
    """TCP on every given address; handler(conn, session) per connection, in a thread of its own."""

    def __init__(self, namespace, addresses, port, handler, backlog=1024, receive_buffer=None):
        self.handler, self.sessions, self.port = handler, [], port
        self.changed = threading.Condition()
        self._listeners, self._closed = [], False
        for address in addresses:
            family = socket.AF_INET6 if ":" in address else socket.AF_INET
            listener = namespace.socket(family)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if receive_buffer:
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
            if family == socket.AF_INET6:
                listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            listener.bind((address, port))
            listener.listen(backlog)
            self._listeners.append(listener)
            threading.Thread(target=self._accept, args=(listener,), daemon=True).start()

    def _accept(self, listener):
        while not self._closed:
            try:
                conn, peer = listener.accept()
            except OSError:
                return
            session = Session(peer=peer[0], peer_port=peer[1], port=self.port, accepted=time.monotonic(), conn=conn)
            with self.changed:
                self.sessions.append(session)
                self.changed.notify_all()
            threading.Thread(target=self._serve, args=(conn, session), daemon=True).start()

    def _serve(self, conn, session):
        try:
            conn.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            session.result = self.handler(conn, session)
        except OSError as error:
            session.error = error
        finally:
            conn.close()
            with self.changed:
                session.ended = time.monotonic()
                self.changed.notify_all()

    def wait(self, count=1, ended=False, timeout=10):
        """The first `count` sessions, accepted or (ended=True) over."""
        def there():
            return sum(1 for s in self.sessions if s.ended or not ended) >= count
        with self.changed:
            if not self.changed.wait_for(there, timeout):
                raise AssertionError(f"port {self.port}: {len(self.sessions)} sessions after {timeout} s, not {count}")
            return list(self.sessions)

    def close(self):
        self._closed = True
        for listener in self._listeners:
            try:
                listener.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            listener.close()
        for session in list(self.sessions):
            try:
                session.conn.close()
            except OSError:
                pass


def read_all(conn, size=1 << 20, digest=None):
    """Reads to the end; (bytes, SHA-256)."""
    digest, total, buffer = digest or hashlib.sha256(), 0, bytearray(size)
    view = memoryview(buffer)
    while True:
        count = conn.recv_into(buffer)
        if not count:
            return total, digest.hexdigest()
        digest.update(view[:count])
        total += count


def read_line(conn, limit=65536):
    line = bytearray()
    while not line.endswith(b"\n") and len(line) < limit:
        byte = conn.recv(1)
        if not byte:
            break
        line += byte
    return bytes(line)


def who(conn, session):
    """Server first: says who connected, then echoes to the end."""
    conn.sendall(f"{session.peer} {session.peer_port}\n".encode())
    total = 0
    while data := conn.recv(1 << 18):
        conn.sendall(data)
        total += len(data)
    return total


def sink(conn, _session):
    """Reads to the end (half-close), then answers with the SHA-256 and the count."""
    total, digest = read_all(conn)
    conn.sendall(f"{digest} {total}\n".encode())
    return digest


def source(conn, _session):
    """Line "N": sends N bytes and FIN at once, then reads to the end what the other half brings."""
    count = int(read_line(conn))
    block = bytes(range(256)) * 256
    sent = 0
    while sent < count:
        sent += conn.send(block[:min(len(block), count - sent)])
    conn.shutdown(socket.SHUT_WR)
    return read_all(conn)


def serve(lab, port, handler, namespace=None, addresses=labs.WEB, **options):
    server = Server(namespace or lab.net, addresses, port, handler, **options)
    lab.on_close(server.close)
    return server


def who_servers(lab, ports=(labs.HTTP, labs.WHO)):
    """The standard target of the probes: whoami on the web address, at these ports."""
    return [serve(lab, port, who) for port in ports]


# -- DNS -------------------------------------------------------------------------------------------

class Dns:
    """Answers A and AAAA for the names it was given (default: everything is the web server)."""

    def __init__(self, lab, addresses=labs.DNS, names=None):
        self.names = names or {}
        self.default = labs.WEB
        self.queries = []          # (name, type, client, "udp" | "tcp")
        for address in addresses:
            family = socket.AF_INET6 if ":" in address else socket.AF_INET
            sock = lab.net.socket(family, socket.SOCK_DGRAM)
            sock.bind((address, 53))
            lab.on_close(sock.close)
            threading.Thread(target=self._udp, args=(sock,), daemon=True).start()
        serve(lab, 53, self._tcp, addresses=addresses)

    def _udp(self, sock):
        while True:
            try:
                query, client = sock.recvfrom(2048)
                answer = self.answer(query, client[0], "udp")
                if answer:
                    sock.sendto(answer, client)
            except OSError:
                return

    def _tcp(self, conn, session):
        while len(head := conn.recv(2, socket.MSG_WAITALL)) == 2:
            query = conn.recv(struct.unpack("!H", head)[0], socket.MSG_WAITALL)
            answer = self.answer(query, session.peer, "tcp")
            if answer is None:
                return
            conn.sendall(struct.pack("!H", len(answer)) + answer)

    def answer(self, query, client, transport):
        if len(query) < 17:
            return None
        labels, at = [], 12
        while query[at]:
            labels.append(query[at + 1:at + 1 + query[at]].decode("ascii", "replace"))
            at += 1 + query[at]
        name, kind = ".".join(labels).lower(), struct.unpack_from("!H", query, at + 1)[0]
        self.queries.append((name, kind, client, transport))
        found = self.names.get(name, self.default)
        records = []
        for address in found:
            if kind == 1 and ":" not in address:
                records.append((1, socket.inet_pton(socket.AF_INET, address)))
            if kind == 28 and ":" in address:
                records.append((28, socket.inet_pton(socket.AF_INET6, address)))
        head = query[:2] + struct.pack("!HHHHH", 0x8180 if found else 0x8183, 1, len(records), 0, 0)
        body = b"".join(struct.pack("!HHHIH", 0xc00c, rtype, 1, 5, len(data)) + data for rtype, data in records)
        return head + query[12:at + 5] + body


def dns_query(name, kind=1, number=0x7076):
    question = b"".join(bytes([len(part)]) + part.encode() for part in name.split(".")) + b"\0"
    return struct.pack("!HHHHHH", number, 0x0100, 1, 0, 0, 0) + question + struct.pack("!HH", kind, 1)


def family_of(address):
    return socket.AF_INET6 if ":" in address else socket.AF_INET


