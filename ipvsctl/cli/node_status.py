"""The status of a node: from its daemon, or from its kernel."""

from pathlib import Path

from ipvsctl.cli import inputs
from ipvsctl.cli.daemon import unless_mute
from ipvsctl.cli.errors import ExitStatus
from ipvsctl.cli.node_command import NodeInputs
from ipvsctl.cli.status import ask_for_status, read_status
from ipvsctl.cluster.store import Store
from ipvsctl.model.status import NodeStatus, Selection


def status_of(
    node: NodeInputs, socket: Path, selection: Selection
) -> tuple[NodeStatus, ExitStatus]:
    """The daemon's own view; the kernel is read when there is none, or it is mute.

    Returns:
        Also whether what was read of the objects is whole.

    Raises:
        ConfigError: what names the objects cannot be used.
        DaemonError: the daemon cannot say.
        KernelError: the kernel cannot be read.
    """
    found = unless_mute(lambda: ask_for_status(socket, selection))
    if found is not None:
        return found, ExitStatus.OK
    known, source = node.read_if_any()
    store = Store(node.name) if known is None else known
    kernel = node.open_kernel(to_change=False)
    found = read_status(kernel, store, node.settings, source, selection)
    return found, ExitStatus.OK if known is None else inputs.status_for(known)
