#!/usr/bin/env bash
# A host with its own systemd: an overlay over this machine's files or those of another folder, and private namespaces for
# everything else. What runs in it cannot change the machine.
#
#   systemd-host.sh DIR [FILES]   DIR (created, not on a tmpfs) keeps what the host writes; FILES: the folder with its files
#                                 (default: /). It runs until it is killed.
#
# The network namespace is the caller's: start it by `ip netns exec NAME`. Needs root.
set -euo pipefail

work=$1 files=${2:-/}
[[ -n ${PRIVATE_MOUNTS:-} ]] || PRIVATE_MOUNTS=1 exec unshare --mount --propagation private "$0" "$work" "$files"
mkdir -p "$work"/{upper,overlay-work,root,cgroups}
# The host's systemd sees this cgroup as its root.
mount -t cgroup2 cgroup2 "$work/cgroups"
cgroup=$work/cgroups/webrtc-box-test-$$
mkdir "$cgroup"
# Removes the cgroup when the host has ended. It runs outside the host and its cgroup, because a killed process cannot clean
# up after itself.
remove_cgroup_after() {
  tail -s 0.1 --pid="$1" -f /dev/null
  for _ in {1..100}; do
    # rmdir fails until the last process has ended.
    find "$cgroup" -depth -type d -exec rmdir {} + || true
    [[ -d $cgroup ]] || exit 0
    sleep 0.1
  done
}
(remove_cgroup_after $$ </dev/null &>/dev/null &)
echo $$ >"$cgroup/cgroup.procs"

# shellcheck disable=SC2016 # the inner shell expands it
exec unshare --mount --pid --cgroup --ipc --uts --fork --kill-child --propagation private bash -euo pipefail -c '
work=$1 root=$1/root
mount -t overlay overlay -o "lowerdir=$2,upperdir=$work/upper,workdir=$work/overlay-work" "$root"
mount -t proc proc "$root/proc"
# Kernel settings are global: read-only in the host.
mount --bind "$root/proc/sys" "$root/proc/sys"
mount -o remount,bind,ro "$root/proc/sys"
mount -t sysfs -o ro sysfs "$root/sys"
mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup"
mount -t tmpfs -o mode=755 tmpfs "$root/dev"
mkdir "$root"/dev/{pts,shm}
mount -t devpts -o newinstance,ptmxmode=666 devpts "$root/dev/pts"
mount -t tmpfs -o mode=1777 tmpfs "$root/dev/shm"
ln -s pts/ptmx "$root/dev/ptmx"
ln -s /proc/self/fd "$root/dev/fd"
device() { mknod -m 666 "$root/dev/$1" c "$2" "$3"; }
device null 1 3; device zero 1 5; device full 1 7; device random 1 8; device urandom 1 9; device tty 5 0
for dir in run tmp var/tmp var/log; do mount -t tmpfs -o mode=1777 tmpfs "$root/$dir"; done
chmod 755 "$root"/{run,var/log}
# The services that are enabled in these files do not start in the host.
mount -t tmpfs -o mode=755 tmpfs "$root/etc/systemd/system"
# Its own host name and resolver.
hostname vps
rm -f "$root"/etc/{hosts,resolv.conf,machine-id}
cp "$work/hosts" "$root/etc/hosts"
cp "$work/resolv.conf" "$root/etc/resolv.conf"
: >"$root/etc/machine-id"
cd "$root"
mkdir -p old-root
pivot_root . old-root
umount -l /old-root
exec env -i container=webrtc-box-test PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
  /lib/systemd/systemd --system --unit=multi-user.target --show-status=no --log-level=notice
' host "$work" "$files"
