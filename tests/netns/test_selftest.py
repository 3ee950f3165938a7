"""proxyvpn-selftest: one question over UDP, TCP and CONNECT, to IPv4 and IPv6 servers, and which step failed."""
import os
import re

import lab as labs
import product
import real_proxies
import scenes
import scripted_proxy as bad
import servers
import snapshot
from cases import Skip, case

OK, USAGE, NO_SERVER, SEND, WAIT, REACH, REFUSED, ANSWER, RCODE = 0, 2, 10, 11, 12, 13, 14, 15, 16
SECRET = "wrong-pass-word"


def binary():
    path = os.path.join(os.path.dirname(os.environ["PROXYVPN_BIN"]), "proxyvpn-selftest")
    if not os.access(path, os.X_OK):
        raise Skip(f"{path} is not built")
    return path


def ask(lab, *arguments, exit_code=OK, env=None):
    """What it printed, both streams; without any command to run in its PATH."""
    words = [*(() if "--name" in arguments else ("--name", "web.test")), *arguments]
    if "--timeout-ms" not in arguments:
        words += ["--timeout-ms", "8000"]
    more = {"PATH": "/nonexistent", "ASAN_OPTIONS": "abort_on_error=0", **(env or {})}
    argv = ["/usr/bin/env", "-i", *(f"{name}={value}" for name, value in more.items()), binary(), *words]
    done = labs.kernel.run(lab.host.argv(argv), check=False, timeout=60)
    text = done.stdout + done.stderr
    product._check_sanitizer("selftest " + " ".join(arguments), text)
    assert done.returncode == exit_code, f"{arguments}: exit {done.returncode}, not {exit_code}: {text}"
    assert real_proxies.PASSWORD not in text and SECRET not in text and real_proxies.QUOTED not in text, text
    return text


def garbage(conn, _session):
    conn.recv(512)
    conn.sendall(b"\x00\x04nope")


@case("selftest_in_the_lab", timeout=120)
def test_selftest(lab):
    """Every flag, IPv4 and IPv6 servers, Basic and Digest, the exit code of every step, rules and routes as ip prints them."""
    dns = servers.Dns(lab, names=scenes.NAMES)
    text = ask(lab)                                           # the first nameserver of resolv.conf
    assert f"server     {labs.DNS[0]}:53 over UDP" in text and labs.WEB[0] in text, text
    assert re.search(r"times      DNS [\d.]+ ms, total [\d.]+ ms", text), text
    rules = [rule.strip() for rule in lab.host.run(["ip", "rule"]).stdout.replace(":\t", ": ").splitlines()]
    printed = [line.strip() for line in text.splitlines()]
    assert rules and all(rule in printed for rule in rules), f"{rules} not in {text}"
    text = ask(lab, "--server", labs.DNS[1], "--type", "AAAA", "--no-ip")
    assert f"[{labs.DNS[1]}]:53 over UDP" in text and labs.WEB[1] in text and "ip rule" not in text, text
    for server in labs.DNS:
        assert "over TCP" in ask(lab, "--server", server, "--tcp", "--no-ip")
    for auth, port in (("basic", 3128), ("digest", 3129)):
        proxy = real_proxies.squid(lab, auth, port=port)
        for server in labs.DNS:
            text = ask(lab, "--server", server, "--no-ip", "--proxy-url", proxy.url())
            assert "through the proxy 203.0.113.10" in text and "status 200 to CONNECT" in text and labs.WEB[0] in text, text
            assert "CONNECT" in text and re.search(r"connect [\d.]+ ms, CONNECT [\d.]+ ms, DNS [\d.]+ ms", text), text
        ask(lab, "--no-ip", "--proxy-url", proxy.url(credentials=f"alice:{SECRET}"), exit_code=REFUSED)
    assert ("web.test", 1) in {query[:2] for query in dns.queries}
    text = ask(lab, "--no-ip", env={"PROXYVPN_SELFTEST_PROXY_URL": proxy.url()})
    assert "through the proxy" in text, text
    # Each step that can fail.
    ask(lab, "--nonsense", exit_code=USAGE)
    ask(lab, "--server", labs.CLOSED[0], "--no-ip", exit_code=SEND)                  # port unreachable
    servers.serve(lab, 5353, garbage, addresses=labs.DNS)
    ask(lab, "--server", f"{labs.DNS[0]}:5353", "--tcp", "--no-ip", exit_code=ANSWER)
    ask(lab, "--server", labs.FILTERED[0], "--no-ip", "--timeout-ms", "300", exit_code=WAIT)
    ask(lab, "--name", "no-such-host.invalid", "--no-ip", exit_code=RCODE)
    ask(lab, "--no-ip", "--proxy-url", "http://203.0.113.10:9", exit_code=REACH)
    # While up: the allowed resolver answers, another is refused, rules and routes of ours are shown.
    ours, quiet = product.Product(lab), bad.ScriptedProxy(lab, port=8080)
    daemon = ours.up("--proxy-url", quiet.url())
    text = ask(lab)
    for line in (r"200: from all fwmark 0x10000000/0x30000000 lookup 28790", r"32800: not from all fwmark 0x20000000/0x30000000",
                 r"default dev tun0 table 28790", r"local default dev lo table 28791"):
        assert re.search(line, text), f"{line} not in {text}"
    servers.Dns(lab, addresses=labs.OTHER_DNS)      # there, but not allowed
    ask(lab, "--server", labs.OTHER_DNS[0], "--no-ip", exit_code=SEND)
    before = len(quiet.requests)
    assert "status 200" in ask(lab, "--no-ip", "--proxy-url", quiet.url(), "--socket-mark", "0x20000000")
    assert [r.target for r in quiet.requests[before:]] == [f"{labs.DNS[0]}:53"], "a marked connection went through the tunnel"
    lab.set_resolvers([])
    ask(lab, "--no-ip", exit_code=NO_SERVER)
    lab.set_resolvers(labs.DNS)
    scenes.finish(ours, daemon)
    ask(lab, "--server", labs.OTHER_DNS[0], "--no-ip")


E2E = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "scripts", "test-e2e.sh")


def e2e(lab, exit_code=OK, path=os.path.dirname(os.environ.get("PROXYVPN_BIN", "")), **variables):
    """What scripts/test-e2e.sh said, run on the lab's host with these variables (PROXYVPN_E2E_ in front) and no others."""
    words = {f"PROXYVPN_E2E_{name}": value for name, value in variables.items()}
    words |= {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "PROXYVPN_BIN_DIR": path, "ASAN_OPTIONS": "abort_on_error=0"}
    done = labs.kernel.run(lab.host.argv(["/usr/bin/env", "-i", *(f"{name}={value}" for name, value in words.items()), E2E]), check=False, timeout=120)
    text = done.stdout + done.stderr
    product._check_sanitizer("test-e2e.sh", text)
    assert done.returncode == exit_code, f"{variables}: exit {done.returncode}, not {exit_code}: {text}"
    assert real_proxies.PASSWORD not in text and real_proxies.QUOTED not in text, text
    return text


@case("e2e_script", timeout=120)
def test_e2e(lab):
    """scripts/test-e2e.sh with each of its variables, through squid: exit codes, what is asked over which way, and down at the end."""
    binary()
    dns = servers.Dns(lab, names=scenes.NAMES)
    servers.Dns(lab, addresses=labs.OTHER_DNS, names=scenes.NAMES)
    proxy = real_proxies.squid(lab, "basic")
    by_name = proxy.url().replace(labs.PROXY[0], "proxy.test")
    before, name = snapshot.take(lab), {"DNS_NAME": "web.test"}
    assert "PROXYVPN_E2E_PROXY_URL is missing" in e2e(lab, USAGE)
    assert "only 0 and 1" in e2e(lab, USAGE, PROXY_URL=by_name, SELFTEST_STRICT="maybe")
    text = e2e(lab, PROXY_URL=by_name, DNS_SERVER=labs.OTHER_DNS[0], **name)          # the defaults otherwise
    assert text.count(labs.WEB[0]) >= 2 and "through the proxy" in text and "all well" in text and "over UDP" not in text, text
    assert f"through the proxy {labs.PROXY[0]}" in text, text                          # resolved beforehand
    assert f"{labs.OTHER_DNS[0]}:53" in proxy.connects()
    text = e2e(lab, PROXY_URL=by_name, USE_RESOLVED_PROXY="0", DNS_SERVER=labs.DNS[0], ALLOW_DNS=labs.DNS[0], **name)
    assert "asking the allowed resolver" in text and "over UDP" in text, text
    assert ("web.test", 1, labs.HOST[0], "udp") in dns.queries, dns.queries
    seen, asked = len(proxy.connects()), dns.queries.count(("web.test", 1, labs.HOST[0], "udp"))
    text = e2e(lab, PROXY_URL=by_name, SELFTEST_USE_PROXY="0", DNS_SERVER=labs.DNS[0], **name)
    assert "over UDP" in text and dns.queries.count(("web.test", 1, labs.HOST[0], "udp")) > asked, text
    assert f"{labs.DNS[0]}:53" not in proxy.connects()[seen:], proxy.connects()
    text = e2e(lab, PROXY_URL="http://no-such-host.invalid:1", PROXY_URL_RESOLVED=proxy.url(), SELFTEST_PROXY_URL=proxy.url(six=True),
               SELFTEST_SOCKET_MARK="", DNS_SERVER=labs.OTHER_DNS[0], TIMEOUT_MS="8000", **name)
    assert f"[{labs.PROXY[1]}]" in text, text
    wrong = {"PROXY_URL": by_name, "DNS_SERVER": labs.OTHER_DNS[0], "DNS_NAME": "no-such-host.invalid"}
    e2e(lab, RCODE, **wrong)
    assert "SELFTEST_STRICT=0 lets it pass" in e2e(lab, SELFTEST_STRICT="0", **wrong)
    assert "did not come up" in e2e(lab, 1, PROXY_URL="http://203.0.113.10:9", **name)
    snapshot.assert_same(before, snapshot.take(lab), "test-e2e.sh")
