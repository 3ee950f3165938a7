"""Matrix row 67: where a password must not be, at every moment and in every process."""
import os
import re
import time

import lab as labs
import product
import scenes
import scripted_proxy as bad
import servers
from cases import case
from client import VIA_PROXY, both, expect_way
from lab import wait_until
from test_selftest import binary as selftest_binary

LARGEST_MAPPING = 1 << 30      # a sanitizer reserves terabytes that hold nothing


def memory_holds(pid, word):
    """True when the word stands in memory that the process can write."""
    with open(f"/proc/{pid}/maps", encoding="ascii", errors="replace") as file:
        areas = re.findall(r"^([0-9a-f]+)-([0-9a-f]+) rw", file.read(), re.MULTILINE)
    assert areas, f"process {pid} has no memory"
    with open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
        for start, end in ((int(a, 16), int(b, 16)) for a, b in areas):
            if end - start > LARGEST_MAPPING:
                continue
            try:
                memory.seek(start)
                if word in memory.read(end - start):
                    return True
            except OSError:
                continue               # [vvar] and the like
    return False


def resident_words(pid, name):
    with open(f"/proc/{pid}/{name}", "rb") as file:
        return file.read()


@case("row_67_memory_of_processes", timeout=60)
def test_memory(lab):
    """Metrics, log writer and look-up processes have no password in their memory; control: the workers, which need it, do."""
    ways = ((["--proxy-url", "http://bob:hush-in-the-url-qzwxvkjy@proxy.test:3128"], {}, "hush-in-the-url-qzwxvkjy"),
            (["--proxy-url", "http://proxy.test:3128", "--username", "bob", "--password", "hush-alone-zqxjkvwmbpy"], {}, "hush-alone-zqxjkvwmbpy"),
            ([], {"PROXYVPN_PROXY_URL": "http://bob:hush-in-the-environment-wzqk@proxy.test:3128"}, "hush-in-the-environment-wzqk"))
    proxy, ours = bad.ScriptedProxy(lab), product.Product(lab)
    servers.who_servers(lab)
    servers.Dns(lab, names=scenes.NAMES)
    for arguments, env, secret in ways[:2] if product.is_sanitized() else ways:      # a sanitizer keeps a copy of the environment
        ours.secrets.append(secret)
        daemon = ours.up(*arguments, "--metrics", "9095", env=env)
        expect_way(both(lab, labs.WEB), VIA_PROXY)
        children = [pid for pid, parent in ours.pids().items() if parent == daemon.pid]
        workers = ours.workers(daemon.pid)
        others = {pid: resident_words(pid, "comm").strip() for pid in children if pid not in workers}
        assert b"proxyvpn-metric" in others.values() and len(others) >= 2, others
        tail = secret[-12:].encode()       # an allocator writes over the beginning of what it gets back
        assert all(memory_holds(pid, secret.encode()) for pid in workers), "the control: nothing is found in a worker"
        found = [name for pid, name in others.items() if memory_holds(pid, tail)]
        assert not found, f"{secret} is in the memory of {found}"
        scenes.finish(ours, daemon)
    assert proxy.requests


@case("row_67_gone_at_once", timeout=90)
def test_at_once(lab):
    """A password on the command line or in the environment is gone from /proc before the first name is looked up, in every command."""
    ours = product.Product(lab)
    lab.set_resolvers([labs.FILTERED[0]])              # the look-up of the proxy's name takes its time
    url = "http://bob:hush-now@slow.test:3128"
    selftest = ["--name", "x.test", "--server", labs.DNS[0], "--timeout-ms", "8000"]
    ways = [("up", ["up", "--proxy-url", url], {}), ("up=", ["up", f"--proxy-url={url}"], {}),
            ("--password", ["up", "--proxy-url", "http://slow.test:3128", "--username", "bob", "--password", "hush-now"], {}),
            ("--password=", ["up", "--proxy-url", "http://slow.test:3128", "--username", "bob", "--password=hush-now"], {}),
            ("environment", ["up"], {"PROXYVPN_PROXY_URL": url}), ("dry run", ["--dry-run", "--proxy-url", url], {}),
            ("doctor", ["doctor", "--proxy-url", url], {}), ("run", ["run", "--proxy-url", url, "--", "true"], {})]
    real = ours.binary
    for name, arguments, env in ways + [("selftest", [*selftest, "--proxy-url", url], {}), ("selftest env", selftest, {"PROXYVPN_SELFTEST_PROXY_URL": url})]:
        ours.binary = selftest_binary() if name.startswith("selftest") else real
        daemon = ours.start(*arguments, env=env, command=None)
        began = time.monotonic()

        def shown(pid=daemon.pid):
            return any(b"hush-now" in resident_words(pid, file) for file in ("cmdline", "environ"))
        wait_until(lambda pid=daemon.pid: os.readlink(f"/proc/{pid}/exe") == os.path.realpath(ours.binary), 5, f"{name} runs")
        wait_until(lambda: not shown(), 3, f"{name}: the password leaves /proc", step=0.002)
        took = time.monotonic() - began
        assert daemon.process.poll() is None, f"{name} ended too early to tell: {daemon.log()}"
        assert took < 2, f"{name}: the password could be read for {took:.2f} s"
        for pid in ours.pids():
            assert not shown(pid), f"{name}: process {pid} shows it"
        daemon.process.kill()
        daemon.process.wait(10)
        assert "hush-now" not in daemon.log(), daemon.log()
    ours.binary = real


@case("keep_logs", timeout=60)
def test_keep_logs(lab):
    """--keep-logs of `up` keeps the state file and the log over `down`, that of `down` what a crash left; without it nothing stays."""
    proxy, ours = bad.ScriptedProxy(lab), product.Product(lab)
    servers.who_servers(lab)

    def files():
        return sorted(os.listdir("/run/proxyvpn")) if os.path.isdir("/run/proxyvpn") else []
    done = ours.run("up", "--detach", "--keep-logs", "--verbose", "--proxy-url", proxy.url())
    assert done.returncode == 0, done.stderr
    expect_way(both(lab, labs.WEB), VIA_PROXY)
    ours.down()
    ours.wait_gone()
    assert files() == ["proxyvpn.log", "state"], files()
    with open("/run/proxyvpn/proxyvpn.log", encoding="utf-8") as file:
        assert f"to={labs.WEB[0]}:{labs.WHO}" in file.read()
    ours.down()                                        # nothing runs: what is there is a left-over
    assert files() == [], files()
    for keep in ((), ("--keep-logs",)):
        daemon = ours.up("--proxy-url", proxy.url())
        daemon.kill()
        ours.wait_gone()
        ours.down(*keep)
        assert files() == (["state"] if keep else []), files()
    ours.down()
    daemon = ours.up("--proxy-url", proxy.url(), "--keep-logs")
    daemon.stop()
    assert files() == ["state"], files()
    daemon = ours.up("--proxy-url", proxy.url())
    scenes.finish(ours, daemon)
    assert files() == [], files()
