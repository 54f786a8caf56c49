"""`status`: every Service with its part of the kernel state."""

from collections.abc import Generator
from contextlib import closing
from pathlib import Path

import msgspec

from ipvsctl import __version__
from ipvsctl.cli.daemon import ask
from ipvsctl.cli.options import StateFormat
from ipvsctl.cli.output import print_data, print_styled, terminal_width
from ipvsctl.cli.show_status import status_lines
from ipvsctl.cluster.store import Store
from ipvsctl.cluster.taken import Objects
from ipvsctl.controller.look import Seen, see
from ipvsctl.controller.reconciler import Reconciler
from ipvsctl.kernel.interface import Kernel
from ipvsctl.model.config import ProxyConfig
from ipvsctl.model.errors import ConfigError
from ipvsctl.model.problem import Problem
from ipvsctl.model.source_state import SourceState
from ipvsctl.model.status import LoopStatus, NodeStatus, Selection, Summary
from ipvsctl.model.steps import finish
from ipvsctl.plan.report.status import StatusInputs, node_status_in_steps


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
        seen = see(reconciler, reconciler.survey())
    state = SourceState(description=source, doubts=store.vouched().doubts)
    return finish(
        describe_in_steps(
            seen,
            store,
            config,
            source=state if source else None,
            selection=selection,
            problems=reconciler.problems(),
        )
    )


def describe_in_steps(
    seen: Seen,
    objects: Objects,
    config: ProxyConfig,
    *,
    source: SourceState | None,
    selection: Selection,
    problems: tuple[Problem, ...],
    loop: LoopStatus | None = None,
) -> Generator[None, None, NodeStatus]:
    """Put together what is known of a node, some at a time; in any thread.

    Args:
        seen: what is desired, and what the kernel holds.
        objects: what the desired state was compiled from.
        config: settings.
        source: what the objects are worth; None if there are none.
        selection: what to show.
        problems: those of all objects.
        loop: how the daemon is doing.
    """
    context = seen.context
    if source is not None:
        held = yield from seen.held_in_steps()
        source = msgspec.structs.replace(source, held=held)
    plan = (yield from seen.plan_in_steps()) if source else None
    return (
        yield from node_status_in_steps(
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
                    pending_ops=None if plan is None else len(plan),
                    short_circuits=len(seen.desired.short_circuits),
                ),
                desired=seen.desired,
                observed=seen.observed,
                objects=objects,
                set_name=seen.words.set_name,
                drain_ages_s=seen.drain_ages_s,
                problems=problems,
            ),
            selection,
        )
    )


def print_status(status: NodeStatus, form: StateFormat) -> None:
    """Print a status."""
    if form in {StateFormat.JSON, StateFormat.YAML}:
        print_data(status, form)
    else:
        wide = form is StateFormat.WIDE
        print_styled([*status_lines(status, wide=wide, width=terminal_width())])
