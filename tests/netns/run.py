#!/usr/bin/env python3
"""Namespace tests of proxyvpn.

  run.py --list                 name, time-out in seconds and "heavy" or "-", one test per line
  run.py NAME [NAME...] [-v]    run tests (shell patterns allowed), each in its own sandbox

Environment: PROXYVPN_BIN (the binary under test), PROXYVPN_TEST_MB (size of the big transfers),
PROXYVPN_REQUIRE_NETNS=1 (no namespaces is a failure, not a skip).
Exit status: 0 passed, 77 skipped, anything else failed.
"""
import argparse
import fnmatch
import os
import sys
import time
import traceback

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.dont_write_bytecode = True

import cases  # noqa: E402
import sandbox  # noqa: E402

SKIP = 77


def run_case(case, verbose):
    """Inside the sandbox."""
    import lab
    import product
    os.chdir(sandbox.WORK)
    try:
        with lab.Lab(verbose) as ground:
            case.function(ground)
            product.check_logs(ground)
        return 0
    except cases.Skip as reason:
        print(f"skipped: {reason}")
        return SKIP
    except AssertionError as error:
        trace = traceback.extract_tb(error.__traceback__)
        where = [f"{os.path.basename(f.filename)}:{f.lineno}" for f in trace[1:]]
        print(f"FAILED {case.name}: {error}\n  at {' < '.join(reversed(where))}")
        product.show_logs()
        return 1
    except Exception:  # noqa: report everything
        traceback.print_exc()
        product.show_logs()
        return 1


def skip_or_fail(reason):
    print(f"skipped: {reason}")
    return 1 if os.environ.get("PROXYVPN_REQUIRE_NETNS") == "1" else SKIP


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*")
    parser.add_argument("--list", action="store_true")
    parser.add_argument("-v", "--verbose", action="store_true")
    arguments = parser.parse_args()
    known = cases.load()
    if arguments.list:
        for case in filter(lambda c: c.listed, known.values()):
            print(case.name, case.timeout, "heavy" if case.heavy else "-")
        return 0
    chosen = [c for c in known.values() if any(fnmatch.fnmatch(c.name, n) for n in arguments.names)]
    if not chosen:
        parser.error("no such test (see --list)")
    why_not = sandbox.possible()
    if why_not:
        return skip_or_fail(why_not)
    worst, factor = 0, int(os.environ.get("PROXYVPN_TEST_TIME_FACTOR", "1"))
    for case in chosen:
        binary = os.environ.get("PROXYVPN_BIN", "")
        if case.needs_product and not os.access(binary, os.X_OK):
            print(f"{case.name}: PROXYVPN_BIN={binary!r} is not an executable")
            worst = max(worst, 1)
            continue
        began = time.monotonic()
        code = sandbox.run_isolated(lambda case=case: run_case(case, arguments.verbose), case.timeout * factor)
        word = {0: "passed", SKIP: "skipped", 124: f"FAILED: not done after {case.timeout * factor} s"}.get(code, "FAILED")
        print(f"{word:8} {case.name} ({time.monotonic() - began:.1f} s)", flush=True)
        if code == SKIP and os.environ.get("PROXYVPN_REQUIRE_NETNS") != "1":
            worst = worst or (SKIP if len(chosen) == 1 else 0)
        elif code != 0 and code != SKIP:
            worst = 1
    return worst


if __name__ == "__main__":
    sys.exit(main())
