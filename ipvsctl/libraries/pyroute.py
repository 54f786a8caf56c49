"""The parts of pyroute2 that are used: links, and families of generic netlink.

Its `__init__.py` imports the whole library, with WireGuard, Wi-Fi, DHCP and a database
of links: 6 MB, and a tenth of a second.
"""

from typing import Any

from ipvsctl.libraries.parts import in_part


def _import_parts() -> tuple[Any, ...]:
    # Nothing but the first can be imported first: its modules import each other.
    from pyroute2.iproute import IPRoute  # noqa: PLC0415  # see `in_part`
    from pyroute2.netlink import genlmsg  # noqa: PLC0415
    from pyroute2.netlink.exceptions import NetlinkError  # noqa: PLC0415
    from pyroute2.netlink.generic import GenericNetlinkSocket  # noqa: PLC0415

    return IPRoute, genlmsg, NetlinkError, GenericNetlinkSocket


IPRoute, genlmsg, NetlinkError, GenericNetlinkSocket = in_part(
    "pyroute2", _import_parts
)
