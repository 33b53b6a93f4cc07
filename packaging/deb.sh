#!/usr/bin/env bash
# Makes the Debian package of a built program:
#
#   packaging/deb.sh PROGRAM ARCHITECTURE VERSION FOLDER
#
# ARCHITECTURE is x86_64 or aarch64. Manual pages and completions are those in target/package-files. release.sh calls it.
set -euo pipefail
cd "$(dirname "$0")/.."

# A pre-release such as 1.0.0-rc.1 comes before 1.0.0.
program=$1 version=${3/-/\~} out=$4
case $2 in
  x86_64) architecture=amd64 ;;
  aarch64) architecture=arm64 ;;
  *) echo "deb.sh: unknown architecture $2" >&2 && exit 1 ;;
esac
: "${SOURCE_DATE_EPOCH:=$(git log -1 --format=%ct)}"
export SOURCE_DATE_EPOCH

root=target/debian/$architecture
doc=$root/usr/share/doc/webrtc-box
files=target/package-files
rm -rf "$root"

# Copies $1 to $2 in the package.
add() { install -D -m "${3:-644}" "$1" "$root/$2"; }
# The same, compressed.
add_gz() { install -d "$(dirname "$root/$2")" && gzip -9nc "$1" >"$root/$2"; }

add "$program" usr/bin/webrtc-box 755
# Units of a package are in /usr/lib, its program in /usr/bin.
install -d "$root/usr/lib/systemd/system"
for unit in webrtc-box.service webrtc-box.socket; do
  sed -e 's|/usr/local/bin|/usr/bin|g' -e 's|/etc/systemd/system/webrtc-box\.s|/usr/lib/systemd/system/webrtc-box.s|' \
    "config/$unit" >"$root/usr/lib/systemd/system/$unit"
done
add config/webrtc-box.sysusers usr/lib/sysusers.d/webrtc-box.conf
add config/webrtc-box.toml etc/webrtc-box/webrtc-box.toml
add_gz "$files/webrtc-box.1" usr/share/man/man1/webrtc-box.1.gz
add_gz "$files/webrtc-box.toml.5" usr/share/man/man5/webrtc-box.toml.5.gz
add "$files/webrtc-box.bash" usr/share/bash-completion/completions/webrtc-box
add "$files/_webrtc-box" usr/share/zsh/vendor-completions/_webrtc-box
add "$files/webrtc-box.fish" usr/share/fish/vendor_completions.d/webrtc-box.fish
add packaging/debian/copyright "usr/share/doc/webrtc-box/copyright"
add config/webrtc-box.service.d/socket.conf usr/share/doc/webrtc-box/examples/socket.conf
add config/redis.conf usr/share/doc/webrtc-box/examples/redis.conf
add_gz CHANGELOG.md usr/share/doc/webrtc-box/CHANGELOG.md.gz
maintainer=$(sed -n 's/^Maintainer: //p' packaging/debian/control)
gzip -9nc >"$doc/changelog.gz" <<END
webrtc-box ($version) unstable; urgency=medium

  * Release $3; its changes are in CHANGELOG.md.gz.

 -- $maintainer  $(LC_ALL=C date -R -u -d "@$SOURCE_DATE_EPOCH")
END

install -d "$root/DEBIAN"
sed -e "s/@VERSION@/$version/" -e "s/@ARCHITECTURE@/$architecture/" -e "s/@SIZE@/$(du -ks --apparent-size "$root" | cut -f1)/" \
  packaging/debian/control >"$root/DEBIAN/control"
echo /etc/webrtc-box/webrtc-box.toml >"$root/DEBIAN/conffiles"
for script in preinst postinst prerm postrm; do add "packaging/debian/$script" "DEBIAN/$script" 755; done
(cd "$root" && find usr -type f -exec md5sum {} + | LC_ALL=C sort -k2) >"$root/DEBIAN/md5sums"
chmod -R u=rwX,go=rX "$root"
# xz: dpkg of Debian 11 reads no zstd.
dpkg-deb --root-owner-group -Zxz --build "$root" "$out/webrtc-box_${version}_$architecture.deb"
