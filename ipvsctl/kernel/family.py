"""Finding generic netlink families; they have no fixed numbers."""

import errno

from pyroute2.netlink import genlmsg
from pyroute2.netlink.exceptions import NetlinkError
from pyroute2.netlink.generic import GenericNetlinkSocket

from ipvsctl.model.errors import KernelError


def generic_family_id(name: str) -> int:
    """The number the kernel gave a family; it tries to load the module for it.

    Raises:
        KernelError: NotFound when no module has it.
    """
    with GenericNetlinkSocket() as opened:
        try:
            opened.bind(name, genlmsg)
        except NetlinkError as error:
            is_missing = error.code == errno.ENOENT
            reason = "not in this kernel (is module ip_vs there?)" if is_missing else ""
            raise KernelError.of(error.code, f"find {name}", reason) from error
        return int(opened.prid)
