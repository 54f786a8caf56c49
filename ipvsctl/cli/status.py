"""`status`: every Service with its part of the kernel state."""

from collections.abc import Generator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Final

import msgspec

from ipvsctl import __version__
from ipvsctl.cli.daemon import ask
from ipvsctl.cli.layout import Line
from ipvsctl.cli.options import SortBy, StateFormat
from ipvsctl.cli.output import (
    print_data,
    print_lines,
    print_styled,
    terminal_width,
)
from ipvsctl.cli.show_status import status_lines
from ipvsctl.cluster.store import Store
from ipvsctl.cluster.taken import Objects
from ipvsctl.controller.look import Seen, see
from ipvsctl.controller.reconciler import Reconciler
from ipvsctl.kernel.interface import Kernel
from ipvsctl.model.config import ProxyConfig
from ipvsctl.model.errors import ConfigError
from ipvsctl.model.problem import Problem
from ipvsctl.model.relay import ListenerStates
from ipvsctl.model.source_state import SourceState
from ipvsctl.model.state import EMPTY
from ipvsctl.model.status import LoopStatus, NodeStatus, Only, Selection, Summary
from ipvsctl.model.steps import finish
from ipvsctl.model.target import AddressTarget, parse_target
from ipvsctl.plan.report.status import node_status_in_steps
from ipvsctl.plan.report.status_inputs import StatusInputs
from ipvsctl.plan.report.unread import unread_parts
from ipvsctl.plan.union.fwmark_allocator import BesideKind

WATCH_PERIOD_S: Final = 2.0
"""Between two looks of `--watch`: reading 10,000 Services takes about as long."""


def ask_for_status(socket: Path, selection: Selection) -> NodeStatus | None:
    """The daemon's own view; None when there is no daemon.

    Raises:
        DaemonError: the daemon cannot say.
    """
    query = {
        "namespace": selection.namespace,
        "name": selection.name,
        "address": selection.address,
        "port": str(selection.port or ""),
        "only": selection.only or "",
    }
    has_filter = bool(selection.address or selection.only)
    answer = ask(socket, "/v1/status", query, needs=2 if has_filter else 1)
    return None if answer is None else msgspec.json.decode(answer, type=NodeStatus)


def only_one(kinds: Sequence[Only]) -> Only | None:
    """The one kind that was asked for, if any.

    Raises:
        ConfigError: there are several.
    """
    if len(kinds) > 1:
        raise ConfigError(
            field=f"--{kinds[1]}", value=None, reason=f"not together with --{kinds[0]}"
        )
    return kinds[0] if kinds else None


def selection_by(what: str, namespace: str, only: Only | None) -> Selection:
    """What somebody wants to see.

    Args:
        what: a name or an address, see `parse_target`; "" is everything.
        namespace: "" is any.
        only: of these, a kind of virtual servers.

    Raises:
        ConfigError: `what` is neither.
    """
    if not what:
        return Selection(namespace=namespace, only=only)
    target = parse_target(what, namespace)
    if isinstance(target, AddressTarget):
        address = str(target.address)
        return Selection(
            namespace=namespace, address=address, port=target.port, only=only
        )
    if target.port:
        raise ConfigError(
            field="WHAT", value=what, reason="a Service is shown with all its ports"
        )
    name = f"{target.namespace}/{target.name}" if "/" in what else target.name
    return Selection(namespace=namespace, name=name, only=only)


def selection_of(query: Mapping[str, str]) -> Selection:
    """The selection of a client, as `ask_for_status` sends it.

    Raises:
        ConfigError: it is none.
    """
    try:
        return Selection(
            namespace=query.get("namespace", ""),
            name=query.get("name", ""),
            address=query.get("address", ""),
            port=int(query.get("port") or 0),
            only=Only(query["only"]) if query.get("only") else None,
        )
    except ValueError as error:
        raise ConfigError(field="query", value=dict(query), reason=str(error)) from None


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
    listeners: ListenerStates | None = None,
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
        listeners: those that it has on localhost; None without a daemon.
    """
    context = seen.context
    if source is not None:
        held = yield from seen.held_in_steps()
        ages_s = loop.read_ages_s if loop is not None else EMPTY
        unread = unread_parts(seen.observed, seen.words, ages_s)
        doubts = source.doubts + unread
        source = msgspec.structs.replace(source, held=held, doubts=doubts)
    plan = (yield from seen.plan_in_steps()) if source else None
    choice = seen.vip_choice
    return (
        yield from node_status_in_steps(
            StatusInputs(
                summary=Summary(
                    version=__version__,
                    node=context.name,
                    zone=context.zone,
                    scheduler=config.scheduler,
                    compatibility=config.compatibility.value,
                    firewall=seen.capabilities.firewall.value,
                    firewall_reason=seen.capabilities.firewall_reason,
                    vip_binding=choice.binding if choice else config.wanted_vip_binding,
                    vips_at_choice=choice.wanted if choice else None,
                    source=source.description if source else "",
                    source_state=source,
                    loop=loop,
                    pending_ops=None if plan is None else len(plan),
                    short_circuits=len(seen.desired.beside(BesideKind.INSIDE)),
                ),
                desired=seen.desired,
                observed=seen.observed,
                objects=objects,
                context=context,
                words=seen.words,
                drain_ages_s=seen.drain_ages_s,
                problems=problems,
                listeners=listeners,
            ),
            selection,
        )
    )


def print_status(status: NodeStatus, form: StateFormat, sort: SortBy) -> None:
    """Print a status."""
    if form is StateFormat.NAME:
        print_lines(f"{s.namespace}/{s.name}" for s in status.services)
    elif form in {StateFormat.TABLE, StateFormat.WIDE}:
        print_styled(screen_of(status, form, sort))
    else:
        print_data(status, form)


def screen_of(status: NodeStatus, form: StateFormat, sort: SortBy) -> Sequence[Line]:
    """A status for the terminal that is printed to, or for a pipe."""
    wide = form is StateFormat.WIDE
    width = terminal_width()
    return [*status_lines(status, wide=wide, width=width, sort=sort)]
