#!/usr/bin/env python3
"""A soak of proxyvpn: mixed connections with churn, stalls and resets beside held ones, for a time.

  bench/soak.py --binary build/release/bin/proxyvpn --seconds 1800 --held 10000

It passes (exit status 0) when no connection failed and every byte was right, all held connections
are alive at the end, memory is flat, no connection is left over, every process has the descriptors
it began with, no worker was replaced, and `up` ends in good order. Runs in a sandbox of namespaces.
Exit status: 0 passed, 77 no namespaces here, anything else failed.
"""
import argparse
import os
import re
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time

import bench_lab
import products
import soak_client
from bench_lab import ECHO, NET, Holder, sandbox, say

SETTLE = 45              # seconds in which everything has to be back where it began
SPARE_DESCRIPTORS = 40   # per process: the stock of sockets that a worker keeps ready (16 per family)
REPORT = re.compile(r"(ERROR: \w+Sanitizer|runtime error:)")


def descriptors(leader):
    counts = {}
    for pid in bench_lab.session(leader):
        try:
            counts[pid] = len(os.listdir(f"/proc/{pid}/fd"))
        except OSError:
            continue
    return counts


class Watch(threading.Thread):
    """Memory and descriptors, once a second."""

    def __init__(self, leader):
        super().__init__(daemon=True)
        self.leader, self.rows, self.ended = leader, [], threading.Event()

    def run(self):
        while not self.ended.wait(1.0):
            self.rows.append((bench_lab.rss_bytes(self.leader), sum(descriptors(self.leader).values())))


class Soak:
    def __init__(self, arguments):
        self.arguments, self.problems = arguments, []
        self.until = 0.0

    def problem(self, text):
        self.problems.append(text)
        say(f"PROBLEM: {text}")

    def applications(self, number):
        client = self.clients[number]
        while time.monotonic() < self.until and len(self.problems) < 20:
            try:
                client.one()
            except (OSError, AssertionError) as error:
                self.problem(f"{type(error).__name__}: {error}")

    def churn(self):
        """Bursts of short connections, with pauses in which the rest gets the CPUs."""
        self.churned = 0
        while time.monotonic() < self.until:
            answer = self.product.load("rate", ECHO, "--parallel", 32, "--count", 2000, "--seconds", 1)
            self.churned += answer.get("done", 0)
            if answer.get("errors", 1):
                self.problem(f"churn: {answer}")
            time.sleep(1.0)

    def hold(self, count):
        holders = []
        while count > 0:
            share = min(count, 8000)
            holders.append(Holder(self.product.load_argv("hold", ECHO, "--count", share, "--parallel", 32, "--seconds", 30)))
            if holders[-1].opened.get("open") != share:
                self.problem(f"held connections: {holders[-1].opened}")
            count -= share
        return holders

    def mix(self):
        self.until = time.monotonic() + self.arguments.seconds
        threads = [threading.Thread(target=self.applications, args=(i,), daemon=True) for i in range(self.arguments.parallel)]
        threads.append(threading.Thread(target=self.churn, daemon=True))
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(self.arguments.seconds + 2 * soak_client.PATIENCE)
            if thread.is_alive():
                self.problem("a thread of connections hangs")

    def check_held(self, holders):
        alive = sum(holder.ask("alive").get("alive", 0) for holder in holders)
        touched = holders[0].ask("touch 100") if holders else {"errors": 0}
        if alive != self.arguments.held or touched.get("errors", 1):
            self.problem(f"held connections: {alive} of {self.arguments.held} alive at the end, {touched}")

    def check_memory(self, rows):
        """The last quarter against the second: what grows without end grows there."""
        quarter = len(rows) // 4
        if quarter < 3:
            return
        early, late = (statistics.median(r[0] for r in part) for part in (rows[quarter:2 * quarter], rows[-quarter:]))
        allowed = max(early * 0.1, (64 if self.sanitized else 8) * 2**20)
        say(f"memory {early / 2**20:.1f} MiB in the second quarter, {late / 2**20:.1f} in the last, most {max(r[0] for r in rows) / 2**20:.1f}")
        if late - early > allowed:
            self.problem(f"memory grows: {early / 2**20:.1f} MiB in the second quarter, {late / 2**20:.1f} MiB in the last")

    def check_leftovers(self, before):
        """Waits until nothing is left, at most SETTLE seconds."""
        deadline = time.monotonic() + SETTLE
        while True:
            now = descriptors(self.product.process.pid)
            left = bench_lab.established(self.product.process.pid, int(NET["http_port"]))
            wrong = [f"{left} connections to the proxy are left"] if left else []
            wrong += [f"process {pid} has {now.get(pid, 'ended with')} descriptors, began with {count}"
                      for pid, count in before.items() if now.get(pid, 1 << 30) > count + SPARE_DESCRIPTORS]
            if not wrong:
                say(f"descriptors {sum(before.values())} before, {sum(now.values())} after")
                return
            if time.monotonic() > deadline:
                for text in wrong:
                    self.problem(text)
                return
            time.sleep(0.5)

    def check_end(self):
        process = self.product.process
        if process.poll() is not None:
            self.problem(f"proxyvpn ended with {process.returncode}")
        else:
            process.terminate()
            try:
                if process.wait(30) != 0:
                    self.problem(f"proxyvpn up ended with {process.returncode}")
            except subprocess.TimeoutExpired:
                self.problem("proxyvpn up does not end within 30 s")
        with open(f"{self.product.values['work']}/log", encoding="utf-8", errors="replace") as file:
            log = file.read()
        found = REPORT.search(log)
        if found:
            self.problem(f"a sanitizer's report:\n{log[found.start():found.start() + 4000]}")
        if self.problems:
            print(f"--- proxyvpn's output ends:\n{log[-3000:]}")

    def run(self):
        arguments = self.arguments
        lab = bench_lab.Lab(bench_lab.build_tools(arguments.tools))
        lab.start_servers()
        os.makedirs(f"{lab.work}/bin")
        binary = shutil.copy2(arguments.binary, f"{lab.work}/bin/")
        with open(binary, "rb") as file:
            self.sanitized = b"__asan_init" in file.read()
        if self.sanitized:      # freed memory that ASan keeps back must not look like a leak
            os.environ.setdefault("ASAN_OPTIONS", "quarantine_size_mb=8")
        self.product = products.Product(lab, "proxyvpn", products.KINDS["proxyvpn"], binary, arguments.options)
        if self.product.first(self.product.start(), 30) is None:
            self.problem("no byte goes through")
            self.check_end()
            return 1
        self.clients = [soak_client.Client(lab.client, i, arguments.megabytes * 2**20) for i in range(arguments.parallel)]
        self.product.load("rate", ECHO, "--parallel", 32, "--count", 200, "--seconds", 2)
        time.sleep(1.0)
        before = descriptors(self.product.process.pid)
        holders = self.hold(arguments.held)
        watch = Watch(self.product.process.pid)
        watch.start()
        self.mix()
        watch.ended.set()
        watch.join()
        self.check_held(holders)
        for holder in holders:
            holder.close()
        self.check_memory(watch.rows)
        self.check_leftovers(before)
        self.check_end()
        self.tell()
        return 1 if self.problems else 0

    def tell(self):
        total = {}
        for client in self.clients:
            for kind, count in client.done.items():
                total[kind] = total.get(kind, 0) + count
        print(f"{self.arguments.seconds:.0f} s with {self.arguments.held} held, {self.churned} short ones in bursts, and "
              + ", ".join(f"{count} {kind.replace('_', ' ')}" for kind, count in sorted(total.items())))
        # A kind that never ran was not tested.
        for kind in set(soak_client.KINDS):
            if not total.get(kind.__name__):
                self.problem(f"no '{kind.__name__}' succeeded")
        print(f"{len(self.problems)} problems" if self.problems else "passed")


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", required=True)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--held", type=int, default=1000, help="connections held open all the time")
    parser.add_argument("--parallel", type=int, default=12, help="mixed connections at the same time")
    parser.add_argument("--megabytes", type=int, default=4, help="the largest transfer")
    parser.add_argument("--options", default="", help='further options of `proxyvpn up`: "--workers 1"')
    parser.add_argument("--tools", help="folder for the compiled tools (default: a temporary one)")
    arguments = parser.parse_args()
    arguments.binary = os.path.abspath(arguments.binary)
    return arguments


def main():
    arguments = parse()
    why_not = sandbox.possible()
    if why_not:
        print(f"skipped: {why_not}")
        return 1 if os.environ.get("PROXYVPN_REQUIRE_NETNS") == "1" else 77
    if not os.access(arguments.binary, os.X_OK):
        print(f"{arguments.binary} is not an executable")
        return 1
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with tempfile.TemporaryDirectory(prefix="proxyvpn-soak-") as folder:
        arguments.tools = os.path.abspath(arguments.tools) if arguments.tools else folder
        code = sandbox.run_isolated(lambda: Soak(arguments).run(), arguments.seconds + SETTLE + 240)
    if code == 124:
        print("FAILED: it hangs")
    return code


if __name__ == "__main__":
    sys.exit(main())
