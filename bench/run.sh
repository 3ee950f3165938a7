#!/usr/bin/env bash
# The benchmark in one command, as root: builds the release binary and the benchmark's own tools,
# makes a lab of network namespaces (never this machine's own network; all of it is gone afterwards),
# and measures direct, the kernel's own path, proxyvpn and every peer found on PATH on the same work.
#
#   bench/run.sh [--quick] [--parts bulk,latency,...] [--json FILE] ...      --help names them all
#
# PROXYVPN_BIN=FILE   measure this binary, build nothing
set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/../scripts/lib.sh"

python=/usr/bin/python3
[ -x "$python" ] || python=python3
have "$python" || die "python3 is missing"
case " $* " in
  *" --help "* | *" -h "* | *" --render "*) exec "$python" -B "$top/bench/bench.py" "$@" ;;
esac
is_root || die "needs root: it makes network namespaces of its own (sudo bench/run.sh)"
have "${CC:-cc}" || die "a C compiler is missing (scripts/bootstrap.sh build)"
for tool in ip nft nsenter; do
  have "$tool" || die "'$tool' is missing (scripts/bootstrap.sh test)"
done

binary=${PROXYVPN_BIN:-$top/build/release/bin/proxyvpn}
if [ -z "${PROXYVPN_BIN:-}" ]; then
  say "building the release preset"
  build_release proxyvpn >&2
fi
exec "$python" -B "$top/bench/bench.py" --binary "$(realpath "$binary")" --tools "$top/build/bench/tools" "$@"
