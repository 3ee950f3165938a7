"""The guarantees again, with every firewall back end, without offload, and with two workers."""
import os

import client
import kernel
import lab as labs
import product
import real_proxies
import sandbox
import scenes
import scripted_proxy as bad
import servers
import snapshot
import web
import without_netlink
from applications import curl_checks, download_and_upload, many_at_once
from cases import Skip, case
from client import DIRECT, VIA_PROXY, both, expect_refused, expect_way, probe
from load import Load
from test_rows_traffic import BYPASS, REFUSED, refused_at_once, to_the_proxy


def guarantees(lab, *options):
    """The core of the matrix in one lab."""
    lab.add_container()
    servers.serve(lab, 2222, servers.who, namespace=lab.host, addresses=labs.HOST)
    before = snapshot.take(lab)
    proxy, ours, daemon = scenes.start(lab, *options)
    servers.Dns(lab, addresses=labs.OTHER_DNS)
    with lab.capture(proxies=proxy.endpoints, inbound=(2222,)):
        expect_way(both(lab, labs.WEB), VIA_PROXY)
        expect_way([probe(lab, a, namespace=lab.container) for a in labs.WEB], VIA_PROXY, "container")
        for pair in zip(labs.WEB, labs.PROXY, labs.DNS, labs.OTHER_DNS):
            _one_family(lab, proxy, *pair)
        for address in labs.HOST:
            with client.connect(lab, address, 2222, namespace=lab.lan) as sock:
                assert servers.read_line(sock), "inbound service"
        with Load(lab, threads=4, udp=True, timeout=0.5) as load:
            load.wait_proxied()
            daemon.kill()
            ours.wait_gone()
            load.wait(100)
            daemon = ours.up("--proxy-url", proxy.url(), *options)
            load.wait_proxied()
        assert load.results[DIRECT] == 0, f"SIGKILL and up: {load.results}"
    scenes.finish(ours, daemon)
    snapshot.assert_same(before, snapshot.take(lab), f"{options}")
    daemon = ours.up("--proxy-url", proxy.url(), *options)
    daemon.kill()
    ours.wait_gone()
    ours.down()
    snapshot.assert_same(before, snapshot.take(lab), f"{options}: SIGKILL, then down")
    expect_way(both(lab, labs.WEB), DIRECT)


def _one_family(lab, proxy, address, proxy_address, resolver, other):
    refused_at_once(lambda: client.udp(lab, address, 443), f"udp to {address}")
    assert client.udp(lab, address, 443, namespace=lab.container) not in ("SENT", "REPLY")
    assert client.ping(lab, address, timeout=0.1) != "REPLY"
    refused_at_once(lambda: client.dns(lab, other), f"dns to {other}")
    assert client.dns(lab, resolver, timeout=5) == "REPLY", resolver
    assert client.dns(lab, resolver, namespace=lab.container, timeout=5) == "REPLY", "container's dns"
    assert client.dns(lab, other, namespace=lab.container) not in ("SENT", "REPLY")
    for options in ({"device": "eth0"}, {"mark": BYPASS, "uid": sandbox.TEST_UID}, {"mark": BYPASS}):
        result = probe(lab, address, timeout=1, **options)
        assert result.kind != DIRECT, f"{options}: {result}"
    requests = to_the_proxy(lab, proxy, proxy_address, uid=sandbox.TEST_UID)
    assert all(request.method == "CONNECT" for request in requests), "an application reached the proxy itself"


@case("backend_nftables_guarantees", timeout=60)
def test_nftables(lab):
    """--firewall nftables (netlink)."""
    guarantees(lab, "--firewall", "nftables")


@case("backend_nft_command_guarantees", timeout=60)
def test_nft(lab):
    """--firewall nft (the command)."""
    guarantees(lab, "--firewall", "nft")


def needs(command):
    if not any(os.access(f"{folder}/{command}", os.X_OK) for folder in ("/usr/sbin", "/sbin", "/usr/bin")):
        raise Skip(f"{command} is not installed")


@case("kernel_without_nftables", timeout=90)
def test_without_nftables(lab):
    """No nf_tables: iptables-legacy by itself, with the same refusals; without that either, each is named, and nothing changes."""
    needs("iptables-legacy-restore")
    before = snapshot.take(lab)
    prefix = without_netlink.prefix(without_netlink.NETLINK_NETFILTER)
    done = kernel.run(lab.host.argv([*prefix, "/usr/sbin/nft", "list", "ruleset"]), check=False)
    assert done.returncode != 0, "nft works: this shows nothing"
    proxy, ours, daemon = scenes.start(lab, prefix=prefix)
    servers.Dns(lab, addresses=labs.OTHER_DNS)
    assert "iptables-legacy" in daemon.log(), daemon.log()
    with lab.capture(proxies=proxy.endpoints):
        expect_way(both(lab, labs.WEB), VIA_PROXY)
        for address, other in zip(labs.WEB, labs.OTHER_DNS):
            refused_at_once(lambda a=address: client.udp(lab, a, 443), "udp")
            refused_at_once(lambda a=other: client.dns(lab, a), "dns")
        for address in labs.DNS:
            assert client.dns(lab, address, timeout=5) == "REPLY", address
        daemon.kill()
        ours.wait_gone()
        expect_refused(both(lab, labs.WEB))
    ours.down(prefix=prefix)
    snapshot.assert_same(before, snapshot.take(lab), "SIGKILL, then down")
    os.makedirs("/run/lab/empty", exist_ok=True)
    hidden = ["/usr/bin/unshare", "--mount", "/bin/sh", "-ec", 'mount --bind /run/lab/empty /usr/sbin\nexec "$@"', "sh", *prefix]
    done = ours.run("up", "--proxy-url", proxy.url(), prefix=hidden)
    assert done.returncode == 1, done
    for word in ("no packet filter can be used", "Protocol not supported", "nft", "iptables-legacy", "modprobe nf_tables"):
        assert word in done.stderr, f"{word}: {done.stderr}"
    snapshot.assert_same(before, snapshot.take(lab), "no packet filter")


@case("backend_iptables_nft_guarantees", timeout=60)
def test_iptables_nft(lab):
    """--firewall iptables-nft."""
    needs("iptables-nft-restore")
    guarantees(lab, "--firewall", "iptables-nft")


@case("backend_iptables_legacy_guarantees", timeout=60)
def test_iptables_legacy(lab):
    """--firewall iptables-legacy."""
    needs("iptables-legacy-restore")
    guarantees(lab, "--firewall", "iptables-legacy")


@case("backend_flushed_by_others", timeout=90)
def test_flushed(lab):
    """Each command back end: its rules flushed by others are back, and from then on nothing is in clear (security.md, Limits)."""
    proxy, ours = bad.ScriptedProxy(lab), product.Product(lab)
    servers.who_servers(lab)
    for backend, flush in (("nft", "nft flush ruleset"), ("iptables-nft", "nft flush ruleset"),
                           ("iptables-legacy", "iptables-legacy -F; iptables-legacy -t mangle -F; ip6tables-legacy -F; ip6tables-legacy -t mangle -F")):
        daemon = ours.up("--proxy-url", proxy.url(), "--firewall", backend)
        with Load(lab, threads=3, timeout=0.5) as load:
            load.wait_proxied()
            lab.host.run(["sh", "-c", flush])
            for address in labs.WEB:         # one family after the other
                labs.wait_until(lambda a=address: client.udp(lab, a, 443) in REFUSED, 10, f"{backend}: the killswitch is back")
            with lab.capture(proxies=proxy.endpoints, dns=()):
                load.wait_proxied(15)
                expect_way(both(lab, labs.WEB), VIA_PROXY)
        scenes.finish(ours, daemon)


def transfers(lab, *options):
    """Applications and a smaller bulk transfer, with both oracles."""
    ground = web.Web(lab, size=30 << 20)
    proxy = real_proxies.squid(lab, "basic")
    servers.Dns(lab, names=scenes.NAMES)
    servers.serve(lab, labs.WHO, servers.who)
    ours = product.Product(lab)
    daemon = ours.up("--proxy-url", proxy.url(), *options)
    with lab.capture(proxies=proxy.endpoints):
        curl_checks(lab, ground)
        download_and_upload(lab, ground)
        many_at_once(lab)
        for address in labs.CLOSED:
            expect_refused(probe(lab, address, 99), within=5, errors=("ECONNREFUSED",))
    return ours, daemon


@case("no_offload_transfers", timeout=90, heavy=True)
def test_no_offload(lab):
    """--no-offload: the same bytes, the same truth."""
    ours, daemon = transfers(lab, "--no-offload")
    scenes.finish(ours, daemon)


@case("two_workers_transfers", timeout=90, heavy=True)
def test_two_workers(lab):
    """--workers 2: the same, and there are two; one dying leaves the other's flows alone."""
    ours, daemon = transfers(lab, "--workers", "2")
    workers = ours.workers(daemon.pid)
    assert len(workers) == 2, workers
    held = [client.connect(lab, labs.WEB[n % 2], labs.WHO) for n in range(40)]
    for sock in held:
        servers.read_line(sock)
    os.kill(workers[0], 9)
    labs.wait_until(lambda: len(ours.workers(daemon.pid)) == 2, 10, "two workers again")
    alive = sum(_still(sock) for sock in held)
    assert 0 < alive < 40, f"{alive} of 40 connections live after one of two workers died"
    expect_way(both(lab, labs.WEB), VIA_PROXY)
    scenes.finish(ours, daemon)


def _still(sock):
    try:
        sock.settimeout(5)
        sock.sendall(b"here?")
        return client.read_exactly(sock, 5) == b"here?"
    except OSError:
        return False


@case("one_worker_and_big_mtu", timeout=90, heavy=True)
def test_big_mtu(lab):
    """--workers 1 --mtu 65535."""
    ours, daemon = transfers(lab, "--workers", "1", "--mtu", "65535")
    assert len(ours.workers(daemon.pid)) == 1
    scenes.finish(ours, daemon)
