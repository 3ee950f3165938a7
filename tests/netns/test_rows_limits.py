"""Matrix rows 38 and 68: memory that runs out, processes that are frozen, clocks that jump."""
import os
import time

import client
import lab as labs
import product
import scenes
import servers
from cases import Skip, case
from client import DIRECT, VIA_PROXY, both, expect_way
from control_group import Group
from lab import wait_until
from load import Load

BIG = 64 << 20


def stalled_downloads(lab, enough):
    """Applications that ask for much and read nothing, so that the data plane holds it for them, until enough()."""
    held, end = [], time.monotonic() + 40
    while not enough() and time.monotonic() < end:
        try:
            sock = client.connect(lab, labs.WEB[len(held) % 2], labs.SOURCE, timeout=0.5)
            sock.sendall(f"{BIG}\n".encode())
            held.append(sock)
        except OSError:
            pass               # what the test is about
    for sock in held:
        sock.close()
    assert enough(), f"{len(held)} stalled downloads were not enough"


def end_well(lab, ours, daemon, proxy):
    """Traffic flows again: by itself, or, when the supervisor was the one that had to go, after `up`."""
    if daemon.process.poll() is not None:
        for result in both(lab, labs.WEB):
            assert result.kind == "ERROR", f"open after the death of the supervisor: {result}"
        daemon = ours.up("--proxy-url", proxy.url())
    wait_until(lambda: all(r.kind == VIA_PROXY for r in both(lab, labs.WEB, timeout=5)), 60, "traffic flows again")
    scenes.finish(ours, daemon)


@case("row_38_memory_of_a_group", timeout=90)
def test_row_38_group(lab):
    """A control group out of memory: the kernel kills a process of ours, nothing in clear, and traffic flows again."""
    proxy, ours, daemon = scenes.start(lab)
    servers.serve(lab, labs.SOURCE, servers.source)
    group = Group(lab, "memory")
    group.add(ours.pids())
    with lab.capture(proxies=proxy.endpoints):
        with Load(lab, threads=3, udp=True, timeout=3) as load:
            load.wait_proxied()
            # Memory that was taken before counts for the old group: all of this is growth.
            group.limit_memory(group.memory() + (12 << 20))
            stalled_downloads(lab, group.out_of_memory)
            group.limit_memory(None)
            load.wait(20)
        assert load.results[DIRECT] == 0, load.results
        end_well(lab, ours, daemon, proxy)


@case("row_38_memory_of_a_process", timeout=90)
def test_row_38_process(lab):
    """Data segments limited (RLIMIT_DATA): allocations fail, a worker may die of it, nothing in clear, traffic flows again."""
    if product.is_sanitized():
        raise Skip("a sanitizer reserves its shadow memory as data")
    proxy, ours, daemon = scenes.start(lab, "--workers", "1", prefix=("prlimit", f"--data={24 << 20}"))
    servers.serve(lab, labs.SOURCE, servers.source)
    with lab.capture(proxies=proxy.endpoints):
        with Load(lab, threads=3, udp=True, timeout=3) as load:
            load.wait_proxied()
            stalled_downloads(lab, lambda: "a worker was killed" in daemon.log())
            load.wait(20)
        assert load.results[DIRECT] == 0, load.results
        assert daemon.process.poll() is None, "the supervisor, which allocates nothing for traffic, has died of it"
        end_well(lab, ours, daemon, proxy)


@case("row_68_frozen", timeout=60)
def test_row_68_frozen(lab):
    """The daemon frozen by the control group freezer: shut meanwhile, the held connection and new ones flow afterwards."""
    proxy, ours, daemon = scenes.start(lab)
    group = Group(lab, "freezer")
    everyone = ours.pids()
    group.add(everyone)
    held = client.connect(lab, labs.WEB[0], labs.WHO)
    servers.read_line(held)
    with lab.capture(proxies=proxy.endpoints):
        group.freeze(True)
        with Load(lab, threads=4, udp=True, timeout=0.3) as load:
            load.wait(30)
        assert load.results[DIRECT] == 0 and load.results[VIA_PROXY] == 0, load.results
        group.freeze(False)
        wait_until(lambda: all(r.kind == VIA_PROXY for r in both(lab, labs.WEB, timeout=5)), 30, "traffic flows after the thaw")
        held.sendall(b"still?")
        assert client.read_exactly(held, 6) == b"still?", "the held connection did not survive"
    assert set(everyone) <= set(ours.pids()), "a process was taken for hung"
    scenes.finish(ours, daemon)


CLOCK = r"""
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>
static volatile long *shift;
__attribute__((constructor)) static void map(void) {
  int fd = open(getenv("CLOCK_SHIFT"), O_RDONLY);
  void *page = mmap(0, 4096, PROT_READ, MAP_SHARED, fd, 0);
  if (page != MAP_FAILED) shift = page;
}
int clock_gettime(clockid_t clock, struct timespec *now) {
  int rc = syscall(SYS_clock_gettime, clock, now);
  if (rc == 0 && shift && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) now->tv_sec += *shift;
  return rc;
}
time_t time(time_t *out) {
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  if (out) *out = now.tv_sec;
  return now.tv_sec;
}
int gettimeofday(struct timeval *out, void *zone) {
  struct timespec now;
  (void)zone;
  clock_gettime(CLOCK_REALTIME, &now);
  out->tv_sec = now.tv_sec;
  out->tv_usec = now.tv_nsec / 1000;
  return 0;
}
"""


def jumping_clock(lab):
    """A library that adds the first eight bytes of a file to the wall clock; (environment, function to set it)."""
    source, library, page = (lab.path("clock", name) for name in ("clock.c", "clock.so", "shift"))
    with open(source, "w", encoding="ascii") as file:
        file.write(CLOCK)
    labs.kernel.run(["cc", "-shared", "-fPIC", "-O1", "-o", library, source])
    with open(page, "wb") as file:
        file.write(bytes(4096))

    def jump(seconds):
        with open(page, "r+b") as file:
            file.write(int(seconds).to_bytes(8, "little", signed=True))
    return {"LD_PRELOAD": library, "CLOCK_SHIFT": page}, jump


@case("row_68_clock_jumps", timeout=60)
def test_row_68_clock(lab):
    """The wall clock jumps by years, both ways: no worker is taken for hung, nothing times out early or never, traffic flows."""
    if product.is_sanitized():
        raise Skip("a sanitizer wants to be the first library")
    environment, jump = jumping_clock(lab)
    proxy, ours, daemon = scenes.start(lab, "--connect-timeout", "2", env=environment)
    everyone = set(ours.pids())
    held = client.connect(lab, labs.WEB[0], labs.WHO)
    servers.read_line(held)
    with lab.capture(proxies=proxy.endpoints):
        for seconds in (10 * 365 * 86400, -20 * 365 * 86400, 90, 0):
            jump(seconds)
            expect_way(both(lab, labs.WEB), VIA_PROXY)
            time.sleep(1.2)                # more than a tick of the supervisor and a beat of a worker
        assert set(ours.pids()) == everyone, f"processes came or went:\n{daemon.log()}"
        held.sendall(b"still?")
        assert client.read_exactly(held, 6) == b"still?", "the held connection did not survive"
    assert "worker" not in daemon.log(), daemon.log()
    jump(10 * 365 * 86400)
    scenes.finish(ours, daemon)


@case("row_39_hung_supervisor", timeout=90)
def test_hung_supervisor(lab):
    """The service manager's watchdog: fed while all is well, not by a supervisor that hangs; killed by it, the machine is shut."""
    proxy, ours, daemon = scenes.start(lab, env={"WATCHDOG_USEC": "1000000"})

    def fed():
        daemon.is_ready()                  # reads what has come
        return sum(notice.split("\n").count("WATCHDOG=1") for notice in daemon.notices)
    count = fed()
    wait_until(lambda: fed() >= count + 3, 30, "the watchdog is fed")
    with lab.capture(proxies=proxy.endpoints):
        with Load(lab, threads=3, udp=True, timeout=0.5) as load:
            load.wait_proxied()
            os.kill(daemon.pid, 19)        # SIGSTOP
            time.sleep(0.2)
            count = fed()
            load.wait(50)
            time.sleep(1.5)
            assert fed() == count, "a supervisor that does nothing feeds the watchdog"
            os.kill(daemon.pid, 6)         # what systemd sends then: SIGABRT, and after a while SIGKILL
            os.kill(daemon.pid, 9)
            daemon.process.wait(30)
            ours.wait_gone()
            load.wait(50)
            daemon = ours.up("--proxy-url", proxy.url())
            load.wait_proxied()
        assert load.results[DIRECT] == 0, load.results
    scenes.finish(ours, daemon)
