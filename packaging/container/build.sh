#!/usr/bin/env bash
# Builds the image of the Containerfile from a program that is built already, without pulling an image: the root file system
# comes from Debian packages of this machine's release, on which the program was built. Needs Debian or Ubuntu, root, and
# the packages buildah and libcap2-bin.
#
#   packaging/container/build.sh [PROGRAM [IMAGE]]
#
# PROGRAM is target/release/webrtc-box by default, IMAGE is localhost/webrtc-box.
set -euo pipefail

program=$(realpath "${1:-$(dirname "$0")/../../target/release/webrtc-box}")
image=${2:-localhost/webrtc-box}
# That of distroless images: `nonroot`.
user=65532

work=$(mktemp -d)
container=
clean_up() {
  [[ -z $container ]] || buildah rm "$container" >/dev/null
  rm -rf "$work"
}
trap clean_up EXIT

# The OCI format has no health check.
container=$(buildah from --format docker scratch)
root=$(buildah mount "$container")

# What the program needs: the C library, and the certificates of public authorities, for ACME and a store over TLS. No script
# of a package runs, so the file of all certificates is put together here.
cd "$work"
apt-get download -qq -o APT::Sandbox::User=root ca-certificates libc6 libgcc-s1
for package in *.deb; do dpkg-deb --extract "$package" "$root"; done
mkdir -p "$root"/{etc/ssl/certs,tmp}
cat "$root"/usr/share/ca-certificates/mozilla/*.crt >"$root/etc/ssl/certs/ca-certificates.crt"
# Character sets, certificates one by one, and their tools; the licences in usr/share/doc stay.
rm -rf "$root"/usr/lib/*/gconv "$root"/usr/share/{ca-certificates,lintian,man} "$root"/usr/sbin "$root/etc/ca-certificates"
printf 'root:x:0:0:root:/root:/sbin/nologin\nnonroot:x:%d:%d:nonroot:/:/sbin/nologin\n' "$user" "$user" >"$root/etc/passwd"
printf 'root:x:0:\nnonroot:x:%d:\n' "$user" >"$root/etc/group"
printf 'hosts: files dns\n' >"$root/etc/nsswitch.conf"
chmod 1777 "$root/tmp"

install -D -m 755 "$program" "$root/usr/bin/webrtc-box"
# The program makes the capability effective if the container has it.
setcap cap_net_bind_service=p "$root/usr/bin/webrtc-box"
# A new volume takes owner and mode from here.
install -d -m 700 -o "$user" -g "$user" "$root/var/lib/webrtc-box"

buildah config --user "$user:$user" --workingdir / --stop-signal SIGTERM \
  --env PATH=/usr/bin --env WEBRTC_BOX_STATE_DIR=/var/lib/webrtc-box --volume /var/lib/webrtc-box \
  --port 80/tcp --port 443/tcp --port 3478/tcp --port 3478/udp --port 5349/tcp \
  --entrypoint '["/usr/bin/webrtc-box"]' --healthcheck 'CMD /usr/bin/webrtc-box healthcheck' \
  --healthcheck-interval 30s --healthcheck-timeout 5s --healthcheck-start-period 10s "$container"
buildah commit --quiet --format docker "$container" "$image"
