"""Real applications as users run them, driven from a test."""
import fcntl
import hashlib
import os
import pty
import signal
import ssl
import struct
import subprocess
import termios
import threading
import time

import client
import lab as labs
import web
from kernel import run
from lab import wait_until

ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/run/lab", "LANG": "C.UTF-8"}


def curl(lab, *arguments, check=True, timeout=120):
    return lab.host.run(["curl", "-sS", "--max-time", timeout - 5, *arguments], check=check, timeout=timeout, env=ENVIRONMENT)


def curl_checks(lab, ground):
    """HTTP and HTTPS by name and by address, IPv4 and IPv6, with certificates checked."""
    for family, proxy in (("-4", labs.PROXY[0]), ("-6", labs.PROXY[1])):
        for scheme in ("http", "https"):
            seen = curl(lab, family, "--cacert", ground.ca, f"{scheme}://{web.NAME}/who").stdout.strip()
            assert seen in labs.PROXY, f"curl {family} {scheme}: the server saw {seen!r}, not the proxy"
        assert proxy
    wrong = curl(lab, f"https://{web.NAME}/who", check=False)   # without our authority: must be refused
    assert wrong.returncode == 60, f"curl without the authority: {wrong.returncode} {wrong.stderr}"


def download_and_upload(lab, ground):
    """The big file down and up again, with equal checksums."""
    url = f"http://{labs.WEB[0]}"
    target = f"{lab.work}/downloaded"
    curl(lab, "-o", target, f"{url}/data")
    assert file_digest(target) == ground.digest, "the downloaded file is not the one that was served"
    os.unlink(target)
    stored = curl(lab, "-T", ground.data_path, f"{url}/upload").stdout.strip()
    assert stored == ground.digest, "the uploaded file is not the one that was sent"


def file_digest(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def git_clones(lab, ground, sshd, head):
    environment = {**ENVIRONMENT, "GIT_SSH_COMMAND": " ".join(sshd.client()), "GIT_CONFIG_NOSYSTEM": "1"}
    urls = (f"https://{web.NAME}/git/repo.git", f"ssh://root@{labs.SSH[0]}{ground.git_root}/repo.git")
    for number, url in enumerate(urls):
        target = f"{lab.work}/clone-{number}"
        lab.host.run(["git", "-c", f"http.sslCAInfo={ground.ca}", "clone", "-q", url, target], env=environment, timeout=60)
        assert run(["git", "-C", target, "rev-parse", "HEAD"], env=environment).stdout.strip() == head
        run(["git", "-C", target, "fsck", "--full", "--strict"], env=environment)


class Terminal:
    """An interactive program on a pseudo terminal."""

    def __init__(self, argv, rows=24, columns=80):
        self.master, slave = pty.openpty()
        self._size(rows, columns)
        self.process = subprocess.Popen(argv, stdin=slave, stdout=slave, stderr=slave, start_new_session=True,
                                        env={**ENVIRONMENT, "TERM": "xterm"})
        os.close(slave)
        self.text, self._at = "", 0
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self):
        try:
            while data := os.read(self.master, 65536):
                self.text += data.decode("utf-8", "replace")
        except OSError:
            pass

    def _size(self, rows, columns):
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def resize(self, rows, columns):
        self._size(rows, columns)
        os.kill(self.process.pid, signal.SIGWINCH)

    def type(self, text):
        os.write(self.master, text.encode())

    def expect(self, text, timeout=20):
        """Waits for text behind what was expected before."""
        def find():
            at = self.text.find(text, self._at)
            if at >= 0:
                self._at = at + len(text)
            return at >= 0
        wait_until(find, timeout, f"{text!r} on the terminal:\n{self.text}")

    def close(self, timeout=20):
        code = self.process.wait(timeout)
        self._reader.join(timeout)      # EIO: nobody has the other side open; only now may the number be reused
        os.close(self.master)
        return code


def ssh_session(lab, sshd, address):
    """Log in, type, see the echo, resize, leave."""
    terminal = Terminal(lab.host.argv(sshd.client("-tt", f"root@{address}", "PS1='ready> ' exec /bin/sh -i")))
    terminal.expect("ready> ")
    terminal.type("stty size; echo mark-$((40+2))\n")
    terminal.expect("24 80")
    terminal.expect("mark-42")
    for letter in "typed":          # each key comes back by itself
        terminal.type(letter)
        terminal.expect(letter, 5)
    terminal.type("\x15")           # Ctrl-U
    terminal.resize(50, 200)
    time.sleep(0.05)
    terminal.type("stty size\n")
    terminal.expect("50 200")
    terminal.type("sleep 100\n")
    time.sleep(0.05)
    terminal.type("\x03")           # Ctrl-C ends the remote sleep
    terminal.expect("ready> ")
    terminal.type("exit 7\n")
    assert terminal.close() == 7


def web_socket(lab, ground, address):
    """A WebSocket over TLS: text, a ping, messages from tiny to large, an orderly end."""
    context = ssl.create_default_context(cafile=ground.ca)
    with context.wrap_socket(client.connect(lab, address, labs.HTTPS), server_hostname=web.NAME) as sock:
        sock.sendall((f"GET /ws HTTP/1.1\r\nHost: {web.NAME}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                      "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n").encode())
        file = sock.makefile("rb")
        assert b" 101 " in file.readline()
        headers = b""
        while (line := file.readline()) != b"\r\n":
            headers += line
        assert b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" in headers     # RFC 6455's own example
        for opcode, data in ((1, b"hello"), (9, b"ping"), (2, os.urandom(300)), (2, os.urandom(100_000)), (2, os.urandom(1_500_000)), (8, b"\x03\xe8")):
            sock.sendall(web.frame(opcode, data, os.urandom(4)))
            assert web.read_frame(file) == (opcode, data)


def many_at_once(lab, count=200, size=50_000):
    """`count` connections open at the same time, each with its own bytes there and back."""
    failures, together = [], threading.Barrier(count)

    def one(number):
        try:
            with client.connect(lab, labs.WEB[number % 2], labs.WHO, timeout=60) as sock:
                file = sock.makefile("rb")
                peer = file.readline().split()[0].decode()
                assert peer in labs.PROXY, f"the server saw {peer}"
                together.wait(60)
                data = hashlib.sha256(str(number).encode()).digest() * (size // 32)
                # No half-close here: squid and tinyproxy end both directions at the first FIN.
                threading.Thread(target=sock.sendall, args=(data,), daemon=True).start()
                assert file.read(len(data)) == data, "not the bytes that were sent"
        except Exception as error:  # noqa: collected
            failures.append(f"{number}: {error!r}")
            together.abort()
    threads = [threading.Thread(target=one, args=(n,), daemon=True) for n in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(90)
    assert not failures, f"{len(failures)} of {count} connections failed: {failures[:5]}"
