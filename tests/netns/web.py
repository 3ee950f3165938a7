"""The piece of internet: HTTP and HTTPS (files, uploads, git, WebSocket) and an ssh server."""
import base64
import hashlib
import http.server
import os
import shutil
import socket
import socketserver
import ssl
import struct
import subprocess
import threading

import lab as labs
from kernel import run
from lab import wait_until

NAME = "web.test"


def certificates(lab):
    """A certificate authority and a server certificate for the web server's name and addresses."""
    folder = os.path.dirname(lab.path("tls", "x"))
    if os.path.exists(f"{folder}/server.pem"):
        return folder
    with open(f"{folder}/ext", "w", encoding="ascii") as file:
        file.write(f"subjectAltName=DNS:{NAME},IP:{labs.WEB[0]},IP:{labs.WEB[1]}\n"
                   "authorityKeyIdentifier=keyid\nkeyUsage=digitalSignature\n")
    new_key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    run(["openssl", "req", "-x509", *new_key, "-keyout", f"{folder}/ca.key", "-out", f"{folder}/ca.pem", "-days", "2",
         "-subj", "/CN=lab authority", "-addext", "basicConstraints=critical,CA:TRUE"])
    run(["openssl", "req", *new_key, "-keyout", f"{folder}/server.key", "-out", f"{folder}/csr", "-subj", f"/CN={NAME}"])
    run(["openssl", "x509", "-req", "-in", f"{folder}/csr", "-CA", f"{folder}/ca.pem", "-CAkey", f"{folder}/ca.key",
         "-CAcreateserial", "-days", "2", "-extfile", f"{folder}/ext", "-out", f"{folder}/server.pem"])
    return folder


class Handler(http.server.BaseHTTPRequestHandler):
    """/who, /data (the big file), /upload (PUT: answers the SHA-256), /git/..., /ws (WebSocket echo)."""
    protocol_version = "HTTP/1.1"
    web = None

    def log_message(self, *_):
        pass

    def do_GET(self):
        self.web.requests.append((self.client_address[0], self.command, self.path))
        if self.path == "/ws":
            return self._websocket()
        if self.path.startswith("/git/"):
            return self._git(b"")
        if self.path == "/data":
            self._head(200, self.web.size)
            with open(self.web.data_path, "rb") as file:
                if isinstance(self.connection, ssl.SSLSocket):
                    shutil.copyfileobj(file, self.wfile, 1 << 20)
                else:
                    self.connection.sendfile(file)
            return None
        body = f"{self.client_address[0]}\n".encode()
        self._head(200 if self.path == "/who" else 404, len(body))
        self.wfile.write(body)
        return None

    def do_PUT(self):
        digest, left = hashlib.sha256(), int(self.headers["Content-Length"])
        while left and (block := self.rfile.read(min(left, 1 << 20))):
            digest.update(block)
            left -= len(block)
        body = f"{digest.hexdigest()}\n".encode()
        self._head(200, len(body))
        self.wfile.write(body)

    def do_POST(self):
        if self.headers.get("Transfer-Encoding") == "chunked":
            body = b""
            while size := int(self.rfile.readline(), 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
        else:
            body = self.rfile.read(int(self.headers["Content-Length"]))
        self._git(body)

    def _head(self, status, length, kind="text/plain"):
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(length))
        self.end_headers()

    def _git(self, body):
        """git http-backend as CGI (RFC 3875)."""
        path, _, query = self.path.removeprefix("/git").partition("?")
        environment = {"PATH": os.environ["PATH"], "GIT_PROJECT_ROOT": self.web.git_root, "GIT_HTTP_EXPORT_ALL": "1",
                       "REQUEST_METHOD": self.command, "PATH_INFO": path, "QUERY_STRING": query,
                       "CONTENT_TYPE": self.headers.get("Content-Type", ""), "CONTENT_LENGTH": str(len(body)),
                       "REMOTE_ADDR": self.client_address[0], "HOME": self.web.folder,
                       "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
                       "GIT_PROTOCOL": self.headers.get("Git-Protocol", "")}
        done = subprocess.run(["git", "http-backend"], input=body, env=environment, stdout=subprocess.PIPE, check=False)
        head, _, content = done.stdout.partition(b"\r\n\r\n")
        fields = dict(line.split(": ", 1) for line in head.decode().split("\r\n") if ": " in line)
        self._head(int(fields.get("Status", "200 OK").split()[0]), len(content), fields.get("Content-Type", "text/plain"))
        self.wfile.write(content)

    def _websocket(self):
        """RFC 6455: hand-shake, then every message back as it came."""
        key = self.headers["Sec-WebSocket-Key"] + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
        self.send_response(101)
        self.send_header("Upgrade", "websocket")
        self.send_header("Connection", "Upgrade")
        self.send_header("Sec-WebSocket-Accept", base64.b64encode(hashlib.sha1(key.encode()).digest()).decode())
        self.end_headers()
        self.wfile.flush()
        while (message := read_frame(self.rfile)) is not None:
            opcode, data = message
            self.wfile.write(frame(opcode, data))
            self.wfile.flush()
            if opcode == 8:
                break
        self.close_connection = True


def frame(opcode, data, mask=None):
    """One unfragmented WebSocket frame."""
    flag, size = 0x80 if mask else 0, len(data)
    if size < 126:
        head = struct.pack("!BB", 0x80 | opcode, flag | size)
    elif size < 65536:
        head = struct.pack("!BBH", 0x80 | opcode, flag | 126, size)
    else:
        head = struct.pack("!BBQ", 0x80 | opcode, flag | 127, size)
    return head + (mask + masked(data, mask) if mask else data)


def masked(data, mask):
    pad = (mask * (len(data) // 4 + 1))[:len(data)]
    return (int.from_bytes(data, "big") ^ int.from_bytes(pad, "big")).to_bytes(len(data), "big")


def read_frame(file):
    head = file.read(2)
    if len(head) < 2:
        return None
    size = head[1] & 127
    if size > 125:
        size = int.from_bytes(file.read(2 if size == 126 else 8), "big")
    mask = file.read(4) if head[1] & 128 else None
    data = file.read(size)
    return head[0] & 15, masked(data, mask) if mask else data


class _Threads(socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads = True
    request_queue_size = 512
    context = None

    def get_request(self):
        conn, peer = self.socket.accept()
        conn.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return conn, peer

    def finish_request(self, request, client_address):
        if self.context:
            request.settimeout(60)
            request = self.context.wrap_socket(request, server_side=True)
        super().finish_request(request, client_address)

    def handle_error(self, request, client_address):
        pass


class Web:
    """HTTP on 80 and HTTPS on 443 of the web addresses, IPv4 and IPv6."""

    def __init__(self, lab, size=0):
        self.lab, self.size, self.requests = lab, size, []
        self.folder = os.path.dirname(lab.path("web", "x"))
        self.git_root, self.data_path, self.digest = f"{self.folder}/git", f"{self.folder}/data", ""
        self.tls = certificates(lab)
        self.ca = f"{self.tls}/ca.pem"
        if size:
            self._make_data(size)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(f"{self.tls}/server.pem", f"{self.tls}/server.key")
        handler = type("LabHandler", (Handler,), {"web": self})
        for address in labs.WEB:
            for port, tls in ((labs.HTTP, None), (labs.HTTPS, context)):
                self._listen(handler, address, port, tls)

    def _listen(self, handler, address, port, context):
        server = _Threads((address, port), handler, bind_and_activate=False)
        server.socket.close()
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        server.socket = self.lab.net.socket(family)
        server.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.socket.bind((address, port))
        server.socket.listen(512)
        server.context = context
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        self.lab.on_close(server.server_close)

    def _make_data(self, size):
        digest = hashlib.sha256()
        with open(self.data_path, "wb") as file:
            for at in range(0, size, 1 << 22):
                block = os.urandom(min(1 << 22, size - at))
                digest.update(block)
                file.write(block)
        self.digest = digest.hexdigest()

    def make_git(self, commits=5, size=300_000):
        """A bare repository repo.git; returns the id of its head."""
        work, bare = f"{self.folder}/work", f"{self.git_root}/repo.git"
        os.makedirs(work)
        environment = {"PATH": os.environ["PATH"], "HOME": self.folder, "GIT_AUTHOR_NAME": "a", "GIT_AUTHOR_EMAIL": "a@b",
                       "GIT_COMMITTER_NAME": "a", "GIT_COMMITTER_EMAIL": "a@b", "GIT_CONFIG_NOSYSTEM": "1"}
        run(["git", "init", "-q", "-b", "main", work], env=environment)
        for number in range(commits):
            with open(f"{work}/file{number}", "wb") as file:
                file.write(os.urandom(size))
            run(["git", "-C", work, "add", "."], env=environment)
            run(["git", "-C", work, "commit", "-q", "-m", f"commit {number}"], env=environment)
        run(["git", "clone", "-q", "--bare", work, bare], env=environment)
        return run(["git", "-C", bare, "rev-parse", "HEAD"], env=environment).stdout.strip()


class Sshd:
    """sshd on SSH:22 (or in another namespace); root logs in with a key."""

    def __init__(self, lab, namespace=None, addresses=labs.SSH, port=labs.SSHD):
        folder = os.path.dirname(lab.path(f"sshd-{port}-{addresses[0]}", "x"))
        self.folder, self.addresses, self.port = folder, addresses, port
        for key in ("host", "user"):
            run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", f"{folder}/{key}"])
        with open(f"{folder}/config", "w", encoding="ascii") as file:
            file.write("".join(f"ListenAddress {a}\n" for a in addresses) + f"""Port {port}
HostKey {folder}/host
AuthorizedKeysFile {folder}/user.pub
PidFile {folder}/pid
PermitRootLogin prohibit-password
PasswordAuthentication no
KbdInteractiveAuthentication no
UsePAM no
StrictModes no
UseDNS no
PrintMotd no
LogLevel ERROR
Subsystem sftp internal-sftp
""")
        with open(f"{folder}/host.pub", encoding="ascii") as file:
            key = " ".join(file.read().split()[:2])
        with open(f"{folder}/known_hosts", "w", encoding="ascii") as file:
            for address in addresses:
                file.write(f"{address if port == 22 else f'[{address}]:{port}'} {key}\n")
        namespace = namespace or lab.net
        with open(f"{folder}/log", "ab") as log:
            self.process = subprocess.Popen(namespace.argv(["/usr/sbin/sshd", "-D", "-e", "-f", f"{folder}/config"]),
                                            stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        lab.on_close(self.stop)
        wait_until(lambda: os.path.exists(f"{folder}/pid"), 10, "sshd runs")

    def client(self, *options):
        """The ssh command with this server's keys; add options, host and command."""
        return ["ssh", "-F", "none", "-p", str(self.port), "-i", f"{self.folder}/user", "-o", "IdentitiesOnly=yes",
                "-o", f"UserKnownHostsFile={self.folder}/known_hosts", "-o", "StrictHostKeyChecking=yes",
                "-o", "ConnectTimeout=20", *options]

    def stop(self):
        self.process.kill()
        self.process.wait(10)
