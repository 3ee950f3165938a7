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

pc4=192.0.2.2 proxy4=203.0.113.10 web4=198.51.100.80 dns4=203.0.113.53
pc6=2001:db8:2::2 web6=2001:db8:80::80
port=8888

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

# Namespaces for network, mounts and processes: what is made inside ends with the last process in
# it, which is the end of this script, also after SIGKILL.
enter_lab() {
  unshare --net true 2>/dev/null || die "this machine does not let root make network namespaces (a container without CAP_SYS_ADMIN?)"
  work=$(mktemp -d)
  trap 'rm -rf "$work"' EXIT
  local status=0
  unshare --net --mount --pid --fork --mount-proc --uts --ipc --kill-child \
    "$top/scripts/demo.sh" --in-lab "$work" &
  # In the background, so that a signal ends the wait: killing `unshare` ends everything inside.
  lab_pid=$!
  trap 'kill -KILL "$lab_pid" 2>/dev/null; exit 130' INT TERM HUP
  wait "$lab_pid" || status=$?
  exit "$status"
}

# ---- inside: the lab ----------------------------------------------------------------------------

on() { # MACHINE COMMAND ...
  local machine=$1
  shift
  nsenter --net="/run/netns/$machine" -- "$@"
}
# The same in the background: $! is the command itself, and its end is the caller's to judge.
start_on() {
  local machine=$1
  shift
  trap - ERR
  exec nsenter --net="/run/netns/$machine" -- "$@"
}

# cable MACHINE ADDRESS4/LEN ROUTER4 ADDRESS6/LEN ROUTER6: the router is where this script runs.
cable() {
  ip netns add "$1"
  # Addresses are usable, and stay as they are, from the first moment.
  [ "$ipv6" = no ] || on "$1" sh -c 'echo 0 >/proc/sys/net/ipv6/conf/default/accept_dad'
  ip link add "to-$1" type veth peer name eth0 netns "$1"
  ip address add "$3/24" dev "to-$1"
  ip link set "to-$1" up
  on "$1" ip link set lo up
  on "$1" ip address add "$2" dev eth0
  on "$1" ip link set eth0 up
  on "$1" ip route add default via "$3"
  [ "$ipv6" = yes ] || return 0
  ip address add "$5/64" dev "to-$1" nodad
  on "$1" ip address add "$4" dev eth0 nodad
  on "$1" ip route add default via "$5"
}

# The wire between PC and router, watched by the router: everything from the PC but neighbour
# discovery and what goes to the proxy's port is in clear.
watch_wire() {
  nft -f - <<NFT
table inet wire {
  counter clear { }
  chain watch {
    type filter hook prerouting priority -300;
    iifname != "to-pc" return
    ip daddr $proxy4 tcp dport $port return
    icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert, nd-router-solicit, mld-listener-report, mld2-listener-report } return
    counter name clear
  }
}
NFT
}
packets_in_clear() { nft list counter inet wire clear | sed -n 's/.*packets \([0-9]*\) .*/\1/p'; }

private_files() {
  mount -t tmpfs tmpfs /run
  mkdir -p /run/netns
  printf 'nameserver %s\n' "$dns4" >"$work/resolv.conf"
  if [ -e /etc/resolv.conf ] || [ -L /etc/resolv.conf ]; then
    local real
    real=$(readlink -m /etc/resolv.conf)
    if [ ! -e "$real" ]; then
      mkdir -p "$(dirname "$real")"
      : >"$real"
    fi
    mount --bind "$work/resolv.conf" "$real"
  fi
}

build_lab() {
  mount --make-rprivate /
  private_files
  ipv6=no
  [ ! -d /proc/sys/net/ipv6/conf ] || ipv6=yes
  ip link set lo up
  echo 1 >/proc/sys/net/ipv4/ip_forward
  if [ "$ipv6" = yes ]; then
    echo 1 >/proc/sys/net/ipv6/conf/all/forwarding
    echo 0 >/proc/sys/net/ipv6/conf/default/accept_dad
  fi
  cable pc "$pc4/24" 192.0.2.1 "$pc6/64" 2001:db8:2::1
  cable proxy "$proxy4/24" 203.0.113.1 2001:db8:10::10/64 2001:db8:10::1
  cable web "$web4/24" 198.51.100.1 "$web6/64" 2001:db8:80::1
  watch_wire
  cat >"$work/web.py" <<'PYTHON'
import http.server, socket
class Hello(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        text = f"Hello! You come from {self.client_address[0].removeprefix('::ffff:')}.\n".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)
    def log_message(self, *_): pass
class Server(http.server.ThreadingHTTPServer):
    address_family = socket.AF_INET6 if socket.has_dualstack_ipv6() else socket.AF_INET
    def server_bind(self):
        if self.address_family == socket.AF_INET6:
            self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        super().server_bind()
Server(("", 80), Hello).serve_forever()
PYTHON
  start_on web python3 "$work/web.py" &
  wait_for "the web server" on web bash -c "exec 3<>/dev/tcp/$web4/80"
  start_proxy
}

start_proxy() {
  cat >"$work/tinyproxy.conf" <<CONF
Port $port
Listen $proxy4
Timeout 600
LogFile "$work/proxy.log"
LogLevel Connect
BasicAuth alice secret
CONF
  : >"$work/proxy.log"
  chmod 666 "$work/proxy.log"
  start_on proxy tinyproxy -d -c "$work/tinyproxy.conf" >"$work/tinyproxy.out" 2>&1 &
  proxy_pid=$!
  wait_for "the proxy" on proxy bash -c "exec 3<>/dev/tcp/$proxy4/$port"
}

wait_for() { # WHAT COMMAND ...: at most ten seconds
  local what=$1 n
  shift
  for n in $(seq 100); do
    ! "$@" >/dev/null 2>&1 || return 0
    sleep 0.1
  done
  bad "$what does not come up ($n tries)"
}

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
  start_on pc "$PROXYVPN_BIN" up --proxy-url "http://alice:secret@$proxy4:$port" --verbose >"$work/proxyvpn.log" 2>&1 &
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
  printf '   %-34s %s %s(%d ms)%s\n' "$what" "$(tail -n 1 <<<"$answer" | sed 's/^bash: line [0-9]*: //')" "$dim" "$took" "$plain"
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
  printf '\n%sThat was all of it.%s  Next: ./install.sh, then proxyvpn up --proxy-url http://user:pass@host:port\n' "$bold" "$plain"
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
  enter_lab
fi
