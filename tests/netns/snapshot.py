"""The host's network state as text, to be compared before and after."""
import difflib
import os
import re


# Written by the kernel itself, or values that differ from read to read.
VOLATILE = ("nf_conntrack_count", "ipv4/neigh/default/gc_stale_time", "stable_secret", "/flush",
            "ipv4/tcp_fastopen_key", "nf_conntrack_buckets")


def _sysctls(namespace):
    lines = []
    with namespace:
        for folder, _, files in os.walk("/proc/sys/net"):
            for name in files:
                path = os.path.join(folder, name)
                if any(word in path for word in VOLATILE):
                    continue
                try:
                    with open(path, encoding="ascii", errors="replace") as file:
                        lines.append(f"{path[14:]} = {' '.join(file.read().split())}")
                except OSError:
                    continue
    return sorted(lines)


def _lines(namespace, *argv, check=True):
    """What the command prints. It must succeed: two empty answers would be equal whatever has changed."""
    return [line.rstrip() for line in namespace.run(argv, check=check).stdout.splitlines()]


def take(lab, namespace=None):
    """{what: lines} of rules, routes, links, addresses, nft and iptables rules and net sysctls."""
    ns = namespace or lab.host
    state = {
        "rules": _lines(ns, "ip", "-4", "rule") + _lines(ns, "ip", "-6", "rule"),
        "routes": sorted(_lines(ns, "ip", "-4", "route", "show", "table", "all") +
                         _lines(ns, "ip", "-6", "route", "show", "table", "all")),
        "links": [re.sub(r"\w+_timer\s+[\d.]+", "", line) for line in _lines(ns, "ip", "-d", "link")], "addresses": _lines(ns, "ip", "address"),
        "nft": _lines(ns, "nft", "-s", "list", "ruleset"), "sysctls": _sysctls(ns),
    }
    for command in ("iptables-legacy-save", "ip6tables-legacy-save"):
        # A table that was used once stays there with its empty built-in chains: nothing of ours.
        # Without these tables in the kernel the command fails, and there is nothing to compare.
        state[command] = [line for line in _lines(ns, command, check=False) if line.startswith("-") or
                          line.startswith(":") and " ACCEPT " not in line]
    state["state directory"] = sorted(os.path.join(folder, name) for folder, folders, files in os.walk("/run/proxyvpn")
                                      for name in folders + files)
    for what in ("rules", "links", "sysctls"):
        assert state[what], f"the snapshot has no {what}: it would compare nothing"
    return state


def difference(before, after):
    """Lines that differ, "" when none."""
    result = []
    for what, lines in before.items():
        result += [f"{what}: {line}" for line in difflib.unified_diff(lines, after[what], lineterm="", n=0)
                   if not line.startswith(("---", "+++", "@@"))]
    return "\n".join(result)


def assert_same(before, after, what):
    changed = difference(before, after)
    assert not changed, f"{what}: the machine is not as it was:\n{changed}"


def ours(lab):
    """What of the product stands in the kernel now, for a message."""
    ns = lab.host
    return "\n".join(_lines(ns, "ip", "rule", check=False) + _lines(ns, "ip", "-6", "rule", check=False)
                     + _lines(ns, "ip", "-br", "link", check=False) + _lines(ns, "nft", "list", "tables", check=False))


