#!/bin/sh
# Installs, upgrades or removes webrtc-box on a host with systemd and no package of it. Run it as root (sudo is fine), in a
# folder with the program and the files of config/:
#
#   sh install.sh NAME EMAIL    first installation: NAME is the public name or IP address, EMAIL goes to the certificate
#                               authority; settings as flags may follow (webrtc-box setup --help)
#   sh install.sh               upgrade: replaces program and units, keeps the settings
#   sh install.sh --remove      removes everything except /etc/webrtc-box and /var/lib/webrtc-box
#
# It downloads nothing, and can be run twice, also after it was killed. An upgrade that fails at any step keeps the running
# service: the new program is tested first, all files are replaced together, and if the new program does not become ready,
# the previous one is restored and started. Tested on Debian; written for other distributions with systemd as well.
set -eu
cd "$(dirname "$0")"
# `su` without "-" leaves these out.
PATH=$PATH:/usr/sbin:/sbin

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
  case "${1-}:$#" in
    --remove:1) remove ;;
    :0 | [!-]*:*)
      refuse_package
      [ $# != 0 ] || [ -e "$CONFIG" ] || fail "a first installation needs two arguments: sh install.sh NAME EMAIL"
      [ $# = 0 ] || [ $# -ge 2 ] || fail "a first installation needs an e-mail address as well: sh install.sh NAME EMAIL"
      [ $# = 0 ] || [ ! -e "$CONFIG" ] || fail "$CONFIG already exists; edit it, or run install.sh without arguments to upgrade"
      install_files "$@"
      ;;
    *) fail "invalid arguments; give NAME and EMAIL to install, none to upgrade, or --remove" ;;
  esac
}

# A package has its unit there, and a unit of ours would hide it.
refuse_package() {
  for folder in /usr/lib/systemd/system /lib/systemd/system; do
    [ ! -e "$folder/webrtc-box.service" ] || fail "webrtc-box is installed as a package; upgrade it with the package manager, or remove the package first"
  done
}

install_files() {
  trap roll_back EXIT
  trap 'exit 1' HUP INT TERM
  [ -e "$PROGRAM" ] && upgrade=yes || upgrade=
  stage webrtc-box 755 "$PROGRAM"
  "$PROGRAM.new" --version >/dev/null || fail "this webrtc-box does not run on this host; use a build for $(uname -m)"
  [ $# = 0 ] || configure "$@"
  test_settings "$PROGRAM.new"
  stage webrtc-box.sysusers 644 /usr/lib/sysusers.d/webrtc-box.conf
  stage webrtc-box.service 644 "$UNITS/webrtc-box.service"
  # The socket unit is optional; if it is installed, it is upgraded with the program.
  if [ -e "$UNITS/webrtc-box.socket" ]; then
    stage webrtc-box.socket 644 "$UNITS/webrtc-box.socket"
    stage webrtc-box.service.d/socket.conf 644 "$UNITS/webrtc-box.service.d/socket.conf"
  fi
  # What is renamed below must be on the disk before its name is.
  sync
  swap
  create_user
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
  # An existing .old is from a run that was killed. It is the last working version, unless the installed one runs.
  if [ -e "$3.old" ] && ! is_running; then kept=yes
  elif [ -e "$3" ]; then ln -f "$3" "$3.old"
  fi
  rm -f "$3.new"
  install -D -m "$2" "$1" "$3.new"
}

# Whether the service runs the installed program.
is_running() {
  systemctl is-active --quiet webrtc-box.service && [ "/proc/$(systemctl show -p MainPID --value webrtc-box.service)/exe" -ef "$PROGRAM" ]
}

# Writes the settings from NAME, EMAIL and flags.
configure() {
  name=$1 email=$2
  shift 2
  "$PROGRAM.new" setup --yes --config "$CONFIG" --domain "$name" --acme-email "$email" "$@" >/dev/null || fail "the settings are not valid; the reason is above"
}

# Tests that the program accepts the current settings.
test_settings() {
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
  for file in $staged; do mv -f "$file.new" "$file"; done
}

create_user() {
  if command -v systemd-sysusers >/dev/null; then
    systemd-sysusers webrtc-box.conf
  elif ! id -u webrtc-box >/dev/null 2>&1; then
    useradd --system --user-group --no-create-home --home-dir /var/lib/webrtc-box --shell "$(command -v nologin || echo /bin/false)" webrtc-box
  fi
}

# Makes the replacement final.
commit() {
  trap - EXIT HUP INT TERM
  for file in $staged; do rm -f "$file.old"; done
}

# Restores the previous files after a failure. A first installation has none, and stays for you to fix.
roll_back() {
  code=$?
  trap - EXIT
  # A second Ctrl-C must not end this half-way.
  trap '' HUP INT TERM
  set +e
  for file in $staged; do
    if [ -z "$swapped" ] && [ -n "$kept" ]; then :
    elif [ -n "$swapped" ] && [ -n "$upgrade" ] && [ -e "$file.old" ]; then mv -f "$file.old" "$file"; rm -f "$file.old"
    elif [ -n "$swapped" ] && [ -n "$upgrade" ] && [ ! -e "$file.new" ]; then rm -f "$file"
    else rm -f "$file.old"
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
