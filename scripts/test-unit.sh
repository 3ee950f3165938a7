#!/usr/bin/env bash
# Unit tests only, under ASan and UBSan: no root, no network, seconds.
#   scripts/test-unit.sh [ctest options ...]
set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/lib.sh"
cd "$top"

[ -n "${PROXYVPN_NO_BOOTSTRAP:-}" ] || scripts/bootstrap.sh build test
configure_and_build dev
run_ctest_over dev -- --label-regex "^unit$" "$@"
