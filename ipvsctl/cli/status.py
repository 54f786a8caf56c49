"""`status`: every Service with its part of the kernel state."""

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import msgspec

from ipvsctl import __version__
from ipvsctl.cli.daemon import ask
from ipvsctl.cli.options import StateFormat
from ipvsctl.cli.output import print_data, print_styled, terminal_width
from ipvsctl.cli.show_status import status_lines
from ipvsctl.cluster.store import Store
from ipvsctl.controller.reconciler import Reconciler
from ipvsctl.kernel.interface import Kernel
from ipvsctl.model.config import ProxyConfig
from ipvsctl.model.errors import ConfigError
from ipvsctl.model.problem import Problem
from ipvsctl.model.source_state import SourceState
from ipvsctl.model.state import Observed
from ipvsctl.model.status import LoopStatus, NodeStatus, Selection, Summary
from ipvsctl.plan.report.status import StatusInputs, node_status


def ask_for_status(socket: Path, selection: Selection) -> NodeStatus | None:
    """The daemon's own view; None when there is no daemon.

    Raises:
        DaemonError: the daemon cannot say.
    """
    query = {"namespace": selection.namespace, "name": selection.name}
    answer = ask(socket, "/v1/status", query)
    return None if answer is None else msgspec.json.decode(answer, type=NodeStatus)


def read_status(
    kernel: Kernel,
    store: Store,
    config: ProxyConfig,
    source: str,
    selection: Selection,
) -> NodeStatus:
    """The view without a daemon; `source` is "" if there are no objects.

    Raises:
        ConfigError: Services were chosen, and none has a name.
    """
    if selection and not source:
        raise ConfigError(
            field="--manifests",
            value=None,
            reason="is needed to know Services by name while no ipvsctl run answers",
        )
    with closing(kernel):
        reconciler = Reconciler(kernel=kernel, config=config, store=store)
        observed = reconciler.survey()
    state = SourceState(description=source, doubts=store.vouched().doubts)
    return describe(
        reconciler,
        store,
        config,
        observed,
        source=state if source else None,
        selection=selection,
    )


def describe(
    reconciler: Reconciler,
    store: Store,
    config: ProxyConfig,
    observed: Observed,
    *,
    source: SourceState | None,
    selection: Selection,
    loop: LoopStatus | None = None,
    problems: Sequence[Problem] | None = None,
) -> NodeStatus:
    """Put together the status that a reconciler and its kernel know.

    Args:
        reconciler: has the desired state.
        store: the objects it was compiled from.
        config: settings.
        observed: the complete kernel state.
        source: what the objects are worth; None if there are none.
        selection: what to show.
        loop: how the daemon is doing.
        problems: None asks the reconciler for those of all objects.
    """
    context = reconciler.context
    if source is not None:
        source = msgspec.structs.replace(source, held=reconciler.held(observed))
    return node_status(
        StatusInputs(
            summary=Summary(
                version=__version__,
                node=context.name,
                zone=context.zone,
                scheduler=config.scheduler,
                compatibility=config.compatibility.value,
                source=source.description if source else "",
                source_state=source,
                loop=loop,
                pending_ops=len(reconciler.plan(observed)) if source else None,
                short_circuits=len(reconciler.desired.short_circuits),
            ),
            desired=reconciler.desired,
            observed=observed,
            store=store,
            set_name=reconciler.words.set_name,
            drain_ages_s=reconciler.drain_ages_s(),
            problems=tuple(reconciler.problems() if problems is None else problems),
        ),
        selection,
    )


def print_status(status: NodeStatus, form: StateFormat) -> None:
    """Print a status."""
    if form in {StateFormat.JSON, StateFormat.YAML}:
        print_data(status, form)
    else:
        wide = form is StateFormat.WIDE
        print_styled([*status_lines(status, wide=wide, width=terminal_width())])
