"""The order in which virtual and real servers are shown."""

from ipvsctl.model.ipvs import RealServerKey, VirtualServerKey
from ipvsctl.model.net import by_number


def server_order(key: VirtualServerKey) -> tuple[int, int, int, int, int]:
    """Addresses before fwmarks, by family, address, port and protocol."""
    return (
        key.fwmark,
        key.family,
        int(key.address or 0),
        key.port,
        key.protocol or 0,
    )


def real_order(key: RealServerKey) -> tuple[int, bytes, int]:
    """By family, address and port."""
    return *by_number(key.address), key.port
