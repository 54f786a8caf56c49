"""Finding generic netlink families; they have no fixed numbers."""

import errno
from typing import Final

from ipvsctl.kernel.descriptors import require_free
from ipvsctl.libraries.pyroute import GenericNetlinkSocket, NetlinkError, genlmsg
from ipvsctl.model.errors import KernelError

_MODULES: Final = {"IPVS": "ip_vs"}
"""The module that has a family, where it is called otherwise."""


def generic_family_id(name: str) -> int:
    """The number the kernel gave a family; it tries to load the module for it.

    Raises:
        KernelError: NotFound when no module has it; or it cannot be asked for.
    """
    try:
        require_free()
        with GenericNetlinkSocket() as opened:
            opened.bind(name, genlmsg)
            return int(opened.prid)
    except NetlinkError as error:
        is_missing = error.code == errno.ENOENT
        module = _MODULES.get(name, name)
        reason = f"not in this kernel (is module {module} there?)" if is_missing else ""
        raise KernelError.of(error.code, f"find {name}", reason) from error
    except OSError as error:
        raise KernelError.of(error.errno or errno.EIO, f"find {name}") from error
