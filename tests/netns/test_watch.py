"""`status --watch` in a real terminal (tmux), with thousands of flows."""
import json
import os
import re
import resource
import selectors
import socket
import subprocess
import threading
import time

import lab as labs
import product
import scripted_proxy
import test_status
from cases import Skip, case

BUSY = 5                    # of them, that get bytes all the time
BLOCKS = "▁▂▃▄▅▆▇█"


class HoldingProxy:
    """Agrees to every CONNECT and holds it, in one thread; sends bytes to the first few for ever."""

    def __init__(self, namespace, address, port=3128):
        self.listener = namespace.socket(socket.AF_INET, socket.SOCK_STREAM)
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.listener.bind((address, port))
        self.listener.listen(4096)
        self.listener.setblocking(False)
        self.held, self.stopped = [], False
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self):
        selector = selectors.DefaultSelector()
        selector.register(self.listener, selectors.EVENT_READ)
        while not self.stopped:
            for key, _ in selector.select(0.02):
                try:
                    if key.fileobj is self.listener:
                        conn, _ = self.listener.accept()
                        conn.setblocking(False)
                        selector.register(conn, selectors.EVENT_READ)
                    elif key.fileobj.recv(4096).endswith(b"\r\n\r\n"):
                        selector.unregister(key.fileobj)
                        key.fileobj.send(b"HTTP/1.1 200 OK\r\n\r\n")
                        self.held.append(key.fileobj)
                except OSError:
                    continue
            for conn in self.held[:BUSY]:
                try:
                    conn.send(b"x" * 20000)
                except OSError:
                    continue

    def close(self):
        self.stopped = True
        self.thread.join(10)
        for conn in [self.listener, *self.held]:
            conn.close()


def open_flows(lab, count):
    """Sockets of an application that connect at once and stay."""
    sockets = []
    for number in range(count):
        sock = lab.host.socket(socket.AF_INET, socket.SOCK_STREAM)
        sock.setblocking(False)
        error = sock.connect_ex((labs.WEB[0], 1 + number % 50000))
        assert error in (0, 115), os.strerror(error)
        sockets.append(sock)
        if number % 200 == 199:          # fewer at once than are dropped as too many
            time.sleep(0.02)
    return sockets


def drain(sock):
    try:
        sock.setblocking(True)
        while sock.recv(1 << 16):
            pass
    except OSError:
        pass


class Terminal:
    """A tmux of its own."""

    def __init__(self, lab, ours, width, height):
        self.lab, self.socket = lab, f"{lab.work}/tmux-{width}"
        self.environment = ours.environment({"TERM": "screen-256color", "SHELL": "/bin/sh"})
        command = " ".join([ours.binary, "status", "--watch"])
        script = f"trap : INT; {command}; echo ended=$?; stty -a; tput cnorm >/dev/null; exec sleep 600"
        self.tmux("-f", "/dev/null", "new-session", "-d", "-x", str(width), "-y", str(height), "sh", "-c", script)
        lab.on_close(lambda: self.tmux("kill-server", check=False))

    def tmux(self, *arguments, check=True):
        argv = self.lab.host.argv(["tmux", "-u", "-S", self.socket, *arguments])
        return subprocess.run(argv, capture_output=True, text=True, env=self.environment, check=check, timeout=20).stdout

    def screen(self):
        return self.tmux("capture-pane", "-p").rstrip("\n").split("\n")

    def history(self):
        """The screen and what has scrolled out of it: a small one does not hold all that is printed at the end."""
        return self.tmux("capture-pane", "-p", "-S", "-200").rstrip("\n").split("\n")

    def wait(self, pattern, timeout=20, look_at=None):
        """The screen, once the pattern is on it."""
        found = []

        def look():
            found[:] = (look_at or self.screen)()
            return re.search(pattern, "\n".join(found), re.M)
        try:
            labs.wait_until(look, timeout, f"{pattern!r} on the screen", step=0.1)
        except AssertionError as error:
            raise AssertionError(f"{error}\n" + "\n".join(found)) from None
        return found

    def pid(self):
        """Of the program that draws."""
        parent = int(self.tmux("display-message", "-p", "#{pane_pid}"))
        with open(f"/proc/{parent}/task/{parent}/children", encoding="ascii") as file:
            return int(file.read().split()[0])

    def ends_clean(self):
        """It has ended with 0, and the terminal is as before: the screen, echo, lines, the cursor."""
        printed = "\n".join(self.wait(r"^ended=0$[\s\S]*\bicanon\b[\s\S]*\bechoke\b", look_at=self.history))
        screen = "\n".join(self.screen())
        assert "APPLICATION" not in screen, f"the view stays on the screen:\n{screen}"
        assert re.search(r"(?<!-)\bicanon\b", printed) and re.search(r"(?<!-)\becho\b", printed), printed
        assert self.tmux("display-message", "-p", "#{cursor_flag} #{alternate_on}").split() == ["1", "0"]


def cpu_seconds(pid):
    with open(f"/proc/{pid}/stat", encoding="utf-8") as file:
        fields = file.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@case("status_watch_in_a_terminal", timeout=180, heavy=True)
def test_watch(lab):
    """status --watch at 80x24 and 200x50 with 5,000 flows: what it draws, resizing, keys, a clean end by q, Ctrl-C and SIGTERM."""
    # With sanitizers it is the drawing that is of interest, not the number.
    count = int(os.environ.get("PROXYVPN_TEST_FLOWS") or (1000 if product.is_sanitized() else 5000))
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    if most < 3 * count:
        raise Skip(f"{count} flows need {3 * count} descriptors, {most} may be had (ulimit -Hn)")
    ours, proxy = product.Product(lab), HoldingProxy(lab.proxy, labs.PROXY[0])
    lab.on_close(proxy.close)
    ours.up("--proxy-url", f"http://{labs.PROXY[0]}:3128", timeout=60)
    flows = open_flows(lab, count)
    labs.wait_until(lambda: len(proxy.held) == count, 90, f"{count} flows are open ({len(proxy.held)} now)")
    for sock in flows[:2 * BUSY]:        # those that get bytes are among the first
        threading.Thread(target=drain, args=(sock,), daemon=True).start()
    small = Terminal(lab, ours, 80, 24)
    drawn = small.wait(rf"showing \d+ of {count} flows$")
    lab.say("80x24:\n" + "\n".join(drawn))
    assert drawn[0].startswith("Up  since "), drawn[0]
    assert len(drawn) == 24 and max(map(len, drawn)) <= 80
    assert re.search(rf"^flows +{count} open, {count} in all", "\n".join(drawn), re.M)
    drawn = small.wait(rf"^down.*[{BLOCKS}]")
    titles = next(n for n, line in enumerate(drawn) if line.startswith("ID "))
    rows = drawn[titles + 1:23]
    assert len(rows) >= 8 and all(re.search(rf"\d+\.\d+ .* {re.escape(labs.WEB[0])}:\d+", row) for row in rows), drawn
    small.wait(rf"\({os.getpid()}\)")                          # whose the busiest are
    busiest = small.wait(r"^\d+\.\d+ .*[KM]iB/s$")[titles + 1:titles + 1 + BUSY]
    assert len(busiest) == BUSY, busiest
    assert all(re.search(r"[KM]iB/s$", row) for row in busiest), "the busiest are not on top:\n" + "\n".join(busiest)
    pid, before, began = small.pid(), cpu_seconds(small.pid()), time.monotonic()
    time.sleep(5)
    cost = 100 * (cpu_seconds(pid) - before) / (time.monotonic() - began)
    lab.say(f"status --watch with {count} flows: {cost:.1f} % of one core")
    assert cost < (25 if product.is_sanitized() else 5), f"status --watch with {count} flows takes {cost:.1f} % of one core"
    small.tmux("send-keys", "s")
    small.wait(r"sort: bytes")
    small.tmux("resize-window", "-x", "200", "-y", "50")
    drawn = small.wait(r"^ID +APPLICATION +TARGET +STATE +AGE +IDLE")
    lab.say("200x50:\n" + "\n".join(drawn))
    drawn = small.wait(rf"showing \d\d of {count} flows$")
    assert len(drawn) == 50 and max(map(len, drawn)) <= 200
    assert sum(any(block in line for block in BLOCKS) for line in drawn) >= 3, "the graphs did not grow"
    small.tmux("resize-window", "-x", "20", "-y", "5")         # too small for all, never too small to live
    small.wait(r"^Up")
    small.tmux("send-keys", "q")
    small.tmux("resize-window", "-x", "80", "-y", "24")
    small.ends_clean()
    large = Terminal(lab, ours, 200, 50)
    large.wait(r"STATE")
    large.tmux("send-keys", "C-c")
    large.ends_clean()
    third = Terminal(lab, ours, 100, 30)
    third.wait(r"APPLICATION")
    os.kill(third.pid(), 15)
    third.ends_clean()
    for sock in flows:
        sock.close()
    ours.down()


@case("status_watch_without_a_terminal", timeout=90)
def test_plain(lab):
    """status --watch into a pipe: the status again and again, --json one line each; both go on when a daemon ends."""
    ours, proxy = product.Product(lab), scripted_proxy.ScriptedProxy(lab)

    def watch(*arguments):
        process = subprocess.Popen(ours.argv(["status", "--watch", *arguments]), stdin=subprocess.DEVNULL, text=True,
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=ours.environment())
        lab.on_close(process.kill)
        return process

    def until(process, is_it, count=2):
        """Reads until `count` lines are what is waited for; each line that was read."""
        lines = []
        while sum(map(is_it, lines)) < count:
            line = process.stdout.readline()
            assert line, f"it ended: {process.stderr.read()}"
            lines.append(line)
        return lines

    def told(line):
        return test_status.checked(line, "status")["state_text"]

    plain, as_json = watch(), watch("--json")
    until(plain, lambda line: line == "Down\n")
    until(as_json, lambda line: told(line) == "Down")
    daemon = ours.up("--proxy-url", proxy.url())
    until(plain, lambda line: line == "Up\n")
    until(plain, lambda line: line.startswith("workers "), count=1)
    assert json.loads(until(as_json, lambda line: told(line) == "Up")[-1])["pid"] == daemon.pid
    ours.down()
    assert daemon.wait_exit() == 0
    until(plain, lambda line: line == "Down\n")
    until(as_json, lambda line: told(line) == "Down")
    for process in (plain, as_json):
        process.terminate()
        _, errors = process.communicate(timeout=20)
        assert process.returncode == 0 and errors == "", f"{process.returncode} {errors}"
