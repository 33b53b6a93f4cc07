# Development commands; `just` lists them. CI runs everything with tests/run.sh.

set shell := ["bash", "-euo", "pipefail", "-c"]

[private]
default:
    @just --list --unsorted

# format, lints, unit tests, page tests and types: no root, under 2 minutes when warm
check: _npm
    cargo fmt --all --check
    cargo clippy --workspace --all-targets --locked -- -D warnings
    cargo test --workspace --lib --bins --locked --quiet
    npm run --silent test:page
    npm run --silent typecheck

# every Rust test, with real sockets and the real program: no root, under 10 minutes
test *ARGS:
    cargo test --workspace --locked {{ ARGS }}

# browsers, network namespaces and systemd on Debian; takes the stages of tests/run.sh
e2e *STAGES='interop browser nat vps':
    tests/run.sh {{ STAGES }}

# the relay beside coturn, and signaling beside a Node example; `just bench --short` takes 3 minutes
bench *ARGS:
    cargo bench --locked --bench relay -- {{ ARGS }}
    cargo bench --locked --bench signaling -- {{ ARGS }}

# the program with a self-signed certificate on https://localhost:8443/
run *ARGS:
    cargo run --release --locked -- {{ ARGS }}

# archives, Debian packages, checksums and the list of crates in dist/; `just release --verify` builds twice and compares
release *ARGS:
    packaging/release.sh {{ ARGS }}

# files, types and lines of each area, at a commit or in the working tree
count *COMMIT:
    tests/count.sh {{ COMMIT }}

# npm packages, when package-lock.json is newer than what is installed
_npm:
    @[[ node_modules/.package-lock.json -nt package-lock.json ]] || { npm ci --no-audit --no-fund --ignore-scripts && touch node_modules/.package-lock.json; }
