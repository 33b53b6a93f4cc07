#!/usr/bin/env bash
# Starts the program (BOX_BIN, else the release build) on free ports of this host and lets programs of others
# talk through it: so far Python's aioice, installed from PyPI into tests/.work. PEERS_CALL_SECONDS=900 makes its
# last call a quarter of an hour long, past the times at which channels and permissions are refreshed.
set -euo pipefail
cd "$(dirname "$0")/../.."
BOX_BIN=$(realpath "${BOX_BIN:-target/release/webrtc-box}")
HERE=$PWD/tests/peers
VENV=$PWD/tests/.work/peers-venv

# aioice wants Python 3.11.
if ! python3 -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
  echo "no Python 3.11 with venv here: skipped" >&2
  exit 77
fi

# Done once for each list of packages.
if ! cmp -s "$HERE/requirements.txt" "$VENV/installed.txt"; then
  rm -rf "$VENV"
  python3 -m venv "$VENV"
  timeout 300 "$VENV/bin/pip" install --quiet --disable-pip-version-check --no-deps -r "$HERE/requirements.txt"
  cp "$HERE/requirements.txt" "$VENV/installed.txt"
fi

PLACE=$(mktemp -d)
trap 'kill "${box:-}" "${talk:-}" 2>/dev/null || true; rm -rf "$PLACE"' EXIT
trap 'exit 130' INT TERM HUP

# aioice asks for the address, so the certificate names it.
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=box.test \
  -addext subjectAltName=DNS:box.test,IP:127.0.0.1 -keyout "$PLACE/key.pem" -out "$PLACE/cert.pem" 2>/dev/null

read -r turn turns https < <(python3 - <<'PORTS'
import socket
held = [socket.create_server(("127.0.0.1", 0)) for _ in range(3)]
print(*(one.getsockname()[1] for one in held))
PORTS
)
flags=(--domain box.test --cert "$PLACE/cert.pem" --key "$PLACE/key.pem" --state-dir "$PLACE/state" --listen 127.0.0.1
  --turn-port "$turn" --turns-port "$turns" --https-port "$https" --http-port 0 --metrics-listen "" --log warn)

"$BOX_BIN" "${flags[@]}" >"$PLACE/greeting" 2>"$PLACE/log" &
box=$!
# It greets when it is up.
until [[ -s $PLACE/greeting ]]; do
  kill -0 "$box" 2>/dev/null || { cat "$PLACE/log"; exit 1; }
  sleep 0.05
done

minted=$("$BOX_BIN" credentials "${flags[@]}")
read -r username password < <(python3 -c 'import json, sys; m = json.loads(sys.argv[1]); print(m["username"], m["credential"])' "$minted")
code=0
# In the background, so that a signal is heeded at once.
patience=$((120 + ${PEERS_CALL_SECONDS:-3}))
SSL_CERT_FILE="$PLACE/cert.pem" timeout "$patience" "$VENV/bin/python" "$HERE/two_aioice.py" "$username" "$password" \
  "udp:$turn" "tcp:$turn" "tls:$turns" "https:$https" &
talk=$!
wait "$talk" || code=$?
kill -0 "$box" 2>/dev/null || { echo "the box ended"; code=1; }
cat "$PLACE/log"
exit "$code"
