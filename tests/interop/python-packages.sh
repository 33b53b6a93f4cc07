#!/usr/bin/env bash
# Installs the packages of requirements.txt from PyPI into tests/.work/interop-venv, once per version of that file, and prints the
# path of its Python. Exits with 77 and the reason where that is not possible.
set -euo pipefail
cd "$(dirname "$0")/../.."
REQUIREMENTS=tests/interop/requirements.txt
VENV=$PWD/tests/.work/interop-venv

skip() {
  echo "$1: skipped" >&2
  exit 77
}

# aioice needs Python 3.11.
python3 -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || skip "no Python 3.11 with venv here"

if ! cmp -s "$REQUIREMENTS" "$VENV/installed.txt"; then
  rm -rf "$VENV"
  python3 -m venv "$VENV"
  timeout 300 "$VENV/bin/pip" install --quiet --disable-pip-version-check --no-deps --only-binary :all: -r "$REQUIREMENTS" >&2 ||
    skip "the packages of $REQUIREMENTS cannot be installed"
  cp "$REQUIREMENTS" "$VENV/installed.txt"
fi
echo "$VENV/bin/python"
