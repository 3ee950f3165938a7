#!/usr/bin/env bash
# The tests that need root: private network namespaces with real proxies, clients and servers in
# them. They send traffic only between those namespaces, and remove everything, also when they fail.
# They run the release preset; with PROXYVPN_PRESET=dev they run under ASan and UBSan.
#   scripts/test-privileged.sh [ctest options ...]        e.g. -R row_2
set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/lib.sh"
cd "$top"

is_root || die "the namespace tests need root: run 'sudo scripts/test-privileged.sh'"
[ -n "${PROXYVPN_NO_BOOTSTRAP:-}" ] || scripts/bootstrap.sh build test
export PROXYVPN_REQUIRE_NETNS=1
preset=${PROXYVPN_PRESET:-release}
case $preset in
  dev) configure_and_build dev ;;
  release) configure_for_namespace_tests ;;
  *) die "PROXYVPN_PRESET must be dev or release, not '$preset'" ;;
esac
run_ctest_over "$preset" -- --label-regex netns "$@"
