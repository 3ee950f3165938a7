"""Matrix rows 31, 32, 58, 60, 65 and 68: what was there before up, teardown, signals, suspend, network changes."""
import os
import random
import signal
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
from client import DIRECT, VIA_PROXY, both, expect_way, probe
from lab import wait_until
from load import Load

CT_RULE = """
table inet theirs {
  chain c {
    type filter hook input priority 0
    ct state established accept
  }
}
"""


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


def _talk(lab, stop):
    """Proxied connections that send all the time, as row 58 has them."""
    def one(address):
        try:
            with client.connect(lab, address, labs.WHO) as sock:
                while not stop.is_set():
                    sock.send(b"SECRET-IN-A-STORM")
                    time.sleep(0.002)
        except OSError:
            pass
    for address in labs.WEB:
        threading.Thread(target=one, args=(address,), daemon=True).start()


@case("row_60_signal_storms", timeout=90)
def test_row_60(lab):
    """Storms of signals at random moments of start, life and end: a defined end, no byte of a proxied connection in clear, shut after a deadly one, nothing left."""
    proxy, ours = bad.ScriptedProxy(lab), product.Product(lab)
    servers.who_servers(lab)
    before, dice, crashes = snapshot.take(lab), random.Random(60), 0
    for turn in range(8 if product.is_sanitized() else 16):
        deadly = turn % 4 == 3           # SIGUSR1 is nobody's: it kills
        daemon, stop = ours.start("--proxy-url", proxy.url()), threading.Event()
        with lab.capture(proxies=proxy.endpoints) as wire:
            if turn % 2:
                daemon.wait_ready()
                _talk(lab, stop)
            time.sleep(dice.uniform(0, 0.25))
            for _ in range(dice.randint(1, 12)):
                if daemon.process.poll() is None:
                    daemon.process.send_signal(dice.choice((signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE, signal.SIGUSR1 if deadly else signal.SIGINT)))
                time.sleep(dice.uniform(0, 0.01))
            if daemon.process.poll() is None:
                daemon.process.send_signal(signal.SIGTERM)
            code = daemon.wait_exit()
            ours.wait_gone()
            if code in (-signal.SIGHUP, -signal.SIGINT, -signal.SIGTERM, -signal.SIGPIPE):      # before it had asked to hear of them
                snapshot.assert_same(before, snapshot.take(lab), f"storm {turn}, which killed it while it changed something")
            else:
                assert code in ((0, 1, -signal.SIGUSR1) if deadly else (0, 1)), f"storm {turn}: exit {code}: {daemon.log()}"
            if code == -signal.SIGUSR1 and turn % 2:
                crashes += 1
                for result in both(lab, labs.WEB, timeout=1):
                    assert result.kind == "ERROR", f"storm {turn}: open after a crash: {result}"
            ours.down()
            time.sleep(0.05)
            stop.set()
            wire.stop()
            secret = [str(f) for f in wire.leaks if b"SECRET" in f.payload]
            assert not secret, f"storm {turn}: {secret[:3]}"
            wire.leaks.clear()
        snapshot.assert_same(before, snapshot.take(lab), f"storm {turn}")
    assert crashes, "no storm killed it"
    expect_way(both(lab, labs.WEB), DIRECT)


@case("down_of_a_stopped_daemon")
def test_down_of_a_stopped(lab):
    """`down` of a daemon that SIGSTOP holds: it is woken or killed, nothing is left, exit 0."""
    proxy, ours, daemon = scenes.start(lab, who=True)
    during = snapshot.take(lab)
    os.kill(daemon.pid, signal.SIGSTOP)
    with lab.capture(proxies=proxy.endpoints):
        expect_way(both(lab, labs.WEB), VIA_PROXY)      # the workers go on without it
    ours.down(timeout=60)
    daemon.wait_exit()
    ours.wait_gone()
    assert snapshot.difference(during, snapshot.take(lab)), "nothing was taken back"
    assert "proxyvpn" not in lab.host.run(["nft", "list", "tables"]).stdout
    assert not any("28790" in line for line in snapshot.take(lab)["rules"])
    expect_way(both(lab, labs.WEB), DIRECT)


@case("row_65_no_killswitch")
def test_row_65(lab):
    """--no-killswitch: TCP proxied, UDP direct, a bound device is no way round for TCP; after SIGKILL the machine is open."""
    proxy, ours, daemon = scenes.start(lab, "--no-killswitch")
    expect_way(both(lab, labs.WEB), VIA_PROXY)
    servers.Dns(lab, addresses=labs.OTHER_DNS)
    for address in labs.OTHER_DNS:
        assert client.dns(lab, address, timeout=5) == "REPLY", "another resolver was not reached directly"
    for address in labs.WEB:
        assert client.udp(lab, address, 443) == "ECONNREFUSED", "udp did not reach the web server directly"
        assert client.ping(lab, address) == "REPLY", "ping did not reach the web server directly"
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
