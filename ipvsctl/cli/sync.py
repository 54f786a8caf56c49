"""`apply`, `diff`, `cleanup`: compare with the kernel, and change it."""

import time
from collections.abc import Generator
from contextlib import closing
from pathlib import Path

import msgspec

from ipvsctl.cli.daemon import ask
from ipvsctl.cli.errors import ExitStatus, complain, tell
from ipvsctl.cli.inputs import tell_problems
from ipvsctl.cli.options import PlanFormat
from ipvsctl.cli.output import print_data, print_lines, print_styled
from ipvsctl.cli.plan_view import PlanView, describe, part_of
from ipvsctl.cli.show_plan import Outcome, outcome_summary, plan_lines, plan_summary
from ipvsctl.cluster.store import Store
from ipvsctl.cluster.taken import Objects
from ipvsctl.controller.look import Seen, see
from ipvsctl.controller.reconciler import Reconciler
from ipvsctl.kernel.interface import Kernel
from ipvsctl.model.config import ProxyConfig
from ipvsctl.model.errors import ConfigError, NotKnown
from ipvsctl.model.problem import Problem
from ipvsctl.model.source_state import SourceState
from ipvsctl.model.state import NodeState
from ipvsctl.model.steps import finish
from ipvsctl.model.target import NamedTarget, parse_name
from ipvsctl.plan.diff.ops import Report
from ipvsctl.plan.diff.plan import DiffOptions, diff
from ipvsctl.plan.diff.words import FirewallWords
from ipvsctl.plan.report.explain_target import NotThere, find_named
from ipvsctl.plan.report.unread import NEEDED, require, unread_parts


class DiffAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """A daemon's answer to `diff`.

    Attributes:
        source: where objects come from, and what the comparison is worth.
        not_there: why there is no such Service; "" if there is.
    """

    plan: PlanView
    problems: tuple[Problem, ...] = ()
    source: SourceState
    not_there: str = ""


class DiffData(PlanView, frozen=True, kw_only=True):
    """A comparison as data: the plan, and what it is worth."""

    source: SourceState


class Scope(msgspec.Struct, frozen=True, kw_only=True):
    """How much of a comparison is asked for.

    Attributes:
        name: of a Service, also `namespace/name`; "" for the whole node.
        as_data: see `plan_view.describe`.
    """

    name: str = ""
    as_data: bool = False

    @property
    def target(self) -> NamedTarget | None:
        """The Service.

        Raises:
            ConfigError: it is none.
        """
        return parse_name(self.name) if self.name else None


def compare(
    kernel: Kernel, store: Store, config: ProxyConfig, scope: Scope, source: str
) -> DiffAnswer:
    """The plan of `apply`, described; `source` is the objects'."""
    with closing(kernel):
        reconciler = Reconciler(kernel=kernel, config=config, store=store)
        return finish(
            diff_answer_in_steps(
                see(reconciler, reconciler.survey()),
                reconciler.problems(),
                SourceState(description=source, doubts=store.vouched().doubts),
                store,
                scope,
            )
        )


def diff_answer_in_steps(
    seen: Seen,
    problems: tuple[Problem, ...],
    source: SourceState,
    objects: Objects,
    scope: Scope,
) -> Generator[None, None, DiffAnswer]:
    """The plan of an audit for a node as it was seen, described.

    Args:
        seen: the node.
        problems: those of all objects.
        source: what the objects are worth.
        objects: what the desired state was compiled from.
        scope: how much of it is wanted.
    """
    held = yield from seen.held_in_steps()
    unread = unread_parts(seen.observed, seen.words)
    source = msgspec.structs.replace(source, held=held, doubts=source.doubts + unread)
    plan = yield from seen.plan_in_steps()
    view = describe(
        plan,
        seen.observed.state,
        seen.desired,
        firewall=seen.words,
        as_data=scope.as_data,
    )
    target = scope.target
    if target is None:
        return DiffAnswer(plan=view, problems=problems, source=source)
    found = find_named(objects, target, several=True)
    return DiffAnswer(
        plan=part_of(view, target),
        problems=tuple(p for p in problems if target.is_of(p.ref)),
        source=source,
        not_there=found.reason if isinstance(found, NotThere) else "",
    )


def ask_to_compare(socket: Path, scope: Scope) -> DiffAnswer | None:
    """The daemon's own comparison; None when there is no daemon.

    Raises:
        DaemonError: the daemon cannot say.
    """
    query = {"ops": "data" if scope.as_data else "", "name": scope.name}
    answer = ask(socket, "/v1/diff", query, needs=2 if scope.name else 1)
    return None if answer is None else msgspec.json.decode(answer, type=DiffAnswer)


def print_diff(answer: DiffAnswer, form: PlanFormat) -> ExitStatus:
    """Print a comparison; whether there is a difference, if that is known.

    Raises:
        NotKnown: there is no such Service, and nothing of it is left.
    """
    source = answer.source
    if answer.not_there and answer.plan.is_empty:
        raise NotKnown(answer.not_there)
    if form is not PlanFormat.TABLE:
        plan = msgspec.structs.asdict(answer.plan)
        print_data(DiffData(**plan, source=source), form)
    elif answer.plan.is_empty and source.is_sure:
        print_lines(["equal: the kernel holds what it should"])
    elif answer.plan.is_empty:
        print_lines(["no difference from what is known, which may not be all"])
    else:
        print_styled([*plan_lines(answer.plan, plan_summary(answer.plan))])
    tell_problems(answer.problems)
    if not source.is_sure:
        for note in source.notes():
            complain(f"not known: {note}")
        if source.held:
            complain(f"note: {source.held} deletions are held until all is known")
        return ExitStatus.ERROR
    return ExitStatus.OK if answer.plan.is_empty else ExitStatus.DIFFERENT


def apply(
    kernel: Kernel, store: Store, config: ProxyConfig, form: PlanFormat
) -> ExitStatus:
    """Impose the desired state once, and print what became of it.

    Raises:
        UnreadKernel: a part of the kernel cannot be read; nothing is changed.
    """
    with closing(kernel):
        reconciler = Reconciler(kernel=kernel, config=config, store=store)
        observed = reconciler.survey()
        require(observed, reconciler.words, NEEDED)
        done = reconciler.impose(observed)
        view = describe(
            done.plan,
            observed.state,
            reconciler.desired,
            firewall=reconciler.words,
            as_data=form is not PlanFormat.TABLE,
        )
        outcome = _outcome(view, done.report, done.duration_s, reconciler.words)
    if form is PlanFormat.TABLE:
        print_lines([outcome_summary(outcome)])
    else:
        print_data(outcome, form)
    tell_problems(reconciler.problems())
    return _failures(outcome)


def cleanup(
    kernel: Kernel, config: ProxyConfig, form: PlanFormat, *, dry_run: bool
) -> ExitStatus:
    """Remove all that is ours, or print the plan.

    Raises:
        UnreadKernel: a part of the kernel cannot be read; nothing is changed.
    """
    begun = time.monotonic()
    with closing(kernel):
        observed = kernel.observe()
        require(observed, kernel.words, NEEDED)
        # Sysctls stay: what they were before, nobody knows.
        options = DiffOptions(vip_link=config.vip_link, exclude=config.exclude_cidrs)
        plan = diff(observed, NodeState(), options)
        view = describe(
            plan,
            observed.state,
            firewall=kernel.words,
            as_data=form is not PlanFormat.TABLE,
        )
        if dry_run:
            _print_cleanup(view, form, plan_summary(view))
            return ExitStatus.OK
        report = kernel.apply(plan) if plan else Report(applied=0)
    outcome = _outcome(view, report, time.monotonic() - begun, kernel.words)
    if form is not PlanFormat.TABLE:
        print_data(outcome, form)
    else:
        _print_cleanup(view, form, outcome_summary(outcome))
    return _failures(outcome)


def refuse_beside_daemon(socket: Path) -> None:
    """Do nothing if no daemon is there.

    Raises:
        ConfigError: one would put back at once what is removed.
    """
    if ask(socket, "/v1/version") is not None:
        raise ConfigError(
            field="--socket",
            value=str(socket),
            reason="an ipvsctl run answers there and would put everything back;"
            " stop it first, or use --force",
        )


def _print_cleanup(plan: PlanView, form: PlanFormat, summary: str) -> None:
    if form is not PlanFormat.TABLE:
        print_data(plan, form)
    elif plan.is_empty:
        print_lines(["nothing of ours is there"])
    else:
        print_styled([*plan_lines(plan, summary, nameless="Services")])


def _outcome(
    plan: PlanView, report: Report, duration_s: float, firewall: FirewallWords
) -> Outcome:
    return Outcome(
        plan=plan,
        applied=report.applied,
        failed=tuple(failure.words(firewall) for failure in report.failed),
        duration_s=duration_s,
    )


def _failures(outcome: Outcome) -> ExitStatus:
    for failure in outcome.failed:
        tell(f"failed: {failure}")
    return ExitStatus.ERROR if outcome.failed else ExitStatus.OK
