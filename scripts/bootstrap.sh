#!/usr/bin/env bash
# Installs what proxyvpn's build and tests need, from the distribution's own packages (apt, dnf or
# pacman). Does nothing, in a moment, when everything is there. No service is started, and one that
# comes with a package (squid, ssh) is not left to start at the next boot.
#
#   scripts/bootstrap.sh [build|test|demo|check|package|pictures ...]   default: build test
#   scripts/bootstrap.sh --list MANAGER [mode ...]       names the packages, installs nothing
#
# build: compiler and libraries.            test: what scripts/test.sh runs, fuzzing included.
# demo:  what scripts/demo.sh runs.         check: formatter and linter of scripts/check.sh.
# package: what scripts/package.sh packs with.   pictures: what scripts/screenshots.sh draws with.
set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/lib.sh"

usage() { sed -n '2,12s/^# \{0,1\}//p' "$0"; }

# packages MANAGER MODE: the names, in the manager's own spelling.
packages() {
  # make: g++ links with all cores by it.
  case $1-$2 in
    apt-build)
      echo g++ make cmake ninja-build pkg-config ca-certificates xz-utils libcap2-bin \
        libnl-3-dev libnl-route-3-dev libnftnl-dev libmnl-dev libcap-dev libseccomp-dev nettle-dev \
        libexpected-dev libcli11-dev libhttp-parser-dev libtomlplusplus-dev nlohmann-json3-dev \
        libncurses-dev prometheus-cpp-dev
      ;;
    apt-test)
      echo clang libclang-rt-dev libgtest-dev libgmock-dev python3 iproute2 nftables iptables \
        squid tinyproxy-bin openssh-server openssh-client git curl openssl procps iputils-ping \
        iputils-arping conntrack \
        util-linux shellcheck man-db dpkg-dev file lintian rpm cpio zsh fish \
        makepkg pacman-package-manager fakeroot libarchive-tools dnsmasq-base udhcpc strace \
        python3-jsonschema python3-prometheus-client tmux
      ;;
    apt-package) echo dpkg-dev file ;;
    apt-pictures) echo tmux ;;
    apt-demo) echo iproute2 nftables tinyproxy-bin curl python3 util-linux ;;
    apt-check) echo clang clang-format clang-tidy shellcheck ;;
    dnf-build)
      echo gcc-c++ make cmake ninja-build pkgconf-pkg-config ca-certificates libcap \
        libnl3-devel libnftnl-devel libmnl-devel libcap-devel libseccomp-devel nettle-devel \
        expected-devel cli11-devel http-parser-devel tomlplusplus-devel json-devel ncurses-devel \
        libprometheus-cpp-devel
      ;;
    dnf-test)
      echo clang compiler-rt gtest-devel gmock-devel libasan libubsan python3 iproute nftables \
        iptables-nft squid tinyproxy openssh-server openssh-clients git curl openssl procps-ng \
        iputils conntrack-tools util-linux ShellCheck man-db rpm-build cpio zsh fish dnsmasq strace \
        python3-jsonschema python3-prometheus_client tmux
      ;;
    dnf-package) echo rpm-build ;;
    dnf-pictures) echo tmux ;;
    dnf-demo) echo iproute nftables tinyproxy curl python3 util-linux ;;
    dnf-check) echo clang clang-tools-extra ShellCheck ;;
    pacman-build)
      echo gcc make cmake ninja pkgconf ca-certificates libcap libnl libnftnl libmnl libseccomp nettle \
        tl-expected cli11 http-parser tomlplusplus nlohmann-json ncurses
      ;;
    pacman-test)
      echo clang compiler-rt gtest python iproute2 nftables squid tinyproxy openssh git curl \
        openssl procps-ng iputils conntrack-tools util-linux shellcheck man-db zsh fish dnsmasq strace \
        python-jsonschema python-prometheus_client tmux
      ;;
    pacman-package) echo fakeroot ;;
    pacman-pictures) echo tmux ;;
    pacman-demo) echo iproute2 nftables tinyproxy curl python util-linux ;;
    pacman-check) echo clang shellcheck ;;
  esac
}

as_root() {
  if is_root; then
    "$@"
  else
    sudo "$@"
  fi
}

need_root() {
  is_root && return
  have sudo || die "these packages are missing and need root to install (there is no sudo here): $*"
}

# A package that ships a service must not start it here, nor at the next boot. A policy that the
# machine already has is left alone: it knows better.
policy=/usr/sbin/policy-rc.d
policy_is_ours=no
forbid_service_starts() {
  if [ ! -e "$policy" ] && [ ! -L "$policy" ]; then
    # shellcheck disable=SC2016  # expanded by the inner shell
    as_root sh -c 'printf "#!/bin/sh\n# proxyvpn: scripts/bootstrap.sh, removed at its end\nexit 101\n" >"$1" && chmod 755 "$1"' sh "$policy"
    policy_is_ours=yes
  fi
}
allow_service_starts() {
  if [ "$policy_is_ours" = yes ]; then
    as_root rm -f "$policy"
    policy_is_ours=no
  fi
}

# disable_new_services package ...: what a package just installed would otherwise run at boot.
disable_new_services() {
  local package unit
  for package in "$@"; do
    case $package in
      squid) unit=squid ;;
      openssh-server) unit=ssh ;;
      tinyproxy) unit=tinyproxy ;;
      nftables) unit=nftables ;;
      *) continue ;;
    esac
    if have systemctl; then
      as_root systemctl disable --quiet "$unit.service" >/dev/null 2>&1 || true
    elif [ -e "/etc/init.d/$unit" ]; then
      as_root update-rc.d "$unit" disable >/dev/null 2>&1 || true
    fi
  done
}

missing_apt() {
  local installed package
  installed=$(dpkg-query -W -f '${db:Status-Status} ${Package}\n' "$@" 2>/dev/null | sed -n 's/^installed //p') || true
  for package in "$@"; do
    grep -qxF "$package" <<<"$installed" || printf '%s\n' "$package"
  done
}

# Old lists name versions that the mirror no longer has, a fresh machine has no lists at all: both
# are mended by one update, and nothing else asks for one.
install_apt() {
  local apt=(env DEBIAN_FRONTEND=noninteractive apt-get -q -y -o Dpkg::Use-Pty=0 -o Acquire::Retries=3)
  trap allow_service_starts EXIT
  trap 'exit 130' INT TERM HUP
  forbid_service_starts
  if ! apt_lists_usable "$@"; then
    as_root "${apt[@]}" update
    as_root "${apt[@]}" install --no-install-recommends "$@"
  elif ! as_root "${apt[@]}" install --no-install-recommends "$@"; then
    say "the package lists may be old: updating them"
    as_root "${apt[@]}" update
    as_root "${apt[@]}" install --no-install-recommends "$@"
  fi
  allow_service_starts
  disable_new_services "$@"
}

apt_lists_usable() {
  local package
  for package in "$@"; do
    [ -n "$(apt-cache show --no-all-versions "$package" 2>/dev/null)" ] || return 1
  done
}

# The configure step gets lwIP's source from the archive that apt knows; an image whose package lists
# were removed knows none.
know_archive_apt() {
  # shellcheck disable=SC2016  # apt expands it
  [ -z "$(apt-get indextargets --format '$(REPO_URI)' 2>/dev/null | head -n 1)" ] || return 0
  is_root || have sudo || return 0
  say "apt has no package lists: getting them"
  as_root apt-get -q -o Acquire::Retries=3 update || warn "apt-get update failed: lwIP's source may not be found (-DLWIP_SOURCE_DIR= takes a tree)"
}

missing_dnf() {
  local package
  for package in "$@"; do
    rpm -q --whatprovides "$package" >/dev/null 2>&1 || printf '%s\n' "$package"
  done
}
install_dnf() { as_root dnf install -y --setopt=install_weak_deps=False "$@"; }

missing_pacman() { pacman -T "$@" || true; }
# http-parser left Arch's own repositories in 2025: what they do not have is named, after the rest is there.
install_pacman() {
  local package known=() unknown=()
  for package in "$@"; do
    if pacman -Si "$package" >/dev/null 2>&1; then known+=("$package"); else unknown+=("$package"); fi
  done
  [ ${#known[@]} -eq 0 ] || as_root pacman -S --needed --noconfirm "${known[@]}"
  [ ${#unknown[@]} -eq 0 ] || die "not in the repositories that pacman knows: ${unknown[*]}; if 'pacman -Sy' does not help, build them from the AUR (aur.archlinux.org), then run this again"
}

find_manager() {
  if have apt-get && have dpkg-query; then
    echo apt
  elif have dnf; then
    echo dnf
  elif have pacman; then
    echo pacman
  fi
}

main() {
  local modes=() mode manager='' list_only=no names=() wanted=() missing=()
  while [ $# -gt 0 ]; do
    case $1 in
      build | test | demo | check | package | pictures) modes+=("$1") ;;
      --list)
        list_only=yes
        manager=${2:-}
        shift
        ;;
      -h | --help)
        usage
        exit 0
        ;;
      *) die "unknown mode '$1' (build, test, demo, check, package or pictures)" ;;
    esac
    shift
  done
  [ ${#modes[@]} -gt 0 ] || modes=(build test)
  [ "$list_only" = yes ] || manager=$(find_manager)
  if [ -z "$manager" ]; then
    warn "no apt, dnf or pacman here: install what cmake names as missing by hand"
    exit 0
  fi
  for mode in "${modes[@]}"; do
    read -r -a names < <(packages "$manager" "$mode") || die "unknown package manager '$manager'"
    wanted+=("${names[@]}")
  done
  mapfile -t wanted < <(printf '%s\n' "${wanted[@]}" | sort -u)
  if [ "$list_only" = yes ]; then
    printf '%s\n' "${wanted[@]}"
    exit 0
  fi
  if [ "$manager" = apt ] && [[ " ${modes[*]} " == *" build "* ]]; then
    know_archive_apt
  fi
  mapfile -t missing < <("missing_$manager" "${wanted[@]}")
  [ ${#missing[@]} -gt 0 ] || exit 0
  need_root "${missing[@]}"
  say "installing with $manager: ${missing[*]}"
  "install_$manager" "${missing[@]}"
}

main "$@"
