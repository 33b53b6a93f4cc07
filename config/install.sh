#!/bin/sh
# Puts webrtc-box on a host with systemd, brings a newer one, or takes it away. Run as root, with the
# program and the files of this folder beside it:
#
#   sh install.sh NAME EMAIL    first time: NAME is the box's public name, EMAIL goes to the certificate authority
#   sh install.sh               upgrade: program and units; the settings stay as they are
#   sh install.sh --remove      everything but /etc/webrtc-box and /var/lib/webrtc-box goes
#
# Nothing is downloaded, and running it twice does no harm. An upgrade that fails at any step leaves the running
# box as it was: the new program is tried first, files are replaced together, and where the new program does not
# get ready the one before is put back and started.
set -eu
cd "$(dirname "$0")"

CONFIG=/etc/webrtc-box/webrtc-box.toml
PROGRAM=/usr/local/bin/webrtc-box
UNITS=/etc/systemd/system
# Files that have a replacement beside them (.new), and whether they have been replaced (then .old is the one before).
staged=
swapped=
# There was a .old before this run.
kept=

main() {
  [ "$(id -u)" = 0 ] || fail "must run as root; put sudo in front of it"
  command -v systemctl >/dev/null || fail "this host has no systemd; start webrtc-box by what it has instead, see README.md"
  case "$#:${1-}" in
    1:--remove) remove ;;
    0:) [ -e "$CONFIG" ] || fail "a first installation needs two words: sh install.sh NAME EMAIL"; put ;;
    2:*) configure "$1" "$2"; put ;;
    *) fail "say NAME and EMAIL, or nothing to upgrade, or --remove" ;;
  esac
}

# The settings, from the file that names them all; what an administrator wrote is not touched.
configure() {
  case "$1" in *[!A-Za-z0-9.-]* | .* | *..* | *. | "") fail "$1 is no host name" ;; esac
  case "$2" in *[\"\\\&/[:space:]]*) fail "$2 is no address" ;; ?*@?*.?*) ;; *) fail "$2 is no address" ;; esac
  [ ! -e "$CONFIG" ] || fail "$CONFIG is there already; to change name or address edit it and: systemctl restart webrtc-box"
  install -d -m 755 /etc/webrtc-box
  sed -e "s/^#e\.g\. domain = .*/domain = \"$1\"/" -e "s/^#e\.g\. acme-email = .*/acme-email = \"$2\"/" webrtc-box.toml >"$CONFIG.new"
  chmod 600 "$CONFIG.new"
  mv "$CONFIG.new" "$CONFIG"
}

put() {
  trap abandon EXIT
  trap 'exit 1' HUP INT TERM
  [ -e "$PROGRAM" ] && upgrade=yes || upgrade=
  stage webrtc-box 755 "$PROGRAM"
  try_program "$PROGRAM.new"
  stage webrtc-box.sysusers 644 /usr/lib/sysusers.d/webrtc-box.conf
  stage webrtc-box.service 644 "$UNITS/webrtc-box.service"
  # The socket is for those who want it; where it is in use it follows the program.
  if [ -e "$UNITS/webrtc-box.socket" ]; then
    stage webrtc-box.socket 644 "$UNITS/webrtc-box.socket"
    stage webrtc-box.service.d/socket.conf 644 "$UNITS/webrtc-box.service.d/socket.conf"
  fi
  swap
  systemd-sysusers webrtc-box.conf
  # Secrets and host keys may stand in it.
  chgrp webrtc-box "$CONFIG"
  chmod 640 "$CONFIG"
  systemctl enable --quiet webrtc-box.service
  if [ ! -d /run/systemd/system ]; then
    settle
    echo "webrtc-box is installed and starts with the host; systemd does not run here now."
    return
  fi
  systemctl daemon-reload
  # A running box first lets its calls end, for as long as drain-timeout.
  restarted=yes
  systemctl restart webrtc-box.service || fail "the new webrtc-box does not start: journalctl -u webrtc-box -n 20"
  settle
  echo "webrtc-box runs. What it finds of itself:"
  look
}

# Puts a copy of $1 beside $3, with mode $2; a disk that is full is found out before anything has changed.
stage() {
  staged="$staged $3"
  install -D -m "$2" "$1" "$3.new"
  # A .old that is there was left by a run that was killed: it is what last ran, unless what replaced it does.
  if [ -e "$3.old" ] && ! runs; then kept=yes
  elif [ -e "$3" ]; then cp -p "$3" "$3.old"
  fi
}

# Whether the service is up with the program that is installed.
runs() {
  systemctl is-active --quiet webrtc-box.service && [ "/proc/$(systemctl show -P MainPID webrtc-box.service)/exe" -ef "$PROGRAM" ]
}

# Whether the program runs on this host at all, and takes the settings as they are.
try_program() {
  "$1" --version >/dev/null || fail "this webrtc-box does not run on this host; take the one for $(uname -m)"
  # What the service is given besides the file is not known here; then the start shows whether it is taken.
  besides=$(systemctl show webrtc-box.service -p Environment -p EnvironmentFiles -p DropInPaths 2>/dev/null | sed 's/^[A-Za-z]*=//' | tr -d '\n')
  [ -z "$besides" ] || return 0
  scratch=$(mktemp -d)
  code=0
  env -i "$1" credentials --config "$CONFIG" --state-dir "$scratch" >/dev/null || code=$?
  rm -rf "$scratch"
  [ "$code" = 0 ] || fail "this webrtc-box does not take the settings in $CONFIG, see above"
}

swap() {
  swapped=yes
  for file in $staged; do mv "$file.new" "$file"; done
}

# From here on the new files are the ones in use.
settle() {
  trap - EXIT HUP INT TERM
  for file in $staged; do rm -f "$file.old"; done
}

# At any failure before that. A first installation has nothing to go back to, and stays to be mended.
abandon() {
  code=$?
  trap - EXIT HUP INT TERM
  set +e
  for file in $staged; do
    if [ -z "$swapped" ] && [ -n "$kept" ]; then :
    elif [ -z "$swapped" ] || [ -z "$upgrade" ]; then rm -f "$file.old"
    elif [ -e "$file.old" ]; then mv "$file.old" "$file"
    elif [ ! -e "$file.new" ]; then rm -f "$file"
    fi
    rm -f "$file.new"
  done
  if [ -n "$swapped$upgrade" ] && [ -d /run/systemd/system ]; then systemctl daemon-reload; fi
  if [ -n "$upgrade" ] && [ -n "${restarted-}" ]; then
    systemctl restart webrtc-box.service && echo "install.sh: the webrtc-box from before runs again" >&2
  fi
  exit "$code"
}

# A first certificate takes a few seconds; for half a minute it is waited for.
look() {
  for _ in 1 2 3 4 5 6; do
    code=0
    found=$("$PROGRAM" check) || code=$?
    case "$code:$found" in 2:* | *"has been got yet"*) sleep 5 ;; *) break ;; esac
  done
  echo "$found"
  [ "$code" != 2 ] || exit 2
}

remove() {
  now=
  [ ! -d /run/systemd/system ] || now=--now
  # One after the other: where one is not there, the other is stopped all the same.
  for unit in webrtc-box.socket webrtc-box.service; do
    # shellcheck disable=SC2086 # nothing, or one word
    [ ! -e "$UNITS/$unit" ] || systemctl disable --quiet $now "$unit"
  done
  rm -f "$UNITS/webrtc-box.service" "$UNITS/webrtc-box.service.d/socket.conf" "$UNITS/webrtc-box.socket" /usr/lib/sysusers.d/webrtc-box.conf "$PROGRAM"
  # An administrator's own overrides stay.
  rmdir "$UNITS/webrtc-box.service.d" 2>/dev/null || true
  [ ! -d /run/systemd/system ] || systemctl daemon-reload
  echo "webrtc-box is gone. Settings and keys are left in /etc/webrtc-box and /var/lib/webrtc-box, and the user webrtc-box."
}

fail() {
  echo "install.sh: $1" >&2
  exit 1
}

main "$@"
