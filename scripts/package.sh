#!/usr/bin/env bash
# Builds the release preset and packs it: build/release/packages/proxyvpn_*.deb or proxyvpn-*.rpm.
# For Arch: cd pkg && makepkg -si.
#
#   scripts/package.sh [deb|rpm ...]       default: what this system installs
#
# PROXYVPN_NO_BOOTSTRAP=1    leave the package manager alone
set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/lib.sh"
cd "$top"

kinds=("$@")
if [ ${#kinds[@]} -eq 0 ]; then
  if have dpkg; then kinds=(deb); else kinds=(rpm); fi
fi
for kind in "${kinds[@]}"; do
  case $kind in
    deb | rpm) ;;
    -h | --help)
      sed -n '2,8s/^# \{0,1\}//p' "$0"
      exit 0
      ;;
    *) die "unknown kind of package '$kind' (deb or rpm)" ;;
  esac
done
[ -n "${PROXYVPN_NO_BOOTSTRAP:-}" ] || scripts/bootstrap.sh build package
for kind in "${kinds[@]}"; do
  case $kind in
    deb) have dpkg-shlibdeps || die "a .deb needs Debian's tools: install dpkg-dev and file" ;;
    rpm) have rpmbuild || die "a .rpm needs rpmbuild: install rpm (Debian) or rpm-build (Fedora)" ;;
  esac
done
build_release all
for kind in "${kinds[@]}"; do
  log=build/release/packages-$kind.log
  cpack --config build/release/CPackConfig.cmake -G "${kind^^}" -B "$top/build/release/packages" >"$log" 2>&1 || {
    cat "$log" >&2
    die "cpack failed (above)"
  }
  rm -rf build/release/packages/_CPack_Packages
done
ls -1 build/release/packages/proxyvpn*
