"""What connect(2) gives when the proxy says no, and what the person is told."""
import re
import time

import client
import lab as labs
import real_proxies
import scenes
import scripted_proxy as bad
import servers
import web
from cases import case
from client import VIA_PROXY, both, expect_refused, expect_way, probe

# The table of the product: what the proxy answers -> what the application gets.
STATUS_ERRNO = {502: "ECONNREFUSED", 503: "ECONNREFUSED", 504: "EHOSTUNREACH",
                403: "EHOSTUNREACH", 405: "EHOSTUNREACH", 451: "EHOSTUNREACH"}
PROXY_TROUBLE = ("ENETUNREACH",)
TEXT = {502: "502 Bad Gateway", 503: "503 Service Unavailable", 504: "504 Gateway Timeout", 403: "403 Forbidden",
        405: "405 Method Not Allowed", 451: "451 Unavailable For Legal Reasons", 407: "407 Proxy Authentication Required"}


@case("errno_of_statuses")
def test_statuses(lab):
    """502 503 504 403 405 451: the errno of the table, at once, IPv4 and IPv6; the handshake never completes."""
    table = {code: bad.answer(TEXT[code], body=b"<html>no</html>") for code in STATUS_ERRNO}
    proxy, ours, daemon = scenes.start(lab, "--verbose", script=bad.per_target(table))
    with lab.capture(proxies=proxy.endpoints):
        for code, expected in STATUS_ERRNO.items():
            for address in labs.WEB:
                result = probe(lab, address, code)
                assert result.error == expected, f"{code} over {address}: expected {expected}, got {result}"
                assert result.seconds < 2, f"{code}: {result}"
        expect_way(both(lab, labs.WEB), VIA_PROXY)      # refusals of one target are not the proxy's loss
    daemon.wait_log(r"502")
    scenes.finish(ours, daemon)


@case("errno_407_and_one_loud_line")
def test_407(lab):
    """407 without a challenge that can be answered: ENETUNREACH and one line, not one per connection."""
    script = bad.answer(TEXT[407] + '\nProxy-Authenticate: Basic realm="x"')
    proxy, ours, daemon = scenes.start(lab, script=script, credentials="u:not-this-one")
    ours.secrets.append("not-this-one")
    with lab.capture(proxies=proxy.endpoints):
        for _ in range(5):
            expect_refused(both(lab, labs.WEB), errors=PROXY_TROUBLE)
    daemon.wait_log(r"(?i)407|credential|authenti")
    lines = [x for x in daemon.log().splitlines() if re.search(r"(?i)407|credential|authenti", x)]
    assert len(lines) <= 2, f"{len(lines)} lines for one trouble: {lines}"
    proxy.script = bad.relay
    labs.wait_until(lambda: probe(lab, labs.WEB[0]).kind == VIA_PROXY, 40, "traffic flows again without a restart", step=0.2)
    scenes.finish(ours, daemon)


@case("errno_407_without_credentials")
def test_407_without_credentials(lab):
    """A proxy that wants a user that was not given."""
    proxy, ours, daemon = scenes.start(lab, script=bad.answer(TEXT[407] + '\nProxy-Authenticate: Negotiate\nProxy-Authenticate: NTLM'))
    expect_refused(both(lab, labs.WEB), errors=PROXY_TROUBLE)
    daemon.wait_log(r"(?i)407|credential|authenti|user")
    scenes.finish(ours, daemon)


@case("errno_proxy_gone_and_back")
def test_proxy_gone(lab):
    """The proxy goes: ENETUNREACH at once, told once; it comes back: flows again by itself, told once."""
    proxy, ours, daemon = scenes.start(lab)
    with lab.capture(proxies=proxy.endpoints):
        expect_way(both(lab, labs.WEB), VIA_PROXY)
        proxy.stop()
        for _ in range(10):
            expect_refused(both(lab, labs.WEB), errors=PROXY_TROUBLE)
        daemon.wait_log("proxy lost:")
        proxy.start()
        labs.wait_until(lambda: probe(lab, labs.WEB[0]).kind == VIA_PROXY, 40, "traffic flows again", step=0.1)
        daemon.wait_log("proxy back:")
        expect_way(both(lab, labs.WEB), VIA_PROXY)
    for sentence, times in (("proxy lost:", 1), ("proxy back:", 1), ("proxy still lost:", 0)):
        assert daemon.log().count(sentence) == times, f"{sentence} {times} times, not in: {daemon.log()}"
    scenes.finish(ours, daemon)


@case("errno_no_answer_in_time")
def test_no_answer(lab):
    """The proxy takes the request and says nothing: an error after --connect-timeout, not a hang."""
    proxy, ours, daemon = scenes.start(lab, "--connect-timeout", "1", script=bad.per_target({600: bad.hang}))
    for address in labs.WEB:
        result = probe(lab, address, 600, timeout=30)
        assert result.error == "EHOSTUNREACH", result
        assert 0.9 < result.seconds < 10, result
    expect_way(both(lab, labs.WEB), VIA_PROXY)
    scenes.finish(ours, daemon)


@case("errno_proxy_host_is_silent")
def test_silent_host(lab):
    """Packets to the proxy vanish: an error within the time-out, nothing in clear, told."""
    servers.who_servers(lab)
    ours = scenes.product.Product(lab)
    daemon = ours.start("--proxy-url", f"http://{labs.FILTERED[0]}:3128", "--connect-timeout", "1")
    daemon.wait_ready()
    with lab.capture(proxies=[(labs.FILTERED[0], 3128)]):
        result = probe(lab, labs.WEB[0], timeout=30)
        assert result.error in ("ENETUNREACH", "EHOSTUNREACH", "ETIMEDOUT"), result
        assert result.seconds < 15
    daemon.wait_log(r"(?i)proxy")
    scenes.finish(ours, daemon)


# What the line of --verbose must say of them; of those that are not named here, only that they failed.
NAMED = {
    "garbage": "does not speak HTTP", "ssh": "speaks SSH", "smtp": "greets like FTP or SMTP", "tls alert": "speaks TLS", "closes": "closed the connection before it answered",
    "half a head": "in the middle of its answer", "endless head": "longer than 64 KiB", "many headers": "header", "endless 1xx": "interim",
    "version 9": "other than 1.x", "three digits too many": "three-digit status", "redirect": "a redirection", "teapot": "refuses the request",
    "500": "an error of its own", "obs-fold": "could not connect to the target", "bare LF, then closes": "could not connect to the target",
}


def _wrong_answers(folder):
    digest = TEXT[407] + '\nProxy-Authenticate: Digest realm="r", nonce="n", algorithm=WHAT, qop="auth"'
    return {
        "garbage": bad.raw(b"\x00\x01\x02\xff" * 50, "keep"), "ssh": bad.raw(b"SSH-2.0-OpenSSH_9.2\r\n", "keep", first=True),
        "smtp": bad.raw(b"220 mail ESMTP\r\n", "keep", first=True), "tls": bad.tls(folder),
        "tls alert": bad.raw(b"\x15\x03\x01\x00\x02\x02\x46", "close"), "closes": bad.close_at_once, "resets": bad.reset_at_once,
        "half a head": bad.raw(b"HTTP/1.1 200 OK\r\nX-"), "bare LF, then closes": bad.raw(b"HTTP/1.1 502 Bad\n\n"),
        "obs-fold": bad.raw(b"HTTP/1.1 502 Bad\r\nX: a\r\n  b\r\nContent-Length: 0\r\n\r\n"),
        "endless head": bad.raw([b"HTTP/1.1 200 OK\r\n"] + [b"X: " + b"a" * 8000 + b"\r\n"] * 20, "keep"),
        "many headers": bad.raw([b"HTTP/1.1 200 OK\r\n" + b"X: a\r\n" * 3000], "keep"),
        "endless 1xx": bad.raw([b"HTTP/1.1 100 Continue\r\n\r\n" * 200], "keep"),
        "version 9": bad.raw(b"HTTP/9.9 200 OK\r\n\r\n"), "three digits too many": bad.raw(b"HTTP/1.1 200000 OK\r\n\r\n"),
        "redirect": bad.answer("302 Found\nLocation: http://x/"), "teapot": bad.answer("418 Teapot"), "500": bad.answer("500 Internal Server Error"),
        "digest of an unknown algorithm": bad.answer(digest.replace("WHAT", "SHA-9000")), "304": bad.answer("304 Not Modified"),
        "a 407 that never ends": bad.raw([TEXT[407].join(("HTTP/1.1 ", "\r\nProxy-Authenticate: Digest realm=\"r\", nonce=\"n\"\r\n\r\n")).encode()] + [b"x" * 60000] * 8, "keep"),
    }


@case("errno_misbehaving_proxy", timeout=90)
def test_misbehaving(lab):
    """Every wrong answer: an error in bounded time for the application, never a byte, never in clear, and no crash."""
    proxy, ours, daemon = scenes.start(lab, "--connect-timeout", "1", "--verbose", credentials="u:some-password")
    ours.secrets.append("some-password")
    workers = ours.workers(daemon.pid)
    with lab.capture(proxies=proxy.endpoints):
        for name, script in _wrong_answers(web.certificates(lab)).items():
            proxy.script, told = script, len(daemon.log().splitlines())
            result = probe(lab, labs.WEB[0], timeout=30)
            assert result.kind == "ERROR" and result.error not in ("EOF", "TIMEOUT", "ECONNRESET"), f"{name}: {result}"
            assert result.seconds < 12, f"{name}: {result}"
            lines = labs.wait_until(lambda: [x for x in daemon.log().splitlines()[told:] if f"to={labs.WEB[0]}:" in x], 10, f"a line about {name}")
            assert re.search('reason="[^"]*' + NAMED[name] if name in NAMED else "end=", lines[-1]), f"{name} is not named: {lines}"
            proxy.script = bad.relay
            labs.wait_until(lambda: probe(lab, labs.WEB[1]).kind == VIA_PROXY, 40, f"traffic flows again after {name}", step=0.05)
    assert ours.workers(daemon.pid) == workers, "a worker died"
    scenes.finish(ours, daemon)


@case("errno_tolerated_answers")
def test_tolerated(lab):
    """Answers that are unusual and right: 1xx first, trickled, 2xx of every kind, HTTP/1.0, early bytes."""
    proxy, ours, daemon = scenes.start(lab, "--connect-timeout", "20")
    for name, script in {
            "interim": lambda p, c, r: bad.relay(p, c, r, b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 102 Processing\r\nA: b\r\n\r\nHTTP/1.1 200 OK\r\n\r\n"),
            "204": lambda p, c, r: bad.relay(p, c, r, b"HTTP/1.1 204 No Content\r\n\r\n"),
            "HTTP/1.0 and no reason": lambda p, c, r: bad.relay(p, c, r, b"HTTP/1.0 200\r\nVia: 1.0 x\r\n\r\n"),
            "length in a 2xx": lambda p, c, r: bad.relay(p, c, r, b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n"),
            "trickle": bad.trickle()}.items():
        proxy.script = script
        for result in both(lab, labs.WEB):
            assert result.kind == VIA_PROXY, f"{name}: {result}"
    proxy.script = bad.with_early_bytes(b"EARLY-BYTES ")
    with client.connect(lab, labs.WEB[0], labs.WHO) as sock:
        line = servers.read_line(sock)
        assert line.startswith(b"EARLY-BYTES 203.0.113.10 "), line
    scenes.finish(ours, daemon)


@case("errno_real_squid_targets", timeout=90)
def test_squid_targets(lab):
    """Refused, unreachable, prohibited and filtered targets through squid: the errno of the status that squid gave."""
    proxy = real_proxies.squid(lab, "basic", extra="acl bad port 666\nhttp_access deny bad")
    servers.who_servers(lab)
    ours = scenes.product.Product(lab)
    daemon = ours.up("--proxy-url", proxy.url(), "--connect-timeout", "8")
    with lab.capture(proxies=proxy.endpoints):
        for targets in (labs.CLOSED, labs.UNREACHABLE, labs.PROHIBITED, labs.FILTERED):
            for address in targets:
                _squid_target(lab, proxy, address)
        expect_way(both(lab, labs.WEB), VIA_PROXY)
    scenes.finish(ours, daemon)


def _squid_target(lab, proxy, address):
    result = probe(lab, address, 99, timeout=30)
    name = f"[{address}]:99" if ":" in address else f"{address}:99"
    status = labs.wait_until(lambda: re.findall(r"/(\d+) \d+ CONNECT " + re.escape(name), proxy.log()), 10, f"{name} in squid's log")
    expected = STATUS_ERRNO[int(status[-1])]
    assert result.error == expected, f"{name}: squid said {status}, expected {expected}, got {result}"


@case("errno_tinyproxy_targets")
def test_tinyproxy_targets(lab):
    """A refused target through tinyproxy, which says 500: an error, at once."""
    proxy = real_proxies.tinyproxy(lab)
    servers.who_servers(lab)
    ours = scenes.product.Product(lab)
    daemon = ours.up("--proxy-url", proxy.url())
    for address in labs.CLOSED:
        expect_refused(probe(lab, address, 99), within=5)
    expect_way(both(lab, labs.WEB), VIA_PROXY)
    scenes.finish(ours, daemon)


@case("proxy_name_with_many_addresses", timeout=60)
def test_proxy_name(lab):
    """A proxy by name: dead addresses are passed over (RFC 8305), names are not looked up through the tunnel."""
    proxy, _ = bad.ScriptedProxy(lab), servers.who_servers(lab)
    dns = servers.Dns(lab, names={"proxy.test": (labs.FILTERED[1], labs.FILTERED[0], labs.CLOSED[0], labs.CLOSED[1], *labs.PROXY)})
    ours = scenes.product.Product(lab)
    began = time.monotonic()
    daemon = ours.up("--proxy-url", "http://proxy.test:3128", timeout=40)
    known = [(a, 3128) for a in (*labs.FILTERED, *labs.CLOSED, *labs.PROXY)]
    with lab.capture(proxies=known):
        result = probe(lab, labs.WEB[0], timeout=30)
        assert result.kind == VIA_PROXY, result
        expect_way(both(lab, labs.WEB), VIA_PROXY)
    assert {name for name, *_ in dns.queries} == {"proxy.test"}
    assert all(peer in labs.HOST for _, _, peer, _ in dns.queries)
    assert time.monotonic() - began < 50 and proxy.requests
    scenes.finish(ours, daemon)
