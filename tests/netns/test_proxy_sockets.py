"""The connections to the proxy themselves: TCP Fast Open, local addresses, ports that run out."""
import client
import lab as labs
import scenes
import scripted_proxy as bad
import servers
from cases import case
from client import VIA_PROXY, both, expect_refused, expect_way, probe
from lab import wait_until

SECOND = "192.168.50.12"


def fast_opens(namespace, which):
    """TCPFastOpenActive (a client's requests that went with the SYN) or TCPFastOpenPassive (a server's)."""
    rows = [row.split() for row in namespace.run(["cat", "/proc/net/netstat"]).stdout.splitlines() if row.startswith("TcpExt:")]
    return int(dict(zip(*rows))[f"TCPFastOpen{which}"])


@case("fast_open_to_the_proxy", timeout=90)
def test_fast_open(lab):
    """From the second connection on the request goes with the SYN, also one of several segments; errors stay true."""
    lab.proxy.sysctl({"ipv4/tcp_fastopen": 0x403})       # client, server, all listeners
    proxy, ours, daemon = scenes.start(lab, "--workers", "1", credentials="u:" + "p" * 1800)
    with lab.capture(proxies=proxy.endpoints):
        assert probe(lab, labs.WEB[0]).kind == VIA_PROXY
        before, heard = fast_opens(lab.host, "Active"), fast_opens(lab.proxy, "Passive")
        for result in both(lab, labs.WEB) + both(lab, labs.WEB):
            assert result.kind == VIA_PROXY, result
        assert fast_opens(lab.host, "Active") - before == 4
        assert fast_opens(lab.proxy, "Passive") - heard == 4
        requests = proxy.requests[-4:]
        assert {r.target for r in requests} == {f"{labs.WEB[0]}:{labs.WHO}", f"[{labs.WEB[1]}]:{labs.WHO}"}
        assert all(len(r.headers["proxy-authorization"]) > 2400 for r in requests)
        for text, error in (("502 Bad Gateway", "ECONNREFUSED"), ("403 Forbidden", "EHOSTUNREACH")):
            proxy.script = bad.answer(text)
            expect_refused(both(lab, labs.WEB), errors=(error,))
        proxy.script = bad.relay
        # The proxy has forgotten us and takes no cookie any more: an ordinary connection.
        lab.proxy.sysctl({"ipv4/tcp_fastopen": 1})
        heard = fast_opens(lab.proxy, "Passive")
        expect_way(both(lab, labs.WEB), VIA_PROXY)
        assert fast_opens(lab.proxy, "Passive") == heard, "the proxy still takes cookies"
        proxy.stop()
        expect_refused(both(lab, labs.WEB), errors=("ENETUNREACH",))
        daemon.wait_log("proxy lost: ")
        proxy.start()
        wait_until(lambda: all(r.kind == VIA_PROXY for r in both(lab, labs.WEB)), 30, "the proxy is found again")
    scenes.finish(ours, daemon)


@case("fast_open_off")
def test_fast_open_off(lab):
    """--no-fast-open, and a kernel that is told not to: ordinary connections."""
    lab.proxy.sysctl({"ipv4/tcp_fastopen": 0x403})
    proxy, ours, daemon = scenes.start(lab, "--no-fast-open")
    # Twice: the first connection could only have asked for a cookie.
    expect_way(both(lab, labs.WEB) + both(lab, labs.WEB), VIA_PROXY)
    scenes.finish(ours, daemon)
    assert fast_opens(lab.proxy, "Passive") == fast_opens(lab.host, "Active") == 0, "--no-fast-open"
    lab.host.sysctl({"ipv4/tcp_fastopen": 0})
    daemon = ours.up("--proxy-url", proxy.url())
    expect_way(both(lab, labs.WEB) + both(lab, labs.WEB), VIA_PROXY)
    assert fast_opens(lab.proxy, "Passive") == fast_opens(lab.host, "Active") == 0, "the kernel says no"
    scenes.finish(ours, daemon)
    # The same machine with both allowed: it would have been seen.
    lab.host.sysctl({"ipv4/tcp_fastopen": 1})
    daemon = ours.up("--proxy-url", proxy.url(), "--workers", "1")
    expect_way(both(lab, labs.WEB) + both(lab, labs.WEB), VIA_PROXY)
    assert fast_opens(lab.proxy, "Passive") > 0 and fast_opens(lab.host, "Active") > 0
    scenes.finish(ours, daemon)


def open_many(lab, count, timeout):
    """(sockets that stand, errors by name)"""
    standing, errors = [], []
    for number in range(count):
        try:
            standing.append(client.connect(lab, labs.WEB[number % 2], labs.SINK, timeout=timeout))
        except OSError as error:
            errors.append(type(error).__name__)
            if len(errors) == 3:
                break
    return standing, errors


@case("source_addresses", timeout=120)
def test_source_addresses(lab):
    """Two addresses have ports for twice as many connections; without a port one waits, and the proxy is not to blame."""
    servers.serve(lab, labs.SINK, servers.sink)
    lab.host.ip(f"addr add {SECOND}/24 dev eth0")
    lab.host.sysctl({"ipv4/ip_local_port_range": "40000 40059"})
    proxy, ours, daemon = scenes.start(lab, "--workers", "1", "--source-address", labs.HOST[0], "--source-address", SECOND,
                                       "--source-address", "192.168.50.99")
    with lab.capture(proxies=proxy.endpoints):
        standing, errors = open_many(lab, 100, 10)
        assert not errors, f"{len(standing)} stand, then {errors}"
        assert {r.peer[0] for r in proxy.requests} == {labs.HOST[0], SECOND}
        for sock in standing:
            servers.reset(sock)      # no TIME_WAIT, which would hold its port
        scenes.finish(ours, daemon)
        wait_until(lambda: proxy.open_tunnels == 0, 10, "the proxy is idle")

        daemon = ours.up("--proxy-url", proxy.url(), "--workers", "1", "--connect-timeout", "3")
        standing, errors = open_many(lab, 100, 1.5)
        assert 32 <= len(standing) <= 60 and set(errors) == {"TimeoutError"}, f"{len(standing)} stand, {errors}"
        assert "proxyvpn is up" in daemon.log() and "lost" not in daemon.log().lower(), daemon.log()
        assert ours.run("status").returncode == 0, "the proxy is blamed"
        for sock in standing[:20]:
            servers.reset(sock)
        assert probe(lab, labs.WEB[0], timeout=5).kind == VIA_PROXY, "a port that is free again"
        for sock in standing[20:]:
            sock.close()
    scenes.finish(ours, daemon)
