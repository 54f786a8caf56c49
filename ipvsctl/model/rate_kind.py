"""What Services are compared by; the command line has it before anything is read."""

from enum import StrEnum


class RateKind(StrEnum):
    """What is counted."""

    CONNECTIONS = "connections"
    PACKETS = "packets"
    BYTES = "bytes"
