#!/usr/bin/env bash
# Creates a test network in network namespaces (see network.sh), runs the tests in it and removes it, also after a failure.
# Needs root; exits with 77 without. Arguments: test files, else all of this folder. Files of a folder `cluster` also get the
# hosts of several boxes and their store.
set -euo pipefail
cd "$(dirname "$0")/../.."

if ((EUID != 0)); then
  echo "network namespaces need root: skipped" >&2
  exit 77
fi

# shellcheck source=tests/nat/network.sh
source tests/nat/network.sh
export TEST_NETWORK="wb$$"
trap 'kill "${tests:-}" 2>/dev/null || true; network_down "$NETWORK"' EXIT
trap 'exit 130' INT TERM HUP
NETWORK=$TEST_NETWORK
network_up "$NETWORK"
[[ $* != *cluster/* ]] || network_cluster "$NETWORK"

(($#)) || set -- tests/nat/*.test.mjs
# In the background, because bash handles a signal only after a foreground command has ended.
node --test --test-concurrency=1 --test-reporter=spec "$@" &
tests=$!
wait "$tests"
