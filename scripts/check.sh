#!/usr/bin/env bash
# What continuous integration runs, stage by stage; every stage runs, the exit status says whether
# one of them failed.
#
#   scripts/check.sh [stage ...]
#   stages: format shellcheck layers build-gcc build-clang unit tidy netns fuzz package (default: all)
set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/lib.sh"
cd "$top"

all_stages=(format shellcheck layers build-gcc build-clang unit tidy netns fuzz package)

# Debian's clang-format 14 is the one that decides; newer ones lay a few lines out differently.
stage_format() {
  local tool
  tool=$(command -v clang-format-14 || command -v clang-format) || die "clang-format is missing (scripts/bootstrap.sh check)"
  find src tests bench \( -name '*.cc' -o -name '*.h' -o -name '*.c' \) -exec "$tool" --dry-run -Werror {} +
}

stage_shellcheck() {
  have shellcheck || die "shellcheck is missing (scripts/bootstrap.sh test)"
  local scripts
  mapfile -t scripts < <(find scripts .ci install.sh pkg tests bench -type f \
    \( -name '*.sh' -o -name '*.install' -o -name PKGBUILD -o -name '*-stop.in' -o -name '*-package.in' \
    -o -path 'pkg/deb/p*' -o -path '.ci/run' \) 2>/dev/null)
  [ ${#scripts[@]} -ge 5 ] || die "shellcheck: too few scripts found: ${scripts[*]}"
  shellcheck -x "${scripts[@]}" && shellcheck -s sh pkg/rpm/*
}

stage_layers() {
  scripts/check-layers.sh --self-test && scripts/check-layers.sh
}

stage_build_gcc() { configure_for_namespace_tests && configure_and_build dev; }

# Our own warnings as clang sees them; the tidy stage is slower by an order of magnitude.
stage_build_clang() {
  mkdir -p build
  cmake --preset tidy -B build/clang -DCMAKE_CXX_CLANG_TIDY= >build/configure-clang.log 2>&1 || {
    cat build/configure-clang.log
    return 1
  }
  cmake --build build/clang --parallel "$(jobs)"
}

stage_unit() { PROXYVPN_NO_BOOTSTRAP=1 scripts/test-unit.sh; }
stage_tidy() { configure_and_build tidy; }

stage_netns() {
  if ! is_root; then
    say "netns: left out, it needs root"
    return 0
  fi
  PROXYVPN_NO_BOOTSTRAP=1 scripts/test-privileged.sh
}

stage_fuzz() { PROXYVPN_FUZZ_SECONDS=${PROXYVPN_FUZZ_SECONDS:-60} scripts/fuzz.sh; }

stage_package() {
  local kind code=0 lwip=$top/build/release/lwip/source
  [ -d "$lwip" ] || lwip=''
  tests/package_test.sh "$lwip" || code=$?
  [ "$code" -eq 0 ] || [ "$code" -eq 77 ] || return "$code"
  configure_and_build release -DPROXYVPN_TESTS=OFF
  for kind in deb rpm; do
    code=0
    tests/packages_test.sh "$kind" "$top/build/release" || code=$?
    [ "$code" -eq 0 ] || [ "$code" -eq 77 ] || return "$code"
  done
}

main() {
  local stage failed=() stages=("$@")
  [ ${#stages[@]} -gt 0 ] || stages=("${all_stages[@]}")
  for stage in "${stages[@]}"; do
    [[ " ${all_stages[*]} " == *" $stage "* ]] || die "unknown stage '$stage' (${all_stages[*]})"
  done
  [ -n "${PROXYVPN_NO_BOOTSTRAP:-}" ] || scripts/bootstrap.sh build test check
  for stage in "${stages[@]}"; do
    say "$stage"
    # A process of its own: `set -e` would be off in a function that `if` calls.
    if ! scripts/check.sh --one "$stage"; then
      failed+=("$stage")
      warn "stage '$stage' failed"
    fi
  done
  [ ${#failed[@]} -eq 0 ] || die "failed: ${failed[*]}"
  say "all stages passed: ${stages[*]}"
}

if [ "${1:-}" = --one ]; then
  "stage_${2//-/_}"
else
  main "$@"
fi
