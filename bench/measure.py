"""The work that every product is given. Each part answers {name of the figure: number}."""
import json
import subprocess
import time
from dataclasses import dataclass

import bench_lab
from bench_lab import ECHO, SINK, SOURCE, Holder

BULK = (("down1", 1, True), ("up1", 1, False), ("down16", 16, True), ("up16", 16, False))
PER_HOLDER = 8000     # connections per process, below the usual hard limit of 20,000 descriptors


@dataclass
class Plan:
    rounds: int = 5
    held_rounds: int = 3
    budget: float = 1150      # seconds; no round is begun that would not fit
    bulk: float = 2.0
    pair: float = 1.5         # seconds of bulk where two paths are compared
    latency: int = 3000
    latency_seconds: float = 2.0
    rate: float = 1.5
    fairness: float = 1.5
    levels: tuple = (1, 100, 1000, 10000, 19500)
    held_bulk: float = 1.0
    held_latency: int = 1000
    idle: float = 1.0
    open_seconds: float = 20.0      # for the connections of one holder


QUICK = Plan(rounds=2, held_rounds=2, budget=105, bulk=0.5, pair=0.4, latency=500, latency_seconds=0.6, rate=0.6, fairness=0.5,
             levels=(1, 1000), held_bulk=0.4, held_latency=300, idle=0.5, open_seconds=10.0)
PARTS = ("start", "bulk", "latency", "rate", "fairness", "forward", "ipv6", "held")


class Failed(Exception):
    """A part cannot be measured with this product; the text says why."""


def _need(answer, key):
    if key not in answer or answer[key] is None:
        raise Failed(answer.get("error") or f"{answer.get('errors', 'all')} connections failed")
    return answer[key]


def bulk(product, streams, down, seconds, **where):
    cpu, busy = product.cpu(), bench_lab.machine_busy()
    answer = product.load("bulk", SOURCE if down else SINK, "--parallel", streams, "--seconds", seconds, "--down", int(down), **where)
    gbps, gib = _need(answer, "gbps"), answer["bytes"] / 2**30
    if gib == 0:
        raise Failed("no byte arrived")
    return {"gbps": gbps, "cpu": (product.cpu() - cpu) / gib, "machine": (bench_lab.machine_busy() - busy) / gib, "least_share": answer["least_share"]}


def _latency(product, count, seconds, **where):
    answer = product.load("sequential", ECHO, "--count", count, "--seconds", seconds, **where)
    return {"p50": _need(answer, "p50_us"), "p99": answer["p99_us"], "errors": answer["errors"]}


def _named(prefix, figures):
    return {f"{prefix}.{key}": value for key, value in figures.items()}


def part_start(product, _plan):
    """From the start of the process to the first echoed byte, then the stop. Leaves it stopped."""
    if product.direct:
        return {}
    began = product.start()
    ms = product.first(began, 10)
    figures = {"start.first_byte_ms": ms, "start.rss_mib": product.rss() / 2**20}
    took = product.stop()
    if ms is None:
        raise Failed(f"no byte within 10 s; its output ends:\n{product.log_tail()}")
    figures["start.stop_ms"] = None if took is None else took * 1000
    return figures


def part_bulk(product, plan):
    figures = {}
    for label, streams, down in BULK:
        figures |= _named(f"bulk.{label}", bulk(product, streams, down, plan.bulk))
    return figures


def part_latency(product, plan):
    return _named("latency", _latency(product, plan.latency, plan.latency_seconds))


def part_rate(product, plan):
    cpu = product.cpu()
    answer = product.load("rate", ECHO, "--parallel", 64, "--count", 60000, "--seconds", plan.rate)
    if not answer.get("done"):
        raise Failed(answer.get("error") or "no connection succeeded")
    return {"rate.per_second": answer["done"] / answer["seconds"], "rate.errors": answer["errors"],
            "rate.cpu_us": (product.cpu() - cpu) / answer["done"] * 1e6}


def part_fairness(product, plan):
    """connect + echo while 16 bulk streams run, against the same without them."""
    figures = _named("fairness.idle", _latency(product, plan.latency, plan.fairness))
    for label, down in (("down", True), ("up", False)):
        seconds = plan.fairness + 1.0
        greedy = bench_lab.spawn(product.load_argv("bulk", SOURCE if down else SINK, "--parallel", 16, "--seconds", seconds, "--down", int(down)),
                                 stdout=subprocess.PIPE, text=True)
        try:
            time.sleep(0.4)
            figures |= _named(f"fairness.{label}", _latency(product, plan.latency, plan.fairness))
            answer = json.loads(greedy.communicate(timeout=30)[0].strip() or "{}")
            figures[f"fairness.{label}.gbps"] = _need(answer, "gbps")
            figures[f"fairness.{label}.least_share"] = answer["least_share"]
        finally:
            bench_lab.stop(greedy, 1.0)
    return figures


def _pair(product, plan, prefix, **where):
    """The same small set on two paths, one right behind the other."""
    figures = {}
    for name, options in (("base", {}), ("other", where)):
        for label, down in (("down1", True), ("up1", False)):
            figures |= _named(f"{prefix}.{name}.{label}", bulk(product, 1, down, plan.pair, **options))
        figures |= _named(f"{prefix}.{name}", _latency(product, plan.latency // 2, plan.latency_seconds / 2, **options))
    return figures


def part_forward(product, plan):
    return _pair(product, plan, "forward", guest=True)


def part_ipv6(product, plan):
    return _pair(product, plan, "ipv6", family=6)


def _hold(product, wanted, plan):
    """Opens `wanted` more connections; the holders and what opening cost."""
    holders, cpu = [], product.cpu()
    opened = errors = seconds = 0
    while wanted > 0:
        count = min(wanted, PER_HOLDER)
        holder = Holder(product.load_argv("hold", ECHO, "--count", count, "--parallel", 64, "--seconds", plan.open_seconds))
        holders.append(holder)
        opened += holder.opened.get("open", 0)
        errors += holder.opened.get("errors", 0)
        seconds += holder.opened.get("seconds", 0)
        wanted -= count
    return holders, {"opened": opened, "errors": errors, "seconds": seconds, "cpu": product.cpu() - cpu}


def _under(product, plan, prefix):
    figures = _named(prefix, bulk(product, 1, True, plan.held_bulk))
    return figures | _named(prefix, _latency(product, plan.held_latency, 3.0))


def part_held(product, plan):
    """Bulk and latency with more and more idle connections beside them. One run of the product."""
    figures, holders, held = {}, [], 0
    rss = product.rss()
    figures |= _under(product, plan, "held.0")
    try:
        for level in plan.levels:
            more, cost = _hold(product, level - held, plan)
            holders += more
            prefix, missing = f"held.{level}", level - held - cost["opened"]
            held += cost["opened"]
            figures[f"{prefix}.opened"] = held
            if cost["opened"] > 0:
                figures[f"{prefix}.open_us"] = cost["seconds"] / cost["opened"] * 1e6
                figures[f"{prefix}.open_cpu_us"] = cost["cpu"] / cost["opened"] * 1e6
            if missing > 0:
                why = f"{cost['errors']} failed" if cost["errors"] else f"the time of {plan.open_seconds:.0f} s was over"
                bench_lab.say(f"  {product.name}: {held} of {level} connections were opened, {why}; no more levels")
                break
            time.sleep(0.5)
            if not product.direct:
                figures[f"{prefix}.rss_each"] = (product.rss() - rss) / held
            cpu, began = product.cpu(), time.monotonic()
            time.sleep(plan.idle)
            figures[f"{prefix}.idle_cpu"] = (product.cpu() - cpu) / (time.monotonic() - began) * 100
            figures |= _under(product, plan, prefix)
            touched = holders[-1].ask(f"touch {plan.held_latency}")
            figures[f"{prefix}.touch_p50"], figures[f"{prefix}.touch_p99"] = touched.get("p50_us"), touched.get("p99_us")
            figures[f"{prefix}.alive"] = sum(holder.ask("alive").get("alive", 0) for holder in holders)
    finally:
        for holder in holders:
            holder.close()
    return figures


def _fresh(product):
    """A new process of the product, warmed up: memory per connection is a difference."""
    product.stop()
    if product.first(product.start()) is None:
        raise Failed(f"no byte within 5 s; its output ends:\n{product.log_tail()}")
    product.load("sequential", ECHO, "--count", 50)


def measure(product, plan, parts, with_held):
    """One product's turn in one round: ({figure: number}, {part: why it failed})."""
    figures, failures, disturbed = {}, {}, bench_lab.Foreign()

    def run(part):
        try:
            if part != "start" and (part == "held" or not product.running()):
                _fresh(product)
            figures.update(globals()[f"part_{part}"](product, plan))
        except (Failed, OSError, RuntimeError, subprocess.SubprocessError, KeyError) as error:
            failures[part] = f"{error}"
            bench_lab.say(f"  {product.name}, {part}: {error}")
    for part in parts:
        if part != "held" or with_held:
            run(part)
    product.stop()
    figures["foreign"] = disturbed.share()
    return figures, failures
