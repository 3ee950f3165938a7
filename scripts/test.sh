#!/usr/bin/env bash
# The one test command: installs what is missing, builds, runs every test, and ends with ctest's own
# summary. As root it includes the namespace tests (private network namespaces, never this machine's
# own network); without root it says that they are left out.
#
#   scripts/test.sh [ctest options ...]        e.g. scripts/test.sh -R fuzz
#
# PROXYVPN_JOBS=N            compilers, and tests, at once (default: one compiler for each core, as far as
#                            the memory goes, and three tests)
# PROXYVPN_FUZZ_SECONDS=N    seconds per fuzz target (default 5)
# PROXYVPN_NO_BOOTSTRAP=1    leave the package manager alone
set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/lib.sh"
cd "$top"

export PROXYVPN_FUZZ_SECONDS=${PROXYVPN_FUZZ_SECONDS:-5}
[ -n "${PROXYVPN_NO_BOOTSTRAP:-}" ] || scripts/bootstrap.sh build test

say "building with ASan and UBSan (preset dev): unit tests, checks, and every namespace test once"
unity=()
# In CI nobody edits what was built (cmake/Compile.cmake says what is gained and lost).
[ "${CI:-}" != true ] || unity=(-DPROXYVPN_UNITY=ON)
configure_and_build dev ${unity[@]+"${unity[@]}"}
say "building hardened (preset release): the namespace tests on what is installed"
configure_for_namespace_tests
say "building the fuzz targets (preset fuzz)"
configure_and_build fuzz
export PROXYVPN_FUZZ_BUILD=$top/build/fuzz

select=()
if is_root; then
  # A namespace test that cannot run here is a failure, not a skip.
  export PROXYVPN_REQUIRE_NETNS=1
else
  select=(--label-exclude netns)
  say "not root: the namespace tests are left out (run this as root for the whole)"
fi
run_ctest_over dev release -- ${select[@]+"${select[@]}"} "$@"
