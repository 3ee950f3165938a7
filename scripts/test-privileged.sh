#!/usr/bin/env bash
# The tests that need root: private network namespaces with real proxies, clients and servers in
# them. They send traffic only between those namespaces, and remove everything, also when they fail.
#   scripts/test-privileged.sh [ctest options ...]
# PROXYVPN_BIN_DIR=DIR   the binaries to test (default: the release preset's, which is built first)
set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/lib.sh"
cd "$top"

is_root || die "the namespace tests need root: run 'sudo scripts/test-privileged.sh'"
[ -n "${PROXYVPN_NO_BOOTSTRAP:-}" ] || scripts/bootstrap.sh build test
configure_and_build dev
if [ -z "${PROXYVPN_BIN_DIR:-}" ]; then
  configure_and_build release -DPROXYVPN_TESTS=OFF
fi
export PROXYVPN_BIN_DIR=${PROXYVPN_BIN_DIR:-$top/build/release/bin}
export PROXYVPN_REQUIRE_NETNS=1
exec ctest --test-dir build/dev --output-on-failure --no-tests=error --label-regex netns --parallel "$(jobs)" "$@"
