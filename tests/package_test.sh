#!/usr/bin/env bash
# Builds pkg/PKGBUILD with makepkg as an ordinary user, and installs, upgrades and removes what comes
# out with its own install hook, in a sandbox of mounts. The compiler optimises nothing, which halves the
# time; what the release preset's own build does is tested elsewhere. Exit status 77: no root, or no makepkg
# (Debian: makepkg pacman-package-manager fakeroot libarchive-tools).
#
#   tests/package_test.sh [LWIP_SOURCE_DIR]
set -Eeuo pipefail
top=$(cd "$(dirname "$0")/.." && pwd)

fail() {
  printf 'FAILED: %s\n' "$*"
  exit 1
}

if [ "${1:-}" != --inside ]; then
  if [ "$(id -u)" -ne 0 ] || ! unshare --mount --pid --fork true 2>/dev/null || ! command -v makepkg >/dev/null || ! command -v pacman >/dev/null; then
    echo "skipped: needs root, namespaces and makepkg"
    exit 77
  fi
  scratch=$(mktemp -d)
  trap 'rm -rf "$scratch"' EXIT
  unshare --mount --pid --fork --mount-proc --kill-child "$0" --inside "$scratch" "${1:-}"
  exit
fi
scratch=$2 lwip=$3
trap 'fail "line $LINENO: $BASH_COMMAND"' ERR

sandbox() {
  local directory
  mount --make-rprivate /
  mount -t tmpfs -o mode=755 tmpfs "$scratch"
  for directory in etc usr; do
    mkdir -p "$scratch/$directory/upper" "$scratch/$directory/work"
    mount -t overlay overlay \
      -o "lowerdir=/$directory,upperdir=$scratch/$directory/upper,workdir=$scratch/$directory/work" "/$directory"
  done
  mount -t tmpfs -o mode=755 tmpfs /run
  ! getent passwd proxyvpn >/dev/null || userdel proxyvpn
  ! getent group proxyvpn >/dev/null || groupdel proxyvpn
  useradd --system --user-group --home-dir "$scratch/home" --create-home pvbuilder
}

build() {
  mkdir "$scratch/tree"
  tar -C "$top" --exclude=./build --exclude=./.git -cf - . | tar -C "$scratch/tree" -xf -
  if [ -n "$lwip" ]; then
    cp -r "$lwip" "$scratch/lwip"
    lwip=$scratch/lwip
  fi
  chown -R pvbuilder: "$scratch/tree" "$scratch"/lwip* 2>/dev/null || true
  (cd "$scratch/tree/pkg" &&
    setpriv --reuid=pvbuilder --regid=pvbuilder --clear-groups env HOME="$scratch/home" LWIP_SOURCE_DIR="$lwip" \
      PROXYVPN_CMAKE_OPTIONS="-DPROXYVPN_HARDENED=OFF -DCMAKE_CXX_FLAGS_RELEASE=-O0 -DCCACHE_PROGRAM=OFF" \
      CARCH="$(uname -m)" PKGDEST="$scratch/tree" makepkg --nodeps --force >"$scratch/log" 2>&1) ||
    fail "makepkg: $(tail -n 60 "$scratch/log")"
  package=$(ls "$scratch"/tree/proxyvpn-*.pkg.tar*)
  bsdtar -tf "$package" | LC_ALL=C sort >"$scratch/contents"
}

check_contents() {
  local file
  for file in .INSTALL .PKGINFO usr/bin/proxyvpn usr/bin/proxyvpn-selftest usr/lib/systemd/system/proxyvpn.service \
    usr/lib/systemd/system/proxyvpn-early-boot.service usr/lib/proxyvpn/service-stop usr/lib/proxyvpn/package usr/lib/tmpfiles.d/proxyvpn.conf \
    usr/lib/sysusers.d/proxyvpn.conf etc/proxyvpn/proxyvpn.env usr/share/man/man8/proxyvpn.8.gz \
    usr/share/man/man5/proxyvpn.toml.5.gz usr/share/bash-completion/completions/proxyvpn usr/share/zsh/site-functions/_proxyvpn; do
    grep -qx "$file" "$scratch/contents" || fail "the package lacks $file: $(cat "$scratch/contents")"
  done
  ! grep -E '^(usr/local|home|build|tmp)' "$scratch/contents" || fail "the package has files in places that are not its own"
}

# pacman's part: unpack, then the hook's function.
transaction() { # HOOK
  bsdtar -xf "$package" -C / --exclude='.*'
  hook "$1"
}
hook() {
  bsdtar -xOf "$package" .INSTALL >"$scratch/hook"
  bash -c '. "$1"; "$2"' sh "$scratch/hook" "$1" >"$scratch/said" 2>&1 || fail "hook $1: $(cat "$scratch/said")"
}

check_installed() {
  local got
  got="$(stat -c '%a %U:%G' /usr/bin/proxyvpn) $(getcap /usr/bin/proxyvpn)"
  [ "$got" = "750 root:proxyvpn /usr/bin/proxyvpn cap_net_admin=eip" ] || fail "after $1: $got"
  [ "$(stat -c '%a %U:%G' /etc/proxyvpn/proxyvpn.env)" = "640 root:proxyvpn" ] || fail "after $1: mode of the settings"
  /usr/bin/proxyvpn --version >/dev/null || fail "after $1: it does not start"
  grep -q '^ExecStart=/usr/bin/proxyvpn ' /usr/lib/systemd/system/proxyvpn.service || fail "the unit does not start /usr/bin/proxyvpn"
}

sandbox
build
echo "built $(basename "$package")"
check_contents
transaction post_install
check_installed installation
transaction post_upgrade
check_installed upgrade
hook pre_remove
hook post_remove
[ ! -e /run/proxyvpn ] || fail "/run/proxyvpn is left after removal"
echo "installed, upgraded, removed"
