#!/bin/sh
# The first program of the guest: loads the modules, lays the host's files out, runs the suite's program, powers off.
# The kernel's command line gives lab_repo, lab_run, lab_shares (host folders, separated by colons) and lab_huge.
export PATH=/bin
mount -t devtmpfs dev /dev
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t debugfs debug /sys/kernel/debug

stop() {
  echo "lab: $1" >/dev/kmsg
  sync
  poweroff -f
}

while read -r module; do
  # shellcheck disable=SC2086
  modprobe $module || stop "the module $module did not load"
done </lab/modules

options=trans=virtio,version=9p2000.L,msize=512000
host=/host
mkdir -p $host
mount -t 9p -o $options,cache=loose,ro host $host || stop 'the host files did not mount'
mount -t proc proc $host/proc
mount -t sysfs sys $host/sys
mount -t debugfs debug $host/sys/kernel/debug
mount -t devtmpfs dev $host/dev
mkdir -p $host/dev/pts $host/dev/shm $host/dev/hugepages
mount -t devpts pts $host/dev/pts
mount -t tmpfs shm $host/dev/shm
[ -z "$lab_huge" ] || mount -t hugetlbfs huge $host/dev/hugepages
for folder in tmp run mnt var/tmp; do mount -t tmpfs -o mode=1777 tmpfs $host/$folder; done

number=0
IFS=:
for share in $lab_shares; do
  mkdir -p "$host$share"
  mount -t 9p -o $options,cache=loose,ro "share$number" "$host$share" || stop "$share did not mount"
  number=$((number + 1))
done
unset IFS
mkdir -p "$host$lab_run"
mount -t 9p -o $options run "$host$lab_run" || stop 'the folder of the run did not mount'
mkdir -p $host/run/lab/modules
mount --bind /lib/modules $host/run/lab/modules
ip link set lo up

echo 'lab: the program starts' >/dev/kmsg
chroot $host /bin/sh "$lab_run/start.sh" </dev/null
echo "lab: the program ended with code $?" >/dev/kmsg
dmesg -r >"$host$lab_run/kernel.log"
sync
poweroff -f
