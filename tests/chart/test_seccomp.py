"""The chart's seccomp profile; the kernel tests run the daemon under it."""

import pytest

from tests import seccomp

pytestmark = pytest.mark.chart


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
