#!/usr/bin/env bash
# Where lwIP's source comes from (cmake/Lwip.cmake): a tree that is given, Debian's archive, upstream's.
# What is not the expected source is refused, and nothing asks the network twice.
#
#   tests/lwip_source_test.sh LWIP_TREE
set -Eeuo pipefail
top=$(cd "$(dirname "$0")/.." && pwd)
tree=$(realpath "$1")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
fail() {
  printf 'FAILED: %s\n' "$*"
  exit 1
}
trap 'fail "line $LINENO: $BASH_COMMAND"' ERR

mkdir "$work/project"
cat >"$work/project/CMakeLists.txt" <<CMAKE
cmake_minimum_required(VERSION 3.25)
project(probe C)
add_library(proxyvpn_common INTERFACE)
include($top/cmake/Lwip.cmake)
CMAKE

# Without root there is no namespace to be offline in; the proxy variables then lead nowhere.
offline=(env http_proxy=http://127.0.0.1:9 https_proxy=http://127.0.0.1:9)
if [ "$(id -u)" -eq 0 ] && unshare --net true 2>/dev/null; then offline=(unshare --net); fi

# configure BUILD OPTION ...: offline; what it said is in $said.
configure() {
  local build=$work/$1 code=0
  shift
  said=$("${offline[@]}" cmake -S "$work/project" -B "$build" "$@" 2>&1) || code=$?
  return "$code"
}
passes() { configure "$@" || fail "$*: $said"; }
refuses() { # WORD BUILD OPTION ...
  local word=$1
  shift
  if configure "$@"; then fail "$* was taken"; fi
  # cmake wraps lines where it likes.
  [[ $(tr -s ' \n' ' ' <<<"$said") == *"$word"* ]] || fail "$*: '$word' is not in: $said"
}

passes given "-DLWIP_SOURCE_DIR=$tree"
refuses 'is not an lwIP tree' missing "-DLWIP_SOURCE_DIR=$work/nowhere"
refuses 'Give an unpacked lwIP' nothing -DAPT_GET=0

# Debian's archive, damaged on its way.
mkdir -p "$work/debian/lwip"
echo garbage >"$work/debian/lwip/lwip_2.1.3+dfsg1.orig.tar.xz"
refuses 'has SHA-256' debian
[ ! -e "$work/debian/lwip/lwip_2.1.3+dfsg1.orig.tar.xz" ] || fail "the damaged archive is left to fail again"

# The right one, where this tree was unpacked from it.
if [ -e "$tree/../lwip_2.1.3+dfsg1.orig.tar.xz" ]; then
  cp "$tree/../lwip_2.1.3+dfsg1.orig.tar.xz" "$work/debian/lwip/"
  passes debian
fi

# Upstream's: the same sources with other line ends.
upstream() { # BUILD
  rm -rf "$work/lwip-2.1.3"
  cp -r "$tree" "$work/lwip-2.1.3"
  find "$work/lwip-2.1.3/src/core" -name '*.c' -exec sed -i 's/$/\r/' {} +
  [ $# -eq 1 ] || echo '/* changed */' >>"$work/lwip-2.1.3/$2"
  mkdir -p "$work/$1/lwip"
  (cd "$work" && cmake -E tar cf "$work/$1/lwip/lwip-2.1.3.zip" --format=zip lwip-2.1.3)
}
upstream zip
passes zip -DAPT_GET=0
rm "$work/zip/lwip/lwip-2.1.3.zip"
passes zip -DAPT_GET=0
[ -e "$work/zip/lwip/source/src/core/tcp_in.c" ] || fail "not unpacked into the build tree"
upstream changed src/core/ipv4/ip4.c
refuses 'have digest' changed -DAPT_GET=0
echo "a given tree, both archives, and what is refused: as promised"
