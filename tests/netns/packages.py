"""A package manager at work in the sandbox: /usr and /var as overlays, so that nothing of this machine changes."""
import glob
import grp
import os
import stat

import kernel
import product
import sandbox

LAYERS = ("usr", "var", "opt")
PROGRAM = "/usr/bin/proxyvpn"
# Written by whatever changes accounts or packages.
BOOKKEEPING = ("/var/lib/dpkg/", "/var/lib/rpm/", "/var/log/", "/var/cache/", "/var/lib/systemd/", "/etc/.pwd.lock",
               "/etc/ld.so.cache", "/usr/lib/sysimage/")
ACCOUNTS = ("passwd", "group", "shadow", "gshadow", "subuid", "subgid")

SYSTEMCTL = """#!/bin/sh
echo "$*" >>/run/lab/systemctl
case $1 in
  is-active) exit ${PROXYVPN_TEST_ACTIVE:-3} ;;
  is-system-running) echo running ;;
esac
"""


def prepare():
    """Overlays, no account of the product's, and a systemctl that writes down what it is told."""
    for name in LAYERS:
        for part in ("upper", "work"):
            os.makedirs(f"/run/layers/{name}/{part}", exist_ok=True)
        kernel.mount("overlay", f"/{name}", "overlay", 0,
                     f"lowerdir=/{name},upperdir=/run/layers/{name}/upper,workdir=/run/layers/{name}/work")
    for file in ("/etc/passwd", "/etc/group"):
        with open(file, encoding="utf-8") as old:
            kept = [line for line in old if not line.startswith("proxyvpn:")]
        with open(file, "w", encoding="utf-8") as new:
            new.writelines(kept)
    os.makedirs("/run/systemd/system")
    with open("/usr/bin/systemctl.new", "w", encoding="ascii") as file:
        file.write(SYSTEMCTL)
    os.chmod("/usr/bin/systemctl.new", 0o755)
    os.rename("/usr/bin/systemctl.new", "/usr/bin/systemctl")
    open("/run/lab/systemctl", "w", encoding="ascii").close()


def systemctl_calls():
    with open("/run/lab/systemctl", encoding="utf-8") as file:
        return file.read().splitlines()


def changed_files():
    """What differs from the machine below, without the package managers' and accounts' own files."""
    found = set()
    for layer, top in [(f"/run/layers/{name}/upper", f"/{name}") for name in LAYERS] + [("/run/etc-upper", "/etc")]:
        for folder, _, names in os.walk(layer):
            found.update(top + os.path.join(folder, name)[len(layer):] for name in names)
    return sorted(path for path in found if not path.startswith(BOOKKEEPING) and
                  path.removeprefix("/etc/").rstrip("-") not in ACCOUNTS)


class Manager:
    """dpkg or rpm, in the host's network namespace, where a package's scripts would find the product."""

    def __init__(self, lab, kind):
        self.lab, self.kind, self.said = lab, kind, ""
        folder = os.environ["PROXYVPN_PACKAGES"]
        self.files = [sorted(glob.glob(f"{folder}/*-{number}*.{kind}")) for number in (1, 2)]
        assert all(len(found) == 1 for found in self.files), f"not one package of each release in {folder}: {self.files}"

    def _run(self, *argv, check=True):
        done = self.lab.host.run(argv, check=False, timeout=120,
                                 env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "DEBIAN_FRONTEND": "noninteractive"})
        self.said = done.stdout + done.stderr
        self.lab.say(f"{' '.join(argv)}: {self.said}")
        assert not check or done.returncode == 0, f"{' '.join(argv)}: exit {done.returncode}: {self.said}"
        return done.returncode

    def install(self, release):
        file = self.files[release - 1][0]
        if self.kind == "deb":
            return self._run("dpkg", "--force-unsafe-io", "-i", file)
        # Debian's rpm knows no package that its dependencies name.
        return self._run("rpm", "-U", "--force", "--nodeps", "--nosignature", file)

    def remove(self, check=True):
        return self._run(*(("dpkg", "--force-unsafe-io", "-r") if self.kind == "deb" else ("rpm", "-e")), "proxyvpn", check=check)

    def purge(self):
        if self.kind == "deb":
            self._run("dpkg", "--force-unsafe-io", "-P", "proxyvpn")


class Packaged(product.Product):
    """The product as the package installed it, run by a member of its group."""

    def _install(self):
        self.binary = PROGRAM
        sandbox.GROUP_GID = grp.getgrnam("proxyvpn").gr_gid
        kernel.run(["usermod", "-aG", "proxyvpn", "pvtest"])


def capability(path=PROGRAM):
    return kernel.run(["getcap", path], check=False).stdout.strip()


def mode(path):
    """"750 root:proxyvpn"."""
    status = os.stat(path)
    user = kernel.run(["stat", "-c", "%U:%G", path]).stdout.strip()
    return f"{stat.S_IMODE(status.st_mode):o} {user}"

