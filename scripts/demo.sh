#!/usr/bin/env bash
# Shows proxyvpn at work, in a few minutes on a fresh machine: installs what is missing, builds, and
# runs it in a private lab: a PC, a real proxy (tinyproxy) and a web server, each in a network
# namespace of its own. This machine's own network is never touched, and the lab ends with this
# script, however that ends.
#
#   scripts/demo.sh            as root; where there is sudo, it asks
#
# PROXYVPN_BIN=PATH            shows this binary and builds nothing
# PROXYVPN_NO_BOOTSTRAP=1      leaves the package manager alone
set -Eeuo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
# shellcheck source=scripts/lab.sh
. "$top/scripts/lab.sh"

if [ -t 1 ] && [ -z "${NO_COLOR:-}" ]; then
  bold=$'\e[1m' dim=$'\e[2m' green=$'\e[32m' red=$'\e[31m' plain=$'\e[0m'
else
  bold='' dim='' green='' red='' plain=''
fi

step=0
title() {
  step=$((step + 1))
  printf '\n%s%d. %s%s\n' "$bold" "$step" "$*" "$plain"
}
show() { sed "s/^/   /"; }
command_line() { printf '   %s$ %s%s\n' "$dim" "$*" "$plain"; }
good() { printf '   %sok%s %s\n' "$green" "$plain" "$*"; }
bad() {
  printf '   %sNOT AS PROMISED:%s %s\n' "$red" "$plain" "$*"
  [ ! -s "$work/proxyvpn.log" ] || {
    echo "   what proxyvpn said:"
    tail -n 30 "$work/proxyvpn.log" | show
  }
  exit 1
}

# ---- outside: what is needed, and the way into the lab ------------------------------------------

prepare() {
  if ! is_root; then
    have sudo || die "the demo needs root (its own network namespaces): run it as root; there is no sudo here"
    say "the demo needs root for its network namespaces: asking sudo"
    exec sudo env PROXYVPN_BIN="${PROXYVPN_BIN:-}" PROXYVPN_NO_BOOTSTRAP="${PROXYVPN_NO_BOOTSTRAP:-}" \
      NO_COLOR="${NO_COLOR:-}" "$top/scripts/demo.sh"
  fi
  [ -n "${PROXYVPN_NO_BOOTSTRAP:-}" ] || "$top/scripts/bootstrap.sh" build demo
  if [ -z "${PROXYVPN_BIN:-}" ]; then
    say "building"
    build_release proxyvpn
    PROXYVPN_BIN=$top/build/release/bin/proxyvpn
  fi
  export PROXYVPN_BIN
  [ -x "$PROXYVPN_BIN" ] || die "there is no program at $PROXYVPN_BIN"
  [ -c /dev/net/tun ] || die "/dev/net/tun is missing: 'modprobe tun' brings it on a machine; a container needs it passed in (docker run --device /dev/net/tun --cap-add NET_ADMIN --cap-add SYS_ADMIN)"
}

# ---- inside: what is looked at ------------------------------------------------------------------

# What an application on the PC sees.
fetch() { on pc curl --silent --show-error --max-time 10 "$@" 2>&1; }

# Everything that `up` could change, as text.
machine_state() {
  on pc bash -c '
    ip -details link; ip address; ip rule; ip -6 rule; ip route show table all; ip -6 route show table all
    nft list ruleset
    # stable_secret gives EIO until it is set.
    grep -rs . /proc/sys/net/ipv4/conf /proc/sys/net/ipv6/conf /proc/sys/net/ipv4/ip_forward || true'
  ls -A /run
}

# ---- inside: the story --------------------------------------------------------------------------

before() {
  local answer
  title "Before: the PC $pc4 talks to the web server $web4 directly"
  command_line "curl http://$web4/"
  answer=$(fetch "http://$web4/") || bad "curl: $answer"
  show <<<"$answer"
  [[ $answer == *"from $pc4."* ]] || bad "the web server should see the PC itself"
  [ "$(packets_in_clear)" -gt 0 ] || bad "the watch on the wire sees nothing"
  good "and the watch on the wire sees these packets: $(packets_in_clear) in clear"
  machine_state >"$work/before"
}

up() {
  title "proxyvpn up"
  command_line "proxyvpn up --proxy-url http://alice:secret@$proxy4:$port"
  start_on pc "$PROXYVPN_BIN" up --proxy-url "http://alice:secret@$proxy4:$port" >"$work/proxyvpn.log" 2>&1 &
  daemon_pid=$!
  local n
  for n in $(seq 150); do
    kill -0 "$daemon_pid" 2>/dev/null || bad "proxyvpn ended"
    [[ $(fetch --max-time 1 "http://$web4/") == *"from $proxy4."* ]] && break
    [ "$n" -lt 150 ] || bad "no traffic after 15 s"
    sleep 0.1
  done
  show <"$work/proxyvpn.log"
  nft reset counter inet wire clear >/dev/null
}

through() { # URL
  local answer logged
  command_line "curl $1"
  answer=$(fetch "$1") || bad "curl: $answer"
  show <<<"$answer"
  [[ $answer == *"You come from "* && $answer != *"from $pc4."* && $answer != *"from $pc6."* ]] ||
    bad "the web server should see the proxy, not the PC"
  logged=$(grep 'CONNECT .* HTTP/1' "$work/proxy.log" | tail -n 1)
  [[ $logged == *"${1#http://}"* || $logged == *"$web4:80"* || $logged == *"[$web6]:80"* ]] || bad "the proxy's log has no such line"
  printf '   the proxy'\''s log: %s\n' "${logged#*: }"
}

through_the_proxy() {
  title "The same command, nothing else changed: now the web server sees the proxy"
  through "http://$web4/"
  [ "$ipv6" = no ] || through "http://[$web6]/"
  no_clear_packets
}

no_clear_packets() {
  local clear
  clear=$(packets_in_clear)
  [ "$clear" -eq 0 ] || bad "$clear packets went out in clear"
  good "packets in clear on the wire since 'up': 0"
}

# refused WHAT COMMAND ...: must fail, and soon.
refused() {
  local what=$1 start answer took
  shift
  start=$(date +%s%N)
  if answer=$("$@" 2>&1); then
    bad "$what went through: $answer"
  fi
  took=$((($(date +%s%N) - start) / 1000000))
  [ "$took" -lt 3000 ] || bad "$what was refused only after $took ms"
  printf '   %-34s %s %s(%d ms)%s\n' "$what" "$(tail -n 1 <<<"$answer" | sed 's/^bash: line [0-9]*: //; s/Failed to connect to .* ms: //')" "$dim" "$took" "$plain"
}

attempts() { # [curl option ...]
  refused "curl http://$web4/" fetch "$@" "http://$web4/"
  [ "$ipv6" = no ] || refused "curl http://[$web6]/" fetch "$@" "http://[$web6]/"
  # Bound to the uplink, past the routing: the kernel may drop this before there is anything to refuse.
  refused "curl --interface eth0 ..." fetch --interface eth0 --connect-timeout 1 "http://$web4/"
  refused "a UDP packet" on pc bash -c "echo hello >/dev/udp/$web4/9"
  no_clear_packets
}

proxy_dies() {
  title "The proxy is killed: the killswitch holds, and applications are told at once"
  kill -KILL "$proxy_pid"
  wait "$proxy_pid" 2>/dev/null || true
  attempts
}

proxy_returns() {
  title "The proxy is back: traffic flows again, nothing is restarted"
  start_proxy
  local n in_a_row=0
  # Every worker finds out by itself: five in a row have met each of them.
  for n in $(seq 300); do
    if [[ $(fetch --max-time 1 "http://$web4/") == *"from $proxy4."* ]]; then
      in_a_row=$((in_a_row + 1))
    else
      in_a_row=0
    fi
    [ "$in_a_row" -lt 5 ] || break
    [ "$n" -lt 300 ] || bad "no traffic 30 s after the proxy came back"
    sleep 0.1
  done
  through "http://$web4/"
}

daemon_dies() {
  title "proxyvpn itself is killed (SIGKILL): the machine stays shut"
  kill -KILL "$daemon_pid"
  wait "$daemon_pid" 2>/dev/null || true
  # Nobody is left to answer: packets may be dropped rather than refused.
  attempts --connect-timeout 1
}

down() {
  title "proxyvpn down"
  command_line "proxyvpn down"
  on pc "$PROXYVPN_BIN" down 2>&1 | tee -a "$work/proxyvpn.log" | show || bad "'down' failed"
  local answer
  command_line "curl http://$web4/"
  answer=$(fetch "http://$web4/") || bad "curl: $answer"
  show <<<"$answer"
  [[ $answer == *"from $pc4."* ]] || bad "the PC should be open again"
}

nothing_left() {
  title "Nothing is left: links, addresses, rules, routes, nft tables, sysctls, /run compared"
  machine_state >"$work/after"
  diff "$work/before" "$work/after" >"$work/difference" || {
    show <"$work/difference"
    bad "the machine is not as it was"
  }
  good "$(wc -l <"$work/after") lines, no difference"
}

in_lab() {
  trap 'exit 130' INT TERM HUP
  trap 'bad "line $LINENO failed unexpectedly: $BASH_COMMAND"' ERR
  build_lab
  before
  up
  through_the_proxy
  proxy_dies
  proxy_returns
  daemon_dies
  down
  nothing_left
  printf '\n%sThat was all of it.%s  Next: %s./install.sh, then proxyvpn up --proxy-url http://user:pass@host:port\n' "$bold" "$plain" "${SUDO_USER:+sudo }"
}

if [ "${1:-}" = --in-lab ]; then
  work=$2
  in_lab
else
  [ $# -eq 0 ] || {
    sed -n '2,11s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"
    [ "$1" = --help ] || [ "$1" = -h ]
    exit
  }
  prepare
  enter_lab "$top/scripts/demo.sh"
fi
