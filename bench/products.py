"""What is measured: how each product is started, and what has to be set up for those that don't do it.

Binaries are looked up on PATH; the settings are the products' own defaults, save for limits on the
number of connections. `direct` is the application speaking CONNECT by itself, `redirect-splice` the
kernel's own path: nftables REDIRECT to a relay on splice(2) that does nothing else.
"""
import json
import os
import resource
import shlex
import shutil
import subprocess
import time
from dataclasses import dataclass, field

import bench_lab
from bench_lab import NET

_NAT = """
table inet bench {{
  chain local {{ type nat hook output priority -100; {rules} }}
  chain forwarded {{ type nat hook prerouting priority -100; {rules} }}
}}
"""
_RULES = "ip daddr {server_net} meta l4proto tcp redirect to :{redirect_port}; ip6 daddr {server_net6} meta l4proto tcp redirect to :{redirect_port};"
NAT = _NAT.replace("{rules}", _RULES)
TUN_UP = (
    "tuntap add dev {tun} mode tun", "addr add {tun_ip}/32 dev {tun}", "addr add {tun_ip6}/128 dev {tun} nodad", "link set {tun} up",
    "rule add to {uplink_net} lookup main pref 10", "rule add to {guest_net} lookup main pref 11",
    "route add default dev {tun} table 20", "rule add lookup 20 pref 20",
    "-6 rule add to {uplink_net6} lookup main pref 10", "-6 route add default dev {tun} table 20", "-6 rule add lookup 20 pref 20")
TUN_DOWN = ("link del {tun}", "rule del pref 10", "rule del pref 11", "rule del pref 20", "-6 rule del pref 10", "-6 rule del pref 20")

REDSOCKS = """base {{ log_debug = off; log_info = off; log = "file:/dev/null"; daemon = off; redirector = iptables;
  redsocks_conn_max = 60000; rlimit_nofile = {limit}; }}
redsocks {{ local_ip = 0.0.0.0; local_port = {redirect_port}; ip = {proxy}; port = {http_port}; type = http-connect; listenq = 4096; }}
"""
HEV = """tunnel: {{ name: {tun}, mtu: 8500, ipv4: {tun_ip}, ipv6: '{tun_ip6}' }}
socks5: {{ address: {proxy}, port: {socks_port}, udp: 'udp' }}
misc: {{ log-level: error, limit-nofile: {limit} }}
"""
SING_BOX = json.dumps({
    "log": {"level": "error"},
    "inbounds": [{"type": "tun", "tag": "in", "interface_name": "<tun>", "address": ["172.18.0.1/30", "fdfe:dcba:9876::1/126"],
                  "auto_route": True, "route_exclude_address": ["<uplink_net>", "<guest_net>"]}],
    "outbounds": [{"type": "http", "tag": "out", "server": "<proxy>", "server_port": 3128}],
    "route": {"auto_detect_interface": True, "final": "out"}})


@dataclass
class Kind:
    binary: str
    command: str
    files: dict = field(default_factory=dict)
    nat: bool = False        # wants the REDIRECT rules
    tun: bool = False        # wants a TUN and routes to be made for it
    after: tuple = ()        # `ip` lines once it runs: it sets up its device anew
    settle: float = 0.0      # seconds before these
    note: str = ""


KINDS = {
    "redirect-splice": Kind("relay", "{binary} --redirect 0.0.0.0:{redirect_port} {proxy}:{http_port}"
                            " --redirect [::]:{redirect_port} {proxy}:{http_port}", nat=True, note="nftables REDIRECT, own relay on splice(2), 4 processes"),
    "proxyvpn": Kind("proxyvpn", "{binary} up --proxy-url http://{proxy}:{http_port} --state-dir {work}/state --tun-name {tun} {more}",
                     note="its own routes, rules and killswitch"),
    "redsocks": Kind("redsocks", "{binary} -c {work}/redsocks.conf", {"redsocks.conf": REDSOCKS}, nat=True, note="nftables REDIRECT, HTTP CONNECT"),
    "hev-socks5-tunnel": Kind("hev-socks5-tunnel", "{binary} {work}/hev.yml", {"hev.yml": HEV}, tun=True, note="TUN, lwIP, SOCKS5"),
    "tun2socks": Kind("tun2socks", "{binary} --device {tun} --proxy http://{proxy}:{http_port} --loglevel error", tun=True, note="TUN, gVisor, HTTP CONNECT"),
    "tun2proxy": Kind("tun2proxy-bin", "{binary} --tun {tun} --proxy http://{proxy}:{http_port} --dns direct --ipv6-enabled"
                      " --max-sessions 65535 --verbosity off", tun=True, settle=0.3,
                      after=("route replace default dev {tun} table 20", "-6 route replace default dev {tun} table 20"), note="TUN, ipstack, HTTP CONNECT"),
    "sing-box": Kind("sing-box", "{binary} run -c {work}/sing-box.json", {"sing-box.json": SING_BOX}, note="TUN, its default stack, HTTP CONNECT"),
}


class Product:
    """One product at work in the client namespace; `direct` runs nothing."""

    def __init__(self, lab, name, kind=None, binary="", more=""):
        self.lab, self.name, self.kind = lab, name, kind
        self.direct = kind is None
        self.process = None
        self.values = dict(NET, binary=binary, more=more, work=os.path.join(lab.work, name),
                           limit=resource.getrlimit(resource.RLIMIT_NOFILE)[1])

    def start(self):
        """Starts it; the CLOCK_MONOTONIC nanoseconds at which it was. first() tells when it works."""
        if self.direct:
            return time.monotonic_ns()
        os.makedirs(self.values["work"], exist_ok=True)
        for name, text in self.kind.files.items():
            with open(f"{self.values['work']}/{name}", "w", encoding="ascii") as file:
                file.write(self._fill_marks(text) if text.startswith("{\"") else text.format(**self.values))
        client = self.lab.client
        if self.kind.nat:
            client.run(["nft", "-f", "-"], input=NAT.format(**self.values))
        if self.kind.tun:
            client.ip(*(line.format(**self.values) for line in TUN_UP))
        began = time.monotonic_ns()
        with open(f"{self.values['work']}/log", "ab") as log:
            self.process = bench_lab.spawn(client.argv(shlex.split(self.kind.command.format(**self.values))),
                                           stdout=log, stderr=subprocess.STDOUT, cwd="/")
        if self.kind.after:
            time.sleep(self.kind.settle)
            client.ip(*(line.format(**self.values) for line in self.kind.after))
        return began

    def _fill_marks(self, text):
        for key, value in self.values.items():
            text = text.replace(f"<{key}>", str(value))
        return text

    def stop(self):
        """Seconds until it had ended."""
        if self.direct or not self.process:
            return None
        took = bench_lab.stop(self.process)
        self.process = None
        if self.kind.nat:
            self.lab.client.run(["nft", "delete", "table", "inet", "bench"])
        if self.kind.tun:
            for line in TUN_DOWN:      # what the product removed by itself is gone already
                self.lab.client.run(["ip", *line.format(**self.values).split()], check=False)
        return took

    def log_tail(self):
        try:
            with open(f"{self.values['work']}/log", encoding="utf-8", errors="replace") as file:
                return file.read()[-1500:]
        except OSError:
            return ""

    def running(self):
        return self.process is not None and self.process.poll() is None

    def cpu(self):
        return bench_lab.cpu_seconds(self.process.pid) if self.process else 0.0

    def rss(self):
        return bench_lab.rss_bytes(self.process.pid) if self.process else 0

    # -- load --------------------------------------------------------------------------------------

    def load_argv(self, mode, port, *arguments, family=4, guest=False):
        host = NET["server"] if family == 4 else f"[{NET['server6']}]"
        argv = [self.lab.tools["load"], mode, "--to", f"{host}:{port}", *map(str, arguments)]
        if port == bench_lab.ECHO:
            argv += ["--ports", str(bench_lab.ECHO_PORTS)]
        if self.direct:
            argv += ["--via", f"{NET['proxy']}:{NET['http_port']}"]
        return (self.lab.guest if guest else self.lab.client).argv(argv)

    def load(self, mode, port, *arguments, patience=60, **where):
        """Runs the load generator to its end; its answer as a dictionary."""
        try:
            done = subprocess.run(self.load_argv(mode, port, *arguments, **where), capture_output=True, text=True,
                                  timeout=patience, check=False, stdin=subprocess.DEVNULL)
            return json.loads(done.stdout.strip().splitlines()[-1])
        except (subprocess.TimeoutExpired, ValueError, IndexError):
            return {"error": f"load {mode}: no answer"}

    def first(self, since, seconds=5):
        return self.load("first", bench_lab.ECHO, "--since", since, "--seconds", seconds).get("ms")


def choose(lab, names, binary, variants):
    """The products to measure, yardsticks first; those that are not installed are named, not fatal."""
    chosen = [Product(lab, "direct"), Product(lab, "redirect-splice", KINDS["redirect-splice"], lab.tools["relay"])]
    for name, kind in KINDS.items():
        if name == "redirect-splice" or (names and name not in names):
            continue
        path = binary if name == "proxyvpn" else shutil.which(kind.binary)
        if not path or not os.access(path, os.X_OK):
            bench_lab.say(f"{name}: '{kind.binary}' is not installed; left out")
            continue
        chosen.append(Product(lab, name, kind, path))
    for name, text in variants.items():
        words = text.split()
        other = words.pop(0) if words and words[0].startswith("/") else binary
        chosen.append(Product(lab, name, KINDS["proxyvpn"], other, " ".join(words)))
    return chosen
