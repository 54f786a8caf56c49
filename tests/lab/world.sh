#!/bin/sh
# The first process of the lab's world: prepares it, runs the job, reports its status.
#
#   world.sh uml|native JOB_DIRECTORY
#
# Starting a process costs 30-200 ms in user-mode Linux, hence so few of them.
kind=$1
job=$2

PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export PATH
# The kernel hands the words of its command line that it does not know to init.
unset mem uml_dir

fail() {
    echo "lab: $1" >&2
    exit 125
}

mount -t proc proc /proc || fail "cannot mount /proc"
mount -t sysfs sysfs /sys || fail "cannot mount /sys"
mount -t tmpfs tmpfs /run || fail "cannot mount /run"
mkdir /run/lock /run/netns /run/tmp
chmod 1777 /run/lock /run/tmp
ip link set lo up || fail "cannot bring lo up"

if [ "$kind" = uml ]; then
    mkdir /dev/pts /dev/shm
    mount -t devpts devpts /dev/pts
    mount -t tmpfs tmpfs /dev/shm
    [ -d /lib/modules ] || mkdir /lib/modules
    mount --bind /usr/lib/uml/modules /lib/modules || fail "cannot bind /lib/modules"
    # This kernel has no nftables families, so the nft flavour of iptables cannot work.
    mount --bind /usr/sbin/xtables-legacy-multi /usr/sbin/xtables-nft-multi ||
        fail "cannot replace iptables-nft by iptables-legacy"
    echo 4 >/proc/sys/kernel/printk
    out=/dev/ttyS1 err=/dev/ttyS2
    # The terminal line discipline must not turn \n into \r\n.
    stty -F $out raw -echo
    stty -F $err raw -echo
fi

[ -e /proc/net/ip_vs ] || modprobe ip_vs || fail "cannot load ip_vs"
# Without the parameter the module would create a dummy0 in the kernel's first namespace.
[ -e /sys/module/dummy ] || modprobe dummy numdummies=0 || fail "cannot load dummy"

if [ "$kind" = uml ]; then
    sh "$job/job.sh" </dev/null >$out 2>$err
    echo $? >"$job/status"
    # Setting a terminal waits until its output is drained; a process the job left
    # behind may hold the line open, so closing it is not enough.
    stty -F $out raw
    stty -F $err raw
    sync
    # sysrq rather than poweroff(8), which minimal systems do not have.
    echo o >/proc/sysrq-trigger
    while :; do sleep 60; done
else
    sh "$job/job.sh" </dev/null
    echo $? >"$job/status"
fi
