#!/bin/sh
# Installs, upgrades or removes webrtc-box on a host with systemd. Run it as root, in a folder with the program and
# the files of config/:
#
#   sh install.sh NAME EMAIL    first installation: NAME is the public name, EMAIL goes to the certificate authority
#   sh install.sh               upgrade: replaces program and units, keeps the settings
#   sh install.sh --remove      removes everything except /etc/webrtc-box and /var/lib/webrtc-box
#
# It downloads nothing, and can be run twice. An upgrade that fails at any step keeps the running service: the new
# program is tested first, all files are replaced together, and if the new program does not become ready, the
# previous one is restored and started.
set -eu
cd "$(dirname "$0")"

CONFIG=/etc/webrtc-box/webrtc-box.toml
PROGRAM=/usr/local/bin/webrtc-box
UNITS=/etc/systemd/system
# Files with a replacement beside them (.new), and whether they have been replaced (.old is then the previous one).
staged=
swapped=
# Whether there was a .old before this run.
kept=

main() {
  [ "$(id -u)" = 0 ] || fail "must run as root; use sudo"
  command -v systemctl >/dev/null || fail "this host has no systemd; start webrtc-box with the service manager of the host, see docs/operations.md"
  case "$#:${1-}" in
    1:--remove) remove ;;
    0:) [ -e "$CONFIG" ] || fail "a first installation needs two arguments: sh install.sh NAME EMAIL"; install_files ;;
    2:*) configure "$1" "$2"; install_files ;;
    *) fail "invalid arguments; give NAME and EMAIL to install, none to upgrade, or --remove" ;;
  esac
}

# Writes the settings from the file with all defaults. An existing file is not changed.
configure() {
  case "$1" in *[!A-Za-z0-9.-]* | .* | *..* | *. | "") fail "$1 is not a host name" ;; esac
  case "$2" in *[\"\\\&/[:space:]]*) fail "$2 is not an e-mail address" ;; ?*@?*.?*) ;; *) fail "$2 is not an e-mail address" ;; esac
  [ ! -e "$CONFIG" ] || fail "$CONFIG already exists; to change name or e-mail address, edit it and run: systemctl restart webrtc-box"
  install -d -m 755 /etc/webrtc-box
  sed -e "s/^#e\.g\. domain = .*/domain = \"$1\"/" -e "s/^#e\.g\. acme-email = .*/acme-email = \"$2\"/" webrtc-box.toml >"$CONFIG.new"
  chmod 600 "$CONFIG.new"
  mv "$CONFIG.new" "$CONFIG"
}

install_files() {
  trap roll_back EXIT
  trap 'exit 1' HUP INT TERM
  [ -e "$PROGRAM" ] && upgrade=yes || upgrade=
  stage webrtc-box 755 "$PROGRAM"
  test_program "$PROGRAM.new"
  stage webrtc-box.sysusers 644 /usr/lib/sysusers.d/webrtc-box.conf
  stage webrtc-box.service 644 "$UNITS/webrtc-box.service"
  # The socket unit is optional; if it is installed, it is upgraded with the program.
  if [ -e "$UNITS/webrtc-box.socket" ]; then
    stage webrtc-box.socket 644 "$UNITS/webrtc-box.socket"
    stage webrtc-box.service.d/socket.conf 644 "$UNITS/webrtc-box.service.d/socket.conf"
  fi
  swap
  systemd-sysusers webrtc-box.conf
  # It may contain secrets and host keys.
  chgrp webrtc-box "$CONFIG"
  chmod 640 "$CONFIG"
  systemctl enable --quiet webrtc-box.service
  if [ ! -d /run/systemd/system ]; then
    commit
    echo "webrtc-box is installed and will start with the host; systemd is not running now."
    return
  fi
  systemctl daemon-reload
  # The running service waits for its calls to end, up to drain-timeout.
  restarted=yes
  systemctl restart webrtc-box.service || fail "the new webrtc-box does not start; see journalctl -u webrtc-box -n 20"
  commit
  echo "webrtc-box is running. Result of webrtc-box check:"
  report_check
}

# Copies $1 to $3.new with mode $2, so that a full disk is detected before anything changes.
stage() {
  staged="$staged $3"
  install -D -m "$2" "$1" "$3.new"
  # An existing .old is from a run that was killed. It is the last working version, unless the installed one runs.
  if [ -e "$3.old" ] && ! is_running; then kept=yes
  elif [ -e "$3" ]; then cp -p "$3" "$3.old"
  fi
}

# Whether the service runs the installed program.
is_running() {
  systemctl is-active --quiet webrtc-box.service && [ "/proc/$(systemctl show -P MainPID webrtc-box.service)/exe" -ef "$PROGRAM" ]
}

# Tests that the program runs on this host and accepts the current settings.
test_program() {
  "$1" --version >/dev/null || fail "this webrtc-box does not run on this host; use a build for $(uname -m)"
  # Other settings of the service, such as Environment=, are not known here; then only the start can test them.
  overrides=$(systemctl show webrtc-box.service -p Environment -p EnvironmentFiles -p DropInPaths 2>/dev/null | sed 's/^[A-Za-z]*=//' | tr -d '\n')
  [ -z "$overrides" ] || return 0
  scratch=$(mktemp -d)
  code=0
  env -i "$1" credentials --config "$CONFIG" --state-dir "$scratch" >/dev/null || code=$?
  rm -rf "$scratch"
  [ "$code" = 0 ] || fail "this webrtc-box rejects the settings in $CONFIG; the reason is above"
}

swap() {
  swapped=yes
  for file in $staged; do mv "$file.new" "$file"; done
}

# Makes the replacement final.
commit() {
  trap - EXIT HUP INT TERM
  for file in $staged; do rm -f "$file.old"; done
}

# Restores the previous files after a failure. A first installation has none, and stays for you to fix.
roll_back() {
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
    systemctl restart webrtc-box.service && echo "install.sh: the previous webrtc-box is running again" >&2
  fi
  exit "$code"
}

# Prints the result of the check. Waits up to half a minute for the first certificate.
report_check() {
  for _ in 1 2 3 4 5 6; do
    code=0
    output=$("$PROGRAM" check) || code=$?
    case "$code:$output" in 2:* | *"no certificate for "*" yet"*) sleep 5 ;; *) break ;; esac
  done
  echo "$output"
  [ "$code" != 2 ] || exit 2
}

remove() {
  now=
  [ ! -d /run/systemd/system ] || now=--now
  # One at a time: if one is not installed, the other is still stopped.
  for unit in webrtc-box.socket webrtc-box.service; do
    # shellcheck disable=SC2086 # empty, or one argument
    [ ! -e "$UNITS/$unit" ] || systemctl disable --quiet $now "$unit"
  done
  rm -f "$UNITS/webrtc-box.service" "$UNITS/webrtc-box.service.d/socket.conf" "$UNITS/webrtc-box.socket" /usr/lib/sysusers.d/webrtc-box.conf "$PROGRAM"
  # Overrides by the administrator stay.
  rmdir "$UNITS/webrtc-box.service.d" 2>/dev/null || true
  [ ! -d /run/systemd/system ] || systemctl daemon-reload
  echo "webrtc-box is removed. Settings and keys are still in /etc/webrtc-box and /var/lib/webrtc-box; the user webrtc-box still exists."
}

fail() {
  echo "install.sh: $1" >&2
  exit 1
}

main "$@"
