#!/usr/bin/env bash
# A host of its own under a real systemd: this machine's files beneath an overlay, and private namespaces for
# everything else, so that what systemd and the programs under it do is seen by nobody outside.
#
#   host.sh DIR    DIR (made, on a disk) keeps what the host writes; ends when it is killed
#
# The network is that of the caller: start it by `ip netns exec NAME`. Needs root.
set -euo pipefail

work=$1
[[ -n ${HOST_MOUNTS:-} ]] || HOST_MOUNTS=own exec unshare --mount --propagation private "$0" "$work"
mkdir -p "$work"/{upper,inner,root,cgroups}
# A branch of the cgroups: to a systemd within, that branch is all there is.
mount -t cgroup2 cgroup2 "$work/cgroups"
branch=$work/cgroups/webrtc-box-test-$$
mkdir "$branch"
# Taken away when this has ended, however: whoever is killed takes nothing away himself. Nobody's child, and
# no part of the host.
sweep() {
  tail -s 0.1 --pid="$1" -f /dev/null
  for _ in {1..100}; do
    # Not before the last of its processes is gone.
    find "$branch" -depth -type d -exec rmdir {} + || true
    [[ -d $branch ]] || exit 0
    sleep 0.1
  done
}
(sweep $$ </dev/null &>/dev/null &)
echo $$ >"$branch/cgroup.procs"

# shellcheck disable=SC2016 # expanded within
exec unshare --mount --pid --cgroup --ipc --uts --fork --kill-child --propagation private bash -euo pipefail -c '
work=$1 root=$1/root
mount -t overlay overlay -o "lowerdir=/,upperdir=$work/upper,workdir=$work/inner" "$root"
mount -t proc proc "$root/proc"
# Kernel settings are everybody'"'"'s: not to be changed from within.
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
for place in run tmp var/tmp var/log; do mount -t tmpfs -o mode=1777 tmpfs "$root/$place"; done
chmod 755 "$root"/{run,var/log}
# None of the services that this machine has enabled.
mount -t tmpfs -o mode=755 tmpfs "$root/etc/systemd/system"
# A host of its own has a name and a resolver of its own.
hostname vps
rm -f "$root"/etc/{hosts,resolv.conf,machine-id}
cp "$work/hosts" "$root/etc/hosts"
cp "$work/resolv.conf" "$root/etc/resolv.conf"
: >"$root/etc/machine-id"
cd "$root"
mkdir -p before
pivot_root . before
umount -l /before
exec env -i container=webrtc-box-test PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
  /lib/systemd/systemd --system --unit=multi-user.target --show-status=no --log-level=notice
' host "$work"
