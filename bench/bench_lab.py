"""Namespaces of the benchmark and the soak, and what runs in them.

    guest --- client ------------ proxy ------------ server
    172.30.0.2   192.168.90.2   .1 | 203.0.113.1   203.0.113.2

The product under test runs in `client`, beside the applications. The proxy host forwards nothing:
only what goes through the proxy reaches the server. `guest` is a machine (a container) behind the
client host, on a bridge as containers are. IPv6 beside it. Everything lives in the sandbox of the namespace tests: a PID, mount
and network world of its own, which ends with the run however the run ends.
"""
import contextlib
import json
import os
import resource
import select
import signal
import subprocess
import sys
import time

sys.dont_write_bytecode = True
HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.append(os.path.join(os.path.dirname(HERE), "tests", "netns"))
import kernel  # noqa: E402
import sandbox  # noqa: E402,F401

NET = {
    "client": "192.168.90.2", "proxy": "192.168.90.1", "uplink_net": "192.168.90.0/24", "uplink_net6": "fd90::/64",
    "server": "203.0.113.2", "server6": "2001:db8:113::2", "server_net": "203.0.113.0/24", "server_net6": "2001:db8:113::/64",
    "guest": "172.30.0.2", "guest_net": "172.30.0.0/24", "http_port": "3128", "socks_port": "1080",
    "redirect_port": "12345", "tun": "benchtun0", "tun_ip": "198.18.0.1", "tun_ip6": "fd18::1",
}
ECHO, ECHO_PORTS, SINK, CHECK, SOURCE = 7000, 16, 7100, 7101, 7102    # as in server.c
SYSCTLS = {
    "ipv4/ip_local_port_range": "1024 65535", "ipv4/tcp_tw_reuse": 1, "core/somaxconn": 65535,
    "ipv4/tcp_max_syn_backlog": 65535, "ipv4/tcp_rmem": "4096 131072 6291456", "ipv4/tcp_wmem": "4096 16384 4194304",
    "ipv4/tcp_max_tw_buckets": 4096,     # else each part pays for the TIME_WAITs of those before it
    "ipv6/conf/all/accept_dad": 0, "ipv6/conf/default/accept_dad": 0,
    "ipv6/conf/all/accept_ra": 0, "ipv6/conf/default/accept_ra": 0,
}
TICK, PAGE = os.sysconf("SC_CLK_TCK"), os.sysconf("SC_PAGE_SIZE")
TOOLS = {"load": ("load.c", "load_many.c", "load_bulk.c", "attempt.c", "net.c"), "server": ("server.c", "net.c"),
         "relay": ("relay.c", "splice_stream.c", "net.c")}
_processes = []


def say(text):
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


def build_tools(folder):
    """Compiles the C programs beside this file; {name: path}."""
    os.makedirs(folder, exist_ok=True)
    made = {}
    for name, files in TOOLS.items():
        made[name], sources = os.path.join(folder, name), [os.path.join(HERE, f) for f in files]
        inputs = [os.path.join(HERE, f) for f in os.listdir(HERE) if f.endswith((".c", ".h"))]
        if os.path.exists(made[name]) and all(os.path.getmtime(f) < os.path.getmtime(made[name]) for f in inputs):
            continue
        kernel.run([os.environ.get("CC", "cc"), "-std=c11", "-D_GNU_SOURCE", "-O2", "-Wall", "-Wextra", "-Werror", "-Wshadow",
                    "-o", made[name], *sources], timeout=120)
    return made


# -- processes -------------------------------------------------------------------------------------

def spawn(argv, **options):
    """Starts a session of its own; it ends with stop(), at the latest with the sandbox."""
    for stream in ("stdin", "stdout", "stderr"):
        options.setdefault(stream, subprocess.DEVNULL)
    process = subprocess.Popen(list(map(str, argv)), start_new_session=True, **options)
    _processes.append(process)
    return process


def stop(process, patience=10.0):
    """SIGTERM, then SIGKILL to the whole session. Seconds that it took, None when it had to be killed."""
    began, in_time = time.monotonic(), True
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
    try:
        process.wait(patience)
    except subprocess.TimeoutExpired:
        in_time = False
    for pid in session(process.pid):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    process.wait()
    for stream in (process.stdin, process.stdout):
        if stream:
            stream.close()
    _processes.remove(process)
    return time.monotonic() - began if in_time else None


def _read(path):
    with open(path, encoding="utf-8", errors="replace") as file:
        return file.read()


def _stat(pid):
    return _read(f"/proc/{pid}/stat").rpartition(")")[2].split()      # [0] is field 3 of proc(5)


def session(leader):
    """The processes of a session."""
    found = []
    for entry in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError, IndexError):
            fields = _stat(entry)
            if int(fields[3]) == leader and fields[0] != "Z":
                found.append(int(entry))
    return found


def cpu_seconds(leader):
    """User and system time of the living processes of a session, to the nanosecond where the kernel has it."""
    total = 0.0
    for pid in session(leader):
        with contextlib.suppress(OSError, ValueError):
            fields = _stat(pid)
            coarse = (int(fields[11]) + int(fields[12])) / TICK
            with contextlib.suppress(OSError, ValueError):
                fine = sum(int(_read(f"/proc/{pid}/task/{task}/schedstat").split()[0]) for task in os.listdir(f"/proc/{pid}/task")) / 1e9
                coarse = max(fine, coarse - 1.0 / TICK)      # threads that ended are in the coarse one only
            total += coarse
    return total


def rss_bytes(leader):
    total = 0
    for pid in session(leader):
        with contextlib.suppress(OSError):
            total += int(_read(f"/proc/{pid}/statm").split()[1]) * PAGE
    return total


def machine_busy():
    """Busy seconds of all cores together."""
    fields = [int(x) for x in _read("/proc/stat").split("\n", 1)[0].split()[1:9]]
    return (sum(fields) - fields[3] - fields[4]) / TICK


def dropped_packets():
    """Packets that a CPU's backlog had no room for (veth, loopback), on the whole machine."""
    return sum(int(row.split()[1], 16) for row in _read("/proc/net/softnet_stat").splitlines())


class Foreign:
    """How much of the machine others used: user time that is not of this sandbox, share of all cores."""

    def __init__(self):
        self.began, self.machine, self.own = time.monotonic(), self._machine(), self._own()

    @staticmethod
    def _machine():
        fields = _read("/proc/stat").split("\n", 1)[0].split()
        return (int(fields[1]) + int(fields[2])) / TICK

    @staticmethod
    def _own():
        total = time.process_time() + resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
        for process in _processes:
            for pid in session(process.pid):
                with contextlib.suppress(OSError, IndexError):
                    fields = _stat(pid)
                    total += (int(fields[11]) + int(fields[13])) / TICK
        return total

    def share(self):
        wall = time.monotonic() - self.began
        foreign = (self._machine() - self.machine) - (self._own() - self.own)
        return max(0.0, foreign) / max(wall, 0.01) / os.cpu_count()


# -- namespaces ------------------------------------------------------------------------------------

class Lab:
    def __init__(self, tools):
        self.tools, self.work = tools, sandbox.WORK
        self.client, self.proxy, self.server, self.guest = (kernel.NetNs(f"pvbench-{x}") for x in ("client", "proxy", "server", "guest"))
        self.congestion = "?"
        for namespace in (self.client, self.proxy, self.server, self.guest):
            namespace.sysctl(SYSCTLS)
            self._congestion(namespace)
        self.client.ip("link add up0 type veth peer name down0 netns pvbench-proxy", "link add guests type bridge",
                       "link add guest0 type veth peer name eth0 netns pvbench-guest", "link set guest0 master guests", "link set guest0 up")
        self.proxy.ip("link add srv0 type veth peer name eth0 netns pvbench-server")
        self._address(self.client, "up0", "192.168.90.2/24", "fd90::2/64")
        self._address(self.client, "guests", "172.30.0.1/24", "fd30::1/64")
        self._address(self.proxy, "down0", "192.168.90.1/24", "fd90::1/64")
        self._address(self.proxy, "srv0", "203.0.113.1/24", "2001:db8:113::1/64")
        self._address(self.server, "eth0", "203.0.113.2/24", "2001:db8:113::2/64")
        self._address(self.guest, "eth0", "172.30.0.2/24", "fd30::2/64")
        self.client.ip("route add default via 192.168.90.1", "-6 route add default via fd90::1")
        self.guest.ip("route add default via 172.30.0.1", "-6 route add default via fd30::1")
        self.proxy.ip("route add 172.30.0.0/24 via 192.168.90.2")
        self.client.sysctl({"ipv4/ip_forward": 1})
        with open("/etc/resolv.conf", "w", encoding="ascii") as file:
            file.write(f"nameserver {NET['server']}\n")

    def _congestion(self, namespace):
        """BBR, some machines' default, would add its pacing timers; cubic may be refused in a namespace."""
        for name in ("cubic", "reno"):
            with contextlib.suppress(OSError):
                namespace.sysctl({"ipv4/tcp_congestion_control": name})
                self.congestion = name
                return

    @staticmethod
    def _address(namespace, link, four, six):
        namespace.ip("link set lo up", f"link set {link} up", f"addr add {four} dev {link}", f"addr add {six} dev {link} nodad")

    def start_servers(self):
        server = spawn(self.server.argv([self.tools["server"], NET["server"], f"[{NET['server6']}]"]))
        relay = spawn(self.proxy.argv([self.tools["relay"], "--http", f"{NET['proxy']}:{NET['http_port']}",
                                       "--socks", f"{NET['proxy']}:{NET['socks_port']}"]))
        for process, port in ((server, SOURCE), (relay, int(NET["http_port"]))):
            if not listening(process.pid, port):
                raise RuntimeError(f"nothing listens on port {port} after 5 s")
        return server, relay

    def close(self):
        """Ends what runs in it and removes the namespaces, and with them what the kernel remembers of connections."""
        for process in list(_processes):
            stop(process, 2.0)
        for namespace in (self.client, self.proxy, self.server, self.guest):
            os.close(namespace.fd)
            kernel.run(["ip", "netns", "del", namespace.name])


def listening(pid, port, patience=5.0):
    """Waits until the port is listened on in the namespace of `pid`."""
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError):
            rows = [row.split() for row in _read(f"/proc/{pid}/net/tcp").splitlines()[1:]]
            if any(row[3] == "0A" and row[1].endswith(f":{port:04X}") for row in rows):
                return True
        time.sleep(0.01)
    return False


def established(pid, port):
    """Connections to a remote port that are not over, in the namespace of `pid`."""
    count = 0
    for name in ("tcp", "tcp6"):
        with contextlib.suppress(OSError):
            rows = [row.split() for row in _read(f"/proc/{pid}/net/{name}").splitlines()[1:]]
            count += sum(row[3] not in ("06", "0A") and row[2].endswith(f":{port:04X}") for row in rows)
    return count


class Holder:
    """Connections that `load hold` keeps open. Each process has a descriptor limit of its own."""

    def __init__(self, argv):
        self.process = spawn(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.opened = self._answer(60)

    def _answer(self, patience):
        if select.select([self.process.stdout], [], [], patience)[0]:
            line = self.process.stdout.readline()
            if line:
                return json.loads(line)
        return {"error": "no answer", "open": 0, "errors": 0, "alive": 0, "seconds": patience}

    def ask(self, line, patience=30):
        try:
            self.process.stdin.write(line + "\n")
            self.process.stdin.flush()
        except OSError:
            return {"error": "it ended", "alive": 0}
        return self._answer(patience)

    def close(self):
        with contextlib.suppress(OSError):
            self.process.stdin.close()
        self.process.stdin = None
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(10)
        stop(self.process, 1.0)
