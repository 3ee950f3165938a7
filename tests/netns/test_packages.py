"""Packages as a machine meets them: installed, upgraded while up, removed while up, purged.

Run by tests/packages_test.sh, which builds two releases of each package (PROXYVPN_PACKAGES).
"""
import os

import client
import lab as labs
import packages
import product
import scripted_proxy
import servers
import snapshot
from cases import case
from client import DIRECT, VIA_PROXY, both, expect_way
from load import Load

SETTINGS = "/etc/proxyvpn/proxyvpn.env"
MINE = "PROXYVPN_PROXY_URL=http://mine:1\n"


def check_installed(what):
    """Who may run it, what it may do, where its state is, and that nothing was started."""
    assert packages.mode(packages.PROGRAM) == "750 root:proxyvpn", f"{what}: {packages.mode(packages.PROGRAM)}"
    assert packages.capability() == f"{packages.PROGRAM} cap_net_admin=eip", f"{what}: {packages.capability()!r}"
    assert packages.mode("/usr/bin/proxyvpn-selftest") == "755 root:root", what
    assert packages.mode(product.STATE_DIR) == "2770 root:proxyvpn", f"{what}: {packages.mode(product.STATE_DIR)}"
    assert packages.mode("/etc/proxyvpn") == "750 root:proxyvpn", f"{what}: {packages.mode('/etc/proxyvpn')}"
    assert packages.mode(SETTINGS) == "640 root:proxyvpn", f"{what}: {packages.mode(SETTINGS)}"
    for name in ("proxyvpn", "proxyvpn-early-boot"):
        with open(f"/usr/lib/systemd/system/{name}.service", encoding="utf-8") as file:
            assert "ExecStart=/usr/bin/proxyvpn " in file.read(), name
    wrong = [call for call in packages.systemctl_calls() if call.split()[0] not in ("daemon-reload", "is-active")]
    assert not wrong, f"{what}: systemctl was told to {wrong}"
    enabled = [folder for folder, _, names in os.walk("/etc/systemd") if ".wants" in folder and
               any("proxyvpn" in name for name in names)]
    assert not enabled, f"{what}: a unit is enabled in {enabled}"


def check_who_may_run(ours):
    assert ours.run("--version", user="pvtest").returncode == 0, "a member of the group cannot run it"
    assert ours.run("--version", user="pvother").returncode != 0, "a user outside of the group can run it"


def upgrade_while_up(lab, manager, ours, proxy):
    """Nothing in clear, no connection refused, the running daemon untouched; then a crash, and another upgrade while shut."""
    daemon = ours.up("--proxy-url", proxy.url())
    held = client.connect(lab, labs.WEB[0], labs.SINK)
    with lab.capture(proxies=proxy.endpoints) as wire:
        with Load(lab, threads=4, udp=True, timeout=5) as load:
            load.wait_proxied()
            before = load.results.copy()
            manager.install(2)
            load.wait_proxied()
            assert load.results[DIRECT] == 0, load.results
            lost = {kind: count - before[kind] for kind, count in load.results.items()
                    if kind not in (VIA_PROXY, "udp refused") and count > before[kind]}
            assert not lost, f"connections failed during the upgrade: {lost}"
        assert daemon.process.poll() is None and "goes on" in manager.said, manager.said
        assert os.readlink(f"/proc/{daemon.pid}/exe").endswith("(deleted)"), "the upgrade did not replace the file"
        held.sendall(b"still there")
        assert ours.run("status").returncode == 0, "the new program does not understand the old daemon"
        check_installed("upgrade")
        # pids() knows the new file only.
        daemon.kill()
        labs.wait_until(lambda: not old_processes(), 15, "the workers end with their daemon")
        with Load(lab, threads=4, udp=True, timeout=0.3) as load:
            load.wait(20)
            manager.install(1 if manager.kind == "rpm" else 2)
            load.wait(20)
            assert load.results[VIA_PROXY] == load.results[DIRECT] == 0, f"open while shut: {load.results}"
        wire.assert_clean()
    held.close()


def old_processes():
    """Processes of the program file that was replaced."""
    found = []
    for entry in filter(str.isdigit, os.listdir("/proc")):
        try:
            if os.readlink(f"/proc/{entry}/exe").startswith(packages.PROGRAM):
                found.append(int(entry))
        except OSError:
            continue
    return found


def remove_in_every_state(lab, manager, ours, proxy, before):
    """Removal while up, while crashed, while locked: the machine is as it was, and the program is gone."""
    for state in ("crashed", "up", "locked"):
        if not os.path.exists(packages.PROGRAM):
            manager.install(1)
        daemon = None
        if state == "up":
            daemon = ours.up("--proxy-url", proxy.url())
            expect_way(both(lab, labs.WEB), VIA_PROXY)
        elif state == "locked":
            assert ours.run("lock").returncode == 0
        if state != "up":
            expect_way(both(lab, labs.WEB, timeout=1), client.ERROR, f"machine {state}")
        manager.remove()
        assert daemon is None or daemon.wait_exit() == 0, f"up ended with {daemon.process.returncode}"
        snapshot.assert_same(before, snapshot.take(lab), f"removal while {state}")
        expect_way(both(lab, labs.WEB), DIRECT)
        assert not os.path.exists(packages.PROGRAM) and not os.path.exists(product.STATE_DIR), f"left after removal while {state}"


def refuses_what_it_cannot_put_back(manager):
    """A program that cannot open the machine is not removed: nothing could open it afterwards."""
    manager.install(1)
    os.rename(packages.PROGRAM, "/usr/bin/proxyvpn.real")
    with open(packages.PROGRAM, "w", encoding="ascii") as file:
        file.write("#!/bin/sh\nexit 1\n")
    os.chmod(packages.PROGRAM, 0o755)
    assert manager.remove(check=False) != 0, "a package was removed whose 'down' fails"
    assert "could not be put back" in manager.said and os.path.exists("/usr/lib/proxyvpn/package"), manager.said
    os.rename("/usr/bin/proxyvpn.real", packages.PROGRAM)


def story(lab, kind):
    packages.prepare()
    before, untouched = snapshot.take(lab), packages.changed_files()
    manager = packages.Manager(lab, kind)
    proxy = scripted_proxy.ScriptedProxy(lab)
    servers.who_servers(lab)
    servers.serve(lab, labs.SINK, lambda conn, session: conn.recv(100))
    os.makedirs("/usr/local/bin", exist_ok=True)
    open("/usr/local/bin/proxyvpn", "w", encoding="ascii").close()
    manager.install(1)
    assert "/usr/local/bin/proxyvpn, of an installation" in manager.said, manager.said
    os.unlink("/usr/local/bin/proxyvpn")
    check_installed("installation")
    ours = packages.Packaged(lab, user="pvtest")
    check_who_may_run(ours)
    with open(SETTINGS, "w", encoding="ascii") as file:
        file.write(MINE)
    upgrade_while_up(lab, manager, ours, proxy)
    with open(SETTINGS, encoding="ascii") as file:
        assert file.read() == MINE, "an upgrade wrote over the administrator's settings"
    remove_in_every_state(lab, manager, ours, proxy, before)
    refuses_what_it_cannot_put_back(manager)
    manager.remove()
    manager.purge()
    left = [path for path in packages.changed_files() if path not in untouched]
    kept = [SETTINGS + ".rpmsave"] if kind == "rpm" else []
    assert left == kept, f"left after purge: {left}"


@case("package_deb", timeout=150, heavy=True, listed=False)
def test_deb(lab):
    """dpkg: install, upgrade while up and while shut, remove while up, crashed and locked, purge."""
    story(lab, "deb")


@case("package_rpm", timeout=150, heavy=True, listed=False)
def test_rpm(lab):
    """rpm: the same."""
    story(lab, "rpm")
