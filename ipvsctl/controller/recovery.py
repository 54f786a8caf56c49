"""Freeing the way to the API server, while the source has not told everything."""

import time
from collections.abc import Callable

from ipvsctl.controller.reconciler import Reconciler
from ipvsctl.controller.sync_report import SyncReport
from ipvsctl.controller.worker import Priority, Worker
from ipvsctl.kernel.interface import Kernel
from ipvsctl.libraries.log import structlog
from ipvsctl.model.config import ProxyConfig
from ipvsctl.model.errors import KernelError, UnreadKernel, WireError
from ipvsctl.model.host import ApiServer
from ipvsctl.plan.diff.recovery import api_keys, may_be_cut_off, plan_recovery
from ipvsctl.plan.report.unread import require

_log = structlog.get_logger("ipvsctl")


class Recovery:
    """Frees the way to the API server, and tells of it.

    Args:
        reconciler: has the kernel and the settings.
        worker: does it.
    """

    def __init__(self, reconciler: Reconciler, worker: Worker) -> None:
        self._reconciler = reconciler
        self._worker = worker

    async def run(self, api: frozenset[ApiServer]) -> None:
        """Do it, as far as anything is in the way; see `recover`."""
        reconciler = self._reconciler
        kernel, config, clock = reconciler.kernel, reconciler.config, reconciler.clock
        try:
            done = await self._worker.do(
                Priority.SYNC, lambda: recover(kernel, config, api, clock)
            )
        except (KernelError, WireError, UnreadKernel) as error:
            _log.error("recovery failed", reason=str(error))
            return
        if done is not None:
            words = reconciler.words
            _log.warning(
                "the way to the API server was taken by VIPs",
                removed=[op.words(words) for op in done.plan],
                failed=[failed.words(words) for failed in done.report.failed],
            )


def recover(
    kernel: Kernel,
    config: ProxyConfig,
    api: frozenset[ApiServer],
    clock: Callable[[], float] = time.monotonic,
) -> SyncReport | None:
    """Free the way to the API server of what the kernel holds in it.

    See `plan.diff.recovery`.

    Args:
        kernel: is read, and changed.
        config: of this node.
        api: where the server is asked; empty while that is not known.
        clock: steady, in seconds.

    Returns:
        None if nothing is in the way.

    Raises:
        KernelError: something could not be read.
        WireError: the kernel's answer could not be understood.
        UnreadKernel: what says whose things are.
    """
    begun = clock()
    host, vips = kernel.read_host(), kernel.read_vips()
    if not (may_be_cut_off(host, api, vips, config) or _serves(kernel, api)):
        return None
    observed = kernel.observe()
    require(observed, kernel.words)
    plan = plan_recovery(observed, api, config)
    if not plan:
        return None
    report = kernel.apply(plan)
    return SyncReport(
        plan=plan, report=report, observed=observed, duration_s=clock() - begun
    )


def _serves(kernel: Kernel, api: frozenset[ApiServer]) -> bool:
    """Whether the kernel has a virtual server where the API server is asked."""
    keys = api_keys(api)
    return bool(keys) and bool(
        kernel.observe_virtual_servers(keys).state.virtual_servers
    )
