"""What connections are counted by; the command line has it before anything is read."""

from enum import StrEnum


class By(StrEnum):
    """What connections are counted by."""

    ENDPOINT = "endpoint"
    CLIENT = "client"
