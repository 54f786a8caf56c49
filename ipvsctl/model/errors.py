"""Every exception the project raises on purpose.

    IpvsctlError
    |- ConfigError(field, value, reason)      a setting, flag or configuration file
    |- ApiError(status, url, reason)          the API server said no, or nothing
    |- UnreadInput(doubts)                    part of what is desired is not known
    |- UnreadKernel(parts)                    part of what the kernel holds is not known
    |- BadObject(ref, field, value, reason)   an API object or manifest
    |- WireError(offset, reason)              bytes that are not what they should be
    |- TraceError(reason, path)               a traced packet met what is not modelled
    '- KernelError(errno, op)                 the kernel said no
       |- NotFound                            ENOENT, ESRCH, EADDRNOTAVAIL, ENODEV
       |- Exists                              EEXIST
       |- Busy                                EBUSY
       |- NotPermitted                        EPERM, EACCES
       '- DumpInterrupted                     the table changed while it was read

Errors carry data; the text is composed from it in one place.
"""

import errno

_NOT_FOUND = frozenset(
    {errno.ENOENT, errno.ESRCH, errno.EADDRNOTAVAIL, errno.ENODEV},
)


class IpvsctlError(Exception):
    """Base of all errors the project raises on purpose."""


class ConfigError(IpvsctlError):
    """A setting cannot be used.

    Attributes:
        field: path of the setting, e.g. `ipvs.scheduler` or `--cluster-cidr`.
        value: what was given; None when nothing was.
        reason: why it cannot be used.
    """

    def __init__(self, *, field: str, value: object, reason: str) -> None:
        shown = "" if value is None else f": {_shown(value)}"
        super().__init__(f"{field}{shown}: {reason}")
        self.field = field
        self.value = value
        self.reason = reason


_SHOWN = 200


def _shown(value: object) -> str:
    """A value as it is written, or the start of it if nobody would read it all."""
    try:
        text = repr(value)
    except ValueError:
        # Python writes no number of more than 4,300 digits.
        return "a number too long to show"
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


class NotKnown(IpvsctlError):
    """There is no such thing; the text says what there is."""


class UnreadInput(IpvsctlError):
    """Something of the input cannot be read, so that nothing may be imposed.

    Attributes:
        doubts: what, and why, a line each.
    """

    def __init__(self, doubts: tuple[str, ...]) -> None:
        super().__init__(
            "nothing is changed, since not all of the input could be read: "
            + "; ".join(doubts)
        )
        self.doubts = doubts


class UnreadKernel(IpvsctlError):
    """Something of the kernel cannot be read, and nothing can be said without it.

    Attributes:
        parts: what, and why, a line each.
    """

    def __init__(self, parts: tuple[str, ...]) -> None:
        super().__init__("; ".join(parts))
        self.parts = parts


class ApiError(IpvsctlError):
    """The API server refused a request, or its answer did not come or made no sense.

    Attributes:
        status: of HTTP, or the code of a Status object; 0 when there was no answer or
            an unfinished one.
        url: what was asked for, without its query.
        reason: what the server said, or how the conversation ended.
        retry_after_s: how long the server wants not to be asked; 0 if it did not say.
        word: what happened in one word, for counting: `expired`, `forbidden`,
            `connection_lost`.
    """

    def __init__(
        self,
        *,
        status: int,
        url: str,
        reason: str,
        retry_after_s: float = 0.0,
        word: str = "",
    ) -> None:
        shown = f" {status}:" if status else ""
        super().__init__(f"{url}:{shown} {reason}")
        self.status = status
        self.url = url
        self.reason = reason
        self.retry_after_s = retry_after_s
        self.word = word or _status_word(status)


# What watches are counted by when a status ended them.
_STATUS_WORDS = {
    401: "unauthorized",
    403: "forbidden",
    404: "not_found",
    410: "expired",
    429: "too_many_requests",
}


def _status_word(status: int) -> str:
    if status in _STATUS_WORDS:
        return _STATUS_WORDS[status]
    return "server_error" if status >= 500 else "refused"


class BadObject(IpvsctlError):
    """An object cannot be understood at all; it is skipped, others are not.

    Attributes:
        ref: which object, `Service default/web` or `file.yaml document 3`.
        field: path inside the object, `spec.ports[0].port`, or "" for the whole.
        value: what was there.
        reason: why it cannot be used.
    """

    def __init__(self, *, ref: str, field: str, value: object, reason: str) -> None:
        where = f"{ref}: {field}" if field else ref
        shown = "" if value is None else f": {_shown(value)}"
        super().__init__(f"{where}{shown}: {reason}")
        self.ref = ref
        self.field = field
        self.value = value
        self.reason = reason


class WireError(IpvsctlError):
    """Bytes or text from the kernel that do not follow the protocol.

    Attributes:
        offset: where in the message, bytes from its start (lines for text).
        reason: what is wrong there.
    """

    def __init__(self, *, offset: int, reason: str) -> None:
        super().__init__(f"at offset {offset}: {reason}")
        self.offset = offset
        self.reason = reason


class TraceError(IpvsctlError):
    """A traced packet met a rule, set or server that is missing or not modelled.

    Attributes:
        reason: what it met.
        path: the steps up to there, as text.
    """

    def __init__(self, reason: str, *, path: tuple[str, ...] = ()) -> None:
        super().__init__(reason)
        self.reason = reason
        self.path = path


class KernelError(IpvsctlError):
    """The kernel refused a request.

    Attributes:
        errno: positive errno; ipset has codes of its own beyond those.
        op: what was asked, in words.
    """

    def __init__(self, *, errno: int, op: str, reason: str = "") -> None:
        super().__init__(f"{op}: {reason or describe_errno(errno)}")
        self.errno = errno
        self.op = op
        self.reason = reason or describe_errno(errno)

    @staticmethod
    def of(code: int, op: str, reason: str = "") -> "KernelError":
        """The subclass that fits `code`."""
        kind: type[KernelError] = KernelError
        if code in _NOT_FOUND:
            kind = NotFound
        elif code == errno.EEXIST:
            kind = Exists
        elif code == errno.EBUSY:
            kind = Busy
        elif code in {errno.EPERM, errno.EACCES}:
            kind = NotPermitted
        elif code == errno.EINTR:
            kind = DumpInterrupted
        return kind(errno=code, op=op, reason=reason)


class NotFound(KernelError):
    """The object is not there (also: the module or family is not loaded)."""


class Exists(KernelError):
    """The object is there already."""


class Busy(KernelError):
    """The object is in use, e.g. a lock that another process holds."""


class NotPermitted(KernelError):
    """CAP_NET_ADMIN is missing."""


class DumpInterrupted(KernelError):
    """The table changed during a dump (NLM_F_DUMP_INTR); read it again."""


# What an operator most often meets, in words.
_ERRNO_WORDS = {
    errno.EPERM: "not permitted (CAP_NET_ADMIN is needed)",
    errno.ENOENT: "not there",
    errno.ESRCH: "not there",
    errno.EEXIST: "there already",
    errno.EBUSY: "in use",
    errno.EINVAL: "invalid for this kernel",
    errno.EROFS: "read-only here; see --proc-sys",
    errno.ENOBUFS: "no buffer space",
    errno.ENOMEM: "out of memory",
    errno.EOPNOTSUPP: "not supported by this kernel",
    errno.EADDRNOTAVAIL: "address is not there",
}


def describe_errno(code: int) -> str:
    """`ENOENT (not there)`; a code that is no errno as its number."""
    name = errno.errorcode.get(code, f"errno {code}")
    words = _ERRNO_WORDS.get(code)
    return f"{name} ({words})" if words else name
