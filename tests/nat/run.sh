#!/usr/bin/env bash
# Builds a small internet in network namespaces (see world.sh), runs the tests in it and takes it away,
# also after a failure. Needs root; exits with 77 without. Arguments: test files, else all of this folder.
set -euo pipefail
cd "$(dirname "$0")/../.."

if ((EUID != 0)); then
  echo "network namespaces need root: skipped" >&2
  exit 77
fi

# shellcheck source=tests/nat/world.sh
source tests/nat/world.sh
export BOX_WORLD="wb$$"
trap 'kill "${tests:-}" 2>/dev/null || true; world_down "$WORLD"' EXIT
trap 'exit 130' INT TERM HUP
WORLD=$BOX_WORLD
world_up "$WORLD"

(($#)) || set -- tests/nat/*.test.mjs
# In the background, so that a signal is heeded at once.
node --test --test-concurrency=1 --test-reporter=spec "$@" &
tests=$!
wait "$tests"
