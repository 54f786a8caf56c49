"""The chart's seccomp profile; the kernel tests run the daemon under it."""

import pytest

from tests import seccomp

pytestmark = pytest.mark.chart

X86_ALONE = {
    "access": "faccessat",
    "open": "openat",
    "readlink": "readlinkat",
    "stat": "newfstatat",
    "lstat": "newfstatat",
    "chmod": "fchmodat",
    "mkdir": "mkdirat",
    "rmdir": "unlinkat",
    "unlink": "unlinkat",
    "rename": "renameat",
    "getdents": "getdents64",
    "dup2": "dup3",
    "pipe": "pipe2",
    "eventfd": "eventfd2",
    "inotify_init": "inotify_init1",
    "epoll_create": "epoll_create1",
    "epoll_wait": "epoll_pwait",
    "poll": "ppoll",
    "select": "pselect6",
    "fork": "clone",
    "vfork": "clone",
    "getpgrp": "getpgid",
    "alarm": "setitimer",
    "time": "clock_gettime",
    "arch_prctl": "prctl",
}
"""Calls that aarch64 does not have, and what libc calls there instead."""


def test_each_call_is_there_once_and_known() -> None:
    """On one of the two architectures at least."""
    profile = seccomp.read()
    free = [name for rule in profile.rules if not rule.args for name in rule.names]
    assert len(free) == len(set(free))
    for rule in profile.rules:
        assert list(rule.names) == sorted(rule.names)
        assert rule.comment
    for name in profile.names:
        numbers = [seccomp.number_of(name, arch) for arch in ("x86_64", "aarch64")]
        assert any(number is not None and number >= 0 for number in numbers), name


def test_aarch64_has_what_x86_has() -> None:
    """What it lacks has its successor in the profile; no kernel of it was tried."""
    names = seccomp.read().names
    lacking = {name for name in names if (seccomp.number_of(name, "aarch64") or 0) < 0}
    assert lacking == set(X86_ALONE)
    assert set(X86_ALONE.values()) <= names


def test_no_way_out_is_allowed() -> None:
    """Nothing that changes what the container is, or looks into others."""
    allowed = {
        name
        for rule in seccomp.read().rules
        if rule.action is seccomp.Action.ALLOW and not rule.args
        for name in rule.names
    }
    assert not allowed & {
        *("mount", "umount2", "pivot_root", "chroot", "unshare", "setns"),
        *("ptrace", "process_vm_readv", "process_vm_writev", "kcmp"),
        *("bpf", "perf_event_open", "userfaultfd", "io_uring_setup"),
        *("init_module", "finit_module", "delete_module", "kexec_load", "reboot"),
        *("keyctl", "add_key", "request_key", "open_by_handle_at", "clone3"),
    }
