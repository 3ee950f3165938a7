# shellcheck shell=bash
# The lab of the demo and of the pictures: a PC, a real proxy (tinyproxy) and a web server, each in a
# network namespace of its own, all in namespaces of this script. Sourced, never run; the script that
# sources it has `bad` (says what went wrong, and ends) and $work (a directory of its own).

# shellcheck disable=SC2034  # some are for who sources this
pc4=192.0.2.2 proxy4=203.0.113.10 web4=198.51.100.80 dns4=203.0.113.53
pc6=2001:db8:2::2 web6=2001:db8:80::80
port=8888

# Namespaces for network, mounts and processes: what is made inside ends with the last process in
# it, which is the end of this script, also after SIGKILL.
# enter_lab SCRIPT: runs `SCRIPT --in-lab WORK` in there.
enter_lab() {
  unshare --net true 2>/dev/null || die "this machine does not let root make network namespaces (a container without CAP_SYS_ADMIN?)"
  work=$(mktemp -d)
  trap 'rm -rf "$work"' EXIT
  local status=0
  unshare --net --mount --pid --fork --mount-proc --uts --ipc --kill-child \
    "$1" --in-lab "$work" &
  # In the background, so that a signal ends the wait: killing `unshare` ends everything inside.
  lab_pid=$!
  trap 'kill -KILL "$lab_pid" 2>/dev/null; exit 130' INT TERM HUP
  wait "$lab_pid" || status=$?
  exit "$status"
}

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
