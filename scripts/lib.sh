# shellcheck shell=bash
# Shared by the scripts beside it; sourced, never run. Needs bash and nothing else.

top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
export top
# ccache, where there is one, answers for the same sources in another folder too.
export CCACHE_BASEDIR=$top CCACHE_NOHASHDIR=1

say() { printf '== %s\n' "$*"; }
warn() { printf '%s: %s\n' "${0##*/}" "$*" >&2; }
die() {
  warn "$@"
  exit 1
}

have() { command -v "$1" >/dev/null 2>&1; }

is_root() { [ "$(id -u)" -eq 0 ]; }

# Compilers and tests at once: one per core, and no more than the memory holds (a sanitizer build
# takes about 1 GiB per compiler). PROXYVPN_JOBS overrides.
jobs() {
  local cores memory
  if [ -n "${PROXYVPN_JOBS:-}" ]; then
    printf '%s\n' "$PROXYVPN_JOBS"
    return
  fi
  cores=$(nproc 2>/dev/null || echo 2)
  memory=$(awk '/^MemAvailable:/ {print int($2 / 1048576)}' /proc/meminfo 2>/dev/null || echo 2)
  [ "${memory:-0}" -ge 1 ] || memory=1
  [ "$cores" -le "$memory" ] || cores=$memory
  printf '%s\n' "$cores"
}

# Tests at once: a test computes for a quarter of its time; the rest is waiting (a retry, a time-out,
# a proxy).
test_jobs() {
  printf '%s\n' "${PROXYVPN_JOBS:-$(($(jobs) * 3))}"
}

# configure_and_build PRESET [cmake options ...] [-- targets ...]: quiet while all is well.
configure_and_build() {
  local preset=$1 log options=() targets=()
  shift
  while [ $# -gt 0 ] && [ "$1" != -- ]; do
    options+=("$1")
    shift
  done
  if [ "${1:-}" = -- ]; then
    shift
    targets=(--target "$@")
  fi
  mkdir -p "$top/build"
  log=$top/build/configure-$preset.log
  if ! (cd "$top" && cmake --preset "$preset" ${options[@]+"${options[@]}"}) >"$log" 2>&1; then
    cat "$log" >&2
    die "the configure step of preset '$preset' failed (its output is above and in build/configure-$preset.log)"
  fi
  (cd "$top" && cmake --build --preset "$preset" --parallel "$(jobs)" ${targets[@]+"${targets[@]}"})
}

# The release preset with the namespace tests alone; their names begin with "release.".
configure_for_namespace_tests() {
  configure_and_build release -DPROXYVPN_TESTS=ON -DPROXYVPN_UNIT_TESTS=OFF -DPROXYVPN_TEST_PREFIX=release.
}

# run_ctest_over PRESET ... -- ctest options ...: one run, and so one summary, over several build
# trees. Replaces this process.
run_ctest_over() {
  local all=$top/build/all-tests presets=()
  while [ "$1" != -- ]; do
    presets+=("\"$top/build/$1\"")
    shift
  done
  shift
  mkdir -p "$all"
  printf 'subdirs(%s)\n' "${presets[*]}" >"$all/CTestTestfile.cmake"
  exec ctest --test-dir "$all" --output-on-failure --no-tests=error --parallel "$(test_jobs)" "$@"
}

# build_release TARGET ...: under sudo the compilers run as the owner of the tree, so that what he
# builds stays his.
build_release() {
  local as_owner=()
  if is_root && [ -n "${SUDO_USER:-}" ] && [ "$SUDO_USER" != root ] && [ "$(stat -c %U "$top")" = "$SUDO_USER" ]; then
    as_owner=(sudo -u "$SUDO_USER" --)
  fi
  # shellcheck disable=SC2016  # expanded by the inner shell
  ${as_owner[@]+"${as_owner[@]}"} bash -c 'set -euo pipefail
    . "$1/scripts/lib.sh"
    shift
    configure_and_build release -DPROXYVPN_TESTS=OFF -- "$@"' "$0" "$top" "$@"
}
