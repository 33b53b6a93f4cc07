#!/usr/bin/env bash
# Counts files, types and lines of each area:
#
#   tests/count.sh            the files of the working tree that git knows
#   tests/count.sh COMMIT     those of a commit, in the old or the new layout
#
# "code" is lines without blanks, comments and unit tests. "types" is struct, enum, trait, union and type alias in
# Rust, class, interface and type in the page. "longest" is the most lines in one file.
set -euo pipefail
cd "$(dirname "$0")/.."

commit=${1-}
if [[ -n $commit ]]; then
  tree=$(mktemp -d)
  trap 'rm -rf "$tree"' EXIT
  git archive "$commit" | tar -x -C "$tree"
  cd "$tree"
  list() { find . -type f -printf '%P\n'; }
else
  list() { git ls-files --cached --others --exclude-standard; }
fi

# The area of each path; the first that matches wins.
area() {
  case $1 in
    crates/*/tests/* | crates/*/examples/* | src/*/tests.rs | */src/tests/* | src/turn/tests/* | src/signaling/scenes/*) echo "unit tests in files" ;;
    crates/*/src/*tests.rs | crates/*/src/scenarios/*) echo "unit tests in files" ;;
    crates/turn-server/* | src/turn/*) echo "turn-server" ;;
    crates/turn-relay/* | src/relay/*) echo "turn-relay" ;;
    crates/signaling/* | src/signaling/*) echo "signaling" ;;
    crates/*) echo "other crates" ;;
    src/http/* | src/web/*) echo "http" ;;
    src/tls/*) echo "tls, acme" ;;
    src/doctor/* | src/check/*) echo "doctor" ;;
    src/config.rs | src/config/* | src/cli.rs | src/cli/*) echo "config, cli" ;;
    src/*) echo "program" ;;
    public/*) echo "page" ;;
    build.rs | build/*) echo "page build (Rust)" ;;
    tests/*.rs) echo "tests (Rust)" ;;
    tests/*.js | tests/*.mjs) echo "tests (JavaScript)" ;;
    benches/*) echo "benches" ;;
  esac
}

# Prints "code types lines" of one file.
measure() {
  awk -v script="$2" '
    { lines++ }
    !script && /^#\[cfg\(test\)\]/ { attribute = 1; next }
    attribute && /^(pub )?mod [a-z_]+ \{/ { tests = 1 }
    !/^#\[/ { attribute = 0 }
    tests { if (/^\}/) tests = 0; next }
    /^[[:space:]]*$/ || /^[[:space:]]*\/\// { next }
    /^[[:space:]]*\/\*/ { comment = 1 }
    comment { if (script && /@typedef/) types++; if (/\*\//) comment = 0; next }
    { code++ }
    !script && /^[[:space:]]*(pub(\([a-z: ]+\))? )?(unsafe )?(struct|enum|trait|union|type) [A-Z][A-Za-z0-9]*/ { types++ }
    script && /^[[:space:]]*(export )?(default )?(declare )?(class|interface|type) [A-Z][A-Za-z0-9]*/ { types++ }
    END { print code + 0, types + 0, lines + 0 }' "$1"
}

list | grep -E '\.(rs|js|mjs|ts)$' | while read -r file; do
  [[ -f $file ]] || continue
  name=$(area "$file")
  [[ -n $name ]] || continue
  [[ $file == *.rs ]] && script=0 || script=1
  printf '%s\t%s\t%s\n' "$name" "$(measure "$file" "$script")" "$file"
done | awk -F'\t' '
  { split($2, n, " "); files[$1]++; code[$1] += n[1]; types[$1] += n[2]; lines[$1] += n[3] }
  n[3] > longest[$1] { longest[$1] = n[3]; where[$1] = $3 }
  function row(a) { printf "%-20s %6d %6d %7d %7d %8d  %s\n", a, files[a], types[a], code[a], lines[a], longest[a], where[a] }
  END {
    printf "%-20s %6s %6s %7s %7s %8s  %s\n", "area", "files", "types", "code", "lines", "longest", ""
    count = split("turn-server,turn-relay,signaling,other crates,http,tls; acme,doctor,config; cli,program", order, ",")
    for (i = 1; i <= count; i++) {
      a = order[i]; sub(/;/, ",", a)
      if (!(a in files)) continue
      row(a)
      files["Rust"] += files[a]; types["Rust"] += types[a]; code["Rust"] += code[a]; lines["Rust"] += lines[a]
      if (longest[a] > longest["Rust"]) { longest["Rust"] = longest[a]; where["Rust"] = where[a] }
    }
    row("Rust")
    count = split("page,page build (Rust),unit tests in files,tests (Rust),tests (JavaScript),benches", order, ",")
    for (i = 1; i <= count; i++) if (order[i] in files) row(order[i])
  }'
