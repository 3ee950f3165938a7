#!/usr/bin/env python3
"""Counts what proxyvpn does per GiB, or per 1,000 short connections one after the other: frames through the TUN, system calls, sleeps, CPU. Counts hold on a
busy machine too, where times don't: bench/count.py --binary OLD --binary NEW, as root.

Frames are the TUN's own counters, reads and writes those of /proc/PID/io, sleeps the voluntary context
switches. --strace adds all calls by name; it slows what it looks at, so these belong to a run of their own.
"""
import argparse
import os
import resource
import shutil
import sys
import time

import bench_lab
import products
from bench_lab import ECHO, NET, SINK, SOURCE, sandbox

WORK = {"up1": (1, False), "down1": (1, True), "up16": (16, False), "down16": (16, True), "connections": (1, None)}


def _numbers(path):
    with open(path, encoding="ascii") as file:
        return {key: value for key, _, value in (line.partition(":") for line in file.read().splitlines())}


def tun_frames(namespace):
    """(frames that the worker read, frames that it wrote)"""
    row = next(r for r in namespace.run(["cat", "/proc/net/dev"]).stdout.splitlines() if NET["tun"] in r)
    fields = row.split(":")[1].split()
    return int(fields[9]), int(fields[1])


def snapshot(product):
    """What the processes of the product have done until now."""
    now = dict(zip(("frames read", "frames written"), tun_frames(product.lab.client)))
    now |= {"read calls": 0, "write calls": 0, "sleeps": 0}
    for pid in bench_lab.session(product.process.pid):
        io, status = _numbers(f"/proc/{pid}/io"), _numbers(f"/proc/{pid}/status")
        now["read calls"] += int(io["syscr"])
        now["write calls"] += int(io["syscw"])
        now["sleeps"] += int(status["voluntary_ctxt_switches"])
    now["CPU ms"] = product.cpu() * 1000
    return now


def workers(product):
    """The processes that hold a queue of the TUN, but for the supervisor."""
    return [pid for pid in bench_lab.session(product.process.pid) if pid != product.process.pid]


def traced(product):
    files = [(pid, f"{product.lab.work}/strace.{pid}") for pid in workers(product)]
    return [(bench_lab.spawn(["strace", "-c", "-f", "-o", path, "-p", str(pid)]), path) for pid, path in files]


def calls(tracers):
    """Calls by name of all that was traced."""
    total = {}
    for process, path in tracers:
        bench_lab.stop(process)
        with open(path, encoding="ascii", errors="replace") as file:
            for row in (line.split() for line in file):
                if len(row) >= 5 and row[3].isdigit() and row[-1] != "total":
                    total[row[-1]] = total.get(row[-1], 0) + int(row[3])
                    if len(row) == 6:
                        total[f"{row[-1]} in vain"] = total.get(f"{row[-1]} in vain", 0) + int(row[4])
    return total


def count(product, name, arguments):
    streams, down = WORK[name]
    tracers = traced(product) if arguments.strace else []
    time.sleep(0.5 if tracers else 0)
    before = snapshot(product)
    if down is None:
        answer = product.load("sequential", ECHO, "--count", 2000, "--seconds", 20)
        done, figures = 2, {"p50 us": answer["p50_us"]}
    else:
        answer = product.load("bulk", SOURCE if down else SINK, "--parallel", streams, "--seconds", arguments.seconds, "--down", int(down))
        done, figures = answer["bytes"] / 2**30, {"Gbit/s": answer["gbps"]}
    after = snapshot(product)
    figures |= {key: (after[key] - before[key]) / done for key in before}
    return figures | {f"{key}()": value / done for key, value in calls(tracers).items() if value / done >= 1}


def run(arguments):
    tools = bench_lab.build_tools(arguments.tools)
    for name in arguments.work.split(","):
        columns = []
        for number, binary in enumerate(arguments.binary * arguments.rounds):
            lab = bench_lab.Lab(tools)
            copy = shutil.copy2(binary, f"{lab.work}/proxyvpn{number}")
            lab.start_servers()
            product = products.Product(lab, f"p{number}", products.KINDS["proxyvpn"], copy, arguments.more)
            if product.first(product.start()) is None:
                bench_lab.say(product.log_tail())
                return 1
            columns.append(count(product, name, arguments))
            product.stop()
            lab.close()
        unit = "1,000" if WORK[name][1] is None else "GiB"
        print(f"\n{f'{name}, per {unit}':<24}" + "".join(f"{os.path.basename(b)[:12]:>14}" for b in arguments.binary * arguments.rounds))
        for key in dict.fromkeys(k for column in columns for k in column):
            print(f"{key:<24}" + "".join(f"{column.get(key, 0):>14.1f}" for column in columns), flush=True)
    return 0


def main():
    top = os.path.dirname(bench_lab.HERE)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", action="append", help="more than one: columns beside each other")
    parser.add_argument("--work", default=",".join(WORK), help="some of %(default)s")
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--more", default="--workers 1", help="options of `up` (%(default)s)")
    parser.add_argument("--strace", action="store_true", help="calls by name, too")
    parser.add_argument("--tools", default=os.path.join(top, "build", "bench", "tools"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    arguments.binary = [os.path.abspath(b) for b in arguments.binary or [os.path.join(top, "build/release/bin/proxyvpn")]]
    why_not = sandbox.possible()
    if why_not:
        bench_lab.say(why_not)
        return 77
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return sandbox.run_isolated(lambda: run(arguments), 600)


if __name__ == "__main__":
    sys.exit(main())
