"""The chart's seccomp profile, and what a container's runtime does with one.

    python -m tests.seccomp PROFILE COMMAND...

runs a command under a profile: like runc it has libseccomp load the filter last of all,
so that nothing of the command runs without. Debian's apt brings libseccomp along.
"""

import ctypes
import os
import sys
from collections.abc import Iterator
from enum import IntEnum, StrEnum
from functools import cache
from pathlib import Path
from typing import Final

import msgspec

from tests.chart.values import CHART

PROFILE: Final = CHART / "files" / "seccomp.json"

_UNKNOWN: Final = -1
"""What libseccomp has for a name that is no call of any architecture (`__NR_SCMP_ERROR`
in seccomp.h); a call that only others have is another negative number."""


class Action(StrEnum):
    """What becomes of a call, in the words of the OCI runtime specification."""

    ALLOW = "SCMP_ACT_ALLOW"
    ERRNO = "SCMP_ACT_ERRNO"


class Compare(IntEnum):
    """How an argument is compared; libseccomp's number by the specification's word."""

    SCMP_CMP_EQ = 4
    SCMP_CMP_MASKED_EQ = 7


class Argument(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A condition on one argument of a call.

    Attributes:
        index: which argument, from 0.
        op: a name of `Compare`.
        value: what it is compared with, or the mask.
        value_two: with a mask, what is compared with.
    """

    index: int
    op: str
    value: int
    value_two: int = msgspec.field(default=0, name="valueTwo")


class Rule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What becomes of some calls.

    Attributes:
        names: of the calls.
        action: if all of `args` hold.
        comment: the reason, for people.
        errno: that of `Action.ERRNO`.
        args: conditions; without any, the rule always holds.
    """

    names: tuple[str, ...]
    action: Action
    comment: str
    errno: int = msgspec.field(default=0, name="errnoRet")
    args: tuple[Argument, ...] = ()


class ArchMap(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An architecture, and others whose calls its kernel takes too."""

    architecture: str
    sub_architectures: tuple[str, ...] = msgspec.field(name="subArchitectures")


class Profile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A profile as containerd, CRI-O and Docker read it.

    Attributes:
        default_action: for calls that no rule is about.
        default_errno: its errno.
        architectures: for CRI-O and Docker; containerd leaves it at that of the node.
        rules: in any order; of one call all conditions differ.
    """

    default_action: Action = msgspec.field(name="defaultAction")
    default_errno: int = msgspec.field(name="defaultErrnoRet")
    architectures: tuple[ArchMap, ...] = msgspec.field(name="archMap")
    rules: tuple[Rule, ...] = msgspec.field(name="syscalls")

    @property
    def names(self) -> frozenset[str]:
        """All calls that a rule is about."""
        return frozenset(name for rule in self.rules for name in rule.names)

    def without(self, name: str) -> "Profile":
        """The same, with no rule about a call."""
        rules = tuple(
            msgspec.structs.replace(
                rule, names=tuple(one for one in rule.names if one != name)
            )
            for rule in self.rules
        )
        return msgspec.structs.replace(self, rules=rules)


class _Comparison(ctypes.Structure):
    """`struct scmp_arg_cmp` of seccomp.h."""

    _fields_ = (
        ("arg", ctypes.c_uint),
        ("op", ctypes.c_int),
        ("datum_a", ctypes.c_uint64),
        ("datum_b", ctypes.c_uint64),
    )


def read(path: Path = PROFILE) -> Profile:
    """A profile that is written in JSON.

    Raises:
        msgspec.ValidationError: it has a field, or a word, that is not known here.
    """
    return msgspec.json.decode(path.read_bytes(), type=Profile)


def number_of(name: str, architecture: str = "") -> int | None:
    """The number of a system call.

    Args:
        name: of the call.
        architecture: as libseccomp calls it; "" is this machine's.

    Returns:
        A negative number if only other architectures have it; None if none has.
    """
    library = _library()
    token = (
        library.seccomp_arch_resolve_name(architecture.encode())
        if architecture
        else library.seccomp_arch_native()
    )
    number: int = library.seccomp_syscall_resolve_name_arch(token, name.encode())
    return None if number == _UNKNOWN else number


def load(profile: Profile) -> None:
    """Put this process, and all that it starts, under a profile for good.

    It gains no privileges any more either (`no_new_privs`), as with the chart's
    `allowPrivilegeEscalation: false`.

    Raises:
        LookupError: a name is no system call.
        OSError: the kernel, or the library, refused.
    """
    library = _library()
    default = _action(profile.default_action, profile.default_errno)
    context = ctypes.c_void_p(library.seccomp_init(default))
    for rule in profile.rules:
        for number in _numbers(rule):
            _check(
                library.seccomp_rule_add_array(
                    context,
                    _action(rule.action, rule.errno),
                    number,
                    len(rule.args),
                    _comparisons(rule),
                )
            )
    _check(library.seccomp_load(context))


def _numbers(rule: Rule) -> Iterator[int]:
    for name in rule.names:
        number = number_of(name)
        if number is None:
            raise LookupError(name)
        if number >= 0:
            yield number


def _comparisons(rule: Rule) -> ctypes.Array[_Comparison]:
    return (_Comparison * len(rule.args))(
        *(
            _Comparison(one.index, Compare[one.op], one.value, one.value_two)
            for one in rule.args
        )
    )


def _action(action: Action, errno: int) -> int:
    """The number of an action (`SCMP_ACT_ALLOW` and `SCMP_ACT_ERRNO` in seccomp.h)."""
    match action:
        case Action.ALLOW:
            return 0x7FFF0000
        case Action.ERRNO:
            return 0x00050000 | errno


def _check(result: int) -> None:
    if result < 0:
        raise OSError(-result, os.strerror(-result))


@cache
def _library() -> ctypes.CDLL:
    library = ctypes.CDLL("libseccomp.so.2")
    library.seccomp_init.restype = ctypes.c_void_p
    library.seccomp_init.argtypes = [ctypes.c_uint32]
    library.seccomp_rule_add_array.argtypes = [
        ctypes.c_void_p,
        ctypes.c_uint32,
        ctypes.c_int,
        ctypes.c_uint,
        ctypes.POINTER(_Comparison),
    ]
    library.seccomp_arch_resolve_name.restype = ctypes.c_uint32
    library.seccomp_arch_native.restype = ctypes.c_uint32
    library.seccomp_syscall_resolve_name_arch.argtypes = [
        ctypes.c_uint32,
        ctypes.c_char_p,
    ]
    return library


def main() -> None:
    """Become the command, under the profile."""
    _, profile, *command = sys.argv
    load(read(Path(profile)))
    os.execvp(command[0], command)  # noqa: S606 - no shell is wanted


if __name__ == "__main__":
    main()
