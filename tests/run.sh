#!/usr/bin/env bash
# Runs every check and test of the project, or only the stages named as arguments:
#
#   tests/run.sh [fmt|clippy|doc|deny|rust|page|types|bench|packages|interop|browser|nat|vps|cluster …]
#
# It first installs what is missing (Debian packages as root or through sudo, npm packages into the project). A stage that
# fails does not stop the next ones. The last line counts: "N passed, M failed, K skipped".
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1
export CARGO_TERM_PROGRESS_WHEN=never
STAGES=(fmt clippy doc deny rust page types bench packages interop browser nat vps cluster)
LOGS=tests/.work/logs
RELEASE_PROGRAM=$PWD/target/release-build/$(uname -m)/webrtc-box

stage_fmt() { cargo fmt --all --check; }
stage_clippy() { cargo clippy --locked --workspace --all-targets -- -D warnings; }
stage_doc() { RUSTDOCFLAGS=-Dwarnings cargo doc --locked --workspace --no-deps; }

stage_deny() {
  # Without optimization: it is compiled in half the time and runs for seconds.
  command -v cargo-deny >/dev/null || CARGO_PROFILE_DEV_DEBUG=0 cargo install cargo-deny --locked --debug || return
  cargo deny check licenses bans sources || return
  if timeout 120 cargo deny fetch db; then
    cargo deny check advisories
  else
    echo "note: the advisory database cannot be fetched from here; known vulnerabilities were not checked"
  fi
}

stage_rust() { FUZZ_SECONDS=${FUZZ_SECONDS:-15} timeout 1500 cargo test --locked --workspace; }
stage_page() { npm_packages && npm run --silent test:page; }
stage_types() { npm_packages && npm run --silent typecheck; }

# Only proves that the benches run: no measurement can fail, so the build of the tests is good enough.
stage_bench() {
  npm_packages || return
  local bench
  for bench in signaling relay; do
    timeout 600 cargo bench --locked --profile dev --bench "$bench" -- --short || return
  done
}

# Builds the release for this machine and installs it on new systems, in the test network.
stage_packages() {
  ((EUID == 0)) || { echo "new systems need root: skipped"; return 77; }
  rm -f "$RELEASE_PROGRAM"
  npm_packages || return
  local suite
  for suite in bookworm bullseye jammy; do tests/packages/system.sh "$suite" & done
  packaging/release.sh "$(uname -m)" || return
  wait
  timeout --foreground 900 tests/nat/run.sh tests/packages/*.test.mjs
}

stage_interop() { npm_packages && release_binary && timeout --foreground 600 tests/interop/run.sh; }

# --- end-to-end tests -----------------------------------------------------------------------------------

# Each file of tests/browser, of tests/nat (in a small internet of network namespaces), of tests/vps (hosts with their own
# systemd, in such networks) and of tests/cluster (three boxes and their store, in such networks) runs by itself, one for every
# two processors at a time. Files whose measurements need a quiet machine run alone. Files that fail run once more, alone,
# unless many fail; the summary counts them. E2E_MATRIX=full repeats more scenarios with other browsers.
E2E_GROUPS=(browser nat vps cluster)
E2E_JOBS=${E2E_JOBS:-$((($(nproc) + 1) / 2))}
E2E_ALONE='/(join-time|page-load|udp-flood|drain)\.test'
E2E_FILE_TIMEOUT=900
E2E_RETRIES=8

# The files of these groups, those of tests/browser in turn with the others; what takes longest first.
e2e_files() {
  local group browser=() network=()
  for group in "$@"; do
    if [[ $group == browser ]]; then browser=(tests/browser/*.test.mjs); elif ((EUID == 0)); then network+=(tests/"$group"/*.test.mjs); fi
  done
  paste -d '\n' <(longest_first "${browser[@]}") <(longest_first "${network[@]}") | grep '^tests/'
}

longest_first() {
  (($#)) || return
  printf '%s\n' "$@" | grep page-states
  ls -S "$@" | grep -v page-states
}

# Runs one file and prints its output in one piece.
run_e2e_file() {
  local file=$1 log=$LOGS/e2e/${1//\//-}.log started=$SECONDS code runner=(tests/nat/run.sh)
  [[ $file == tests/browser/* ]] && runner=(node --test --test-concurrency=1 --test-reporter=spec)
  timeout "$E2E_FILE_TIMEOUT" "${runner[@]}" "$file" </dev/null >"$log" 2>&1
  code=$?
  if ((code)); then
    echo "$file" >>"$LOGS/e2e/failed"
    grep -q '^ℹ fail [1-9]' "$log" || printf 'exit code %d\nℹ fail 1\n' "$code" >>"$log"
  fi
  flock "$LOGS/e2e/output" bash -c 'printf "\n--- %s (%d s)\n" "$1" "$2"; cat "$3"' _ "$file" $((SECONDS - started)) "$log"
  return "$code"
}

run_e2e() {
  npm_packages && release_binary || { failed=$((failed + 1)) && summary+=("e2e      FAILED: no packages or no program"); return; }
  printf '\n=== %s ===\n' "$*"
  ((EUID == 0)) || echo "network namespaces need root: only the tests of browsers run"
  rm -rf "$LOGS/e2e" && mkdir -p "$LOGS/e2e" && : >"$LOGS/e2e/failed"
  export -f run_e2e_file
  export LOGS E2E_FILE_TIMEOUT
  local file retried=()
  e2e_files "$@" | grep -vE "$E2E_ALONE" | xargs -P "$E2E_JOBS" -I{} bash -c 'run_e2e_file {}'
  for file in $(e2e_files "$@" | grep -E "$E2E_ALONE"); do run_e2e_file "$file"; done
  mapfile -t retried < <(sort "$LOGS/e2e/failed")
  ((${#retried[@]} <= E2E_RETRIES)) || retried=()
  for file in "${retried[@]}"; do
    echo "once more, alone: $file"
    run_e2e_file "$file"
  done
  local group p f s
  for group in "$@"; do
    read -r p f s < <(cat "$LOGS/e2e/tests-$group"-*.log 2>/dev/null | count_tests)
    ((p)) || { if [[ $group == browser || $EUID == 0 ]]; then f=$((f + 1)); else s=$((s + 1)); fi; }
    add_result "$group" "$p" "$f" "$s" "$(printf '%s\n' "${retried[@]}" | grep -c "^tests/$group/") files run twice"
  done
}

# The program that the browser and network tests start: what BOX_BIN names, what the stage packages has built, or a new build.
release_binary() {
  [[ -n ${BOX_BIN:-} ]] || cargo build --locked --release
}

npm_packages() {
  [[ node_modules/.package-lock.json -nt package-lock.json ]] && return
  npm ci --no-audit --no-fund --ignore-scripts && touch node_modules/.package-lock.json
}

# --- packages -------------------------------------------------------------------------------------------

# Installs the Debian packages that the given stages need and the machine lacks.
debian_packages() {
  local stage missing=() wanted=() package
  command -v cc >/dev/null || missing+=(gcc libc6-dev)
  for stage in "$@"; do
    case $stage in
      rust) wanted+=(pebble systemd haproxy nginx-light coturn redis-server redis-sentinel) ;;
      page | types) wanted+=(node npm) ;;
      bench) wanted+=(node npm coturn) ;;
      interop) wanted+=(node npm python3 python3-venv openssl) ;;
      browser) wanted+=(node npm python3 python3-venv chromium firefox-esr libnss3-tools openssl fonts-liberation fonts-wqy-zenhei fonts-noto-color-emoji) ;;
      nat) wanted+=(node npm python3 chromium firefox-esr libnss3-tools openssl coturn nftables iproute2 nginx-light procps curl) ;;
      cluster) wanted+=(node npm chromium firefox-esr libnss3-tools openssl nftables iproute2 curl redis-server redis-sentinel redis-tools util-linux systemd dbus pebble ca-certificates dropbear-bin openssh-client openssh-sftp-server) ;;
      packages) wanted+=(node npm python3 python3-venv chromium libnss3-tools openssl nftables iproute2 util-linux pebble curl debootstrap ubuntu-keyring lintian binutils xz-utils systemd dbus ca-certificates buildah podman crun catatonit libcap2-bin docker-compose) ;;
      vps) wanted+=(node npm chromium firefox-esr libnss3-tools openssl coturn nftables iproute2 util-linux systemd dbus pebble certbot ca-certificates curl) ;;
    esac
  done
  for package in $(printf '%s\n' "${wanted[@]}" | sort -u); do
    case $package in
      node) command -v node >/dev/null || missing+=(nodejs) ;;
      npm) command -v npm >/dev/null || missing+=(npm) ;;
      python3) command -v python3 >/dev/null || missing+=(python3) ;;
      # Debian has it since 13. Without it, the test on Ubuntu is skipped.
      ubuntu-keyring) [[ -e /usr/share/keyrings/ubuntu-archive-keyring.gpg ]] || ! apt-cache show ubuntu-keyring &>/dev/null || missing+=(ubuntu-keyring) ;;
      python3-venv) python3 -c 'import venv, ensurepip' 2>/dev/null || missing+=(python3-venv) ;;
      *) dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package") ;;
    esac
  done
  ((${#missing[@]})) || return 0
  if ! command -v apt-get >/dev/null; then
    echo "missing, and there is no apt-get to install: ${missing[*]}"
    return 1
  fi
  echo "installing: ${missing[*]}"
  as_root apt-get update -qq && as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}"
}

as_root() {
  if ((EUID == 0)); then "$@"; else sudo "$@"; fi
}

# --- stages and counts ----------------------------------------------------------------------------------

passed=0 failed=0 skipped=0 summary=()

# Runs one stage, prints its output without the compiler's progress, and adds its counts.
run_stage() {
  local name=$1 log=$LOGS/$1.log started=$SECONDS code p f s
  printf '\n=== %s ===\n' "$name"
  "stage_$name" </dev/null 2>&1 | tee "$log" | grep --line-buffered -vE '^ +(Compiling|Checking|Documenting|Downloaded|Downloading|Updating|Locking|Adding) '
  code=${PIPESTATUS[0]}
  read -r p f s < <(count_tests <"$log")
  case $code in
    0) if ((p == 0)); then
         case $name in
           rust | page | packages | interop) f=1 && echo "$name ran no test" ;;
           *) p=1 ;;
         esac
       fi ;;
    77) s=$((s + 1)) ;;
    *) ((f)) || f=1 ;;
  esac
  add_result "$name" "$p" "$f" "$s" "$((SECONDS - started)) s"
}

# add_result NAME PASSED FAILED SKIPPED NOTE
add_result() {
  local verdict=ok
  if (($3)); then verdict=FAILED; elif (($2 == 0)); then verdict=skipped; fi
  passed=$((passed + $2)) failed=$((failed + $3)) skipped=$((skipped + $4))
  summary+=("$(printf '%-8s %-8s %d passed, %d failed, %d skipped, %s' "$1" "$verdict" "$2" "$3" "$4" "$5")")
}

# The totals that cargo test and node's test runner print: passed, failed, skipped.
count_tests() {
  awk '
    /^test result:/ { p += $4; f += $6; s += $8 }
    /^(ℹ|#) pass / { p += $3 }
    /^(ℹ|#) (fail|cancelled) / { f += $3 }
    /^(ℹ|#) skipped / { s += $3 }
    END { print p + 0, f + 0, s + 0 }'
}

for stage in "$@"; do
  [[ " ${STAGES[*]} " == *" $stage "* ]] || { echo "no stage $stage; stages: ${STAGES[*]}" >&2; exit 2; }
done
(($#)) || set -- "${STAGES[@]}"
mkdir -p "$LOGS"
debian_packages "$@" </dev/null || echo "continuing without these packages"
e2e=()
for stage in "$@"; do
  if [[ " ${E2E_GROUPS[*]} " == *" $stage "* ]]; then e2e+=("$stage"); else run_stage "$stage"; fi
  [[ $stage != packages || ! -x $RELEASE_PROGRAM ]] || export BOX_BIN=${BOX_BIN:-$RELEASE_PROGRAM}
done
((${#e2e[@]})) && run_e2e "${e2e[@]}"

printf '\n=== summary ===\n'
printf '%s\n' "${summary[@]}" "$SECONDS s in all"
printf '%d passed, %d failed, %d skipped\n' "$passed" "$failed" "$skipped"
((failed == 0))
