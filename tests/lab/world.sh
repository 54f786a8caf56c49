#!/bin/sh
# The first process of the lab's world: prepares it, runs the job, reports its status.
#
#   world.sh native JOB_DIRECTORY
#   world.sh uml JOB_DIRECTORY terminal|pipe [MODULES_DIRECTORY]
#
# The third word says what the job's streams are to look like to it. The fourth is there
# when the kernel is not that of Debian's package: one with nftables, in one piece.
#
# Starting a process costs 30-200 ms in user-mode Linux, hence so few of them.
kind=$1
job=$2
streams=$3
modules=$4

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
    # Debian's kernel has done so itself. Else these would be files of the host.
    [ -c /dev/ttyS1 ] || mount -t devtmpfs devtmpfs /dev || fail "cannot mount /dev"
    mkdir /dev/pts /dev/shm
    mount -t devpts devpts /dev/pts
    mount -t tmpfs tmpfs /dev/shm
    [ -d /lib/modules ] || mkdir /lib/modules
    mount --bind "${modules:-/usr/lib/uml/modules}" /lib/modules ||
        fail "cannot bind /lib/modules"
    # Debian 12's kernel has no nftables families, so the nft flavour of iptables cannot
    # work there; Debian 13's is to run the same tests.
    [ -n "$modules" ] ||
        mount --bind /usr/sbin/xtables-legacy-multi /usr/sbin/xtables-nft-multi ||
        fail "cannot replace iptables-nft by iptables-legacy"
    echo 4 >/proc/sys/kernel/printk
    out=/dev/ttyS1 err=/dev/ttyS2
    # The terminal line discipline must not turn \n into \r\n.
    stty -F $out raw -echo
    stty -F $err raw -echo
    if [ "$streams" = pipe ]; then
        mkfifo /run/stdout /run/stderr
        cat /run/stdout >$out &
        cat /run/stderr >$err &
        out=/run/stdout err=/run/stderr
    fi
fi

[ -e /proc/net/ip_vs ] || modprobe ip_vs || fail "cannot load ip_vs"
# Without the parameter the module would create a dummy0 in the kernel's first namespace.
[ -n "$modules" ] || [ -e /sys/module/dummy ] || modprobe dummy numdummies=0 ||
    fail "cannot load dummy"

if [ "$kind" = native ]; then
    sh "$job/job.sh" </dev/null
    echo $? >"$job/status"
    exit
fi

# What the job leaves running ends with its PID namespace, as it does in the native lab;
# only then are the pipes at their end.
unshare --pid --fork --mount-proc sh -c 'sh "$1/job.sh"; echo $? >"$1/status"' \
    sh "$job" </dev/null >$out 2>$err
wait
# Setting a terminal waits until its output is drained.
stty -F /dev/ttyS1 raw
stty -F /dev/ttyS2 raw
sync
# sysrq rather than poweroff(8), which minimal systems do not have.
echo o >/proc/sysrq-trigger
while :; do sleep 60; done
