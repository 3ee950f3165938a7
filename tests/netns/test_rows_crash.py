"""Matrix rows 34 to 44: crashes, faults and other tools."""
import contextlib
import os
import signal
import socket
import time

import client
import lab as labs
import product
import scenes
import scripted_proxy as bad
import servers
import snapshot
from cases import case
from client import DIRECT, VIA_PROXY, both, expect_refused, expect_way, probe
from lab import wait_until
from load import Load


@case("row_34_sigkill_under_load", timeout=240, heavy=True)
def test_row_34(lab):
    """SIGKILL under thousands of attempts: nothing in clear; up takes over; down restores."""
    proxy, ours, daemon = scenes.start(lab)
    kills, total = (4, 1000) if product.is_sanitized() else (20, 10000)
    with lab.capture(proxies=proxy.endpoints) as wire:
        with Load(lab, udp=True, timeout=5) as load:
            for _ in range(kills):
                load.wait_proxied()
                load.wait(total // kills // 2, connections=True)
                daemon.kill()
                load.wait(total // kills // 2, connections=True)
                daemon = ours.up("--proxy-url", proxy.url())
            load.wait_proxied()
        assert load.connections >= total, f"{load.connections} attempts"
        assert load.results[DIRECT] == 0, load.results
        wire.assert_clean()
        print(f"{load.connections} attempts to connect, {kills} SIGKILLs, 0 packets in clear: {dict(load.results)}")
    scenes.finish(ours, daemon)
    expect_way(both(lab, labs.WEB), DIRECT)


@case("row_34_shut_is_refused_at_once")
def test_row_34_at_once(lab):
    """After SIGKILL applications and containers get a reset, IPv4 and IPv6, and no service of this machine answers in the target's place."""
    lab.add_container()
    proxy, ours, daemon = scenes.start(lab)
    mine = [servers.serve(lab, labs.WHO, servers.who, addresses=(any_,), namespace=lab.host) for any_ in ("0.0.0.0", "::")]
    daemon.kill()
    ours.wait_gone()
    with lab.capture(proxies=proxy.endpoints):
        for _ in range(20):
            # A hang would end with TIMEOUT after 20 s.
            expect_refused(both(lab, labs.WEB), within=15, errors=("ECONNREFUSED",))
        expect_refused(both(lab, labs.WEB, namespace=lab.container), within=15, errors=("ECONNREFUSED",))
        expect_refused(both(lab, labs.WEB, namespace=lab.container, port=labs.HTTP), within=15, errors=("ECONNREFUSED",))
    assert not any(s.sessions for s in mine), "a service of this machine was reached under the target's address"
    daemon = ours.up("--proxy-url", proxy.url())
    expect_way(both(lab, labs.WEB), VIA_PROXY)
    scenes.finish(ours, daemon)


@case("row_35_restart_after_crash")
def test_row_35(lab):
    """kill -9, time passes, then up: at no moment open, whatever the state directory says."""
    proxy, ours, daemon = scenes.start(lab)
    for corrupt in ("as it is", "rm -rf /run/proxyvpn/*", "rm -rf /run/proxyvpn", "for f in /run/proxyvpn/*; do test ! -f $f || echo garbage > $f; done"):
        with lab.capture(proxies=proxy.endpoints):
            with Load(lab, threads=4, udp=True, timeout=0.3) as load:
                load.wait_proxied()
                daemon.kill()
                ours.wait_gone()
                if corrupt != "as it is":
                    labs.kernel.run(["sh", "-c", corrupt])
                load.wait(100)
                daemon = ours.up("--proxy-url", proxy.url())
                load.wait_proxied()
            assert load.results[DIRECT] == 0, f"{corrupt}: {load.results}"
    scenes.finish(ours, daemon)


@case("row_36_state_directory", timeout=90)
def test_row_36(lab):
    """State that is truncated, removed, foreign or unwritable: down still cleans, crashes stay shut."""
    proxy, ours = bad.ScriptedProxy(lab), product.Product(lab)
    servers.who_servers(lab)
    before = snapshot.take(lab)
    damages = ("for f in $(find /run/proxyvpn -type f); do : > $f; done", "rm -rf /run/proxyvpn",
               "for f in $(find /run/proxyvpn -type f); do head -c 5000 /dev/urandom > $f; done",
               "chown -R 64011:64011 /run/proxyvpn", "rm -rf /run/proxyvpn; ln -s /run/lab /run/proxyvpn",
               "rm -rf /run/proxyvpn; echo file > /run/proxyvpn")
    for damage in damages:
        for crash in (False, True):
            daemon = ours.up("--proxy-url", proxy.url())
            expect_way(both(lab, labs.WEB), VIA_PROXY)
            if crash:
                daemon.kill()
                ours.wait_gone()
            labs.kernel.run(["sh", "-c", damage])
            if crash:
                for result in both(lab, labs.WEB, timeout=1):
                    assert result.kind == "ERROR", f"{damage}: {result}"
            done = ours.run("down")
            if not crash and done.returncode != 0:
                # The control socket is gone: nobody can be asked; SIGTERM still ends it all.
                assert done.stderr.strip(), f"{damage}: down fails without a word"
                daemon.stop()
                done = ours.run("down")
            assert done.returncode == 0, f"{damage}, crash {crash}: down: {done.stderr}"
            wait_until(lambda: not ours.pids(), 15, f"{damage}: the daemon ends")
            labs.kernel.run(["sh", "-c", "rm -rf /run/proxyvpn"])
            snapshot.assert_same(before, snapshot.take(lab), f"{damage}, crash {crash}")

@case("row_36_full_disk", timeout=60)
def test_row_36_full_disk(lab):
    """State directory and log on a full disk: it comes up, every connection flows, a crash is shut, the next start takes over, down cleans."""
    proxy, ours = bad.ScriptedProxy(lab), product.Product(lab)
    servers.who_servers(lab)
    before = snapshot.take(lab)
    for folder in ("/run/proxyvpn", os.path.dirname(lab.path("logs", "x"))):
        os.makedirs(folder, exist_ok=True)
        labs.kernel.mount("tmpfs", folder, "tmpfs", 0, "size=4k,mode=755")
    for crash in (True, False):
        daemon = ours.start("--proxy-url", proxy.url(), "--verbose")
        for folder in ("/run/proxyvpn", "/run/lab/logs"):
            labs.kernel.run(["sh", "-c", f"head -c 100000 /dev/zero > {folder}/filler"], check=False)
            assert os.statvfs(folder).f_bfree == 0, f"{folder} has room"
        daemon.wait_ready()
        with lab.capture(proxies=proxy.endpoints, dns=()):
            for _ in range(50):
                expect_way(both(lab, labs.WEB), VIA_PROXY)
            if crash:
                daemon.kill()
                ours.wait_gone()
                for result in both(lab, labs.WEB, timeout=1):
                    assert result.kind == "ERROR", result
    ours.down()
    assert daemon.wait_exit() == 0
    ours.wait_gone()
    before.pop("state directory")
    snapshot.assert_same(before, snapshot.take(lab), "full disk")
    expect_way(both(lab, labs.WEB), DIRECT)


@case("row_38_descriptors_exhausted", timeout=60)
def test_row_38(lab):
    """60 descriptors per process and 200 applications: errors for some, nothing in clear, all well afterwards."""
    proxy, ours = bad.ScriptedProxy(lab), product.Product(lab)
    servers.who_servers(lab)
    daemon = ours.up("--proxy-url", proxy.url(), "--connect-timeout", "2", prefix=("prlimit", "--nofile=60:60"))
    with lab.capture(proxies=proxy.endpoints):
        held, errors = [], 0
        for number in range(200):
            try:
                sock = client.connect(lab, labs.WEB[number % 2], labs.WHO, timeout=0.05)
                held.append(sock)
            except OSError:
                errors += 1
        assert held and errors, f"{len(held)} connections and {errors} errors with 60 descriptors"
        for sock in held:
            sock.close()
        wait_until(lambda: all(r.kind == VIA_PROXY for r in both(lab, labs.WEB, timeout=3)), 20, "connections flow again")
    assert daemon.process.poll() is None
    scenes.finish(ours, daemon)


def tun_index(lab):
    with lab.host:
        return socket.if_nametoindex("tun0")


WORKERS = 2


def wait_workers(ours, daemon):
    return wait_until(lambda: len(found := ours.workers(daemon.pid)) == WORKERS and found, 30, "all workers run")


def assert_cut(sock):
    """The application only waits, and gets an error all the same."""
    sock.settimeout(20)
    try:
        with contextlib.closing(sock):
            got = sock.recv(1)
    except ConnectionError:
        return
    except TimeoutError:
        raise AssertionError("the old connection hangs") from None
    raise AssertionError(f"the old connection lives on and brought {got!r}")


@case("row_39_worker_crash")
def test_row_39(lab):
    """A worker dies: the supervisor keeps the TUN, old flows get RST, a new worker serves at once, the person is told."""
    proxy, ours, daemon = scenes.start(lab, "--workers", str(WORKERS))
    index = tun_index(lab)
    for number in (signal.SIGKILL,) if product.is_sanitized() else (signal.SIGKILL, signal.SIGSEGV):
        old = [client.connect(lab, address, labs.WHO) for address in labs.WEB * 3]
        for sock in old:
            servers.read_line(sock)
        with lab.capture(proxies=proxy.endpoints):
            with Load(lab, threads=4, udp=True, timeout=5) as load:
                load.wait_proxied()
                victims = wait_workers(ours, daemon)
                for pid in victims:
                    os.kill(pid, number)
                load.wait_proxied()
            assert load.results[DIRECT] == 0, load.results
            for sock in old:
                assert_cut(sock)
        assert tun_index(lab) == index, "the TUN was made anew"
        assert daemon.process.poll() is None
        assert set(wait_workers(ours, daemon)).isdisjoint(victims)
    daemon.wait_log(r"(?i)worker", count=2)
    scenes.finish(ours, daemon)


@case("row_39_workers_keep_dying", timeout=60)
def test_row_39_again(lab):
    """A worker that dies again and again: restarts are paced, the machine stays shut, and it serves when the trouble ends."""
    proxy, ours, daemon = scenes.start(lab)
    with lab.capture(proxies=proxy.endpoints):
        end, killed = time.monotonic() + 2, 0
        while time.monotonic() < end:
            for pid in ours.workers(daemon.pid):
                try:
                    os.kill(pid, signal.SIGKILL)
                    killed += 1
                except ProcessLookupError:
                    pass
            time.sleep(0.01)
        assert killed < 60, f"{killed} restarts in two seconds"
        wait_until(lambda: all(r.kind == VIA_PROXY for r in both(lab, labs.WEB, timeout=2)), 40, "traffic flows again")
    scenes.finish(ours, daemon)


@case("row_40_proxy_lost", timeout=60)
def test_row_40(lab):
    """Dead, resetting, hanging, refusing or mad proxy: an error for the application, the machine stays shut."""
    proxy, ours, daemon = scenes.start(lab, "--connect-timeout", "1", credentials="u:p")
    with lab.capture(proxies=proxy.endpoints):
        for name, script in (("resets", bad.reset_at_once), ("hangs", bad.hang), ("407", bad.answer("407 No\nProxy-Authenticate: Basic realm=x")),
                             ("502", bad.answer("502 Bad Gateway")), ("garbage", bad.raw(b"\xff" * 4000, "keep")), ("closes", bad.close_at_once)):
            proxy.script = script
            with Load(lab, threads=4, udp=True, timeout=4) as load:
                load.wait(40)
            assert load.results[DIRECT] == 0 and load.results[VIA_PROXY] == 0, f"{name}: {load.results}"
            assert load.results["TIMEOUT"] == 0, f"{name}: applications hang: {load.results}"
            proxy.script = bad.relay
            wait_until(lambda: probe(lab, labs.WEB[0], timeout=3).kind == VIA_PROXY, 40, f"flows again after {name}", step=0.05)
        proxy.stop()
        expect_refused(both(lab, labs.WEB), errors=("ENETUNREACH",))
    scenes.finish(ours, daemon)


@case("row_42_flush_ruleset", timeout=60)
def test_row_42(lab):
    """`nft flush ruleset` by others, under load: the table stays or is back at once, nothing in clear."""
    proxy, ours, daemon = scenes.start(lab)
    with lab.capture(proxies=proxy.endpoints):
        with Load(lab, threads=4, udp=True, timeout=1) as load:
            for _ in range(20):
                lab.host.run(["nft", "flush", "ruleset"])
                load.wait(30)
            load.wait_proxied()
        assert load.results[DIRECT] == 0 and load.results["udp sent"] == 0, load.results
    assert "table inet proxyvpn" in lab.host.run(["nft", "list", "tables"]).stdout
    scenes.finish(ours, daemon)


@case("row_43_foreign_delete")
def test_row_43(lab):
    """Root's nft cannot delete, flush or change our table while we run; other tables don't weaken it."""
    proxy, ours, daemon = scenes.start(lab)
    rules = lab.host.run(["nft", "-s", "list", "table", "inet", "proxyvpn"]).stdout
    for command in ("delete table inet proxyvpn", "flush table inet proxyvpn", "add rule inet proxyvpn out accept",
                    "insert rule inet proxyvpn post accept", "delete chain inet proxyvpn post"):
        lab.host.run(["nft", *command.split()], check=False)
        wait_until(lambda: lab.host.run(["nft", "-s", "list", "table", "inet", "proxyvpn"]).stdout == rules, 5,
                   f"the table is as before `nft {command}`")
    lab.host.run(["nft", "-f", "-"], input="""
        table inet hostile {
          chain a { type filter hook output priority -400; policy accept; accept; }
          chain b { type filter hook output priority 400; policy accept; meta mark set 0 accept; }
          chain c { type filter hook postrouting priority 400; policy accept; accept; }
          chain d { type filter hook output priority -300; policy accept; notrack; }
        }""")
    others = servers.Dns(lab, addresses=labs.OTHER_DNS)
    with lab.capture(proxies=proxy.endpoints):
        for result in both(lab, labs.WEB, timeout=3):
            assert result.kind != DIRECT, result
        assert client.udp(lab, labs.WEB[0], 443) not in ("SENT", "REPLY")
        lab.host.run(["nft", "delete", "table", "inet", "hostile"])
        lab.host.run(["nft", "-f", "-"], input="""
            table ip hostile4 {
              chain n { type nat hook output priority -100; udp dport 53 dnat to 203.0.113.54; }
            }""")
        client.dns(lab, labs.DNS[0])
        assert not others.queries, "a foreign DNAT sent DNS to another resolver"
        lab.host.run(["nft", "delete", "table", "ip", "hostile4"])
    expect_way(both(lab, labs.WEB), VIA_PROXY)
    scenes.finish(ours, daemon)


@case("row_44_rules_and_routes_deleted", timeout=60)
def test_row_44(lab):
    """Deleted rules, routes and devices: rules and routes back within a second, shut in between."""
    proxy, ours, daemon = scenes.start(lab)
    rules = snapshot.take(lab)
    for damage, look in (("ip rule del pref 200", "ip rule show pref 200"), ("ip -6 rule del pref 202", "ip -6 rule show pref 202"),
                         ("ip route flush table 28790", "ip route show table 28790"), ("ip -6 route flush table 28791", "ip -6 route show table 28791")):
        took = min(_seconds_until_back(lab, damage, look) for _ in range(3))
        assert took < 1, f"restored {took:.2f} s after {damage}"
    damages = ["ip rule del pref 200", "ip -6 rule del pref 200", "ip rule del pref 201; ip -6 rule del pref 201",
               "ip rule del pref 202; ip -6 rule del pref 202", "ip rule del pref 32800; ip -6 rule del pref 32800",
               "ip route flush table 28790; ip -6 route flush table 28790", "ip route flush table 28791; ip -6 route flush table 28791",
               "for f in -4 -6; do for p in 200 201 202 32800; do ip $f rule del pref $p; done; "
               "for t in 28790 28791; do ip $f route flush table $t; done; done",
               "ip link set tun0 down", "ip link del tun0"]
    for damage in damages:
        with lab.capture(proxies=proxy.endpoints):
            with Load(lab, threads=4, udp=True, timeout=0.5) as load:
                load.wait_proxied()
                lab.host.run(["sh", "-c", damage])
                load.wait_proxied()
            assert load.results[DIRECT] == 0, f"{damage}: {load.results}"
        # Traffic can flow without some of them, so it does not tell that they are back.
        wait_until(lambda: snapshot.take(lab)["rules"] == rules["rules"], 15, f"the rules are back after {damage}")
        wait_until(lambda: all(r.kind == VIA_PROXY for r in both(lab, labs.WEB, timeout=2)), 15, f"both families after {damage}")
    scenes.finish(ours, daemon)


def _seconds_until_back(lab, damage, look):
    """In the best of some attempts this is the product's own time: what else the machine does only adds."""
    with lab.host:
        before = labs.kernel.run(look.split()).stdout
        assert before.strip(), f"{look} shows nothing"
        labs.kernel.run(damage.split())
        began = time.monotonic()
        wait_until(lambda: labs.kernel.run(look.split(), check=False).stdout == before, 15, f"back after {damage}")
        return time.monotonic() - began
