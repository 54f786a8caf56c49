"""What a part of the fake kernel raises when it refuses an op."""

from ipvsctl.model.errors import describe_errno


class Refusal(Exception):
    """The kernel refuses an op.

    Attributes:
        code: positive errno.
        reason: in words.
    """

    def __init__(self, code: int, reason: str = "") -> None:
        super().__init__(reason or describe_errno(code))
        self.code = code
        self.reason = reason or describe_errno(code)
