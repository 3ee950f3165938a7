"""`proxyvpn doctor`: everything in order before `up` and while up, and every induced fault named."""
import email.utils
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess

import jsonschema

import lab as labs
import product
import real_proxies
import sandbox
import scenes
import scripted_proxy as bad
import servers
import snapshot
from cases import case

SCHEMA = json.loads((pathlib.Path(__file__).resolve().parents[2] / "docs" / "doctor.schema.json").read_text())


def web_server(conn, session):
    """Takes the request on port 80 and answers with the time; the other ports keep quiet."""
    if session.port == labs.HTTP and servers.read_line(conn):
        date = email.utils.formatdate(usegmt=True)
        conn.sendall(f"HTTP/1.1 200 OK\r\nDate: {date}\r\nContent-Length: 0\r\n\r\n".encode())
    conn.settimeout(30)
    servers.read_all(conn)


def ground(lab):
    for port in (labs.HTTP, labs.HTTPS, labs.SSHD):
        servers.Server(lab.net, labs.WEB, port, web_server)
    return servers.Dns(lab, names=scenes.NAMES)


def doctor(ours, *arguments, target="web.test", **options):
    """{name: [checks]}, if the JSON is as the schema says and the exit status counts the failures."""
    done = ours.run("doctor", "--json", "--target", target, "--timeout", "5", *arguments, timeout=90, **options)
    report = json.loads(done.stdout)
    jsonschema.validate(report, SCHEMA, cls=jsonschema.Draft7Validator)
    states = [check["state"] for check in report["checks"]]
    assert report["failures"] == states.count("fail") == done.returncode, f"exit {done.returncode}: {done.stdout}"
    assert report["warnings"] == states.count("warn") and report["skipped"] == states.count("skip")
    found = {}
    for check in report["checks"]:
        found.setdefault(check["name"], []).append(check)
    return found


def in_state(report, state):
    return {name: checks for name, checks in report.items() if any(check["state"] == state for check in checks)}


def failures(report):
    return set(in_state(report, "fail"))


def expect(report, name, state, words):
    """One of the checks of this name says so."""
    found = [c for c in report.get(name, []) if c["state"] == state and words in f"{c['finding']} {c['advice']}"]
    assert found, f"no {state} of {name} with {words!r}: {json.dumps(report.get(name), indent=1)}\nnot ok: {json.dumps(in_state(report, 'fail'), indent=1)}"


@case("doctor_all_in_order", timeout=90)
def test_in_order(lab):
    """Nothing fails before up, nor while up for root, for who started it and for a stranger; nothing is changed."""
    ground(lab)
    proxy = real_proxies.squid(lab, "basic")
    ours = product.Product(lab, user="pvtest")
    ours.secrets += [real_proxies.PASSWORD, real_proxies.QUOTED]
    before = snapshot.take(lab)
    report = doctor(ours, "--proxy-url", proxy.url())
    assert not failures(report), in_state(report, "fail")
    for name in ("tun-driver", "nftables", "policy-routing", "policy-routing6", "resolver", "proxy-reachable", "proxy-http",
                 "proxy-credentials", "connect-443", "connect-80", "connect-22", "connect-ipv6", "clock-compared"):
        expect(report, name, "ok", "")
    for secret in ours.secrets:
        assert not any(secret in str(checks) for checks in report.values()), secret
    snapshot.assert_same(before, snapshot.take(lab), "doctor before up")
    daemon = ours.up("--proxy-url", proxy.url())
    during = snapshot.take(lab)
    with lab.capture(proxies=proxy.endpoints):
        report = doctor(ours, "--proxy-url", proxy.url())
        assert not failures(report), in_state(report, "fail")
        for name in ("daemon", "state", "killswitch-table", "our-rules", "our-rules6", "tun", "routes", "routes6", "tunnel-443",
                     "tunnel-80", "tunnel-22", "refused-udp", "refused-dns", "refused-udp6", "tunnel-counted", "refused-counted", "connect-22", "proxy-credentials"):
            expect(report, name, "ok", "")
        # Root may look at everything; only to the proxy the user alone can speak that proxyvpn runs as.
        report = doctor(product.Product(lab), "--proxy-url", proxy.url())
        assert not failures(report), in_state(report, "fail")
        for name in ("daemon", "state", "killswitch-table", "our-rules", "our-rules6", "tun", "routes", "routes6",
                     "tunnel-443", "refused-udp", "refused-dns", "refused-udp6"):
            expect(report, name, "ok", "")
        # Somebody who may nothing: what could not be looked at is said, and nothing is taken for broken.
        nobody = ["setpriv", f"--reuid={sandbox.OTHER_UID}", f"--regid={sandbox.OTHER_GID}", "--clear-groups"]
        os.chmod("/run/lab/bin/proxyvpn", 0o755)
        labs.kernel.run(["setcap", "-r", "/run/lab/bin/proxyvpn"])
        done = lab.host.run([*nobody, ours.binary, "doctor", "--target", "web.test"], check=False, env=ours.environment())
        left_out = r"^  skip  killswitch-table .*it takes CAP_NET_ADMIN"
        assert re.search(left_out, done.stdout, re.M), done.stdout + done.stderr
        assert "  ok    tunnel-443" in done.stdout and "  ok    refused-udp" in done.stdout, done.stdout
        failed = {line.split()[1] for line in done.stdout.splitlines() if line.startswith("  FAIL")}
        assert failed == {"capability", "daemon"} and done.returncode == len(failed), done.stdout
    snapshot.assert_same(during, snapshot.take(lab), "doctor while up")
    assert proxy.connects() and daemon.stop() == 0


@case("doctor_names_faults_before_up", timeout=120)
def test_before(lab):
    """Proxy down, wrong password, CONNECT to 22 forbidden, no HTTP, TUN 0600, a foreign rule and mark, a dead resolver, no proxy at all."""
    dns = ground(lab)
    wrong_words = product.Product(lab).run("doctor", "--nonsense")
    assert wrong_words.returncode == 2 and wrong_words.stdout == "" and "--nonsense" in wrong_words.stderr, wrong_words
    ours = product.Product(lab, user="pvtest")
    proxy = real_proxies.squid(lab, "basic", rules="acl ssh port 22\nhttp_access deny CONNECT ssh")
    report = doctor(ours, "--proxy-url", proxy.url())
    assert not failures(report), in_state(report, "fail")
    expect(report, "connect-22", "warn", "forbids CONNECT to port 22 (403)")
    report = doctor(ours, "--proxy-url", proxy.url(credentials="alice:wrong-pass-word"))
    assert failures(report) == {"proxy-credentials"}, in_state(report, "fail")
    expect(report, "proxy-credentials", "fail", "407")
    assert "wrong-pass-word" not in json.dumps(report)
    proxy.stop()
    report = doctor(ours, "--proxy-url", proxy.url())
    assert failures(report) == {"proxy-reachable"}, in_state(report, "fail")
    expect(report, "proxy-reachable", "fail", "refused")

    wrong = bad.ScriptedProxy(lab, lambda _proxy, conn, _request: conn.sendall(b"SSH-2.0-OpenSSH_9.2\r\n"), port=2222)
    expect(doctor(ours, "--proxy-url", wrong.url()), "proxy-http", "fail", "HTTP")
    wrong.stop()
    assert "web.test" in {query[0] for query in dns.queries}, "no resolver was asked while there was one"

    good = bad.ScriptedProxy(lab, port=8080)
    lab.host.ip("rule add pref 150 fwmark 0x10000000/0x10000000 lookup 77")
    lab.host.run(["nft", "-f", "-"], input="table inet rival {\n chain out {\n type route hook output priority mangle\n meta mark set 0x1\n }\n}\n")
    os.chmod("/run/lab/dev/tun", 0o600)
    lab.set_resolvers([labs.CLOSED[0]])
    report = doctor(ours, "--proxy-url", good.url(), target=labs.WEB[0])
    expect(report, "tun-device", "fail", "0600")
    expect(report, "policy-rules", "warn", "fwmark 0x10000000")
    expect(report, "marking-rules", "warn", "inet rival out (bits 0xffffffff)")
    expect(report, "resolver", "fail", labs.CLOSED[0])
    assert failures(report) == {"tun-device", "resolver"}, in_state(report, "fail")
    expect(doctor(ours), "proxy-name", "skip", "--proxy-url")


@case("doctor_names_faults_while_up", timeout=120)
def test_while_up(lab):
    """Proxy lost, rules removed behind a stopped daemon, a crashed daemon, a locked machine, the killswitch off."""
    ground(lab)
    proxy, ours = bad.ScriptedProxy(lab), product.Product(lab)
    daemon = ours.up("--proxy-url", proxy.url())
    assert not failures(doctor(ours))
    proxy.stop()
    report = doctor(ours)
    expect(report, "tunnel-443", "fail", "the proxy cannot be reached")
    expect(report, "state", "fail", "Proxy lost")
    expect(report, "proxy-reachable", "fail", "refused")
    proxy.start()
    os.kill(daemon.pid, signal.SIGSTOP)
    lab.host.ip("rule del pref 202", "route del local default dev lo table 28791 metric 4294967295")
    report = doctor(ours)
    expect(report, "our-rules", "fail", "refuses them when there is no way")
    expect(report, "routes", "fail", "the way back to this machine")
    expect(report, "daemon", "fail", "answer")
    os.kill(daemon.pid, signal.SIGCONT)
    daemon.kill()
    ours.wait_gone()
    with lab.capture(proxies=()):
        report = doctor(ours, "--proxy-url", proxy.url())
        expect(report, "daemon", "fail", "proxyvpn up goes on where it was")
        expect(report, "proxy-reachable", "skip", "shut")
        assert failures(report) == {"daemon"}, in_state(report, "fail")
    ours.down()
    assert ours.run("lock").returncode == 0
    expect(doctor(ours), "daemon", "warn", "proxyvpn unlock")
    assert ours.run("unlock").returncode == 0
    daemon = ours.up("--proxy-url", proxy.url(), "--no-killswitch")
    report = doctor(ours)
    expect(report, "killswitch", "warn", "--no-killswitch")
    expect(report, "refused-udp", "warn", "killswitch is off")
    assert not failures(report), in_state(report, "fail")
    scenes.finish(ours, daemon)


@case("doctor_names_other_programs", timeout=90)
def test_other_programs(lab):
    """docker, firewalld, NetworkManager, systemd-networkd and -resolved that run, another VPN's interface, an rp_filter that drops: each in its own line, and ok without them."""
    ground(lab)
    ours = product.Product(lab)
    programs = {"dockerd": "docker", "firewalld": "firewalld", "NetworkManager": "networkmanager", "systemd-networkd": "systemd-networkd",
                "systemd-resolved": "systemd-resolved"}
    report = doctor(ours)
    for check in programs.values():
        expect(report, check, "ok", "does not run")
    expect(report, "other-vpns", "ok", "no interface")
    expect(report, "rp-filter", "ok", "rp_filter=0")
    expect(report, "clock", "ok", "UTC")
    os.makedirs("/run/lab/programs")
    for program in programs:
        binary = shutil.copy(shutil.which("sleep"), f"/run/lab/programs/{program}")
        lab.on_close(subprocess.Popen([binary, "600"]).kill)
    lab.host.ip("tuntap add dev corp7 mode tun", "link set corp7 up")
    proxy = bad.ScriptedProxy(lab)
    ours.up("--proxy-url", proxy.url())
    lab.host.sysctl({"ipv4/conf/tun0/rp_filter": 1})
    report = doctor(ours)
    for program, check in programs.items():
        expect(report, check, "ok", f"{check if check != 'networkmanager' else 'NetworkManager'} runs: ")
        assert len(report[check]) == 1, report[check]
    expect(report, "other-vpns", "warn", "corp7 (tun)")
    expect(report, "rp-filter", "fail", "rp_filter=1")
    # It does drop them.
    assert failures(report) == {"rp-filter", "tunnel-443"}, in_state(report, "fail")
    ours.down()
