#!/usr/bin/env bash
# Who may include whom: the rooms of src/ meet only where docs/architecture.md says, and a library's
# headers stay in the room that wraps it.
#
#   scripts/check-layers.sh [SRC]         checks SRC (default: src/ of this tree)
#   scripts/check-layers.sh --self-test   plants each kind of violation and expects it to be found
set -euo pipefail
here=$(cd "$(dirname "$0")/.." && pwd)

# Rooms that a room may include besides itself. "room/file.h" admits that one header only.
declare -A may_include=(
  [base]=""
  [event]="base"
  [dns]="base"
  [tun]="event base"
  [stack]="tun event base"
  [connect]="stack/tcp_flow.h event base"
  [names]="stack/tcp_flow.h dns tun event base"
  [netlink]="base"
  [firewall]="base"
  [probe]="connect dns netlink event base"
  [app]="base event dns tun stack connect names netlink firewall probe"
  [selftest]="probe connect dns netlink event base"
  [testing]="base event dns tun stack connect names netlink firewall"
)

# Library header (as an extended regular expression on the name in <>) and the rooms that wrap it.
library_rules=(
  '^lwip/|^netif/|^lwipopts\.h|^lwip_hooks\.h|^arch/(cc|sys_arch)\.h=stack'
  '^netlink/=netlink'
  '^libnftnl/|^libmnl/=firewall'
  '^CLI/=app selftest'
  '^toml[+][+]/|^toml\.hpp=app'
  '^nlohmann/=app'
  '^sys/capability\.h|^seccomp\.h=app'
  '^http_parser\.h=connect app'
  '^nettle/=connect'
  '^prometheus/|^ncurses\.h=app'
)

violations=0
report() { # FILE LINE SENTENCE
  printf '%s:%s: %s\n' "$1" "$2" "$3"
  violations=$((violations + 1))
}

contains() { # WORD in "LIST"
  [[ " $2 " == *" $1 "* ]]
}

check_own() { # FILE LINE ROOM HEADER IS_TEST
  local allowed=${may_include[$3]} other=${4%%/*}
  # What lwIP itself includes is written as lwIP writes it: <lwip/x.h> with quotes, "x.h" beside it.
  if [[ $1 == */stack/lwip_port/* && -z "${may_include[$other]+x}" ]]; then
    check_library "$@"
    return
  fi
  if [[ $4 != */* ]]; then
    report "$1" "$2" "\"$4\" is not written from the root (\"room/file.h\")"
    return
  fi
  [ "$other" != "$3" ] || return 0
  if [ -z "${may_include[$other]+x}" ]; then
    report "$1" "$2" "\"$4\": there is no room '$other'"
  elif [ "$5" = yes ] && [ "$other" = testing ]; then
    return
  elif ! contains "$other" "$allowed" && ! contains "$4" "$allowed"; then
    report "$1" "$2" "room '$3' must not include \"$4\" (it may include: ${allowed:-nobody})"
  fi
}

check_library() { # FILE LINE ROOM HEADER
  local rule rooms
  for rule in "${library_rules[@]}"; do
    rooms=${rule##*=}
    if [[ $4 =~ ${rule%=*} ]] && ! contains "$3" "$rooms"; then
      report "$1" "$2" "<$4> belongs to: $rooms; room '$3' goes through its interface"
    fi
  done
}

check_tree() { # SRC
  local src=$1 file line room rest header is_test files=0
  violations=0
  while IFS=: read -r file line rest; do
    room=${file#"$src"/}
    room=${room%%/*}
    if [ -z "${may_include[$room]+x}" ]; then
      report "$file" "$line" "'$room' is not a room of docs/architecture.md"
      continue
    fi
    is_test=no
    [[ $file != *_test.cc && $file != *_test_*.h ]] || is_test=yes
    if [[ $rest =~ ^[[:space:]]*#[[:space:]]*include[[:space:]]*\"([^\"]+)\" ]]; then
      check_own "$file" "$line" "$room" "${BASH_REMATCH[1]}" "$is_test"
    elif [[ $rest =~ ^[[:space:]]*#[[:space:]]*include[[:space:]]*\<([^\>]+)\> ]]; then
      header=${BASH_REMATCH[1]}
      if [[ $header =~ ^(base|event|dns|tun|stack|connect|names|firewall|probe|app|selftest|testing)/ ]]; then
        report "$file" "$line" "<$header>: our own headers are included with quotes"
      fi
      check_library "$file" "$line" "$room" "$header"
    fi
    files=$((files + 1))
  done < <(grep -rnE '^[[:space:]]*#[[:space:]]*include' "$src" --include='*.h' --include='*.cc' --include='*.c')
  if [ "$files" -eq 0 ]; then
    report "$src" 0 "no include found at all: is this the source tree?"
  fi
  [ "$violations" -eq 0 ]
}

plant() { # FILE TEXT: expects the tree with it to be refused, and to name the file
  local tree=$scratch/src out
  rm -rf "$tree"
  mkdir -p "$tree/base" "$(dirname "$tree/$1")"
  printf '#pragma once\n#include <string>\n' >"$tree/base/error.h"
  printf '%s\n' "$2" >"$tree/$1"
  if out=$(check_tree "$tree") || [[ $out != *"/$1:1:"* ]]; then
    printf 'not found: %s in src/%s (said: %s)\n' "$2" "$1" "${out:-nothing}"
    failed=$((failed + 1))
  fi
}

admit() { # FILE TEXT: expects the tree with it to pass
  local tree=$scratch/src out
  rm -rf "$tree"
  mkdir -p "$(dirname "$tree/$1")"
  printf '%s\n' "$2" >"$tree/$1"
  if ! out=$(check_tree "$tree"); then
    printf 'wrongly refused: %s in src/%s (said: %s)\n' "$2" "$1" "$out"
    failed=$((failed + 1))
  fi
}

self_test() {
  scratch=$(mktemp -d)
  trap 'rm -rf "$scratch"' EXIT
  failed=0
  plant base/x.h '#include "event/reactor.h"'
  plant event/x.cc '#include "tun/packet_io.h"'
  plant tun/x.cc '#include "stack/tcp_flow.h"'
  plant stack/x.cc '#include "connect/tunnel.h"'
  plant connect/x.cc '#include "stack/lwip_stack.h"'
  plant names/x.cc '#include "stack/lwip_stack.h"'
  plant netlink/x.cc '#include "firewall/policy.h"'
  plant firewall/x.cc '  #  include "netlink/plan.h"'
  plant app/x.cc '#include "selftest/options.h"'
  plant probe/x.cc '#include "firewall/policy.h"'
  plant connect/x.cc '#include "probe/server.h"'
  plant app/x.cc '#include "testing/fake.h"'
  plant selftest/x.cc '#include "app/cli.h"'
  plant base/x.cc '#include "error.h"'
  plant base/x.cc '#include <base/error.h>'
  plant app/x.cc '#include "nowhere/x.h"'
  plant nowhere/x.cc '#include <string>'
  plant app/x.cc '#include <lwip/tcp.h>'
  plant app/x.cc '#include <netlink/netlink.h>'
  plant netlink/x.cc '#include <libmnl/libmnl.h>'
  plant app/x.cc '#include <libnftnl/rule.h>'
  plant connect/x.cc '#include <CLI/CLI.hpp>'
  plant tun/x.cc '#include <sys/capability.h>'
  plant base/x.cc '#include <toml++/toml.h>'
  plant firewall/x.cc '#include <nlohmann/json.hpp>'
  plant stack/x.cc '#include <seccomp.h>'
  plant dns/x.cc '#include <http_parser.h>'
  plant connect/x.cc '#include <prometheus/text_serializer.h>'
  plant base/x.cc '#include <ncurses.h>'
  plant dns/x.cc '#include <nlohmann/json.hpp>'
  plant dns/x.cc '#include <nettle/md5.h>'
  admit connect/x.cc '#include "stack/tcp_flow.h"'
  admit connect/x_test.cc '#include "testing/manual_reactor.h"'
  admit stack/x.cc '#include <lwip/tcp.h>'
  admit app/x.cc '#include "probe/dns_probe.h"'
  admit selftest/x.cc '#include "probe/dns_probe.h"'
  admit app/cli.cc '#include <CLI/CLI.hpp>'
  plant stack/lwip_port/hooks.h '#include "CLI/CLI.hpp"'
  admit stack/lwip_port/lwipopts.h '#include "lwip_hooks.h"'
  admit stack/lwip_port/lwip_hooks.h '#include "lwip/arch.h"'
  if check_tree "$scratch/none" >/dev/null 2>&1; then
    echo 'not found: an empty tree'
    failed=$((failed + 1))
  fi
  [ "$failed" -eq 0 ]
}

case ${1:-} in
  --self-test) self_test ;;
  -h | --help) sed -n '2,6s/^# \{0,1\}//p' "$0" ;;
  *) check_tree "${1:-$here/src}" ;;
esac
