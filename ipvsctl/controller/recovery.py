"""Freeing the way to the API server, while the source has not told everything."""

import time
from collections.abc import Callable

from ipvsctl.controller.sync_report import SyncReport
from ipvsctl.kernel.interface import Kernel
from ipvsctl.model.config import ProxyConfig
from ipvsctl.model.host import ApiServer
from ipvsctl.plan.diff.recovery import api_keys, may_be_cut_off, plan_recovery


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
    """
    begun = clock()
    host, vips = kernel.read_host(), kernel.read_vips()
    if not (may_be_cut_off(host, api, vips, config) or _serves(kernel, api)):
        return None
    observed = kernel.observe()
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
