"""What a part of the fake kernel raises when it refuses an op."""

from ipvsctl.model.errors import describe_errno
from ipvsctl.wire.ipset.errors import describe_ipset_error


class Refusal(Exception):
    """The kernel refuses an op.

    Attributes:
        code: positive errno.
        reason: in words.
    """

    def __init__(self, code: int, reason: str = "") -> None:
        self.code = code
        self.reason = reason or describe_ipset_error(code) or describe_errno(code)
        super().__init__(self.reason)
