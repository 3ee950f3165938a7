#!/usr/bin/env python3
"""proxyvpn's benchmark: direct, the kernel's own path, proxyvpn and its peers on the same work, in
one run and in turns. bench/run.sh builds what is needed and starts this.
"""
import argparse
import dataclasses
import json
import os
import platform
import resource
import shutil
import sys
import time

import bench_lab
import measure
import products
import report
from bench_lab import say, sandbox


def parse():
    parser = argparse.ArgumentParser(prog="run.sh", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="less than 2 minutes; to see that it works, not to publish")
    parser.add_argument("--parts", default=",".join(measure.PARTS), help="some of: %(default)s")
    parser.add_argument("--products", default="", help="some of: " + ",".join(k for k in products.KINDS if k != "redirect-splice")
                        + " (default: all that are installed); direct and redirect-splice are always there")
    parser.add_argument("--variant", action="append", default=[], metavar="NAME=[/BINARY] [OPTIONS]",
                        help='proxyvpn once more, with other options or another binary: one="--workers 1"')
    parser.add_argument("--rounds", type=int, help="turns of each product")
    parser.add_argument("--held-rounds", type=int, help="how many of them with held connections")
    parser.add_argument("--levels", help="numbers of held connections: 1,100,1000")
    parser.add_argument("--budget", type=float, help="seconds; no round is begun that would not fit")
    parser.add_argument("--nice", type=int, default=0, help="priority of everything in the run")
    parser.add_argument("--output", help="folder for results.md, results.svg, results.json (default: build/bench)")
    parser.add_argument("--json", metavar="FILE", help="the figures of every round there, too")
    parser.add_argument("--render", metavar="FILE", help="the tables and the plot of an earlier run's JSON; measures nothing")
    parser.add_argument("--binary", help=argparse.SUPPRESS)     # by run.sh
    parser.add_argument("--tools", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    arguments.parts = [p for p in measure.PARTS if p in arguments.parts.split(",")] or parser.error("no such part")
    arguments.products = list(filter(None, arguments.products.split(",")))
    for name in arguments.products:
        if name not in products.KINDS:
            parser.error(f"no product '{name}'")
    return arguments


def make_plan(arguments):
    changes = {key: getattr(arguments, key) for key in ("rounds", "held_rounds", "budget") if getattr(arguments, key) is not None}
    if arguments.levels:
        changes["levels"] = tuple(sorted(int(x) for x in arguments.levels.split(",")))
    return dataclasses.replace(measure.QUICK if arguments.quick else measure.Plan(), **changes)


def describe(arguments, plan, lab):
    return {"when": time.strftime("%Y-%m-%d %H:%M"), "kernel": platform.release(), "cores": os.cpu_count(), "cpu": cpu_model(),
            "congestion": lab.congestion, "descriptors": resource.getrlimit(resource.RLIMIT_NOFILE)[1], "quick": arguments.quick,
            "plan": dataclasses.asdict(plan), "parts": arguments.parts, "load_before": os.getloadavg()[0], "command": command_line()}


def command_line():
    skip = ("--binary", "--tools", "--output", "--json")
    words = [w for i, w in enumerate(sys.argv[1:]) if w not in skip and sys.argv[i] not in skip]
    return "bench/run.sh " + " ".join(f"'{w}'" if " " in w else w for w in words)


def cpu_model():
    with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as file:
        return next((line.partition(":")[2].strip() for line in file if line.startswith("model name")), "?")


def run(arguments, out):
    """Inside the sandbox. Writes what there is after every round."""
    os.nice(arguments.nice)
    plan, tools = make_plan(arguments), bench_lab.build_tools(arguments.tools)
    lab = bench_lab.Lab(tools)
    # A copy: a build that replaces the file meanwhile must not change what is measured.
    os.makedirs(f"{lab.work}/bin")
    binary = shutil.copy2(arguments.binary, f"{lab.work}/bin/")
    chosen = products.choose(lab, arguments.products, binary, dict(v.split("=", 1) for v in arguments.variant))
    lab.close()
    record = {"run": describe(arguments, plan, lab), "notes": {p.name: p.kind.note if p.kind else "the application speaks CONNECT itself" for p in chosen},
              "rounds": [], "failures": {}}
    began, dropped = time.monotonic(), bench_lab.dropped_packets()
    for number in range(plan.rounds):
        round_began, figures = time.monotonic(), {}
        for product in chosen[number % len(chosen):] + chosen[:number % len(chosen)]:     # nobody is always first
            say(f"round {number + 1} of {plan.rounds}: {product.name}")
            # A lab of its own: NAT entries that a REDIRECT product leaves behind reset the next one's connections.
            product.lab = bench_lab.Lab(tools)
            product.lab.start_servers()
            figures[product.name], failures = measure.measure(product, plan, arguments.parts, number < plan.held_rounds)
            product.lab.close()
            record["failures"].setdefault(product.name, {}).update(failures)
        record["rounds"].append(figures)
        record["run"].update(load_after=os.getloadavg()[0], seconds=time.monotonic() - began,
                             dropped=bench_lab.dropped_packets() - dropped)
        write(record, arguments, out)
        if time.monotonic() - began + (time.monotonic() - round_began) > plan.budget:
            say(f"{number + 1} rounds fit into {plan.budget:.0f} s")
            break
    return 0


def write(record, arguments, out):
    texts = {"results.json": json.dumps(record, indent=1), "results.md": report.markdown(record), "results.svg": report.svg(record)}
    os.makedirs(out, exist_ok=True)
    for name, text in texts.items():
        with open(os.path.join(out, name), "w", encoding="utf-8") as file:
            file.write(text)
    if arguments.json:
        with open(arguments.json, "w", encoding="utf-8") as file:
            file.write(texts["results.json"])


def main():
    arguments = parse()
    out = os.path.abspath(arguments.output or os.path.join(os.path.dirname(bench_lab.HERE), "build", "bench"))
    if arguments.json:
        arguments.json = os.path.abspath(arguments.json)
    if arguments.render:
        with open(arguments.render, encoding="utf-8") as file:
            write(json.load(file), arguments, out)
        print(f"{out}/results.md\n{out}/results.svg")
        return 0
    why_not = sandbox.possible()
    if why_not:
        say(why_not)
        return 77
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    code = sandbox.run_isolated(lambda: run(arguments, out), make_plan(arguments).budget + 600)
    if code == 0:
        with open(os.path.join(out, "results.md"), encoding="utf-8") as file:
            print(file.read())
        say(f"written: {out}/results.md, results.svg, results.json")
    return code


if __name__ == "__main__":
    sys.exit(main())
