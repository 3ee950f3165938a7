"""Matrix rows 41, 48 to 50, 56, 61 and 70: reloads, commands run, who may command, loops, boot."""
import base64
import os
import re
import shutil
import socket
import stat
import struct
import time

import client
import lab as labs
import product
import sandbox
import scenes
import scripted_proxy as bad
import servers
import snapshot
from cases import Skip, case
from client import DIRECT, VIA_PROXY, both, expect_way, probe
from lab import wait_until
from load import Load

TREE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def inside_links(lab):
    return lab.host.run(["nft", "list", "set", "inet", "proxyvpn", "inside"], check=False).stdout


@case("row_41_reloads_under_load", timeout=120, heavy=True)
def test_row_41(lab):
    """100 replacements of the rule set under 10,000 attempts: nothing in clear, none of the proxied connections fails."""
    proxy, ours, daemon = scenes.start(lab)
    reloads = 100
    with lab.capture(proxies=proxy.endpoints) as wire:
        with Load(lab, threads=6, udp=True, timeout=10) as load:
            load.wait_proxied()
            for number in range(reloads // 2):
                name = f"br{number}"
                lab.host.ip(f"link add {name} type bridge", f"link set {name} up", f"addr add 172.31.{number}.1/24 dev {name}")
                wait_until(lambda name=name: f'"{name}"' in inside_links(lab), 10, f"{name} is in the rule set")
                lab.host.ip(f"link del {name}")
                wait_until(lambda name=name: f'"{name}"' not in inside_links(lab), 10, f"{name} is out of the rule set")
            wait_until(lambda: load.attempts >= 10_000 or product.is_sanitized() and load.attempts >= 3000, 90, "10,000 attempts")
        assert load.results[DIRECT] == 0 and load.results["udp sent"] == 0, load.results
        refused = {k: v for k, v in load.results.items() if k not in (VIA_PROXY, "udp refused")}
        assert not refused, f"connections failed during reloads: {refused}"
        wire.assert_clean()
        print(f"{load.attempts} attempts, {reloads} reloads, 0 packets in clear: {dict(load.results)}")
    scenes.finish(ours, daemon)


EVIL = r"""
#include <stdio.h>
#include <unistd.h>
__attribute__((constructor)) static void here(void) {
  char name[200] = {0};
  FILE *in = fopen("/proc/self/comm", "r"), *out = fopen("/run/lab/evil-ran", "a");
  if (in && out && fgets(name, sizeof name, in)) fputs(name, out);
}
"""


@case("row_48_commands_by_absolute_path")
def test_row_48(lab):
    """A fake nft, iptables or ip in PATH and LD_PRELOAD are not met when commands are the back end."""
    folder = "/run/lab/fake"
    os.makedirs(folder)
    for name in ("nft", "ip", "iptables", "ip6tables", "iptables-nft", "ip6tables-nft", "iptables-nft-restore", "ip6tables-nft-restore",
                 "iptables-restore", "ip6tables-restore", "iptables-legacy-restore", "sh", "modprobe", "sysctl"):
        with open(f"{folder}/{name}", "w", encoding="ascii") as file:
            file.write(f"#!/bin/sh\necho {name} >> /run/lab/evil-ran\n")
        os.chmod(f"{folder}/{name}", 0o755)
    compiler = shutil.which("cc") or shutil.which("gcc")
    env = {"PATH": f"{folder}:/usr/sbin:/usr/bin:/sbin:/bin"}
    if compiler and not product.is_sanitized():     # ASan wants to be loaded first
        with open(f"{folder}/evil.c", "w", encoding="ascii") as file:
            file.write(EVIL)
        labs.kernel.run([compiler, "-shared", "-fPIC", "-o", f"{folder}/evil.so", f"{folder}/evil.c"])
        env["LD_PRELOAD"] = f"{folder}/evil.so"
    proxy, ours = bad.ScriptedProxy(lab), product.Product(lab)
    servers.who_servers(lab)
    for backend in ("nft", "iptables-nft"):
        open("/run/lab/evil-ran", "w", encoding="ascii").close()
        argv = lab.host.argv(["env", *(f"{k}={v}" for k, v in env.items()), ours.binary, "up", "--firewall", backend, "--proxy-url", proxy.url()])
        ours.argv = lambda *_, argv=argv, **__: argv
        daemon = ours.up()
        del ours.argv
        expect_way(both(lab, labs.WEB), VIA_PROXY)
        scenes.finish(ours, daemon)
        with open("/run/lab/evil-ran", encoding="ascii") as file:
            ran = [line for line in file.read().split() if line not in ("proxyvpn", "env", "pv-worker") and not line.startswith("proxyvpn")]
        assert not ran, f"{backend}: ran with what PATH or LD_PRELOAD gave: {ran}"


@case("row_49_command_back_ends_as_user", timeout=90)
def test_row_49(lab):
    """An ordinary user with the capability can use the nft and iptables-nft commands; the whole rule set loads and goes."""
    proxy, ours = bad.ScriptedProxy(lab), product.Product(lab, user="pvtest")
    servers.who_servers(lab)
    before = snapshot.take(lab)
    for backend in ("nft", "iptables-nft"):
        daemon = ours.up("--proxy-url", proxy.url(), "--firewall", backend)
        with lab.capture(proxies=proxy.endpoints, dns=()):
            expect_way(both(lab, labs.WEB), VIA_PROXY)
            assert client.udp(lab, labs.WEB[0], 443) not in ("SENT", "REPLY", "ECONNREFUSED")
        scenes.finish(ours, daemon)
        snapshot.assert_same(before, snapshot.take(lab), f"--firewall {backend} as user")


@case("row_50_control_socket")
def test_row_50(lab):
    """Only the owner, root and the install group may command; sockets are closed from birth; no symlink is followed."""
    proxy, ours = bad.ScriptedProxy(lab), product.Product(lab, user="pvtest")
    servers.who_servers(lab)
    daemon = ours.up("--proxy-url", proxy.url())
    found = [os.path.join(f, n) for f, _, files in os.walk("/run/proxyvpn") for n in files if stat.S_ISSOCK(os.stat(os.path.join(f, n)).st_mode)]
    assert len(found) == 1, f"control sockets: {found}"
    assert not os.stat(found[0]).st_mode & 0o007
    shutil.copyfile(os.environ["PROXYVPN_BIN"], "/run/lab/other-copy")
    os.chmod("/run/lab/other-copy", 0o755)
    refused = lab.host.run(["setpriv", "--reuid=64011", "--regid=64011", "--clear-groups", "/run/lab/other-copy", "down"], check=False, env=ours.environment())
    assert refused.returncode != 0 and refused.stderr.strip(), f"another user's down: {refused.returncode} {refused.stderr}"
    os.chmod("/run/proxyvpn", 0o777)          # an administrator's mistake: the daemon still asks who it is
    os.chmod(found[0], 0o777)
    refused = lab.host.run(["setpriv", "--reuid=64011", "--regid=64011", "--clear-groups", "/run/lab/other-copy", "down"], check=False, env=ours.environment())
    assert refused.returncode == 1 and "user 64011 may not command this proxyvpn: only user 64010, root and members of the group" in refused.stderr, refused.stderr
    garbage = lab.host.run(["setpriv", "--reuid=64011", "--regid=64011", "--clear-groups", "/usr/bin/python3", "-c", f"""
import socket
for data in (b"down\\n", b"\\0" * 100000, b"x" * 5, b"status\\ndown\\n", b""):
    s = socket.socket(socket.AF_UNIX)
    s.settimeout(3)
    try:
        s.connect({found[0]!r}); s.sendall(data); print(s.recv(100))
    except OSError as e:
        print(e)
    s.close()
"""])
    assert "ok" not in garbage.stdout, garbage.stdout
    expect_way(both(lab, labs.WEB), VIA_PROXY)
    os.chmod(found[0], 0o660)
    os.chmod("/run/proxyvpn", 0o2770)
    allowed = lab.host.run(["setpriv", "--reuid=64011", "--regid=64011", f"--groups={sandbox.GROUP_GID}", ours.binary, "down"], check=False, env=ours.environment())
    assert allowed.returncode == 0, f"down by a member of the group: {allowed.stderr}"
    assert daemon.wait_exit() == 0
    ours.wait_gone()
    shutil.rmtree("/run/proxyvpn")
    os.makedirs("/run/lab/target", mode=0o755)
    os.symlink("/run/lab/target", "/run/proxyvpn")
    done = ours.start("--proxy-url", proxy.url())
    wait_until(lambda: done.process.poll() is not None or done.is_ready(), 20, "a decision about the symlink")
    assert not os.listdir("/run/lab/target"), "the symlink was followed"
    if done.process.poll() is None:
        done.stop()
    ours.down()


@case("row_56_proxy_on_this_machine", timeout=60)
def test_row_56(lab):
    """A proxy on the loopback: works with --exempt-user; without it the loop is found and told, and nothing explodes."""
    servers.who_servers(lab)

    def as_user(proxy, conn, request):
        return bad.relay(proxy, conn, request, uid=sandbox.OTHER_UID)
    proxy = bad.ScriptedProxy(lab, as_user, namespace=lab.host, addresses=("127.0.0.1",))
    ours = product.Product(lab)
    daemon = ours.up("--proxy-url", "http://127.0.0.1:3128", "--exempt-user", "pvother")
    for address in labs.WEB:
        result = probe(lab, address)
        assert result.kind == DIRECT and proxy.requests, f"{result}"        # it is the proxy that is direct
    assert len(proxy.requests) == 2
    scenes.finish(ours, daemon)
    daemon = ours.up("--proxy-url", "http://127.0.0.1:3128", "--connect-timeout", "3")
    with lab.capture():
        for address in labs.WEB:
            assert probe(lab, address, timeout=10).kind == "ERROR"
    assert len(proxy.requests) < 300, f"{len(proxy.requests)} requests: the loop ran on"
    daemon.wait_log(r"(?i)loop|--exempt-user")
    scenes.finish(ours, daemon)


@case("row_61_units")
def test_row_61(lab):
    """The units: verified by systemd-analyze where there is one; the early-boot unit comes before the network; stop is an explicit down."""
    units = [os.path.join(TREE, "pkg", name) for name in os.listdir(os.path.join(TREE, "pkg")) if ".service" in name]
    assert units, "there are no units in pkg/"
    text = {}
    for path in units:
        with open(path, encoding="utf-8") as file:
            text[os.path.basename(path).removesuffix(".in")] = file.read()
    main = text["proxyvpn.service"]
    for needle in ("Type=notify", "WatchdogSec=", "Restart=on-failure", "ExecStop=", "NoNewPrivileges=yes", "CapabilityBoundingSet=CAP_NET_ADMIN"):
        assert needle in main, needle
    early = [t for name, t in text.items() if "early" in name]
    assert early and "Before=network-pre.target" in early[0] and "DefaultDependencies=no" in early[0], list(text)
    if not shutil.which("systemd-analyze"):
        raise Skip("no systemd-analyze here")
    folder = os.path.dirname(lab.path("units", "x"))
    for name, content in text.items():
        with open(f"{folder}/{name}", "w", encoding="utf-8") as file:
            file.write(content.replace("@BINDIR@", os.path.dirname(os.environ["PROXYVPN_BIN"])).replace("@LIBEXECDIR@", folder))
    with open(f"{folder}/service-stop", "w", encoding="ascii") as file:
        file.write("#!/bin/sh\n")
    os.chmod(f"{folder}/service-stop", 0o755)
    done = labs.kernel.run(["systemd-analyze", "verify", "--man=no", *(f"{folder}/{name}" for name in text)], check=False)
    problems = [line for line in (done.stdout + done.stderr).splitlines() if folder in line or "proxyvpn" in line]
    assert not problems, "\n".join(problems)


@case("row_61_credential_of_the_unit")
def test_row_61_credential(lab):
    """The unit's ExecStart with the settings that pkg/proxyvpn.env proposes for LoadCredential=: the password arrives, from no other place."""
    def uncommented(name, pattern):
        with open(os.path.join(TREE, "pkg", name), encoding="utf-8") as file:
            return re.findall(pattern, file.read(), re.MULTILINE)
    start = uncommented("proxyvpn.service.in", r"^ExecStart=@BINDIR@/proxyvpn (.*)$")[0]
    settings = dict(line.split("=", 1) for line in uncommented("proxyvpn.env", r"^#(PROXYVPN_[A-Z_]+=.*)$"))
    assert "--password-file" in settings["PROXYVPN_OPTIONS"], settings       # the last example is the credential's
    credential = settings["PROXYVPN_OPTIONS"].split()[-1]
    os.makedirs(os.path.dirname(credential), mode=0o500)                     # as systemd makes it
    with open(credential, "w", encoding="ascii") as file:
        file.write("from-the-credential\n")
    os.chmod(credential, 0o400)
    for path in (os.path.dirname(credential), credential):
        os.chown(path, sandbox.TEST_UID, sandbox.TEST_GID)
    proxy, ours = bad.ScriptedProxy(lab), product.Product(lab, user="pvtest")
    servers.who_servers(lab)
    ours.secrets.append("from-the-credential")
    environment = {"PROXYVPN_PROXY_URL": f"http://alice@{labs.PROXY[0]}:3128"}
    arguments = [word for part in start.split() for word in (settings["PROXYVPN_OPTIONS"].split() if part == "$PROXYVPN_OPTIONS" else [part])]
    daemon = ours.up(*arguments[1:], env=environment, command=arguments[0])
    expect_way(both(lab, labs.WEB), VIA_PROXY)
    wanted = "Basic " + base64.b64encode(b"alice:from-the-credential").decode()
    assert {r.headers.get("proxy-authorization") for r in proxy.requests} == {wanted}, proxy.requests
    for pid in ours.pids():
        for name in ("cmdline", "environ"):
            with open(f"/proc/{pid}/{name}", "rb") as file:
                assert b"from-the-credential" not in file.read(), f"process {pid}: {name}"
    scenes.finish(ours, daemon)


@case("row_70_simultaneous_open")
def test_row_70(lab):
    """A limit by nature, as documented: what a remote opened may be answered; a port that was never dialled from outside gives nothing."""
    proxy, ours, daemon = scenes.start(lab)
    with lab.capture(proxies=proxy.endpoints, inbound=(4444,)) as wire:
        with lab.net.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_TCP) as raw:
            segment = struct.pack("!HHIIBBHHH", 5555, 4444, 1, 0, 5 << 4, 2, 1000, 0, 0)
            pseudo = socket.inet_aton(labs.WEB[0]) + socket.inet_aton(labs.HOST[0]) + struct.pack("!HH", 6, len(segment))
            total = sum(struct.unpack("!16H", pseudo + segment))
            total = (total & 0xffff) + (total >> 16)
            raw.bind((labs.WEB[0], 0))
            raw.sendto(segment[:16] + struct.pack("!H", ~((total & 0xffff) + (total >> 16)) & 0xffff) + segment[18:], (labs.HOST[0], 0))
        time.sleep(0.1)
        with lab.host.socket() as sock:       # the same four-tuple from inside, with a colluder outside
            sock.bind((labs.HOST[0], 4444))
            sock.settimeout(1)
            sock.connect_ex((labs.WEB[0], 5555))
        result = probe(lab, labs.WEB[0], source=(labs.HOST[0], 4445))
        assert result.kind == VIA_PROXY, f"a port without a session from outside: {result}"
        wire.stop()
        other = [str(f) for f in wire.leaks if (f.sport, f.target, f.dport) != (4444, labs.WEB[0], 5555)]
        assert not other, other
        wire.leaks.clear()
    scenes.finish(ours, daemon)
