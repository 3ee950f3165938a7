"""Positive controls: the real proxies, web and ssh servers work without the product."""
import os

import lab as labs
import real_proxies
import web
from cases import case
from kernel import run
from lab import wait_until


def _through(lab, proxy, ground, *options):
    target = f"https://{web.NAME}/who"
    return real_proxies.reaches(lab, proxy, target, "--cacert", ground.ca,
                                "--connect-to", f"{web.NAME}:443:{labs.WEB[0]}:443", *options).stdout.strip()


@case("control_squid_basic", product=False)
def test_squid_basic(lab):
    """squid wants a Basic user and opens tunnels for it."""
    ground, proxy = web.Web(lab), real_proxies.squid(lab, "basic")
    assert _through(lab, proxy, ground) == labs.PROXY[0]
    wait_until(lambda: "203.0.113.80:443" in proxy.connects(), 10, "the proxy logs it")
    done = run(lab.lan.argv(["curl", "-sS", "-p", "-x", proxy.url(credentials="alice:wrong"), "http://203.0.113.80/who"]),
               check=False)
    assert done.returncode != 0 and "407" in done.stderr


@case("control_squid_digest", product=False)
def test_squid_digest(lab):
    """squid wants a Digest user; Basic is not enough."""
    ground, proxy = web.Web(lab), real_proxies.squid(lab, "digest")
    assert _through(lab, proxy, ground, "--proxy-digest") == labs.PROXY[0]
    done = run(lab.lan.argv(["curl", "-sS", "-p", "-x", proxy.url(), "http://203.0.113.80/who"]), check=False)
    assert done.returncode != 0 and "407" in done.stderr


@case("control_tinyproxy", product=False)
def test_tinyproxy(lab):
    """tinyproxy with BasicAuth opens tunnels."""
    ground, proxy = web.Web(lab), real_proxies.tinyproxy(lab)
    assert _through(lab, proxy, ground) == labs.PROXY[0]
    wait_until(lambda: "203.0.113.80:443" in proxy.connects(), 10, "the proxy logs it")


@case("control_git_and_ssh", product=False)
def test_git_and_ssh(lab):
    """git over https and ssh, directly."""
    ground = web.Web(lab)
    head, sshd = ground.make_git(), web.Sshd(lab)
    environment = {"PATH": os.environ["PATH"], "HOME": lab.work, "GIT_SSH_COMMAND": " ".join(sshd.client())}
    for number, url in enumerate((f"https://{labs.WEB[0]}/git/repo.git", f"ssh://root@{labs.SSH[0]}{ground.git_root}/repo.git")):
        target = f"{lab.work}/clone{number}"
        lab.host.run(["git", "-c", f"http.sslCAInfo={ground.ca}", "clone", "-q", url, target], env=environment)
        assert run(["git", "-C", target, "rev-parse", "HEAD"], env=environment).stdout.strip() == head
    assert any(path.startswith("/git/") for _, _, path in ground.requests)
