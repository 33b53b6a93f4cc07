#!/usr/bin/env bash
# Installs a small Debian or Ubuntu into target/systems/SUITE, unless it is there, and prints the folder. It has what every
# server has; nothing is configured.
#
#   system.sh SUITE    for example bookworm or jammy
set -euo pipefail
cd "$(dirname "$0")/../.."

suite=$1 folder=$PWD/target/systems/$1
mkdir -p "${folder%/*}"
# The stage prepares all systems while the release is built; a test then waits for its own.
exec 9>"$folder.lock"
flock 9
if [[ ! -d $folder ]]; then
  if [[ $suite == jammy && ! -e /usr/share/keyrings/ubuntu-archive-keyring.gpg ]]; then
    echo "$suite needs the package ubuntu-keyring, to verify what is downloaded" >&2
    exit 1
  fi
  rm -rf "$folder.new"
  timeout 420 debootstrap --variant=minbase --include=systemd,systemd-sysv,dbus,procps,ca-certificates "$suite" "$folder.new" >"$folder.log" 2>&1 ||
    { echo "debootstrap cannot install $suite: $(tail -n 1 "$folder.log")" >&2 && exit 1; }
  # The tests run offline.
  rm -rf "$folder.new"/var/cache/apt/archives/*.deb
  mv "$folder.new" "$folder"
fi
echo "$folder"
