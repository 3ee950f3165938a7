"""Matrix rows 31 to 44, 58, 60, 65 and 68: crashes, faults, other tools, and the moments between."""
import os
import random
import signal
import socket
import threading
import time

import client
import lab as labs
import product
import scenes
import scripted_proxy as bad
import servers
import snapshot
import web
from applications import Terminal
from cases import case
from client import DIRECT, VIA_PROXY, both, expect_refused, expect_way, probe
from lab import wait_until
from load import Load

CT_RULE = "table inet theirs { chain c { type filter hook input priority 0; ct state established accept } }"


def ticking(conn, _session):
    """Server talks first and on."""
    count = 0
    while True:
        conn.sendall(b"tick")
        count += 1
        time.sleep(0.01)


@case("row_31_outbound_before_up")
def test_row_31(lab):
    """Connections this machine had opened before up are cut with an error: busy or idle, with conntrack idle or active."""
    for turn, active in enumerate((False, True)):
        if active:
            lab.host.run(["nft", "-f", "-"], input=CT_RULE)
        streams = servers.serve(lab, 7010 + turn, ticking)
        sockets = [client.connect(lab, address, 7010 + turn) for address in labs.WEB]
        quiet = servers.serve(lab, 7020 + turn, lambda conn, _: conn.recv(100))
        idle = [client.connect(lab, address, 7020 + turn) for address in labs.WEB]
        assert all(client.read_exactly(sock, 4) == b"tick" for sock in sockets)
        proxy = bad.ScriptedProxy(lab, port=3128 + turn)
        ours = product.Product(lab)
        daemon = ours.up("--proxy-url", proxy.url())
        with lab.capture(proxies=proxy.endpoints):
            began = time.monotonic()
            for sock in sockets:
                sock.settimeout(5)
                try:
                    while sock.recv(65536):
                        assert time.monotonic() - began < 2, "the stream goes on after up"
                except OSError as error:
                    assert not isinstance(error, TimeoutError), "the stream hangs after up"
            for sock in idle:
                try:
                    for _ in range(20):
                        sock.send(b"SECRET of an idle connection")
                        time.sleep(0.02)
                    raise AssertionError("an old idle connection can still send")
                except OSError:
                    pass
            assert time.monotonic() - began < 4
        assert all(session.result is None or not session.result for session in quiet.sessions), "the server got the idle one's bytes"
        assert streams.sessions
        scenes.finish(ours, daemon)


@case("row_32_ssh_into_this_machine", timeout=90)
def test_row_32(lab):
    """An ssh session into this machine survives up, a flush of conntrack and down without a stall."""
    sshd = web.Sshd(lab, namespace=lab.host, addresses=labs.HOST)
    for active in (False, True):
        if active:
            lab.host.run(["nft", "-f", "-"], input=CT_RULE)
        proxy = bad.ScriptedProxy(lab, port=3128 + active)
        terminals = [Terminal(lab.lan.argv(sshd.client("-tt", f"root@{address}", "PS1='ready> ' exec /bin/sh -i"))) for address in labs.HOST]
        for terminal in terminals:
            terminal.expect("ready> ")
            # The host talks first: output without input, all the time.
            terminal.type("(while :; do echo tick; sleep 0.05; done) &\n")
            terminal.expect("tick")
        ours = product.Product(lab)
        daemon = ours.up("--proxy-url", proxy.url())
        with lab.capture(proxies=proxy.endpoints, inbound=(22,)):
            _ticks_go_on(terminals, "after up")
            lab.host.run(["conntrack", "-F"])
            _ticks_go_on(terminals, "after conntrack -F")
            fresh = Terminal(lab.lan.argv(sshd.client("-tt", f"root@{labs.HOST[0]}", "echo new-$((1+1)) session")))
            fresh.expect("new-2 session")
            fresh.close()
        scenes.finish(ours, daemon)
        _ticks_go_on(terminals, "after down")
        for terminal in terminals:
            terminal.process.kill()


def _ticks_go_on(terminals, when):
    for terminal in terminals:
        terminal._at = len(terminal.text)
        for _ in range(3):
            terminal.expect("tick", 3)
        terminal.type(f"echo 'typed'{len(terminal.text)}\n")
        terminal.expect("typed", 5)
    assert when


@case("row_34_sigkill_under_load", timeout=90, heavy=True)
def test_row_34(lab):
    """SIGKILL under thousands of attempts: nothing in clear; up takes over; down restores."""
    proxy, ours, daemon = scenes.start(lab)
    kills = 3 if product.is_sanitized() else 6
    with lab.capture(proxies=proxy.endpoints) as wire:
        with Load(lab, udp=True, timeout=0.5) as load:
            for _ in range(kills):
                load.wait_proxied()
                load.wait(200)
                daemon.kill()
                load.wait(200)
                daemon = ours.up("--proxy-url", proxy.url())
            load.wait_proxied()
        assert load.results[DIRECT] == 0, load.results
        wire.assert_clean()
        print(f"{load.attempts} attempts, {kills} SIGKILLs, 0 packets in clear: {dict(load.results)}")
    scenes.finish(ours, daemon)
    expect_way(both(lab, labs.WEB), DIRECT)


@case("row_35_restart_after_crash")
def test_row_35(lab):
    """kill -9, time passes, then up: at no moment open, whatever the state directory says."""
    proxy, ours, daemon = scenes.start(lab)
    for corrupt in ("as it is", "rm -rf /run/proxyvpn/*", "rm -rf /run/proxyvpn", "for f in /run/proxyvpn/*; do test -f $f && echo '\0garbage' > $f; done"):
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
    """State that is truncated, removed, foreign, unwritable or on a full disk: down still cleans, crashes stay shut."""
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
    os.mkdir("/run/proxyvpn")
    labs.kernel.mount("tmpfs", "/run/proxyvpn", "tmpfs", 0, "size=4k,mode=755")
    labs.kernel.run(["sh", "-c", "head -c 100000 /dev/zero > /run/proxyvpn/filler"], check=False)
    daemon = ours.start("--proxy-url", proxy.url())
    wait_until(lambda: daemon.process.poll() is not None or daemon.is_ready(), 20, "a decision on a full disk")
    if daemon.process.poll() is None:
        expect_way(both(lab, labs.WEB), VIA_PROXY)
        if ours.run("down").returncode != 0:
            daemon.stop()
    ours.down()
    ours.wait_gone()
    after = snapshot.take(lab)
    before.pop("state directory")
    snapshot.assert_same(before, after, "full disk")


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


@case("row_39_worker_crash")
def test_row_39(lab):
    """A worker dies: the supervisor keeps the TUN, old flows get RST, a new worker serves at once, the person is told."""
    proxy, ours, daemon = scenes.start(lab)
    index = tun_index(lab)
    for number in (signal.SIGKILL, signal.SIGSEGV):
        old = client.connect(lab, labs.WEB[0], labs.WHO)
        servers.read_line(old)
        with lab.capture(proxies=proxy.endpoints):
            with Load(lab, threads=4, udp=True, timeout=1) as load:
                load.wait_proxied()
                victims = ours.workers(daemon.pid)
                assert victims
                for pid in victims:
                    os.kill(pid, number)
                began = time.monotonic()
                load.wait_proxied(10)
                assert time.monotonic() - began < 3, "the new worker took too long"
            assert load.results[DIRECT] == 0, load.results
            old.settimeout(3)
            try:
                old.sendall(b"x")
                old.recv(1)
                old.sendall(b"x")
                raise AssertionError("the old connection lives on")
            except ConnectionError:
                pass
        assert tun_index(lab) == index, "the TUN was made anew"
        assert daemon.process.poll() is None
        assert set(ours.workers(daemon.pid)).isdisjoint(victims)
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
          chain a { type filter hook output priority -400; policy accept; accept }
          chain b { type filter hook output priority 400; policy accept; meta mark set 0 accept }
          chain c { type filter hook postrouting priority 400; policy accept; accept }
          chain d { type filter hook output priority -300; policy accept; notrack }
        }
        table ip hostile4 { chain n { type nat hook output priority dstnat; udp dport 53 dnat to 203.0.113.54 } }""")
    servers.Dns(lab, addresses=labs.OTHER_DNS)
    with lab.capture(proxies=proxy.endpoints):
        for result in both(lab, labs.WEB, timeout=3):
            assert result.kind != DIRECT, result
        assert client.udp(lab, labs.WEB[0], 443) not in ("SENT", "REPLY")
        assert client.dns(lab, labs.DNS[0]) != "REPLY", "a foreign DNAT sent DNS to another resolver"
    lab.host.run(["nft", "delete", "table", "inet", "hostile"])
    lab.host.run(["nft", "delete", "table", "ip", "hostile4"])
    expect_way(both(lab, labs.WEB), VIA_PROXY)
    scenes.finish(ours, daemon)


@case("row_44_rules_and_routes_deleted", timeout=60)
def test_row_44(lab):
    """Deleted rules, routes, addresses and devices: shut in between, back within a second or so."""
    proxy, ours, daemon = scenes.start(lab)
    rules = snapshot.take(lab)
    damages = ["ip rule del pref 200", "ip -6 rule del pref 200", "ip rule del pref 201; ip -6 rule del pref 201",
               "ip rule del pref 32800; ip -6 rule del pref 32800", "ip route flush table 28790; ip -6 route flush table 28790",
               "for f in -4 -6; do for p in 200 201 32800; do ip $f rule del pref $p; done; ip $f route flush table 28790; done",
               "ip link set tun0 down", "ip link del tun0"]
    for damage in damages:
        with lab.capture(proxies=proxy.endpoints):
            with Load(lab, threads=4, udp=True, timeout=0.5) as load:
                load.wait_proxied()
                lab.host.run(["sh", "-c", damage])
                began = time.monotonic()
                load.wait_proxied(15)
                took = time.monotonic() - began
            assert load.results[DIRECT] == 0, f"{damage}: {load.results}"
            assert took < 5, f"{damage}: healed after {took:.1f} s"
        after = snapshot.take(lab)
        assert after["rules"] == rules["rules"], f"{damage}: {snapshot.difference(rules, after)}"
        wait_until(lambda: all(r.kind == VIA_PROXY for r in both(lab, labs.WEB, timeout=2)), 15, f"both families after {damage}")
    scenes.finish(ours, daemon)


@case("row_58_teardown_under_load", timeout=60)
def test_row_58(lab):
    """down under load: no byte of a proxied connection leaves in clear, before or after the machine is open."""
    proxy, ours, daemon = scenes.start(lab)
    sockets = []
    for number in range(20):
        sock = client.connect(lab, labs.WEB[number % 2], labs.WHO)
        servers.read_line(sock)
        sockets.append(sock)
    stop, errors = threading.Event(), []

    def talk(sock):
        while not stop.is_set():
            try:
                sock.send(b"SECRET-AFTER-DOWN")
            except OSError as error:
                errors.append(client.name_of(error.errno))
                return
            time.sleep(0.002)
    threads = [threading.Thread(target=talk, args=(sock,), daemon=True) for sock in sockets]
    with lab.capture(proxies=proxy.endpoints) as wire:
        for thread in threads:
            thread.start()
        with Load(lab, threads=4, timeout=1) as load:
            load.wait_proxied()
            scenes.finish(ours, daemon)
            labs.wait_until(lambda: load.results[DIRECT] > 20, 20, "the machine is open after down")
        time.sleep(0.3)
        stop.set()
        wire.stop()
        secret = [str(f) for f in wire.leaks if b"SECRET" in f.payload]
        assert not secret, f"{len(secret)} packets of proxied connections in clear: {secret[:3]}"
        old = {(s.getsockname()[0], s.getsockname()[1]) for s in sockets if s.fileno() >= 0}
        late = [str(f) for f in wire.leaks if (f.source, f.sport) in old]
        assert not late, f"packets of old sockets in clear: {late[:3]}"
        wire.leaks.clear()
    for thread in threads:
        thread.join(5)
    assert len(errors) == len(sockets), f"{len(sockets) - len(errors)} applications were not told: {errors}"


@case("row_60_signal_storms", timeout=90)
def test_row_60(lab):
    """Storms of SIGINT, SIGTERM and SIGHUP at random moments of start and end: a defined end, nothing left, no leak."""
    proxy, ours = bad.ScriptedProxy(lab), product.Product(lab)
    servers.who_servers(lab)
    before, dice = snapshot.take(lab), random.Random(60)
    for turn in range(8 if product.is_sanitized() else 16):
        daemon = ours.start("--proxy-url", proxy.url())
        time.sleep(dice.uniform(0, 0.25))
        for _ in range(dice.randint(1, 12)):
            if daemon.process.poll() is None:
                daemon.process.send_signal(dice.choice((signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE, signal.SIGUSR1 if turn % 4 == 3 else signal.SIGINT)))
            time.sleep(dice.uniform(0, 0.01))
        if daemon.process.poll() is None:
            daemon.process.send_signal(signal.SIGTERM)
        daemon.wait_exit()
        ours.wait_gone()
        ours.down()
        snapshot.assert_same(before, snapshot.take(lab), f"storm {turn}")
    expect_way(both(lab, labs.WEB), DIRECT)


@case("row_65_no_killswitch")
def test_row_65(lab):
    """--no-killswitch: TCP proxied, UDP direct, a bound device is no way round for TCP; after SIGKILL the machine is open."""
    proxy, ours, daemon = scenes.start(lab, "--no-killswitch")
    expect_way(both(lab, labs.WEB), VIA_PROXY)
    for address in labs.WEB:
        assert client.udp(lab, address, 443) == "ECONNREFUSED", "udp did not reach the web server directly"
        result = probe(lab, address, device="eth0", timeout=1)
        assert result.kind != DIRECT, f"bound to eth0: {result}"
    daemon.kill()
    ours.wait_gone()
    wait_until(lambda: all(r.kind == DIRECT for r in both(lab, labs.WEB, timeout=2)), 10, "the machine is open after SIGKILL")
    ours.down()
    daemon = ours.up("--proxy-url", proxy.url(), "--no-killswitch")
    expect_way(both(lab, labs.WEB), VIA_PROXY)
    scenes.finish(ours, daemon)
    expect_way(both(lab, labs.WEB), DIRECT)


@case("row_68_suspend", timeout=60)
def test_row_68(lab):
    """All processes stopped for a while and the link flapped (suspend): shut meanwhile, flows again afterwards."""
    proxy, ours, daemon = scenes.start(lab, "--connect-timeout", "3")
    held = client.connect(lab, labs.WEB[0], labs.WHO)
    servers.read_line(held)
    with lab.capture(proxies=proxy.endpoints):
        everyone = list(ours.pids())
        for pid in everyone:
            os.kill(pid, signal.SIGSTOP)
        with Load(lab, threads=4, udp=True, timeout=0.3) as load:
            load.wait(30)
        assert load.results[DIRECT] == 0 and load.results[VIA_PROXY] == 0, load.results
        lab.host.ip("link set eth0 down")
        time.sleep(0.2)
        lab.host.ip("link set eth0 up", f"addr replace {labs.HOST[1]}/64 dev eth0 nodad", f"route replace default via {labs.ROUTER[0]}",
                    f"-6 addr replace {labs.HOST[1]}/64 dev eth0 nodad", f"-6 route replace default via {labs.ROUTER[1]}")
        for pid in everyone:
            os.kill(pid, signal.SIGCONT)
        wait_until(lambda: all(r.kind == VIA_PROXY for r in both(lab, labs.WEB, timeout=3)), 30, "traffic flows after resume")
        held.sendall(b"still?")
        assert client.read_exactly(held, 6) == b"still?", "the held connection did not survive"
    scenes.finish(ours, daemon)


@case("network_changes", timeout=60)
def test_network_changes(lab):
    """Link down and up, address changed, default route gone and back: never in clear, heals by itself."""
    proxy, ours, daemon = scenes.start(lab, "--connect-timeout", "2")
    restore = [f"route replace default via {labs.ROUTER[0]}", f"-6 addr replace {labs.HOST[1]}/64 dev eth0 nodad", f"-6 route replace default via {labs.ROUTER[1]}"]
    changes = (("default route gone", ["route del default", "-6 route del default"], restore),
               ("link down", ["link set eth0 down"], ["link set eth0 up", *restore]),
               ("address changed", ["addr del 192.168.50.2/24 dev eth0", "addr add 192.168.50.9/24 dev eth0", "route replace default via 192.168.50.1"], []))
    for name, change, back in changes:
        with lab.capture(proxies=proxy.endpoints):
            with Load(lab, threads=3, udp=True, timeout=0.4) as load:
                load.wait_proxied()
                lab.host.ip(*change)
                load.wait(20)
                if back:
                    lab.host.ip(*back)
                load.wait_proxied(40)
            assert load.results[DIRECT] == 0, f"{name}: {load.results}"
    wait_until(lambda: all(r.kind == VIA_PROXY for r in both(lab, labs.WEB, timeout=3)), 20, "both families flow")
    scenes.finish(ours, daemon)
