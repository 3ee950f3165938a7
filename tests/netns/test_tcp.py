"""The packet path: what TCP promises an application holds through the tunnel."""
import hashlib
import os
import socket
import threading
import time

import client
import lab as labs
import product
import scenes
import scripted_proxy as bad
import servers
from cases import case
from client import VIA_PROXY, both, expect_way
from lab import wait_until


@case("tcp_half_close")
def test_half_close(lab):
    """FIN in one direction leaves the other open without a time limit; data before a FIN is never lost."""
    sinks = servers.serve(lab, labs.SINK, servers.sink)
    sources = servers.serve(lab, labs.SOURCE, servers.source)
    proxy, ours, daemon = scenes.start(lab)
    data = os.urandom(7_000_000)
    with lab.capture(proxies=proxy.endpoints):
        for number, address in enumerate(labs.WEB, 1):
            with client.connect(lab, address, labs.SINK) as sock:       # client first
                sock.sendall(data)
                sock.shutdown(socket.SHUT_WR)
                digest = hashlib.sha256(data).hexdigest()
                assert servers.read_line(sock) == f"{digest} {len(data)}\n".encode()
                assert sock.recv(1) == b""
            with client.connect(lab, address, labs.SOURCE) as sock:     # server first
                sock.sendall(b"5000000\n")
                assert servers.read_all(sock)[0] == 5_000_000
                time.sleep(1.0)     # far longer than any turn of the loop
                sock.sendall(data)
            assert sources.wait(number, ended=True)[-1].result == (len(data), digest)
    assert len(sinks.sessions) == 2
    wait_until(lambda: proxy.open_tunnels == 0, 10, "every tunnel at the proxy is closed")
    scenes.finish(ours, daemon)


@case("tcp_reset_both_ways")
def test_reset(lab):
    """RST of the server is RST for the application, and the other way round."""
    ended = servers.serve(lab, 7003, lambda conn, _: (conn.recv(1), servers.reset(conn)))
    proxy, ours, daemon = scenes.start(lab)
    for number, address in enumerate(labs.WEB, 1):
        with client.connect(lab, address, 7003) as sock:
            sock.sendall(b"x")
            try:
                got = sock.recv(1)
                raise AssertionError(f"recv gave {got!r}, not ECONNRESET")
            except ConnectionResetError:
                pass
        ended.wait(number, ended=True)
    errors = servers.serve(lab, 7004, lambda conn, _: conn.recv(1) and conn.recv(1))
    for number, address in enumerate(labs.WEB, 1):
        sock = client.connect(lab, address, 7004)
        sock.sendall(b"x")
        wait_until(lambda number=number: len(errors.sessions) == number, 10, "the server accepted")
        time.sleep(0.1)
        servers.reset(sock)
        session = errors.wait(number, ended=True)[-1]
        assert isinstance(session.error, ConnectionResetError), f"the server saw {session.error!r} {session.result!r}"
    wait_until(lambda: proxy.open_tunnels == 0, 10, "every tunnel at the proxy is closed")
    scenes.finish(ours, daemon)


@case("tcp_backpressure", timeout=90, heavy=True)
def test_backpressure(lab):
    """A reader that stops stops the sender: memory of the workers stays bounded, and nothing is lost."""
    go = threading.Event()

    def slow_sink(conn, session):
        go.wait(60)
        return servers.sink(conn, session)
    servers.serve(lab, labs.SINK, slow_sink)
    servers.serve(lab, 7005, _endless)
    proxy, ours, daemon = scenes.start(lab)
    worker_memory = _memory(ours, daemon)
    up, sent = client.connect(lab, labs.WEB[0], labs.SINK), hashlib.sha256()
    total = _send_until_stalled(up, sent)
    assert total < 150 << 20, f"{total >> 20} MiB were taken although nobody reads"
    down = client.connect(lab, labs.WEB[1], 7005)
    time.sleep(1.5)                 # the server sends, the application does not read
    growth = _memory(ours, daemon) - worker_memory
    limit = (192 if product.is_sanitized() else 48) << 20
    assert growth < limit, f"the workers grew by {growth >> 20} MiB for two stalled connections"
    go.set()
    up.settimeout(60)
    up.shutdown(socket.SHUT_WR)
    assert servers.read_line(up) == f"{sent.hexdigest()} {total}\n".encode()
    wanted, got = hashlib.sha256(_BLOCK * 64).hexdigest(), hashlib.sha256(client.read_exactly(down, len(_BLOCK) * 64)).hexdigest()
    assert wanted == got
    down.close()
    up.close()
    wait_until(lambda: proxy.open_tunnels == 0, 20, "every tunnel at the proxy is closed")
    scenes.finish(ours, daemon)


_BLOCK = hashlib.sha512(b"block").digest() * 4096


def _endless(conn, _session):
    while True:
        conn.sendall(_BLOCK)


def _memory(ours, daemon):
    return sum(product.rss(pid) for pid in ours.workers(daemon.pid))


def _send_until_stalled(sock, digest, quiet=1.5):
    """Sends until nothing was taken for `quiet` seconds; the count of bytes."""
    total, block, last = 0, os.urandom(1 << 16), time.monotonic()
    sock.setblocking(False)
    while time.monotonic() - last < quiet and total < 1 << 30:
        try:
            count = sock.send(block)
            digest.update(block[:count])
            total, last = total + count, time.monotonic()
        except BlockingIOError:
            time.sleep(0.01)
    sock.setblocking(True)
    return total


@case("tcp_zero_window_and_small_sips", timeout=60)
def test_zero_window(lab):
    """Zero windows recover; a tiny receive buffer read in sips gets every byte."""
    servers.serve(lab, labs.SOURCE, servers.source)
    _, ours, daemon = scenes.start(lab)
    for address in labs.WEB:
        with client.connect(lab, address, labs.SOURCE, receive_buffer=4096) as sock:
            sock.sendall(b"1500000\n")
            time.sleep(1.5)         # the window closes and persist timers run
            total = 0
            while data := sock.recv(3000):
                total += len(data)
            assert total == 1_500_000
    scenes.finish(ours, daemon)


@case("tcp_source_port_bound")
def test_source_port(lab):
    """An application that binds its source address and port; the port is reused at once, also after the server closed first."""
    servers.serve(lab, 7006, lambda conn, session: conn.sendall(b"closing first\n"))
    proxy, ours, daemon = scenes.start(lab)
    for turn in range(8):
        for source, address in ((("192.168.50.2", 45678), labs.WEB[0]), (("fd50::2", 45678), labs.WEB[1])):
            sock = client.connect(lab, address, 7006 if turn % 2 else labs.WHO, source=source, timeout=20)
            assert sock.getsockname()[:2] == source
            assert servers.read_line(sock), "nothing came"
            if turn % 2:
                assert sock.recv(1) == b""          # the server's FIN first: TIME_WAIT is on the far side
                sock.close()
            else:
                servers.reset(sock)                 # no TIME_WAIT here: the next SYN may come at once
    assert len(proxy.requests) == 16
    scenes.finish(ours, daemon)


@case("tcp_retransmitted_syn")
def test_retransmitted_syn(lab):
    """While the proxy thinks, the kernel repeats the SYN; the proxy sees one CONNECT."""
    def slow(proxy, conn, request):
        time.sleep(3.5)
        return bad.relay(proxy, conn, request)
    proxy, ours, daemon = scenes.start(lab, script=slow)
    results = []
    threads = [threading.Thread(target=lambda a=a: results.append(client.probe(lab, a))) for a in labs.WEB]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(40)
    expect_way(results, VIA_PROXY)
    assert all(result.seconds > 3.4 for result in results), "the handshake was not held back"
    assert len(proxy.requests) == 2, f"{len(proxy.requests)} CONNECT for two connections"
    scenes.finish(ours, daemon)


@case("tcp_application_gives_up")
def test_gives_up(lab):
    """An application that closes while the proxy thinks leaves nothing behind."""
    gate = threading.Event()

    def slow(proxy, conn, request):
        gate.wait(20)
        return bad.relay(proxy, conn, request)
    proxy, ours, daemon = scenes.start(lab, script=slow)
    for address in labs.WEB:
        sock = lab.host.socket(servers.family_of(address))
        sock.setblocking(False)
        sock.connect_ex((address, labs.WHO))
        proxy.wait(1)
        sock.close()
    gate.set()
    proxy.script = bad.relay
    expect_way(both(lab, labs.WEB), VIA_PROXY)
    wait_until(lambda: proxy.open_tunnels == 0, 40, "the abandoned tunnels are closed")
    scenes.finish(ours, daemon)


@case("tcp_idle_connection")
def test_idle(lab):
    """An idle connection goes on, and the product's own side keeps it alive with TCP keepalive."""
    proxy, ours, daemon = scenes.start(lab)
    with client.connect(lab, labs.WEB[0], labs.WHO) as sock:
        servers.read_line(sock)
        listing = lab.host.run(["ss", "-tnoH", "dst", labs.PROXY[0]]).stdout
        assert "timer:(keepalive" in listing, f"no keepalive towards the proxy:\n{listing}"
        time.sleep(3)
        sock.sendall(b"still here")
        assert client.read_exactly(sock, 10) == b"still here"
    assert len(proxy.requests) == 1
    scenes.finish(ours, daemon)


@case("tcp_churn_leaves_nothing", timeout=90, heavy=True)
def test_churn(lab):
    """Two thousand short connections, ended in every way: descriptors, tunnels and memory are back where they began."""
    proxy, ours, daemon = scenes.start(lab)
    expect_way(both(lab, labs.WEB), VIA_PROXY)
    many(lab, 200)

    def fds():
        return {pid: len(os.listdir(f"/proc/{pid}/fd")) for pid in ours.workers(daemon.pid)}
    wait_until(lambda: proxy.open_tunnels == 0, 20, "every tunnel at the proxy is closed")
    before = fds()
    memory = _memory(ours, daemon)
    for _ in range(4):
        many(lab, 450)
    wait_until(lambda: proxy.open_tunnels == 0, 20, "every tunnel at the proxy is closed")

    def back():
        now = fds()
        return now.keys() == before.keys() and all(now[p] <= before[p] + 40 for p in now)
    try:
        wait_until(back, 20, "descriptors are back")
    except AssertionError:
        raise AssertionError(f"descriptors per worker: before {before}, after {fds()}") from None
    growth = _memory(ours, daemon) - memory
    assert growth < (128 if product.is_sanitized() else 16) << 20, f"memory grew by {growth >> 10} KiB"
    scenes.finish(ours, daemon)


def many(lab, count):
    """count connections, 50 at a time: closed, reset, half-closed, closed by the server."""
    failures = []

    def some(first):
        for number in range(first, count, 50):
            try:
                sock = client.connect(lab, labs.WEB[number % 2], labs.WHO, timeout=30)
                assert servers.read_line(sock)
                if number % 4 == 1:
                    servers.reset(sock)
                elif number % 4 == 2:
                    sock.shutdown(socket.SHUT_WR)
                    assert sock.recv(1) == b""
                sock.close()
            except (OSError, AssertionError) as error:
                failures.append(f"{number}: {error!r}")
    threads = [threading.Thread(target=some, args=(n,), daemon=True) for n in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not failures, f"{len(failures)} of {count} failed: {failures[:3]}"


@case("tcp_syn_flood_is_bounded", timeout=60, heavy=True)
def test_syn_flood(lab):
    """5,000 connections to a proxy that never answers: memory and sockets bounded, the machine still works after."""
    proxy, ours, daemon = scenes.start(lab, "--connect-timeout", "2", script=bad.per_target({610: bad.hang}))
    expect_way(both(lab, labs.WEB), VIA_PROXY)
    memory, sockets = _memory(ours, daemon), []
    for number in range(5000):
        sock = lab.host.socket()
        sock.setblocking(False)
        sock.connect_ex((f"203.0.113.{100 + number % 100}", 610))
        sockets.append(sock)
    time.sleep(0.5)
    growth = _memory(ours, daemon) - memory
    assert growth < (256 if product.is_sanitized() else 64) << 20, f"grew by {growth >> 20} MiB"
    for sock in sockets:
        sock.close()
    wait_until(lambda: client.probe(lab, labs.WEB[0], timeout=5).kind == VIA_PROXY, 30, "new connections work")
    assert ours.workers(daemon.pid)
    scenes.finish(ours, daemon)
