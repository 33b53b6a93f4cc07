#!/usr/bin/env bash
# Interoperability: starts the server (BOX_BIN, else the release build) on free ports of this host. Third-party clients use it:
# Socket.IO clients from npm, Python's aioice, which relays data, and python-socketio, both from PyPI. Calls with media of aiortc
# are in tests/browser/aiortc.test.mjs. INTEROP_CALL_SECONDS=900 extends the last call of aioice to a quarter of an hour, beyond
# the refresh intervals of channels and permissions.
set -euo pipefail
cd "$(dirname "$0")/../.."
BOX_BIN=$(realpath "${BOX_BIN:-target/release/webrtc-box}")
INTEROP=$PWD/tests/interop
code=0

node --test --test-reporter=spec tests/interop/*.test.mjs || code=$?

python=$(tests/interop/python-packages.sh) || exit $((code ? code : $?))

WORK=$(mktemp -d)
trap 'kill "${server:-}" "${clients:-}" 2>/dev/null || true; rm -rf "$WORK"' EXIT
trap 'exit 130' INT TERM HUP

# aioice connects to the address, so the certificate names it.
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=box.test \
  -addext subjectAltName=DNS:box.test,IP:127.0.0.1 -keyout "$WORK/key.pem" -out "$WORK/cert.pem" 2>/dev/null

read -r turn turns https < <(python3 - <<'PORTS'
import socket
listeners = [socket.create_server(("127.0.0.1", 0)) for _ in range(3)]
print(*(listener.getsockname()[1] for listener in listeners))
PORTS
)
flags=(--domain box.test --cert "$WORK/cert.pem" --key "$WORK/key.pem" --state-dir "$WORK/state" --listen 127.0.0.1
  --turn-port "$turn" --turns-port "$turns" --https-port "$https" --http-port 0 --metrics-listen "" --log warn)

"$BOX_BIN" "${flags[@]}" >"$WORK/banner" 2>"$WORK/log" &
server=$!
# The server prints its banner when it is ready.
until [[ -s $WORK/banner ]]; do
  kill -0 "$server" 2>/dev/null || { cat "$WORK/log"; exit 1; }
  sleep 0.05
done

credentials=$("$BOX_BIN" credentials "${flags[@]}")
read -r username password < <(python3 -c 'import json, sys; c = json.loads(sys.argv[1]); print(c["username"], c["credential"])' "$credentials")
timeout_seconds=$((120 + ${INTEROP_CALL_SECONDS:-3}))
# In the background, because bash handles a signal only after a foreground command has ended.
SSL_CERT_FILE="$WORK/cert.pem" timeout "$timeout_seconds" "$python" "$INTEROP/aioice_call.py" "$username" "$password" \
  "udp:$turn" "tcp:$turn" "tls:$turns" "https:$https" &
clients=$!
wait "$clients" || code=$?
SSL_CERT_FILE="$WORK/cert.pem" timeout 120 "$python" "$INTEROP/socketio_calls.py" "$https" &
clients=$!
wait "$clients" || code=$?
kill -0 "$server" 2>/dev/null || { echo "the server has exited"; code=1; }
cat "$WORK/log"
exit "$code"
