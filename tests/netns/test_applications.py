"""Issue "Show": real applications through real proxies, with both oracles."""
import client
import lab as labs
import product
import real_proxies
import scenes
import servers
import web
from applications import curl_checks, download_and_upload, git_clones, many_at_once, ssh_session, web_socket
from cases import case
from client import VIA_PROXY, both, expect_way
from lab import wait_until


def everything(lab, proxy, *options, big=False, user=None):
    """Every kind of application once, by name and address, IPv4 and IPv6."""
    ground = web.Web(lab, size=scenes.MEGABYTES << 20 if big else 0)
    servers.Dns(lab, names=scenes.NAMES)
    servers.serve(lab, labs.WHO, servers.who)
    ours = product.Product(lab, user=user)
    ours.secrets += [real_proxies.PASSWORD, "plain-secret"]
    daemon = ours.up("--proxy-url", proxy.url(), *options)
    with lab.capture(proxies=proxy.endpoints):
        if big:
            download_and_upload(lab, ground)
        else:
            head, sshd = ground.make_git(), web.Sshd(lab)
            curl_checks(lab, ground)
            expect_way(both(lab, labs.WEB), VIA_PROXY)           # server first, IPv4 and IPv6
            git_clones(lab, ground, sshd, head)
            for address in labs.SSH:
                ssh_session(lab, sshd, address)
            for address in labs.WEB:
                web_socket(lab, ground, address)
            many_at_once(lab)
    seen = {peer for peer, *_ in ground.requests}
    assert seen <= set(labs.PROXY), f"the web server was reached by {seen}"
    target = f"{labs.WEB[0]}:{80 if big else 443}"
    wait_until(lambda: target in proxy.connects(), 10, f"the proxy logs {target}")   # when the tunnel has closed
    scenes.finish(ours, daemon)


@case("squid_basic_applications", timeout=90, heavy=True)
def test_squid_basic(lab):
    """curl, git, ssh, WebSocket, server-first, IPv6 and 200 at once through squid with a Basic user."""
    everything(lab, real_proxies.squid(lab, "basic"))


@case("squid_digest_applications", timeout=90, heavy=True)
def test_squid_digest(lab):
    """The same with a Digest user; nonces go stale on the way."""
    proxy = real_proxies.squid(lab, "digest")
    everything(lab, proxy)
    assert "TCP_DENIED/407" in proxy.log(), "squid never asked for the Digest"


@case("tinyproxy_applications", timeout=90, heavy=True)
def test_tinyproxy(lab):
    """The same through tinyproxy."""
    everything(lab, real_proxies.tinyproxy(lab))


@case("squid_basic_bulk", timeout=120, heavy=True)
def test_squid_basic_bulk(lab):
    """A big download and upload through squid (Basic) with equal checksums."""
    everything(lab, real_proxies.squid(lab, "basic"), big=True)


@case("squid_digest_bulk", timeout=120, heavy=True)
def test_squid_digest_bulk(lab):
    """A big download and upload through squid (Digest) with equal checksums."""
    everything(lab, real_proxies.squid(lab, "digest"), big=True)


@case("tinyproxy_bulk", timeout=120, heavy=True)
def test_tinyproxy_bulk(lab):
    """A big download and upload through tinyproxy with equal checksums."""
    everything(lab, real_proxies.tinyproxy(lab), big=True)


@case("ordinary_user_applications", timeout=90, heavy=True)
def test_ordinary_user(lab):
    """Everything as an ordinary user with the file capability, through squid with a Basic user."""
    everything(lab, real_proxies.squid(lab, "basic"), user="pvtest")


@case("wrong_password_is_told")
def test_wrong_password(lab):
    """squid refuses the password: ENETUNREACH for the application, one loud line for the person."""
    proxy = real_proxies.squid(lab, "basic")
    servers.who_servers(lab)
    ours = product.Product(lab)
    ours.secrets.append("wrong-secret")
    daemon = ours.up("--proxy-url", proxy.url(credentials="alice:wrong-secret"))
    with lab.capture(proxies=proxy.endpoints):
        client.expect_refused(both(lab, labs.WEB), errors=("ENETUNREACH",))
    daemon.wait_log(r"(?i)(407|credential|password|authenti)")
    scenes.finish(ours, daemon)


@case("open_squid_without_credentials")
def test_open_squid(lab):
    """A proxy that wants no user, reached over IPv6."""
    proxy = real_proxies.squid(lab, None)
    servers.who_servers(lab)
    ours = product.Product(lab)
    daemon = ours.up("--proxy-url", proxy.url(six=True))
    with lab.capture(proxies=proxy.endpoints):
        expect_way(both(lab, labs.WEB), VIA_PROXY)
    scenes.finish(ours, daemon)
