#!/usr/bin/env bash
# Installs proxyvpn so that it runs without root: the binary gets the capability CAP_NET_ADMIN, and
# only root and the members of the group `proxyvpn` may execute it (a program with this capability
# that everybody may run would let every user take over the machine's traffic).
#
#   ./install.sh build        builds only (no root)
#   ./install.sh [install]    builds and installs; again for an upgrade, also while proxyvpn is up
#   ./install.sh uninstall    stops proxyvpn and removes everything again
#
# INSTALL_DIR=DIR            where the binaries go (default /usr/local/bin)
# PROXYVPN_BIN_DIR=DIR       install these binaries and build nothing
# PROXYVPN_NO_BOOTSTRAP=1    leave the package manager alone
set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/scripts/lib.sh"
cd "$top"

bin_dir=${INSTALL_DIR:-/usr/local/bin}
bin_dir=${bin_dir%/}
case $bin_dir in
  /*/bin) prefix=${bin_dir%/bin} ;;
  /*) prefix=/usr/local ;;
  *) die "INSTALL_DIR must be an absolute path, not '$bin_dir'" ;;
esac
group=proxyvpn
built=${PROXYVPN_BIN_DIR:-$top/build/release/bin}
man_dir=$prefix/share/man/man8
man5_dir=$prefix/share/man/man5
lib_dir=$prefix/lib/proxyvpn
unit_dir=/etc/systemd/system
tmpfiles=/etc/tmpfiles.d/proxyvpn.conf
state_dir=/run/proxyvpn
config_dir=/etc/proxyvpn
units=(proxyvpn.service proxyvpn-early-boot.service)
# The folders that were made for it, one a line: they go with it.
made=$lib_dir/folders

has_systemd() { [ -d "$unit_dir" ]; }
systemd_runs() { [ -d /run/systemd/system ]; }

build() {
  [ -z "${PROXYVPN_BIN_DIR:-}" ] || return 0
  [ -n "${PROXYVPN_NO_BOOTSTRAP:-}" ] || scripts/bootstrap.sh build
  build_release all
}

make_account() {
  getent group "$group" >/dev/null || groupadd --system "$group"
  getent passwd "$group" >/dev/null || useradd --system --gid "$group" --no-create-home \
    --home-dir /nonexistent --shell /usr/sbin/nologin --comment proxyvpn "$group"
}

# File capabilities make exec fail with EPERM where the bounding set lacks them (some containers),
# also for root: there the binary goes without.
bounding_set_has_net_admin() {
  local bounding
  bounding=$(sed -n 's/^CapBnd:[[:space:]]*//p' /proc/self/status)
  ((0x$bounding & (1 << 12)))
}

# folder PATH: makes it, and remembers what was not there before.
folder() {
  local path=$1 missing=()
  while [ ! -d "$path" ]; do
    missing+=("$path")
    path=$(dirname "$path")
  done
  [ ${#missing[@]} -gt 0 ] || return 0
  install -d -m 755 "$1"
  printf '%s\n' "${missing[@]}" >>"$made"
}

remove_folders() {
  local folders=()
  [ ! -e "$made" ] || mapfile -t folders < <(LC_ALL=C sort -ru "$made")
  rm -f "$made"
  [ ${#folders[@]} -eq 0 ] || rmdir --ignore-fail-on-non-empty "${folders[@]}" 2>/dev/null || true
}

# Beside its place first, whole, then rename(2): there is never a proxyvpn without its capability,
# and a running one keeps the file it was started from.
install_binary() {
  local next=$bin_dir/.proxyvpn.new.$$
  folder "$bin_dir"
  # shellcheck disable=SC2064  # the name of now
  trap "rm -f '$next'" EXIT
  install -m 750 -o root -g "$group" "$built/proxyvpn" "$next"
  if ! bounding_set_has_net_admin; then
    warn "this system's bounding set lacks CAP_NET_ADMIN (a container, or the building of an image?): the program gets no capability, and works as root where NET_ADMIN is granted (--cap-add)"
  elif ! setcap cap_net_admin=eip "$next"; then
    die "setcap failed: the file system of $bin_dir takes no file capabilities; choose another INSTALL_DIR, or run proxyvpn as root"
  fi
  mv -f "$next" "$bin_dir/proxyvpn"
  if [ -x "$built/proxyvpn-selftest" ]; then
    install -m 755 "$built/proxyvpn-selftest" "$bin_dir/proxyvpn-selftest"
  fi
  if have findmnt && findmnt -n -o OPTIONS -T "$bin_dir" | grep -qw nosuid; then
    warn "$bin_dir is on a file system mounted nosuid: the capability has no effect there; choose another INSTALL_DIR"
  fi
}

install_pages() {
  local page
  folder "$man_dir"
  folder "$man5_dir"
  for page in docs/*.8; do
    [ -e "$page" ] || continue
    install -m 644 "$page" "$man_dir/${page##*/}"
  done
  install -m 644 docs/proxyvpn.toml.5 "$man5_dir/proxyvpn.toml.5"
}

# completion_file SHELL: where that shell looks.
completion_file() {
  case $1 in
    bash) echo "$prefix/share/bash-completion/completions/proxyvpn" ;;
    zsh) echo "$prefix/share/zsh/site-functions/_proxyvpn" ;;
    fish) echo "$prefix/share/fish/vendor_completions.d/proxyvpn.fish" ;;
  esac
}

install_completions() {
  local shell file
  for shell in bash zsh fish; do
    file=$(completion_file "$shell")
    folder "$(dirname "$file")"
    "$built/proxyvpn" completion "$shell" >"$file.new.$$"
    chmod 644 "$file.new.$$"
    mv -f "$file.new.$$" "$file"
  done
}

# fill TEMPLATE DESTINATION MODE
fill() {
  local text
  text=$(sed -e "s|@BINDIR@|$bin_dir|g" -e "s|@LIBEXECDIR@|$lib_dir|g" "$1")
  folder "$(dirname "$2")"
  printf '%s\n' "$text" >"$2.new.$$"
  chmod "$3" "$2.new.$$"
  mv -f "$2.new.$$" "$2"
}

install_state_dir() {
  if [ -d /etc/tmpfiles.d ] || has_systemd; then
    folder "$(dirname "$tmpfiles")"
    install -m 644 pkg/proxyvpn.tmpfiles "$tmpfiles"
  fi
  # tmpfiles.d makes it at the next boot; this makes it now.
  install -d -m 2770 -o root -g "$group" "$state_dir"
}

install_service() {
  local unit
  has_systemd || return 0
  fill pkg/proxyvpn-service-stop.in "$lib_dir/service-stop" 755
  for unit in "${units[@]}"; do
    fill "pkg/$unit.in" "$unit_dir/$unit" 644
  done
  install -d -m 750 -o root -g "$group" "$config_dir"
  # The person's own settings are never written over.
  [ -e "$config_dir/proxyvpn.env" ] || install -m 640 -o root -g "$group" pkg/proxyvpn.env "$config_dir/proxyvpn.env"
  ! systemd_runs || systemctl daemon-reload
}

# Two of them: which one is started would be chance.
warn_of_a_package() {
  if { have dpkg-query && dpkg-query -W -f '${db:Status-Status}' proxyvpn 2>/dev/null | grep -qx installed; } ||
    { have rpm && rpm -q proxyvpn >/dev/null 2>&1; } || { have pacman && pacman -Q proxyvpn >/dev/null 2>&1; }; then
    warn "the package proxyvpn is installed too: remove one of them, or what is in $bin_dir comes first"
  fi
}

do_install() {
  is_root || die "installing needs root: run 'sudo ./install.sh' ('./install.sh build' needs none)"
  build
  warn_of_a_package
  make_account
  folder "$lib_dir"   # first, as it holds the list of the others
  install_binary
  install_state_dir
  install_pages
  install_completions
  install_service
  report
}

place() { printf '   %-40s %s\n' "$@"; }

report() {
  local who=${SUDO_USER:-USER} sudo=''
  [ -z "${SUDO_USER:-}" ] || sudo='sudo '
  say "installed $("$bin_dir/proxyvpn" --version 2>/dev/null || echo proxyvpn) in $bin_dir"
  place "$bin_dir/proxyvpn" "root:$group, mode 0750, $(getcap "$bin_dir/proxyvpn" 2>/dev/null | sed 's/.* //')"
  place "$state_dir" "state directory (after a reboot from $tmpfiles)"
  place "$man_dir/proxyvpn.8" "and others"
  if has_systemd; then
    place "$unit_dir/proxyvpn.service" "not enabled; settings: $config_dir/proxyvpn.env"
  fi
  echo "   To let a user run it:    ${sudo}usermod -aG $group $who      (then log in again)"
  echo "   To start:                proxyvpn up --proxy-url http://user:pass@host:port"
  echo "   To remove all of this:   ${sudo}./install.sh uninstall"
  if [ ! -e /dev/net/tun ]; then
    warn "/dev/net/tun is missing: load the module with 'modprobe tun' (in a container, pass the device in)"
  elif [ "$(stat -c %a /dev/net/tun)" != 666 ]; then
    warn "/dev/net/tun has mode $(stat -c %a /dev/net/tun): without 0666 (udev's default) only root can open it"
  fi
}

do_uninstall() {
  local unit shell said
  is_root || die "removing needs root: run 'sudo ./install.sh uninstall'"
  if systemd_runs; then
    systemctl disable --quiet --now "${units[@]}" 2>/dev/null || true
  fi
  # Whoever removes the program wants the machine open, also where it was shut on purpose: afterwards
  # nothing here could open it.
  if [ -x "$bin_dir/proxyvpn" ] && bounding_set_has_net_admin; then
    local unlocked=''
    if ! "$bin_dir/proxyvpn" down || ! unlocked=$("$bin_dir/proxyvpn" unlock 2>&1); then
      [ -z "$unlocked" ] || echo "$unlocked" >&2
      die "the machine could not be put back (see above): nothing was removed"
    fi
  fi
  rm -f "$bin_dir/proxyvpn" "$bin_dir/proxyvpn-selftest" "$man_dir/proxyvpn.8" \
    "$man_dir/proxyvpn-selftest.8" "$man5_dir/proxyvpn.toml.5" "$tmpfiles" "$lib_dir/service-stop"
  for unit in "${units[@]}"; do rm -f "$unit_dir/$unit"; done
  for shell in bash zsh fish; do rm -f "$(completion_file "$shell")"; done
  remove_folders
  [ ! -d "$lib_dir" ] || rmdir --ignore-fail-on-non-empty "$lib_dir"
  rm -rf "$state_dir" "$config_dir"
  ! systemd_runs || systemctl daemon-reload
  # userdel(8) tells that it leaves a group with other members, which goes in the next line.
  ! getent passwd "$group" >/dev/null || said=$(userdel "$group" 2>&1) || die "userdel: $said"
  ! getent group "$group" >/dev/null || groupdel "$group"
  say "proxyvpn is removed from $bin_dir"
}

case ${1:-install} in
  build) build ;;
  install) do_install ;;
  uninstall) do_uninstall ;;
  -h | --help) sed -n '2,13s/^# \{0,1\}//p' "$0" ;;
  *) die "unknown command '$1' (build, install or uninstall)" ;;
esac
