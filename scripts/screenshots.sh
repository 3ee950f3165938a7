#!/usr/bin/env bash
# Makes the pictures of docs/img from what the program prints, in the demo's lab and in a real terminal
# (tmux): nothing in them is drawn by hand. After a change of what is shown, run it again.
#
#   scripts/screenshots.sh [NAME ...]      as root; default: all of them (demo status watch doctor)
#
# PROXYVPN_BIN=PATH            shows this binary and builds nothing
# PROXYVPN_NO_BOOTSTRAP=1      leaves the package manager alone
set -Eeuo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
# shellcheck source=scripts/lab.sh
. "$top/scripts/lab.sh"

pictures=$top/docs/img

bad() {
  warn "$*"
  [ ! -s "$work/up.log" ] || tail -n 20 "$work/up.log" >&2
  exit 1
}

# ---- the terminal -------------------------------------------------------------------------------

terminal() { tmux -u -S "$work/tmux" -f /dev/null "$@"; }

# in_terminal COLUMNS ROWS SECONDS COMMAND ...: prints the screen that COMMAND leaves behind. SECONDS 0: when
# it has made $work/done, else after so many, and then it must still be at it.
in_terminal() {
  local columns=$1 rows=$2 seconds=$3 n
  shift 3
  rm -f "$work/done"
  terminal new-session -d -x "$columns" -y "$rows" "$@"
  if [ "$seconds" = 0 ]; then
    for n in $(seq 600); do
      [ ! -s "$work/done" ] || break
      [ "$n" -lt 600 ] || bad "'$*' does not end"
      sleep 0.2
    done
    sleep 0.5
  else
    sleep "$seconds"
    [ ! -e "$work/done" ] || bad "'$*' ended by itself"
  fi
  # All of it, also what has left the screen, from the first line with something on it.
  terminal capture-pane -e -p -S - | sed -e '/./,$!d'
  terminal kill-server
}

# screen COLUMNS ROWS SECONDS COMMAND ...: the same, typed at a prompt on the PC.
screen() {
  local size=("$1" "$2" "$3") typed
  shift 3
  printf -v typed '%s ' "$@"
  cat >"$work/typed.sh" <<SHELL
export PATH=$work/bin:\$PATH TERM=tmux-256color LANG=C.UTF-8
printf '\\033[2m\$\\033[0m %s\\n' '${typed% }'
$typed
echo \$? >$work/done
exec sleep 1000
SHELL
  in_terminal "${size[@]}" nsenter --net=/run/netns/pc -- bash "$work/typed.sh"
}

# picture NAME TITLE [option ...]: the picture of standard input.
picture() {
  local name=$1 title=$2
  shift 2
  python3 -B "$top/scripts/ansi_svg.py" --title "$title" "$@" >"$work/$name.svg" || bad "no picture of $name"
  grep -q '<text.*<text' <(tr -d '\n' <"$work/$name.svg") || bad "the picture '$name' is empty"
  install -m 644 "$work/$name.svg" "$pictures/$name.svg"
  say "docs/img/$name.svg ($(stat -c %s "$pictures/$name.svg") bytes)"
}

# ---- what is shown ------------------------------------------------------------------------------

# A server that sends at a given rate for minutes, and applications that read from it.
start_load() {
  cat >"$work/stream.py" <<'PYTHON'
import http.server, time
class Stream(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        rate = int(self.path.strip("/"))
        self.send_response(200)
        self.end_headers()
        began, sent = time.monotonic(), 0
        while (now := time.monotonic() - began) < 600:
            # A breath now and then, so that there is a curve to see.
            share = 0.25 if int(now / 3) % 4 == 3 else 1.0
            self.wfile.write(b"x" * int(rate * 102.4 * share))
            time.sleep(0.1)
    def do_PUT(self):
        self.send_response(200)
        self.end_headers()
        while self.rfile.read(65536): pass
    def log_message(self, *_): pass
http.server.ThreadingHTTPServer(("", 8080), Stream).serve_forever()
PYTHON
  start_on web python3 "$work/stream.py" 2>/dev/null &
  wait_for "the streams" on web bash -c "exec 3<>/dev/tcp/$web4/8080"
  local rate
  for rate in 2000 640 250 90 12; do
    start_on pc curl --silent --output /dev/null "http://$web4:8080/$rate" &
  done
  start_on pc curl --silent --output /dev/null --limit-rate 150k --upload-file - "http://$web4:8080/" </dev/zero &
  # An idle one, and refusals of two kinds.
  start_on pc python3 -c "import socket,time; s=socket.create_connection(('$web4', 80)); time.sleep(600)" &
  fetch_quietly "http://$web4:81/"
  on pc bash -c "echo hello >/dev/udp/$web4/443" 2>/dev/null || true
}
fetch_quietly() { on pc curl --silent --max-time 3 --output /dev/null "$@" || true; }

start_proxyvpn() {
  on pc proxyvpn up --proxy-url "http://alice:secret@$proxy4:$port" --detach >"$work/up.log" 2>&1 || bad "proxyvpn does not come up"
}

wanted() { [[ " $names " == *" $1 "* ]]; }

in_lab() {
  trap 'bad "line $LINENO failed unexpectedly: $BASH_COMMAND"' ERR
  local names=$1
  mkdir "$work/bin"
  ln -s "$PROXYVPN_BIN" "$work/bin/proxyvpn"
  export PATH=$work/bin:$PATH
  build_lab
  start_proxyvpn
  start_load
  sleep 12
  ! wanted status || screen 100 40 0 proxyvpn status | picture status "proxyvpn status"
  ! wanted watch || screen 84 24 25 proxyvpn status --watch | picture watch "proxyvpn status --watch" --columns 84 --rows 24
  ! wanted doctor || screen 150 70 0 proxyvpn doctor | picture doctor "proxyvpn doctor"
  on pc proxyvpn down >>"$work/up.log" 2>&1 || bad "'down' failed"
}

# The demo has a lab of its own.
demo_picture() {
  work=$(mktemp -d)
  in_terminal 118 90 0 "PROXYVPN_BIN=$PROXYVPN_BIN PROXYVPN_NO_BOOTSTRAP=1 $top/scripts/demo.sh; echo \$? >$work/done; sleep 1000" \
    >"$work/screen"
  [ "$(cat "$work/done")" = 0 ] || {
    cat "$work/screen"
    bad "the demo failed"
  }
  picture demo "./scripts/demo.sh" <"$work/screen"
  rm -rf "$work"
}

if [ "${1:-}" = --in-lab ]; then
  work=$2
  in_lab "$PROXYVPN_PICTURES"
  exit
fi
names=$*
[ -n "$names" ] || names="demo status watch doctor"
is_root || die "the pictures need root (network namespaces of their own)"
[ -n "${PROXYVPN_NO_BOOTSTRAP:-}" ] || "$top/scripts/bootstrap.sh" build demo pictures
if [ -z "${PROXYVPN_BIN:-}" ]; then
  build_release proxyvpn
  PROXYVPN_BIN=$top/build/release/bin/proxyvpn
fi
export PROXYVPN_BIN PROXYVPN_PICTURES=$names
mkdir -p "$pictures"
! wanted demo || demo_picture
[ "$names" = demo ] || enter_lab "$top/scripts/screenshots.sh"
