"""The list of system calls that a worker may make, against those that it makes."""
import os
import re
import shutil
import signal
import subprocess

import client
import lab as labs
import product
import scenes
import servers
from cases import Skip, case
from client import VIA_PROXY, both, expect_refused, expect_way
from lab import wait_until
from load import Load

SOURCE = os.path.join(os.path.dirname(__file__), "..", "..", "src", "app", "seccomp_filter.cc")
# On the list and not to be seen in a healthy life, each with its reason.
UNSEEN = {
    "rt_sigprocmask": "abort(3)", "getpid": "abort(3)", "gettid": "abort(3)", "tgkill": "abort(3)",
    "clock_gettime": "the vDSO answers, but not with every clock source",
    "epoll_pwait": "epoll_wait(2) of C libraries and processors without it", "epoll_wait": "the other way round",
    "madvise": "malloc with huge pages", "restart_syscall": "only what was stopped while it waited",
    "brk": "the heap, when what it began with does not suffice", "munmap": "malloc keeps what it has",
    "mmap": "malloc of blocks that happen to be large",
}


def listed():
    with open(SOURCE, encoding="utf-8") as file:
        text = file.read()
    text = re.sub(r"#ifdef PROXYVPN_ADDRESS_SANITIZER\n    \{.*?#endif", "", text, flags=re.DOTALL)
    return set(re.findall(r"^    \{CALL\((\w+)\)", text, re.MULTILINE))


def calls_in_the_sandbox(path):
    """Names of the calls that a process made after it had installed its filter."""
    confined, seen = set(), set()
    with open(path, encoding="utf-8", errors="replace") as file:
        for line in file:
            found = re.match(r"(\d+)\s+(?:<\.\.\. )?(\w+)(?:\(| resumed>)", line)
            if not found:
                continue
            pid, name = found.groups()
            if name == "seccomp" and "SECCOMP_SET_MODE_FILTER" in line:
                confined.add(pid)
            elif pid in confined and name != "seccomp":
                seen.add(name)
    return seen


@case("seccomp_list_is_used", timeout=90)
def test_seccomp_list(lab):
    """Every listed call is made in a worker's life (strace), or stands in this file with its reason."""
    if product.is_sanitized():
        raise Skip("sanitizers make calls of their own")
    if not shutil.which("strace"):
        raise Skip("no strace here")
    # With Fast Open it is sendto(2) that connects.
    proxy, ours, daemon = scenes.start(lab, "--workers", "1", "--verbose", "--no-fast-open")
    sources, path = servers.serve(lab, labs.SOURCE, servers.source), lab.path("strace", "out")
    tracer = subprocess.Popen(["strace", "-f", "-qq", "-o", path, "-p", str(daemon.pid)], stdin=subprocess.DEVNULL)
    lab.on_close(tracer.kill)

    def is_traced():
        with open(f"/proc/{daemon.pid}/status", encoding="ascii") as file:
            return re.search(r"TracerPid:\s+[1-9]", file.read())
    wait_until(is_traced, 20, "strace is there")
    first = ours.workers(daemon.pid)
    os.kill(first[0], signal.SIGKILL)                  # its successor is traced from its first call on
    wait_until(lambda: (now := ours.workers(daemon.pid)) and now != first, 20, "the next worker")
    expect_way(both(lab, labs.WEB), VIA_PROXY)
    with Load(lab, threads=2, timeout=5) as load:
        load.wait(40)
    with client.connect(lab, labs.WEB[0], labs.SOURCE) as sock:      # bulk, half-close
        sock.sendall(f"{8 << 20}\n".encode())
        sock.shutdown(1)
        while sock.recv(1 << 20):
            pass
    sources.wait()
    proxy.stop()                                                     # a connection that fails
    expect_refused(both(lab, labs.WEB), within=60)
    scenes.finish(ours, daemon)
    tracer.wait(20)
    seen, names = calls_in_the_sandbox(path), listed()
    assert len(names) > 20 and {"read", "writev", "connect"} <= seen, f"nothing was traced: {seen}"
    idle = names - seen - set(UNSEEN)
    assert not idle, f"on the list, and never made: {sorted(idle)}"
    assert set(UNSEEN) <= names, f"not on the list any more: {sorted(set(UNSEEN) - names)}"
