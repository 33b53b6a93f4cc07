#!/usr/bin/env bash
# Builds what a release consists of, in the folder dist/: for each architecture an archive, a Debian package and a file with
# debug information; a list of what is built in (CycloneDX), and SHA256SUMS.
#
#   packaging/release.sh [--verify] [ARCHITECTURE …]
#
# Architectures are x86_64 and aarch64; without one, all whose standard library this Rust toolchain has. The programs need
# glibc 2.28 or later. The same commit and toolchain give the same bytes: --verify builds twice, in two folders, and compares.
# The first run installs cargo-zigbuild, cargo-cyclonedx and Zig into target/release-tools.
set -euo pipefail
cd "$(dirname "$0")/.."

GLIBC=2.28
# Other versions of the tools may give other bytes.
ZIGBUILD=0.24.1
CYCLONEDX=0.5.9
ZIG=0.17.1
ARCHITECTURES=(x86_64 aarch64)
DIST=dist
TOOLS=$PWD/target/release-tools
BUILD=target/release-build
PACKAGE_FILES=target/package-files
SOCKET_IO_CLIENT=node_modules/socket.io-client/dist/socket.io.min.js

main() {
  local verify= wanted=() architecture
  for argument in "$@"; do
    case $argument in
      --verify) verify=yes ;;
      x86_64 | aarch64) wanted+=("$argument") ;;
      *) fail "$argument is neither --verify nor an architecture (${ARCHITECTURES[*]})" ;;
    esac
  done
  if ((!${#wanted[@]})); then
    for architecture in "${ARCHITECTURES[@]}"; do
      if has_standard_library "$architecture"; then wanted+=("$architecture"); else
        echo "release.sh: not built for $architecture, which needs: rustup target add $architecture-unknown-linux-gnu" >&2
      fi
    done
  fi
  for architecture in "${wanted[@]}"; do
    has_standard_library "$architecture" || fail "Rust has no standard library for $architecture; run: rustup target add $architecture-unknown-linux-gnu"
  done
  SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct)}
  export SOURCE_DATE_EPOCH
  export LC_ALL=C TZ=UTC
  release "${wanted[@]}"
  [[ -z $verify ]] || verify "${wanted[@]}"
}

release() {
  local version architecture
  version=$(cargo pkgid --locked | sed 's/.*[#@]//')
  install_tools
  # The client script of Socket.IO is part of the program.
  [[ node_modules/.package-lock.json -nt package-lock.json ]] || npm ci --no-audit --no-fund --ignore-scripts --silent
  [[ -e $SOCKET_IO_CLIENT ]] || fail "$SOCKET_IO_CLIENT is missing; run: npm ci --ignore-scripts"
  rm -rf "$DIST" "$PACKAGE_FILES"
  mkdir -p "$DIST"
  cargo run --locked --quiet --example package-files -- "$PACKAGE_FILES"
  for architecture in "$@"; do
    build_program "$architecture"
    split_debug_info "$architecture" "$DIST/webrtc-box-$version-$architecture-linux.debug"
    make_archive "$architecture" "webrtc-box-$version-$architecture-linux"
    packaging/deb.sh "$(program "$architecture")" "$architecture" "$version" "$DIST"
  done
  list_components "$DIST/webrtc-box-$version.cdx.json"
  (cd "$DIST" && sha256sum -- *) >"$DIST.sums"
  mv "$DIST.sums" "$DIST/SHA256SUMS"
  ls -l "$DIST"
}

# --- steps -----------------------------------------------------------------------------------------------

install_tools() {
  local installed
  installed=$(cargo install --root "$TOOLS" --list 2>/dev/null)
  # Without optimization: they run for seconds.
  grep -q "^cargo-zigbuild v$ZIGBUILD:" <<<"$installed" || install_crate cargo-zigbuild "$ZIGBUILD"
  grep -q "^cargo-cyclonedx v$CYCLONEDX:" <<<"$installed" || install_crate cargo-cyclonedx "$CYCLONEDX"
  [[ -x $TOOLS/zig-$ZIG/zig ]] || install_zig
  PATH=$TOOLS/bin:$PATH
}

install_crate() {
  CARGO_PROFILE_DEV_DEBUG=0 cargo install "$1" --version "$2" --locked --debug --root "$TOOLS" --target-dir "$TOOLS/build"
}

# The parts of the C library that Zig compiles then name no folder of this machine either.
install_zig() {
  local unpacked
  mkdir -p "$TOOLS/bin"
  unpacked=$(mktemp -d -p "$TOOLS")
  python3 -m venv "$unpacked"
  "$unpacked/bin/pip" install --quiet --disable-pip-version-check "ziglang==$ZIG"
  mv "$unpacked"/lib/python3*/site-packages/ziglang "$TOOLS/zig-$ZIG"
  rm -r "$unpacked"
  rm -f "$TOOLS/bin/zig"
  cat >"$TOOLS/bin/zig" <<END
#!/bin/sh
folder=\$(dirname "\$0")/..
exec env PWD=/proc/self/cwd ZIG_GLOBAL_CACHE_DIR="\$folder/zig-cache" "\$folder/zig-$ZIG/zig" "\$@"
END
  chmod 755 "$TOOLS/bin/zig"
}

# Paths of this machine would make the bytes depend on the folder.
build_program() {
  local registry=${CARGO_HOME:-$HOME/.cargo}/registry/src
  # A wrapper and not RUSTFLAGS, which does not reach procedural macros.
  cat >"$TOOLS/bin/rustc-with-neutral-paths" <<END
#!/bin/sh
exec "\$@" "--remap-path-prefix=$PWD=/webrtc-box" "--remap-path-prefix=$registry=/registry"
END
  chmod 755 "$TOOLS/bin/rustc-with-neutral-paths"
  RUSTC_WRAPPER=$TOOLS/bin/rustc-with-neutral-paths RUSTFLAGS=-Clink-arg=-Wl,--build-id=sha1 \
  CFLAGS="-ffile-prefix-map=$PWD=/webrtc-box -ffile-prefix-map=$registry=/registry" \
  CARGO_PROFILE_RELEASE_DEBUG=line-tables-only CARGO_PROFILE_RELEASE_STRIP=none \
    cargo zigbuild --release --locked --bin webrtc-box --target "$1-unknown-linux-gnu.$GLIBC" --target-dir "$BUILD"
}

# Backtraces of the stripped program name functions and lines if the file is in /usr/lib/debug or beside the program.
split_debug_info() {
  local architecture=$1 debug_file=$2 built
  built=$BUILD/$architecture-unknown-linux-gnu/release/webrtc-box
  mkdir -p "$BUILD/$architecture"
  objcopy_for_all --only-keep-debug "$built" "$debug_file"
  objcopy_for_all --strip-all --add-gnu-debuglink="$debug_file" "$built" "$(program "$architecture")"
  chmod 755 "$(program "$architecture")"
  chmod 644 "$debug_file"
}

# The objcopy of the toolchain knows every architecture.
objcopy_for_all() {
  local toolchain host
  toolchain=$(rustc --print sysroot)
  host=$(rustc -vV | sed -n 's/^host: //p')
  LD_LIBRARY_PATH=$toolchain/lib "$toolchain/lib/rustlib/$host/bin/rust-objcopy" "$@"
}

# Its folder has what install.sh expects.
make_archive() {
  local architecture=$1 name=$2 folder=$BUILD/archive/$2
  rm -rf "$folder"
  mkdir -p "$folder"/{man,completions}
  cp -r config/. README.md CHANGELOG.md LICENSE-MIT LICENSE-APACHE "$folder"
  install -m 755 "$(program "$architecture")" "$folder/webrtc-box"
  cp "$PACKAGE_FILES"/*.[15] "$folder/man"
  cp "$PACKAGE_FILES"/{webrtc-box.bash,webrtc-box.fish,_webrtc-box} "$folder/completions"
  chmod -R u=rwX,go=rX "$folder"
  tar --sort=name --format=gnu --owner=0 --group=0 --numeric-owner --mtime="@$SOURCE_DATE_EPOCH" -C "${folder%/*}" -c "$name" |
    gzip -9n >"$DIST/$name.tar.gz"
}

# The crates of the program; cargo-cyclonedx writes one file beside each Cargo.toml.
list_components() {
  local name=components-of-release
  cargo cyclonedx --quiet --format json --spec-version 1.5 --no-build-deps --target x86_64-unknown-linux-gnu --override-filename "$name"
  sed "s|path+file://$PWD|path+file:///webrtc-box|g" "$name.json" >"$1"
  rm -f "$name.json" crates/*/"$name.json"
}

# Builds the same files in a copy of the tree and compares.
verify() {
  local copy=$PWD/target/release-verify/another/folder
  rm -rf "$copy"
  mkdir -p "$copy/target"
  git ls-files --cached --others --exclude-standard -z | xargs -0 cp --parents -t "$copy"
  cp -r --reflink=auto "$TOOLS" "$copy/target/"
  rm -rf "$copy/target/release-tools/zig-cache"
  cp "$DIST/SHA256SUMS" "$copy/first"
  (cd "$copy" && packaging/release.sh "$@" && diff first dist/SHA256SUMS) || fail "two builds differ: compare dist with $copy/dist"
  rm -rf "$copy"
  echo "release.sh: built twice, with equal files"
}

program() { echo "$BUILD/$1/webrtc-box"; }

has_standard_library() { compgen -G "$(rustc --print sysroot)/lib/rustlib/$1-unknown-linux-gnu/lib/libstd-*" >/dev/null; }

fail() {
  echo "release.sh: $1" >&2
  exit 1
}

main "$@"
