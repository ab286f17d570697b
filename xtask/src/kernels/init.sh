#!/bin/busybox sh
# The init process of an emulated machine: runs the steps of /plan and writes their results to the second serial line. The
# kernel's log goes to the first.
/bin/busybox --install -s /bin
export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/ WEFT_TEST_PATIENCE=6 NO_COLOR=1
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mkdir -p /dev/pts
mount -t devpts devpts /dev/pts
mount -t tmpfs tmp /tmp
mount -t tmpfs run /run
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mount -t bpf bpf /sys/fs/bpf
mount -t tracefs tracefs /sys/kernel/tracing
exec >/dev/ttyS1 2>&1 </dev/null
stty -F /dev/ttyS1 raw
ip link set lo up
while read -r module; do
    insmod "/modules/$module.ko" || echo "module $module was not loaded"
done </modules/order
ulimit -n 20000
echo "::kernel $(uname -r)"
while read -r name command; do
    echo "::begin $name"
    start=$(cut -d. -f1 /proc/uptime)
    (cd /weft/tests && sh -c "$command")
    code=$?
    echo
    echo "::end $name $code $(($(cut -d. -f1 /proc/uptime) - start))"
done </plan
echo "::done"
sync
poweroff -f
