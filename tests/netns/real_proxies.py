"""Real proxies in the proxy namespace: squid (Basic, Digest, open) and tinyproxy (Basic, open)."""
import hashlib
import os
import re
import socket
import subprocess

import lab as labs
from kernel import run
from lab import wait_until

USER, PASSWORD, REALM = "alice", "s3cr:t p@ss/ü", "proxyvpn lab"
PORT = 3128
# As it is written in a URL (RFC 3986: percent-encoded UTF-8).
QUOTED = "alice:s3cr%3At%20p%40ss%2F%C3%BC"


class RealProxy:
    """A running proxy process; `url` and `log` are what a test needs."""

    def __init__(self, lab, argv, port, log, credentials):
        self.lab, self.port, self.log_path = lab, port, log
        self.credentials = credentials
        self.endpoints = [(address, port) for address in labs.PROXY]
        self.argv = lab.proxy.argv(argv)
        self.output = lab.path("proxy", f"output-{port}")
        self.process = None
        self.start()
        lab.on_close(self.stop)

    def start(self):
        with open(self.output, "ab") as file:
            self.process = subprocess.Popen(self.argv, stdin=subprocess.DEVNULL, stdout=file, stderr=file)
        wait_until(self._answers, 30, f"{self.argv[3]} listens; see {self.output}")

    def _answers(self):
        assert self.process.poll() is None, f"the proxy ended: {open(self.output, encoding='utf-8', errors='replace').read()}"
        with self.lab.proxy.socket() as sock:
            sock.settimeout(1)
            return sock.connect_ex((labs.PROXY[0], self.port)) == 0

    def url(self, six=False, credentials=None):
        host = f"[{labs.PROXY[1]}]" if six else labs.PROXY[0]
        user = self.credentials if credentials is None else credentials
        return f"http://{user + '@' if user else ''}{host}:{self.port}"

    def log(self):
        try:
            with open(self.log_path, encoding="utf-8", errors="replace") as file:
                return file.read()
        except FileNotFoundError:
            return ""

    def connects(self):
        """The targets of CONNECT requests in the log."""
        return re.findall(r"CONNECT (\S+)", self.log())

    def stop(self):
        """SIGKILL: the proxy is gone from one moment to the next."""
        if self.process and self.process.poll() is None:
            children = run(["ps", "-o", "pid=", "--ppid", str(self.process.pid)], check=False).stdout.split()
            self.process.kill()
            for child in children:
                try:
                    os.kill(int(child), 9)
                except ProcessLookupError:
                    pass
        if self.process:
            self.process.wait(10)


def squid(lab, auth="basic", port=PORT, extra="", rules=""):
    """auth: "basic", "digest" or None. `rules` come before those that allow, `extra` behind everything."""
    folder = os.path.dirname(lab.path(f"squid-{port}", "x"))
    os.chmod(folder, 0o777)
    lines = []
    if auth == "basic":
        with open(f"{folder}/users", "w", encoding="utf-8") as file:
            file.write(f"{USER}:{_apr1(PASSWORD)}\n")
        lines += [f"auth_param basic program /usr/lib/squid/basic_ncsa_auth {folder}/users",
                  f"auth_param basic realm {REALM}", "auth_param basic utf8 on", "auth_param basic children 2"]
    if auth == "digest":
        ha1 = hashlib.md5(f"{USER}:{REALM}:{PASSWORD}".encode()).hexdigest()
        with open(f"{folder}/users", "w", encoding="utf-8") as file:
            file.write(f"{USER}:{REALM}:{ha1}\n")
        lines += [f"auth_param digest program /usr/lib/squid/digest_file_auth -c {folder}/users",
                  f"auth_param digest realm {REALM}", "auth_param digest utf8 on", "auth_param digest children 2",
                  # Few uses per nonce: stale nonces are met all the time.
                  "auth_param digest nonce_max_count 20", "auth_param digest nonce_max_duration 2 minutes"]
    lines += [rules] if rules else []
    lines += ["acl users proxy_auth REQUIRED", "http_access allow users"] if auth else ["http_access allow all"]
    lines += ["http_access deny all", *(f"http_port {_bracket(a)}:{port}" for a in labs.PROXY),
              "cache deny all", "cache_mem 8 MB", "memory_pools off", f"pid_filename {folder}/pid",
              f"access_log stdio:{folder}/access.log", f"cache_log {folder}/cache.log", "cache_store_log none",
              "buffered_logs off", "shutdown_lifetime 0 seconds", "visible_hostname proxy.test", "hosts_file none",
              f"dns_nameservers {labs.DNS[0]}", "connect_timeout 3 seconds", "forward_timeout 4 seconds",
              "connect_retries 0", f"coredump_dir {folder}", "pinger_enable off", "netdb_filename none",
              "max_filedescriptors 4096", "client_idle_pconn_timeout 2 minutes", extra]
    with open(f"{folder}/squid.conf", "w", encoding="utf-8") as file:
        file.write("\n".join(lines) + "\n")
    return RealProxy(lab, ["/usr/sbin/squid", "-N", "-f", f"{folder}/squid.conf"], port,
                     f"{folder}/access.log", QUOTED if auth else "")


def _apr1(password):
    return run(["openssl", "passwd", "-apr1", "-stdin"], input=password + "\n").stdout.strip()


def _bracket(address):
    return f"[{address}]" if ":" in address else address


def tinyproxy(lab, auth=True, port=8888):
    """Listens on both families; its user's password has no characters that its file format refuses."""
    folder = os.path.dirname(lab.path(f"tinyproxy-{port}", "x"))
    os.chmod(folder, 0o777)
    lines = ["User nobody", "Group nogroup", f"Port {port}", *(f"Listen {a}" for a in labs.PROXY),
             "Timeout 600", f'LogFile "{folder}/log"', "LogLevel Connect", "MaxClients 400"]
    lines += [f"BasicAuth {USER} plain-secret"] if auth else []
    with open(f"{folder}/conf", "w", encoding="utf-8") as file:
        file.write("\n".join(lines) + "\n")
    return RealProxy(lab, ["/usr/bin/tinyproxy", "-d", "-c", f"{folder}/conf"], port, f"{folder}/log",
                     f"{USER}:plain-secret" if auth else "")


def reaches(lab, proxy, url, *options):
    """curl of the router's side through the proxy (control: without the product)."""
    return run(lab.lan.argv(["curl", "-sS", "--max-time", "20", "-p", "-x", proxy.url(), *options, url]),
               env={"PATH": os.environ["PATH"], "HOME": lab.work})


def port_is_open(namespace, address, port):
    with namespace.socket(socket.AF_INET6 if ":" in address else socket.AF_INET) as sock:
        sock.settimeout(1)
        return sock.connect_ex((address, port)) == 0
