"""The configuration file, as a person and as a service use it."""
import json
import os

import lab as labs
import product
import sandbox
import scenes
import scripted_proxy
import servers
import snapshot
from cases import case
from client import VIA_PROXY, both, expect_way

USER_FILE = "/run/lab/.config/proxyvpn/config.toml"       # HOME is /run/lab
SYSTEM_FILE = "/etc/proxyvpn/config.toml"


def write(path, text, mode=0o644):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
    os.chmod(path, mode)


def ground(lab, user=None):
    proxy = scripted_proxy.ScriptedProxy(lab)
    servers.who_servers(lab)
    servers.Dns(lab, names=scenes.NAMES)
    return proxy, product.Product(lab, user=user)


@case("config_file")
def test_config_file(lab):
    """up without a word takes both files, the user's first; show says where each value comes from; down finds the state directory of the file."""
    proxy, ours = ground(lab)
    before = snapshot.take(lab)
    write(SYSTEM_FILE, f'proxy-url = "{proxy.url()}"\ntun-name = "system0"\nallow-lan = true\n')
    write(USER_FILE, 'tun-name = "mine0"\nstate-dir = "/run/lab/state"\nexclude = ["198.51.100.0/25"]\n')
    daemon = ours.up("--connect-timeout", "7")
    expect_way(both(lab, labs.WEB)[:1], VIA_PROXY)
    assert "mine0" in lab.host.run(["ip", "-o", "link", "show"]).stdout
    shown = json.loads(ours.run("config", "show", "--json", "--connect-timeout", "7").stdout)
    values = {entry["name"]: (entry["value"], entry["from"], entry["source"]) for entry in shown["options"]}
    assert values["tun-name"] == ("mine0", "file", f"{USER_FILE}:1"), values["tun-name"]
    assert values["allow-lan"] == (True, "file", f"{SYSTEM_FILE}:3"), values["allow-lan"]
    assert values["exclude"][0] == ["198.51.100.0/25"], values["exclude"]
    assert values["connect-timeout"] == ("7", "command line", "command line"), values["connect-timeout"]
    assert values["mtu"] == ("1500", "default", "default"), values["mtu"]
    assert ours.run("status").stdout.startswith("state"), "status does not find the state directory of the file"
    scenes.finish(ours, daemon)
    snapshot.assert_same(before, snapshot.take(lab), "up and down from a file")


@case("config_file_mistakes")
def test_config_mistakes(lab):
    """A file with mistakes, or one that others may write, stops up before anything changes, with all of them; check tells the same; no secret is shown; down is not stopped."""
    proxy, ours = ground(lab)
    before = snapshot.take(lab)
    write(SYSTEM_FILE, f'proxy-url = "http://alice:hunter2@h:1"\nmtuu = 1\nmtu = 99\ndns = ["x"]\n')
    for done in (ours.run("up"), ours.run("config", "check")):
        assert done.returncode != 0, done
        text = done.stdout + done.stderr
        for part in (f"{SYSTEM_FILE}:2:1: there is no key 'mtuu'; did you mean 'mtu'?", f"{SYSTEM_FILE}:3:7: mtu '99': must be a number from",
                     f"{SYSTEM_FILE}:4:8: dns 'x'"):
            assert part in text, f"{part!r} is not in {text}"
        assert "hunter2" not in text, text
    shown = ours.run("config", "show")
    assert "hunter2" not in shown.stdout + shown.stderr and "http://alice:***@h:1" in shown.stdout, shown
    ours.down()
    for mode in (0o666, 0o662):
        write(SYSTEM_FILE, f'proxy-url = "{proxy.url()}"\n', mode)
        done = ours.run("up")
        assert done.returncode == 1 and "others may write it" in done.stderr and "chmod go-w" in done.stderr, done
    write(SYSTEM_FILE, f'proxy-url = "{proxy.url()}"\n')
    snapshot.assert_same(before, snapshot.take(lab), "starts that were refused")
    done = ours.run("up", "--config", "/run/lab/nowhere.toml")
    assert done.returncode == 1 and "/run/lab/nowhere.toml" in done.stderr, done
    done = ours.run("--config", "/dev/null", "up")
    assert done.returncode == 2, done


@case("config_file_of_a_user")
def test_config_of_user(lab):
    """A binary with a capability takes the user's home from the user database, not from the environment; a password in the file is nowhere to be read."""
    proxy, ours = ground(lab, user="pvtest")
    write("/run/lab/elsewhere/proxyvpn/config.toml", 'tun-name = "wrong0"\n')
    write(USER_FILE, 'tun-name = "right0"\n')
    done = ours.run("config", "show", env={"XDG_CONFIG_HOME": "/run/lab/elsewhere", "HOME": "/run/lab/elsewhere"})
    assert "wrong0" not in done.stdout and "right0" in done.stdout, done.stdout
    own = "/run/lab/own.toml"
    write(own, f'proxy-url = "{proxy.url()}"\nusername = "alice"\npassword = "hunter2-in-a-file"\n', 0o600)
    os.chown(own, sandbox.TEST_UID, sandbox.TEST_GID)
    ours.secrets.append("hunter2-in-a-file")
    daemon = ours.up("--config", own)
    expect_way(both(lab, labs.WEB), VIA_PROXY)
    for pid in ours.pids():
        for name in ("cmdline", "environ"):
            with open(f"/proc/{pid}/{name}", "rb") as file:
                assert b"hunter2-in-a-file" not in file.read(), f"{name} of {pid}"
    assert "hunter2-in-a-file" not in ours.run("config", "show", "--config", own).stdout
    scenes.finish(ours, daemon)
    os.chown(own, sandbox.OTHER_UID, 0)
    os.chmod(own, 0o644)
    done = ours.run("up", "--config", own)
    assert done.returncode == 1 and f"belongs to user {sandbox.OTHER_UID}" in done.stderr, done
