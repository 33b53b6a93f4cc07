#!/bin/sh
# Puts webrtc-box on a host with systemd, brings a newer one, or takes it away. Run as root, with the
# program and the files of this folder beside it:
#
#   sh install.sh NAME EMAIL    first time: NAME is the box's public name, EMAIL goes to the certificate authority
#   sh install.sh               upgrade: program and units; the settings stay as they are
#   sh install.sh --remove      everything but /etc/webrtc-box and /var/lib/webrtc-box goes
#
# Nothing is downloaded, and running it twice does no harm.
set -eu
cd "$(dirname "$0")"

CONFIG=/etc/webrtc-box/webrtc-box.toml
UNITS=/etc/systemd/system

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
  install -m 755 webrtc-box /usr/local/bin/webrtc-box
  install -D -m 644 webrtc-box.sysusers /usr/lib/sysusers.d/webrtc-box.conf
  systemd-sysusers webrtc-box.conf
  # Secrets and host keys may stand in it.
  chgrp webrtc-box "$CONFIG"
  chmod 640 "$CONFIG"
  install -m 644 webrtc-box.service "$UNITS/webrtc-box.service"
  # The socket is for those who want it; where it is in use it follows the program.
  if [ -e "$UNITS/webrtc-box.socket" ]; then
    install -m 644 webrtc-box.socket "$UNITS/webrtc-box.socket"
    install -D -m 644 webrtc-box.service.d/socket.conf "$UNITS/webrtc-box.service.d/socket.conf"
  fi
  systemctl enable --quiet webrtc-box.service
  if [ ! -d /run/systemd/system ]; then
    echo "webrtc-box is installed and starts with the host; systemd does not run here now."
    return
  fi
  systemctl daemon-reload
  # A running box first lets its calls end, for as long as drain-timeout.
  systemctl restart webrtc-box.service || fail "it does not start: journalctl -u webrtc-box -n 20"
  echo "webrtc-box runs. What it finds of itself:"
  look
}

# A first certificate takes a few seconds; for half a minute it is waited for.
look() {
  for _ in 1 2 3 4 5 6; do
    code=0
    found=$(webrtc-box check) || code=$?
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
  rm -f "$UNITS/webrtc-box.service" "$UNITS/webrtc-box.service.d/socket.conf" "$UNITS/webrtc-box.socket" /usr/lib/sysusers.d/webrtc-box.conf /usr/local/bin/webrtc-box
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
