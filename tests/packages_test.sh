#!/usr/bin/env bash
# Builds a .deb or an .rpm of a built tree, looks at what is in it, and has dpkg or rpm install,
# upgrade and remove it in a sandbox while proxyvpn is up (tests/netns/test_packages.py). Exit status
# 77: the tools of this kind of package are missing here.
#
#   tests/packages_test.sh deb|rpm BUILD_DIR
set -Eeuo pipefail
top=$(cd "$(dirname "$0")/.." && pwd)
kind=$1 build=$(realpath "$2")

fail() {
  printf 'FAILED: %s\n' "$*"
  exit 1
}
skip() {
  echo "skipped: needs $*"
  exit 77
}
need() {
  local tool
  for tool in "$@"; do command -v "$tool" >/dev/null || skip "$tool"; done
}
trap 'fail "line $LINENO: $BASH_COMMAND"' ERR

# make RELEASE: $packages/proxyvpn...-RELEASE...
make() {
  local option=RPM_PACKAGE_RELEASE
  [ "$kind" = rpm ] || option=DEBIAN_PACKAGE_RELEASE
  (cd "$packages" && cpack --config "$build/CPackConfig.cmake" -G "${kind^^}" -B "$packages/work" -D "CPACK_$option=$1") \
    >"$packages/log" 2>&1 || fail "cpack: $(tail -n 40 "$packages/log")"
  mv "$packages"/work/proxyvpn*."$kind" "$packages/"
  rm -rf "$packages/work"
}

has() { # WHAT LIST LINE ...: whole lines
  local what=$1 list=$2 line
  shift 2
  for line in "$@"; do
    grep -qxF -- "$line" <<<"$list" || fail "$what: no '$line' in
$list"
  done
}

contents=(/usr/bin/proxyvpn /usr/bin/proxyvpn-selftest /usr/lib/systemd/system/proxyvpn.service
  /usr/lib/systemd/system/proxyvpn-early-boot.service /usr/lib/proxyvpn/service-stop /usr/lib/proxyvpn/package
  /usr/lib/tmpfiles.d/proxyvpn.conf /usr/lib/sysusers.d/proxyvpn.conf /etc/proxyvpn/proxyvpn.env
  /usr/share/man/man8/proxyvpn.8.gz /usr/share/man/man8/proxyvpn-selftest.8.gz /usr/share/man/man5/proxyvpn.toml.5.gz
  /usr/share/bash-completion/completions/proxyvpn /usr/share/fish/vendor_completions.d/proxyvpn.fish)

check_program() { # FILE: stripped, position independent, with a build id
  local sections
  sections=$(readelf -SW "$1")
  [[ $sections == *.note.gnu.build-id* ]] || fail "$1 has no build id"
  [[ $sections != *.debug_info* && $sections != *.symtab* ]] || fail "$1 is not stripped"
}

check_deb() { # FILE
  local list scripts name depends unpacked=$packages/unpacked
  list=$(dpkg-deb --contents "$1" | awk '$1 !~ /^d/ { print substr($6, 2) }')
  has "$1" "$list" "${contents[@]}" /usr/share/doc/proxyvpn/copyright /usr/share/doc/proxyvpn/changelog.gz \
    /usr/share/doc/proxyvpn/changelog.Debian.gz /usr/share/zsh/vendor-completions/_proxyvpn
  ! grep -E '^/(usr/local|home|build|tmp|lib)/' <<<"$list" || fail "files in places that are not a package's"
  depends=$(dpkg-deb -f "$1" Depends)
  for name in libc6 libnl-3-200 libnl-route-3-200 libnettle8 libhttp-parser2.9 libnftnl11 libmnl0 libcap2 libcap2-bin libseccomp2 passwd; do
    [[ ", $depends," == *", $name "* || ", $depends," == *", $name,"* ]] || fail "no dependency on $name: $depends"
  done
  dpkg-deb -R "$1" "$unpacked"
  has conffiles "$(cat "$unpacked/DEBIAN/conffiles")" /etc/proxyvpn/proxyvpn.env
  scripts=$(cd "$unpacked/DEBIAN" && stat -c '%a %n' postinst prerm postrm)
  has scripts "$scripts" "755 postinst" "755 prerm" "755 postrm"
  ! grep -q '^\(Multi-Arch\|Essential\)' "$unpacked/DEBIAN/control" || fail "a field that nobody asked for"
  check_program "$unpacked/usr/bin/proxyvpn"
  check_program "$unpacked/usr/bin/proxyvpn-selftest"
  (cd "$unpacked" && md5sum --quiet -c DEBIAN/md5sums) || fail "md5sums"
  grep -q 'Swedish Institute' "$unpacked/usr/share/doc/proxyvpn/copyright" || fail "lwIP's licence is not in the copyright file"
  rm -rf "$unpacked"
  command -v lintian >/dev/null || skip lintian
  # Unprivileged where that is possible: lintian says so itself otherwise.
  lintian --allow-root --fail-on error,warning --tag-display-limit 0 "$1" || fail "lintian (above)"
}

check_rpm() { # FILE
  local list scripts unpacked=$packages/unpacked
  list=$(rpm -qlp "$1")
  has "$1" "$list" "${contents[@]}" /usr/share/licenses/proxyvpn/LICENSE /usr/share/licenses/proxyvpn/LICENSE.lwip /etc/proxyvpn \
    /usr/share/zsh/site-functions/_proxyvpn
  ! grep -xE '/usr|/usr/(bin|lib|share)|/etc|/usr/lib/systemd(/system)?|/usr/share/man(/man[0-9])?' <<<"$list" ||
    fail "directories that belong to other packages"
  has "owner and mode" "$(rpm -qp --qf '[%{FILENAMES} %{FILEMODES:perms} %{FILEUSERNAME}:%{FILEGROUPNAME} %{FILECAPS}\n]' "$1")" \
    "/usr/bin/proxyvpn -rwxr-x--- root:proxyvpn cap_net_admin=eip" "/etc/proxyvpn/proxyvpn.env -rw-r----- root:proxyvpn " \
    "/usr/bin/proxyvpn-selftest -rwxr-xr-x root:root "
  has configuration "$(rpm -qp --configfiles "$1")" /etc/proxyvpn/proxyvpn.env
  scripts=$(rpm -qp --scripts "$1")
  [[ $scripts == *groupadd* && $scripts == *"/usr/lib/proxyvpn/package settle"* && $scripts == *"/usr/lib/proxyvpn/package open"* ]] ||
    fail "scripts: $scripts"
  rpm -qp --requires "$1" | grep -q '^libnl-3\.so' || fail "no dependency on libnl: $(rpm -qp --requires "$1")"
  mkdir "$unpacked"
  (cd "$unpacked" && rpm2cpio "$1" | cpio -idm --quiet)
  check_program "$unpacked/usr/bin/proxyvpn"
  rm -rf "$unpacked"
  # Into a root of its own, with a database of its own: what rpm itself objects to.
  mkdir -p "$packages/root"
  rpm --root "$packages/root" --initdb
  rpm --root "$packages/root" --nodeps --nosignature --test -i "$1" || fail "rpm --test -i"
  rm -rf "$packages/root"
}

case $kind in
  deb) need dpkg-deb dpkg-shlibdeps cpack readelf ;;
  rpm) need rpm rpmbuild rpm2cpio cpio cpack readelf ;;
  *) fail "deb or rpm, not '$kind'" ;;
esac
packages=$(mktemp -d)
trap 'rm -rf "$packages"' EXIT
for release in 1 2; do make "$release"; done
"check_$kind" "$(ls "$packages"/*-1*."$kind")"
echo "built and looked at: $(cd "$packages" && echo *."$kind")"
if [ "$(id -u)" -ne 0 ]; then
  echo "not root: not installed"
  exit 0
fi
PROXYVPN_PACKAGES=$packages PROXYVPN_BIN=$build/bin/proxyvpn /usr/bin/python3 -B "$top/tests/netns/run.py" "package_$kind"
