#!/usr/bin/env bash
# End-to-end DNS test against a real proxy of yours: brings proxyvpn up on this machine, asks a name
# server through the proxy and through the tunnel, and always takes proxyvpn down again. While it
# runs, every TCP connection of this machine goes through that proxy. Needs what `proxyvpn up` needs:
# root, or binaries with CAP_NET_ADMIN.
#
# PROXYVPN_E2E_PROXY_URL=http://user:pass@proxy:3128   the proxy (required)
# PROXYVPN_E2E_PROXY_URL_RESOLVED=URL       the same with an address, instead of a look-up
# PROXYVPN_E2E_USE_RESOLVED_PROXY=1         resolve the proxy's name first (0: leave that to proxyvpn)
# PROXYVPN_E2E_DNS_SERVER=1.1.1.1           name server to ask
# PROXYVPN_E2E_DNS_NAME=ifconfig.me         name to ask for
# PROXYVPN_E2E_ALLOW_DNS=ADDRESS            resolver that the killswitch lets through: asked over UDP too
# PROXYVPN_E2E_SELFTEST_USE_PROXY=1         ask through the proxy (0: over UDP alone)
# PROXYVPN_E2E_SELFTEST_PROXY_URL=URL       another URL for that (default: the one that `up` gets)
# PROXYVPN_E2E_SELFTEST_STRICT=1            a failing self-test fails the run (0: it is only shown)
# PROXYVPN_E2E_SELFTEST_SOCKET_MARK=0x20000000   SO_MARK of the self-test's own connection to the proxy
#                                           (proxyvpn's bypass mark; empty: none)
# PROXYVPN_E2E_TIMEOUT_MS=10000             for each question
# PROXYVPN_BIN_DIR=DIR                      use these binaries and build nothing
#
# Exit code: 0 all well, 2 wrong usage, 1 proxyvpn did not come up or down, else that of the first
# self-test that failed (proxyvpn-selftest(8)).
set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

usage() {
  warn "$@"
  exit 2
}

url=${PROXYVPN_E2E_PROXY_URL:-}
url_resolved=${PROXYVPN_E2E_PROXY_URL_RESOLVED:-}
selftest_url=${PROXYVPN_E2E_SELFTEST_PROXY_URL:-}
server=${PROXYVPN_E2E_DNS_SERVER:-1.1.1.1}
name=${PROXYVPN_E2E_DNS_NAME:-ifconfig.me}
allow_dns=${PROXYVPN_E2E_ALLOW_DNS:-}
use_proxy=${PROXYVPN_E2E_SELFTEST_USE_PROXY:-1}
use_resolved=${PROXYVPN_E2E_USE_RESOLVED_PROXY:-1}
strict=${PROXYVPN_E2E_SELFTEST_STRICT:-1}
mark=${PROXYVPN_E2E_SELFTEST_SOCKET_MARK-0x20000000}
timeout_ms=${PROXYVPN_E2E_TIMEOUT_MS:-10000}

# Passwords reach the two programs that need them, and no other child's environment.
unset PROXYVPN_E2E_PROXY_URL PROXYVPN_E2E_PROXY_URL_RESOLVED PROXYVPN_E2E_SELFTEST_PROXY_URL \
  PROXYVPN_PROXY_URL PROXYVPN_SELFTEST_PROXY_URL

[ $# -eq 0 ] || usage "takes no arguments, only environment variables (they are listed in $0)"
[ -n "$url" ] || usage "PROXYVPN_E2E_PROXY_URL is missing: this test needs a real proxy, as in
  PROXYVPN_E2E_PROXY_URL=http://user:pass@proxy.example:3128 $0"
for flag in PROXYVPN_E2E_SELFTEST_USE_PROXY PROXYVPN_E2E_USE_RESOLVED_PROXY PROXYVPN_E2E_SELFTEST_STRICT; do
  case ${!flag:-1} in
    0 | 1) ;;
    *) usage "$flag is '${!flag}', and only 0 and 1 mean something" ;;
  esac
done
# Over UDP, only an allowed resolver can answer.
if [ "$use_proxy" = 0 ] && [ -z "$allow_dns" ]; then allow_dns=$server; fi

# resolved URL: the same URL with the first address of its host. The URL holds a password: it is
# given to no command.
resolved() {
  local scheme rest authority path='' userinfo='' host port='' address
  scheme=${1%%://*}
  rest=${1#*://}
  if [ "$scheme" = "$1" ]; then usage "PROXYVPN_E2E_PROXY_URL has no http:// in front"; fi
  authority=${rest%%/*}
  if [ "$authority" != "$rest" ]; then path=/${rest#*/}; fi
  if [[ $authority == *@* ]]; then
    userinfo=${authority%@*}@
    authority=${authority##*@}
  fi
  if [[ $authority == \[* ]]; then # an IPv6 address already
    printf '%s\n' "$1"
    return
  fi
  host=${authority%%:*}
  if [ "$host" != "$authority" ]; then port=:${authority#*:}; fi
  address=$(getent ahosts "$host" | awk 'NR == 1 {print $1}') || true
  [ -n "$address" ] || die "the proxy's name '$host' does not resolve (PROXYVPN_E2E_PROXY_URL_RESOLVED takes a URL with an address)"
  case $address in *:*) address="[$address]" ;; esac
  printf '%s://%s%s%s%s\n' "$scheme" "$userinfo" "$address" "$port" "$path"
}

if [ -n "$url_resolved" ]; then
  url=$url_resolved
elif [ "$use_resolved" = 1 ]; then
  url=$(resolved "$url")
fi

if [ -n "${PROXYVPN_BIN_DIR:-}" ]; then
  bin=$PROXYVPN_BIN_DIR
else
  say "building the release preset"
  build_release proxyvpn proxyvpn-selftest
  bin=$top/build/release/bin
fi
for program in proxyvpn proxyvpn-selftest; do
  [ -x "$bin/$program" ] || die "there is no program $bin/$program"
done

up=no
take_down() {
  local code=$?
  trap - EXIT
  if [ "$up" = yes ]; then
    say "proxyvpn down"
    if ! "$bin/proxyvpn" down; then
      warn "proxyvpn down failed: this machine may still be shut, see proxyvpn(8)"
      [ "$code" -ne 0 ] || code=1
    fi
  fi
  exit "$code"
}
trap take_down EXIT

# An `up` that fails has put everything back itself, and one that found another instance running
# must not take that one down: only what came up here goes down here.
options=(--detach)
if [ -n "$allow_dns" ]; then options+=(--allow-dns "$allow_dns"); fi
say "proxyvpn up ${options[*]}"
interrupted=0 # a signal waits for the end of `up`: only then it is known what there is to take down
trap 'interrupted=130' INT
trap 'interrupted=143' TERM HUP
PROXYVPN_PROXY_URL=$url "$bin/proxyvpn" up "${options[@]}" || die "proxyvpn did not come up (see above)"
up=yes
trap 'exit 130' INT
trap 'exit 143' TERM HUP
[ "$interrupted" -eq 0 ] || exit "$interrupted"

first_failure=0
# ask WHAT OPTION ...: one self-test; its URL, if any, comes in the environment.
ask() {
  local what=$1 code=0
  shift
  say "$what"
  "$bin/proxyvpn-selftest" --name "$name" --timeout-ms "$timeout_ms" "$@" || code=$?
  [ "$code" -ne 0 ] || return 0
  warn "$what: the self-test ended with $code"
  [ "$first_failure" -ne 0 ] || first_failure=$code
}

if [ "$use_proxy" = 1 ]; then
  marked=()
  if [ -n "$mark" ]; then marked=(--socket-mark "$mark"); fi
  PROXYVPN_SELFTEST_PROXY_URL=${selftest_url:-$url} \
    ask "asking $server through the proxy" --server "$server" ${marked[@]+"${marked[@]}"}
  if [ "$server" != "$allow_dns" ]; then # an allowed resolver is asked directly, not through the tunnel
    ask "asking $server over TCP through the tunnel" --server "$server" --tcp --no-ip
  fi
fi
if [ -n "$allow_dns" ]; then
  ask "asking the allowed resolver $allow_dns over UDP" --server "$allow_dns" --no-ip
fi

if [ "$first_failure" -eq 0 ]; then
  say "all well"
elif [ "$strict" = 1 ]; then
  exit "$first_failure"
else
  warn "a self-test failed; PROXYVPN_E2E_SELFTEST_STRICT=0 lets it pass"
fi
