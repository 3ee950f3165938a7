#!/usr/bin/env bash
# install.sh in a sandbox: its own mounts over /etc, /usr, /opt and /run, its own network and
# processes, so that nothing of this machine is touched. Exit status 77: no root to build it with.
#
#   tests/install_test.sh BINARY_DIR
set -Eeuo pipefail
top=$(cd "$(dirname "$0")/.." && pwd)

fail() {
  printf 'FAILED: %s\n' "$*"
  exit 1
}

if [ "${1:-}" != --inside ]; then
  binaries=$(realpath "$1")
  if [ "$(id -u)" -ne 0 ] || ! unshare --mount --net --pid --fork true 2>/dev/null; then
    echo "skipped: needs root and namespaces"
    [ "${PROXYVPN_REQUIRE_NETNS:-}" != 1 ] || exit 1
    exit 77
  fi
  # A tmpfs of its own for the upper layers: nothing to clean up but its mount point.
  scratch=$(mktemp -d)
  trap 'rm -rf "$scratch"' EXIT
  unshare --mount --net --pid --fork --mount-proc --kill-child "$0" --inside "$binaries" "$scratch"
  exit
fi

binaries=$2 scratch=$3
export PROXYVPN_BIN_DIR=$binaries
group=proxyvpn

sandbox() {
  local directory
  mount --make-rprivate /
  mount -t tmpfs tmpfs "$scratch"
  for directory in etc usr opt; do
    mkdir -p "$scratch/$directory/upper" "$scratch/$directory/work"
    mount -t overlay overlay \
      -o "lowerdir=/$directory,upperdir=$scratch/$directory/upper,workdir=$scratch/$directory/work" "/$directory"
  done
  mount -t tmpfs -o mode=755 tmpfs /run
  mkdir -p /etc/systemd/system
  # As udev makes it, whatever this machine has.
  mkdir "$scratch/net"
  mknod -m 666 "$scratch/net/tun" c 10 200
  [ ! -d /dev/net ] || mount --bind "$scratch/net" /dev/net
  # Accounts that a machine already has would hide that install.sh makes them.
  ! getent passwd "$group" >/dev/null || userdel "$group"
  ! getent group "$group" >/dev/null || groupdel "$group"
  useradd --system --no-create-home --user-group pvmember
  useradd --system --no-create-home --user-group pvother
  ip link set lo up 2>/dev/null || true
}

# What an installation may change, without the files that every change of accounts leaves (backups,
# locks, time stamps of caches).
state() {
  (
    cd "$scratch"
    find etc/upper usr/upper opt/upper -mindepth 1 ! -type d ! -path '*/upper/etc/*-' -printf '%p %m %u %g %y\n' |
      awk '!/(passwd|group|shadow|gshadow|subuid|subgid)-? |\.pwd\.lock |ld\.so\.cache /'
    find /run -mindepth 1 -printf '%p %m %u %g %y\n'
    find /etc /opt /usr/local -type d
    cat /etc/passwd /etc/group
  ) | LC_ALL=C sort
}

expect() { # WHAT ACTUAL WANTED
  [ "$2" = "$3" ] || fail "$1 is '$2', expected '$3'"
}

# as USER GROUPS COMMAND ...
as() {
  local user=$1 groups=$2
  shift 2
  # The shell in between: setpriv itself still has root's capabilities when it calls execve(2), and
  # with them may execute what the user may not.
  setpriv --reuid="$user" --regid="$user" --groups="$groups" -- sh -c 'exec "$@"' sh "$@"
}

check_installed() { # BIN_DIR MAN_DIR
  local program=$1/proxyvpn unit
  expect "mode of $program" "$(stat -c '%a %U:%G' "$program")" "750 root:$group"
  expect "mode of $program-selftest" "$(stat -c '%a' "$program-selftest")" 755
  expect "mode of /run/proxyvpn" "$(stat -c '%a %U:%G' /run/proxyvpn)" "2770 root:$group"
  expect "user $group" "$(getent passwd $group | cut -d: -f7)" /usr/sbin/nologin
  [ -s "$2/proxyvpn.8" ] || fail "no man page in $2"
  local share=${2%/man/man8} file
  for file in man/man5/proxyvpn.toml.5 bash-completion/completions/proxyvpn zsh/site-functions/_proxyvpn \
    fish/vendor_completions.d/proxyvpn.fish; do
    [ -s "$share/$file" ] || fail "no $share/$file"
  done
  grep -q '^d /run/proxyvpn 2770 root proxyvpn' /etc/tmpfiles.d/proxyvpn.conf || fail "no tmpfiles.d entry"
  for unit in proxyvpn proxyvpn-early-boot; do
    grep -q "^ExecStart=$program " "/etc/systemd/system/$unit.service" || fail "$unit.service does not start $program"
    ! grep -q '@' "/etc/systemd/system/$unit.service" || grep -q '^SystemCallFilter=@' "/etc/systemd/system/$unit.service" ||
      fail "$unit.service has a placeholder left"
  done
  ! find /etc/systemd/system -name '*.wants' -exec find {} -name 'proxyvpn*' \; | grep . || fail "a unit was enabled"
  expect "mode of the settings" "$(stat -c '%a %U:%G' /etc/proxyvpn/proxyvpn.env)" "640 root:$group"
}

check_capability() { # BIN_DIR
  local report
  expect "capability" "$(getcap "$1/proxyvpn")" "$1/proxyvpn cap_net_admin=eip"
  as pvmember "$(getent group $group | cut -d: -f3)" "$1/proxyvpn" --version >/dev/null || fail "a member of the group cannot run it"
  if report=$(as pvother "$(id -g pvother)" "$1/proxyvpn" --version 2>&1); then
    fail "a user outside of the group can run it: $report"
  fi
  as pvother "$(id -g pvother)" "$1/proxyvpn-selftest" --version >/dev/null || fail "not everybody can run the self-test"
}

install_it() { "$top/install.sh" "$@" >"$scratch/report" 2>&1 || fail "install.sh $*: $(cat "$scratch/report")"; }

test_install_and_remove() {
  local before
  before=$(state)
  install_it
  grep -q "usermod -aG $group" "$scratch/report" || fail "the report does not say how a user gets in: $(cat "$scratch/report")"
  check_installed /usr/local/bin /usr/local/share/man/man8
  check_capability /usr/local/bin
  install_it uninstall
  diff <(printf '%s\n' "$before") <(state) || fail "uninstall leaves something behind, or takes too much"
  install_it uninstall
}

# While it is installed again, at no moment is there a proxyvpn without its capability, and what a
# person wrote is kept.
test_upgrade() {
  local watcher n
  install_it
  echo 'PROXYVPN_PROXY_URL=http://mine:1' >/etc/proxyvpn/proxyvpn.env
  (
    while [ ! -e "$scratch/stop" ]; do
      [ "$(getcap /usr/local/bin/proxyvpn 2>&1)" = "/usr/local/bin/proxyvpn cap_net_admin=eip" ] || echo gap >>"$scratch/gaps"
      echo look >>"$scratch/looks"
    done
  ) &
  watcher=$!
  for n in 1 2 3; do install_it; done
  touch "$scratch/stop"
  wait "$watcher"
  [ "$(wc -l <"$scratch/looks")" -gt 20 ] || fail "the watch looked too seldom ($n installations)"
  [ ! -e "$scratch/gaps" ] || fail "an upgrade left proxyvpn without its capability for a moment"
  expect "settings" "$(cat /etc/proxyvpn/proxyvpn.env)" 'PROXYVPN_PROXY_URL=http://mine:1'
  check_capability /usr/local/bin
  install_it uninstall
}

test_install_dir() {
  INSTALL_DIR=/opt/bin install_it
  check_installed /opt/bin /opt/share/man/man8
  check_capability /opt/bin
  [ ! -e /usr/local/bin/proxyvpn ] || fail "INSTALL_DIR is not the only place"
  INSTALL_DIR=/opt/bin install_it uninstall
  [ ! -e /opt/bin/proxyvpn ] || fail "uninstall leaves /opt/bin/proxyvpn"
  if INSTALL_DIR=relative "$top/install.sh" >"$scratch/report" 2>&1; then fail "a relative INSTALL_DIR is taken"; fi
  grep -q absolute "$scratch/report" || fail "a relative INSTALL_DIR is not explained: $(cat "$scratch/report")"
}

test_without_root() {
  if as pvother "$(id -g pvother)" "$top/install.sh" >"$scratch/report" 2>&1; then fail "an ordinary user can install"; fi
  grep -q 'needs root' "$scratch/report" || fail "not explained: $(cat "$scratch/report")"
}

# A machine that was shut on purpose is open again once the program that could open it is gone.
test_removal_opens() {
  install_it
  /usr/local/bin/proxyvpn lock 2>"$scratch/report" || fail "lock: $(cat "$scratch/report")"
  nft list table inet proxyvpn >/dev/null || fail "lock left no table"
  install_it uninstall
  ! nft list table inet proxyvpn >/dev/null 2>&1 || fail "the machine is still shut after the removal"
}

# A container without CAP_NET_ADMIN: the capability would make the program impossible to start.
test_without_net_admin() {
  setpriv --bounding-set=-net_admin --inh-caps=-net_admin "$top/install.sh" >"$scratch/report" 2>&1 ||
    fail "install.sh without CAP_NET_ADMIN in the bounding set: $(cat "$scratch/report")"
  grep -q 'bounding set' "$scratch/report" || fail "not explained: $(cat "$scratch/report")"
  expect "capability" "$(getcap /usr/local/bin/proxyvpn)" ""
  install_it uninstall
}

trap 'fail "line $LINENO: $BASH_COMMAND"' ERR
sandbox
for test in test_install_and_remove test_upgrade test_install_dir test_without_root test_removal_opens test_without_net_admin; do
  "$test"
  echo "passed $test"
done
