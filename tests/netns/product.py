"""The product as its users run it: up, down, logs, processes."""
import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import time

import kernel
import sandbox
from lab import wait_until

STATE_DIR = "/run/proxyvpn"
TUN, TABLE = "tun0", 28790
SANITIZER = re.compile(r"(ERROR: (Address|Leak|Thread|Memory|UndefinedBehavior)Sanitizer|runtime error:|AddressSanitizer:|LeakSanitizer:|^={60})", re.MULTILINE)
_daemons = []


class Daemon:
    """One run of `proxyvpn up`."""

    def __init__(self, product, process, log, notify):
        self.product, self.process, self.log_path, self.notify = product, process, log, notify
        self.notices = []
        _daemons.append(self)

    @property
    def pid(self):
        return self.process.pid

    def log(self):
        with open(self.log_path, encoding="utf-8", errors="replace") as file:
            return file.read()

    def wait_log(self, pattern, timeout=15, count=1):
        """The matches of the pattern in the output, once there are `count`."""
        compiled, deadline = re.compile(pattern, re.MULTILINE), time.monotonic() + timeout
        while len(found := compiled.findall(self.log())) < count:
            assert time.monotonic() < deadline, f"not {count} x {pattern!r} in the output within {timeout} s:\n{self.log()}"
            time.sleep(0.02)
        return found

    def is_ready(self):
        try:
            while True:
                self.notices.append(self.notify.recv(4096).decode("utf-8", "replace"))
        except BlockingIOError:
            pass
        return any("READY=1" in notice.split("\n") for notice in self.notices)

    def wait_ready(self, timeout=30):
        def look():
            if self.is_ready():
                return True
            if self.process.poll() is not None:
                raise AssertionError(f"proxyvpn up ended with {self.process.returncode}:\n{self.log()}")
            return False
        wait_until(look, timeout, "proxyvpn up says READY=1")
        return self

    def wait_exit(self, timeout=30):
        try:
            return self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"proxyvpn up still runs after {timeout} s:\n{self.log()}") from None

    def stop(self, number=signal.SIGTERM, timeout=30):
        """Ends it like a person with Ctrl-C or a service manager; the exit status."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.wait_exit(timeout)

    def kill(self):
        """SIGKILL to the supervisor alone."""
        self.process.kill()
        self.process.wait(10)


class Product:
    def __init__(self, lab, user=None):
        self.lab, self.user = lab, user
        self.binary = os.environ["PROXYVPN_BIN"]
        self.secrets = []          # words that must never be readable; checked at the end
        if user:
            self._install()
        lab.on_close(self.end_all)

    def _install(self):
        """As install.sh does: 0750 root:proxyvpn with the file capability, and a state directory."""
        os.makedirs("/run/lab/bin", exist_ok=True)
        target = "/run/lab/bin/proxyvpn"
        shutil.copyfile(self.binary, target)
        os.chown(target, 0, sandbox.GROUP_GID)
        os.chmod(target, 0o750)
        kernel.run(["setcap", "cap_net_admin=eip", target])
        os.makedirs(STATE_DIR, exist_ok=True)
        os.chown(STATE_DIR, 0, sandbox.GROUP_GID)
        os.chmod(STATE_DIR, 0o2770)      # as pkg/proxyvpn.tmpfiles says
        self.binary = target

    def argv(self, arguments, user=None, prefix=()):
        user = user or self.user
        change = []
        if user:
            uid, groups = {"pvtest": (sandbox.TEST_UID, str(sandbox.GROUP_GID)),
                           "pvother": (sandbox.OTHER_UID, "")}[user]
            change = ["setpriv", f"--reuid={uid}", f"--regid={uid}",
                      f"--groups={groups}" if groups else "--clear-groups",
                      # setpriv keeps root's capabilities up to its execve(2), which would pass the
                      # binary's mode and count for its file capability; this exec drops them first.
                      "sh", "-c", 'exec "$@"', "sh"]
        return self.lab.host.argv([*prefix, *change, self.binary, *arguments])

    def environment(self, more=None):
        environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/run/lab", "LANG": "C.UTF-8",
                       "ASAN_OPTIONS": os.environ.get("ASAN_OPTIONS", "abort_on_error=0"),
                       "UBSAN_OPTIONS": "print_stacktrace=1"}
        environment.update(more or {})
        return environment

    def start(self, *arguments, env=None, user=None, prefix=(), command="up", stdin=subprocess.DEVNULL, output=None):
        """Starts `proxyvpn up` and does not wait. `output`: a descriptor in place of the log file."""
        number = len(_daemons) + 1
        log, path = self.lab.path("logs", f"up-{number}"), f"{self.lab.work}/notify-{number}"
        notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        notify.bind(path)
        os.chmod(path, 0o777)
        notify.setblocking(False)
        extra = os.environ.get("PROXYVPN_TEST_ARGS", "").split()    # for runs by hand: "--no-offload"
        argv = self.argv(([command] if command else []) + list(map(str, arguments)) + extra, user, prefix)
        self.lab.say("run " + " ".join(argv))
        with open(log, "ab") as file:    # several write: none may overwrite another's lines
            process = subprocess.Popen(argv, stdin=stdin, stdout=file if output is None else output, stderr=subprocess.STDOUT, cwd="/",
                                       env=self.environment({"NOTIFY_SOCKET": path, **(env or {})}))
        return Daemon(self, process, log, notify)

    def up(self, *arguments, timeout=30, **options):
        """Starts it and waits until it says that it is ready."""
        return self.start(*arguments, **options).wait_ready(timeout)

    def run(self, *arguments, env=None, user=None, timeout=30, prefix=(), **options):
        """Any other command, to its end; .returncode, .stdout, .stderr."""
        argv = self.argv(list(map(str, arguments)), user, prefix)
        done = kernel.run(argv, check=False, timeout=timeout, env=self.environment(env), cwd="/", **options)
        self.lab.say(f"{' '.join(argv[3:])}: exit {done.returncode} {done.stdout}{done.stderr}")
        _check_sanitizer(" ".join(map(str, arguments)), (done.stdout or "") + (done.stderr or ""))
        return done

    def run_as_stranger(self, *arguments, **options):
        """As run(), by a user who may not command the daemon, with a copy of the binary that anybody may execute.

        The installed one is closed to strangers: a failure of it would say nothing about the daemon.
        """
        os.makedirs("/run/lab/open", exist_ok=True)
        copy = Product.__new__(Product)
        copy.lab, copy.user, copy.secrets = self.lab, None, self.secrets
        copy.binary = shutil.copy(os.environ["PROXYVPN_BIN"], "/run/lab/open/proxyvpn")
        os.chmod(copy.binary, 0o755)
        done = copy.run("--version", user="pvother")
        assert done.returncode == 0, f"a stranger cannot execute the copy: {done.stdout}{done.stderr}"
        return copy.run(*arguments, user="pvother", **options)

    def down(self, *arguments, **options):
        """`proxyvpn down`, which must always exit 0."""
        done = self.run("down", *arguments, **options)
        assert done.returncode == 0, f"proxyvpn down: exit {done.returncode}: {done.stdout}{done.stderr}"
        return done

    # -- processes -----------------------------------------------------------------------------

    def pids(self):
        """{pid: parent} of every process that runs the binary."""
        found = {}
        for entry in filter(str.isdigit, os.listdir("/proc")):
            try:
                if os.readlink(f"/proc/{entry}/exe").removesuffix(" (deleted)") != os.path.realpath(self.binary):
                    continue
                with open(f"/proc/{entry}/stat", encoding="utf-8", errors="replace") as file:
                    fields = file.read().rpartition(")")[2].split()
                if fields[0] != "Z":
                    found[int(entry)] = int(fields[1])
            except OSError:
                continue
        return found

    def workers(self, supervisor):
        """The data plane: children of the supervisor that hold a TUN queue."""
        result = []
        for pid, parent in sorted(self.pids().items()):
            if parent == supervisor and any(link.endswith("/net/tun") for link in descriptors(pid)):
                result.append(pid)
        return result

    def wait_gone(self, timeout=15):
        wait_until(lambda: not self.pids(), timeout, f"no proxyvpn process is left: {self.pids()}")

    def end_all(self):
        for pid in self.pids():
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass


def descriptors(pid):
    """What its descriptors point to. Those that are closed while we look are left out, no more."""
    links = []
    with contextlib.suppress(OSError):       # the process is gone
        for number in os.listdir(f"/proc/{pid}/fd"):
            with contextlib.suppress(OSError):
                links.append(os.readlink(f"/proc/{pid}/fd/{number}"))
    return links


def rss(pid):
    """Resident bytes of a process, without file pages."""
    with open(f"/proc/{pid}/status", encoding="ascii", errors="replace") as file:
        return int(re.search(r"RssAnon:\s+(\d+)", file.read())[1]) * 1024


def is_sanitized(binary=None):
    """True for a build with AddressSanitizer."""
    with open(binary or os.environ["PROXYVPN_BIN"], "rb") as file:
        return b"__asan_init" in file.read()


def wants_hooks():
    """True when the binary has the crash hooks of the tests."""
    with open(os.environ["PROXYVPN_BIN"], "rb") as file:
        return b"PROXYVPN_TEST_CRASH_AFTER_STEP" in file.read()


def _check_sanitizer(what, text):
    found = SANITIZER.search(text)
    assert not found, f"a sanitizer's report in {what}:\n{text[max(0, found.start() - 200):found.start() + 4000]}"


def check_logs(_lab):
    for daemon in _daemons:
        _check_sanitizer(daemon.log_path, daemon.log())
        for secret in daemon.product.secrets:
            assert secret, "an empty secret is in everything"
            assert secret not in daemon.log(), f"the secret {secret!r} stands in {daemon.log_path}"


def show_logs():
    for daemon in _daemons:
        text = daemon.log()
        print(f"--- {daemon.log_path} (exit {daemon.process.poll()}):\n{text[-6000:]}")


def settle(seconds=0.05):
    """For what can only be shown by nothing happening."""
    time.sleep(seconds)
