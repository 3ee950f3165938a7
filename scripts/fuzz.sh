#!/usr/bin/env bash
# Runs every libFuzzer target for a short while, from the seeds in tests/fuzz/corpus/<name>/ and from
# what earlier runs have found. A finding ends the run with its file's name and a failure.
#
#   scripts/fuzz.sh [seconds-per-target] [target ...]     e.g. scripts/fuzz.sh 60 connect_reply
#
# PROXYVPN_FUZZ_SECONDS=N    the same without an argument (default 10)
# PROXYVPN_FUZZ_BUILD=DIR    a build tree of the preset fuzz that exists; nothing is built then
# PROXYVPN_FUZZ_RSS_MB=N     memory that one target may use (default 1024)
set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/lib.sh"
cd "$top"

seconds=${PROXYVPN_FUZZ_SECONDS:-10}
if [[ ${1:-} =~ ^[0-9]+$ ]]; then
  seconds=$1
  shift
fi
[[ $seconds =~ ^[1-9][0-9]*$ ]] || die "seconds per target must be a number above 0, not '$seconds'"

build=${PROXYVPN_FUZZ_BUILD:-}
if [ -z "$build" ]; then
  configure_and_build fuzz
  build=$top/build/fuzz
fi
[ -d "$build/fuzz" ] || die "there are no fuzz targets in $build (cmake --preset fuzz builds them)"

# fuzz_one NAME: new inputs go into the build tree, so that the seeds in the repository stay few.
fuzz_one() {
  local name=$1 found=$build/fuzz/corpus/$1 artifacts=$build/fuzz/findings/$1 seeds=()
  mkdir -p "$found" "$artifacts"
  [ ! -d "tests/fuzz/corpus/$name" ] || seeds=("tests/fuzz/corpus/$name")
  say "$name: $seconds s"
  if "$build/fuzz/${name}_fuzz" -max_total_time="$seconds" -rss_limit_mb="${PROXYVPN_FUZZ_RSS_MB:-1024}" \
    -timeout=10 -max_len=8192 -print_final_stats=1 -verbosity=0 -artifact_prefix="$artifacts/" \
    "$found" ${seeds[@]+"${seeds[@]}"} >"$build/fuzz/$name.log" 2>&1; then
    grep -E '^stat::(number_of_executed_units|peak_rss_mb)' "$build/fuzz/$name.log" || true
  else
    cat "$build/fuzz/$name.log" >&2
    warn "$name: a finding; the input is in $artifacts"
    return 1
  fi
}

names=("$@")
if [ ${#names[@]} -eq 0 ]; then
  for binary in "$build"/fuzz/*_fuzz; do
    [ -x "$binary" ] || continue
    names+=("$(basename "$binary" _fuzz)")
  done
fi
[ ${#names[@]} -gt 0 ] || die "there are no fuzz targets in $build/fuzz"

failed=()
for name in "${names[@]}"; do
  [ -x "$build/fuzz/${name}_fuzz" ] || die "there is no fuzz target '$name' in $build/fuzz"
  fuzz_one "$name" || failed+=("$name")
done
[ ${#failed[@]} -eq 0 ] || die "findings in: ${failed[*]}"
say "no findings in ${#names[@]} targets"
