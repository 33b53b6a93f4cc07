#!/usr/bin/env bash
# Runs every check and test of the project, or only the stages named as arguments:
#
#   tests/run.sh [fmt|clippy|doc|deny|rust|page|types|bench|interop|browser|nat|vps …]
#
# Installs what is missing first (Debian packages as root or through sudo, npm packages into the project).
# A stage that fails does not stop the next ones. The last line counts: "N passed, M failed, K skipped".
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1
export CARGO_TERM_PROGRESS_WHEN=never
STAGES=(fmt clippy doc deny rust page types bench interop browser nat vps)
LOGS=tests/.work/logs

stage_fmt() { cargo fmt --check; }
stage_clippy() { cargo clippy --locked --all-targets -- -D warnings; }
stage_doc() { RUSTDOCFLAGS=-Dwarnings cargo doc --locked --no-deps; }

stage_deny() {
  command -v cargo-deny >/dev/null || cargo install cargo-deny --locked || return
  cargo deny check licenses bans sources || return
  if timeout 120 cargo deny fetch db; then
    cargo deny check advisories
  else
    echo "note: the advisory database cannot be fetched from here; known vulnerabilities were not looked up"
  fi
}

# Half a minute of mutation for each fuzz target; a developer who runs `cargo test` alone gets ten seconds.
stage_rust() { FUZZ_SECONDS=${FUZZ_SECONDS:-30} timeout 1500 cargo test --locked; }
stage_page() { npm_packages && npm run --silent test:page; }
stage_types() { npm_packages && npm run --silent typecheck; }

# That the benches still run; no figure of theirs can fail here.
stage_bench() {
  npm_packages && release_binary && bench_signaling && bench_relay
}

bench_relay() { timeout 600 cargo bench --locked --bench relay -- --short; }
bench_signaling() { timeout 600 cargo bench --locked --bench signaling -- --short; }

stage_interop() { release_binary && timeout --foreground 600 tests/interop/run.sh; }

stage_browser() {
  npm_packages && release_binary || return
  timeout --foreground 2700 node --test --test-concurrency=1 --test-reporter=spec tests/browser/*.test.mjs
}

stage_nat() {
  npm_packages && release_binary || return
  timeout --foreground 2400 tests/nat/run.sh
}

# A host of its own under a real systemd, in the same small internet.
stage_vps() {
  npm_packages && release_binary || return
  timeout --foreground 600 tests/nat/run.sh tests/vps/*.test.mjs
}

# The program that the browser and network tests start; BOX_BIN names another one.
release_binary() {
  [[ -n ${BOX_BIN:-} ]] || cargo build --locked --release
}

npm_packages() {
  [[ node_modules/.package-lock.json -nt package-lock.json ]] && return
  npm ci --no-audit --no-fund --ignore-scripts && touch node_modules/.package-lock.json
}

# --- what the machine must have -------------------------------------------------------------------------

# Installs what the stages given need and the machine lacks; does nothing when all is there.
debian_packages() {
  local stage missing=() wanted=() package
  command -v cc >/dev/null || missing+=(gcc libc6-dev)
  for stage in "$@"; do
    case $stage in
      rust) wanted+=(pebble systemd haproxy nginx-light coturn) ;;
      page | types) wanted+=(node npm) ;;
      bench) wanted+=(node npm coturn) ;;
      interop) wanted+=(python3 python3-venv openssl) ;;
      browser) wanted+=(node npm chromium firefox-esr libnss3-tools openssl fonts-liberation fonts-wqy-zenhei fonts-noto-color-emoji) ;;
      nat) wanted+=(node npm python3 chromium firefox-esr libnss3-tools openssl coturn nftables iproute2 nginx-light procps curl) ;;
      vps) wanted+=(node npm chromium libnss3-tools openssl coturn nftables iproute2 util-linux systemd dbus pebble certbot ca-certificates curl) ;;
    esac
  done
  for package in $(printf '%s\n' "${wanted[@]}" | sort -u); do
    case $package in
      node) command -v node >/dev/null || missing+=(nodejs) ;;
      npm) command -v npm >/dev/null || missing+=(npm) ;;
      python3) command -v python3 >/dev/null || missing+=(python3) ;;
      python3-venv) python3 -c 'import venv, ensurepip' 2>/dev/null || missing+=(python3-venv) ;;
      *) dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package") ;;
    esac
  done
  ((${#missing[@]})) || return 0
  if ! command -v apt-get >/dev/null; then
    echo "missing here, and there is no apt-get to install it: ${missing[*]}"
    return 1
  fi
  echo "installing: ${missing[*]}"
  as_root apt-get update -qq && as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}"
}

as_root() {
  if ((EUID == 0)); then "$@"; else sudo "$@"; fi
}

# --- running and counting -------------------------------------------------------------------------------

passed=0 failed=0 skipped=0 summary=()

# Runs one stage, shows its output without the compiler's progress, and adds up what its runner counted.
run_stage() {
  local name=$1 log=$LOGS/$1.log began=$SECONDS code p f s verdict
  printf '\n=== %s ===\n' "$name"
  "stage_$name" </dev/null 2>&1 | tee "$log" | grep --line-buffered -vE '^ +(Compiling|Checking|Documenting|Downloaded|Downloading|Updating|Locking|Adding) '
  code=${PIPESTATUS[0]}
  read -r p f s < <(counted "$log")
  case $code in
    0) if ((p == 0)); then
         case $name in
           rust | page | interop | browser | nat | vps) f=1 && echo "$name ran no test" ;;
           *) p=1 ;;
         esac
       fi ;;
    77) s=$((s + 1)) ;;
    *) ((f)) || f=1 ;;
  esac
  passed=$((passed + p)) failed=$((failed + f)) skipped=$((skipped + s))
  if ((f)); then verdict=FAILED; elif ((code == 77)); then verdict=skipped; else verdict=ok; fi
  summary+=("$(printf '%-8s %-8s %4d s  %d passed, %d failed, %d skipped' "$name" "$verdict" $((SECONDS - began)) "$p" "$f" "$s")")
}

# What cargo test and node's test runner say at their end: passed, failed, skipped.
counted() {
  awk '
    /^test result:/ { p += $4; f += $6; s += $8 }
    /^(ℹ|#) pass / { p += $3 }
    /^(ℹ|#) (fail|cancelled) / { f += $3 }
    /^(ℹ|#) skipped / { s += $3 }
    END { print p + 0, f + 0, s + 0 }' "$1"
}

for stage in "$@"; do
  declare -F "stage_$stage" >/dev/null || { echo "no stage $stage; there are: ${STAGES[*]}" >&2; exit 2; }
done
(($#)) || set -- "${STAGES[@]}"
mkdir -p "$LOGS"
debian_packages "$@" </dev/null || echo "going on without"
for stage in "$@"; do run_stage "$stage"; done

printf '\n=== summary ===\n'
printf '%s\n' "${summary[@]}"
printf '%d passed, %d failed, %d skipped\n' "$passed" "$failed" "$skipped"
((failed == 0))
