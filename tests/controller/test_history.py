"""What is remembered of syncs and audits."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import msgspec
from structlog.testing import capture_logs

from ipvsctl.controller.history import KEPT, HistoryObserver
from ipvsctl.controller.observers import AuditDone, SyncDone
from ipvsctl.controller.repeats import (
    LOOK_EVERY_S,
    OFTEN,
    REASON,
    WITHIN_S,
    Repeats,
)
from ipvsctl.controller.sync_report import SyncReport
from ipvsctl.model.history import What
from ipvsctl.model.ipvs import RealServer, RealServerKey
from ipvsctl.model.net import parse_address
from ipvsctl.model.problem import WORDED, Kind, ObjectRef, Problem
from ipvsctl.model.processes import Process, Processes
from ipvsctl.plan.diff.kinds import ObjectKind
from ipvsctl.plan.diff.ops import (
    DeleteEntry,
    DeleteRealServer,
    DeleteVirtualServer,
    FailedOp,
    Report,
    UnbindAddress,
    UpdateRealServer,
)
from tests.controller.cluster import WEB
from tests.controller.test_audit import World


class Clock:
    """The wall clock of the histories."""

    now_s = 1_000.0


clock = Clock()

POD = RealServerKey(parse_address("172.16.0.1"), 8080)


@asynccontextmanager
async def remembering(world: World) -> AsyncIterator[HistoryObserver]:
    """A history that takes note."""
    history = HistoryObserver(
        world.reconciler.desired,
        "node-0",
        world.reconciler.words,
        world.kernel.read_processes,
        lambda: clock.now_s,
    )
    running = asyncio.ensure_future(history.run())
    yield history
    await history.settle()
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running


def audited(world: World, report: SyncReport, *, is_first: bool = False) -> AuditDone:
    """An audit of no change."""
    return AuditDone(report=report, context=world.reconciler.context, is_first=is_first)


async def test_an_address_and_an_entry_have_their_service() -> None:
    """As a virtual server has; a rule is everybody's."""
    world = World(0)
    state = world.kernel.observe().state
    address = min(state.addresses, key=str)
    key, entries = next((k, e) for k, e in state.entries.items() if e)
    entry = min(entries, key=str)
    world.kernel.apply((UnbindAddress(address), DeleteEntry(key, entry)))
    async with remembering(world) as history:
        await history.audited(audited(world, world.reconciler.audit()))
        await history.settle()
    found = {entry.text: entry.services for entry in history.since(0).entries}
    programs = world.reconciler.desired.programs
    (owner,) = found[f"add address {address}"]
    assert address in programs[ObjectRef(*owner.split("/"))].addresses
    ((_, owners),) = [item for item in found.items() if item[0].startswith("add entry")]
    assert [ObjectRef(*name.split("/")) in programs for name in owners] == [True]


async def test_drift_is_an_event_with_what_was_before() -> None:
    """One for each op, with its Service, and a line in the log that names some."""
    world = World(0)
    key = next(iter(world.kernel.observe().state.virtual_servers))
    world.kernel.apply((DeleteVirtualServer(key),))
    async with remembering(world) as history:
        with capture_logs() as logs:
            await history.audited(audited(world, world.reconciler.audit()))
            await history.settle()
    entries = history.since(0).entries
    assert {entry.what for entry in entries} == {What.REPAIR}
    assert entries[0].text.startswith(f"add virtual server {key}")
    server = world.reconciler.desired.server(key)
    assert server is not None
    assert entries[0].services == (str(server.port_name.service),)
    last = history.last_repair
    assert last is not None
    assert last.text == entries[0].text
    (line,) = logs
    assert line["log_level"] == "warning"
    assert line["changes"] == sum(entry.count for entry in entries)
    assert str(key) in line["some"][0]


async def test_the_first_audit_repairs_nothing() -> None:
    """What a daemon finds at its start was nobody's doing."""
    world = World(0)
    world.drift()
    async with remembering(world) as history:
        await history.audited(audited(world, world.reconciler.audit(), is_first=True))
    assert history.since(0).entries == ()


async def test_much_drift_is_few_events() -> None:
    """Some are named, the others counted."""
    world = World(0)
    world.drift()
    async with remembering(world) as history:
        report = world.reconciler.audit()
        await history.audited(audited(world, report))
    entries = history.since(0).entries
    assert len(entries) == 21
    assert entries[-1].text.endswith("more repairs")
    last = history.last_repair
    assert last is not None
    assert (last.text, last.count) == (entries[0].text, len(report.plan))
    assert sum(entry.count for entry in entries) == len(report.plan)


async def test_a_sync_is_one_event() -> None:
    """However many ops it has."""
    world = World(0)
    async with remembering(world) as history:
        for _ in range(5):
            change = world.reconciler.prepare()
            world.sync()
            report = world.reconciler.sync(world.reconciler.prepare())
            await history.synced(SyncDone(report=report, change=change))
    assert len(history.since(0).entries) <= 5


async def test_drains_and_refusals() -> None:
    """Each begins, ends and fails for itself."""
    world = World(0)
    observed = world.kernel.observe()
    drained = RealServer(key=POD, weight=0)
    before = msgspec.structs.replace(
        observed,
        state=msgspec.structs.replace(
            observed.state, real_servers={WEB: {POD: drained}}
        ),
    )
    begin, end = UpdateRealServer(WEB, drained), DeleteRealServer(WEB, POD)
    refused = FailedOp(op=end, errno=1, reason="not permitted")
    report = SyncReport(
        plan=(begin, end),
        report=Report(applied=1, failed=(refused,)),
        observed=before,
        duration_s=0.0,
    )
    change = world.reconciler.prepare()
    async with remembering(world) as history:
        await history.synced(SyncDone(report=report, change=change))
    found = [(entry.what, entry.text) for entry in history.since(0).entries]
    assert [what for what, _ in found] == [What.DRAIN, What.FAILED]
    assert found[1][1].endswith("not permitted")


async def test_what_was_refused_was_not_repaired() -> None:
    """Neither in the history, nor in the log, nor as the last repair."""
    world = World(0)
    key = next(iter(world.kernel.observe().state.virtual_servers))
    world.kernel.apply((DeleteVirtualServer(key),))
    world.kernel.fail_on(lambda _op: True, 1)
    async with remembering(world) as history:
        with capture_logs() as logs:
            await history.audited(audited(world, world.reconciler.audit()))
            await history.settle()
    assert {entry.what for entry in history.since(0).entries} == {What.FAILED}
    assert history.last_repair is None
    assert logs == []


async def test_many_drains_at_once() -> None:
    """Those that are not named are counted."""
    world = World(0)
    observed = world.kernel.observe()
    keys = [RealServerKey(parse_address(f"172.16.9.{n}"), 80) for n in range(60)]
    plan = tuple(UpdateRealServer(WEB, RealServer(key=key, weight=0)) for key in keys)
    report = SyncReport(
        plan=plan, report=Report(applied=60), observed=observed, duration_s=0.0
    )
    async with remembering(world) as history:
        change = world.reconciler.prepare()
        await history.synced(SyncDone(report=report, change=change))
    entries = history.since(0).entries
    assert [entry.count for entry in entries] == [*[1] * 20, 40]


async def test_memory_is_bounded() -> None:
    """A thousand events, none of them long; who comes late is told what is lost."""
    world = World(0)
    problem = Problem(
        kind=Kind.SERVICE,
        ref=ObjectRef("default", "x" * 253),
        field="spec.externalIPs",
        value="y" * 100_000,
        reason="is long",
    )
    async with remembering(world) as history:
        for _ in range(200):
            history.appeared((problem,) * 10)
    everything = history.since(0)
    assert len(everything.entries) == KEPT
    assert everything.lost == 1000
    assert max(len(entry.text) for entry in everything.entries) < 400
    last = everything.entries[-1]
    assert last.serial == 2000
    assert last.services == (f"default/{'x' * 253}",)
    later = history.since(1998)
    assert [entry.serial for entry in later.entries] == [1999, 2000]
    assert later.lost == 0
    assert history.since(5000).entries == ()


async def test_a_great_many_problems_are_one_line_more() -> None:
    """They may all come at once."""
    world = World(0)
    problems = tuple(
        Problem(
            kind=Kind.NODE,
            ref=ObjectRef("", f"node-{number}"),
            field="a",
            value="b",
            reason="c",
        )
        for number in range(5000)
    )
    async with remembering(world) as history:
        history.appeared(problems)
    entries = history.since(0).entries
    assert len(entries) == 21
    assert entries[0].services == ()
    assert entries[-1].count == 4980


async def test_what_comes_again_and_again_is_a_problem_of_the_node() -> None:
    """The third time within ten minutes, and until ten minutes have been quiet."""
    world = World(0)
    keys = [*world.kernel.observe().state.virtual_servers][:2]
    async with remembering(world) as history:
        for number in range(3):
            assert history.problems() == ()
            gone = keys if number == 1 else keys[:1]
            world.kernel.apply(tuple(map(DeleteVirtualServer, gone)))
            await history.audited(audited(world, world.reconciler.audit()))
            await history.settle()
            clock.now_s += 30
        found = history.problems()
        assert {problem.kind for problem in found} == {Kind.NODE}
        assert any(str(keys[0]) in problem.value for problem in found)
        assert not any(str(keys[1]) in problem.value for problem in found)
        clock.now_s += 1000
        assert history.problems() == ()


async def test_a_guess_at_who_fights_is_in_the_problem_from_the_start() -> None:
    """Once somebody is named nobody is looked for: the problem keeps its words."""
    world = World(0)
    key = next(iter(world.kernel.observe().state.virtual_servers))
    world.kernel.processes = runs(("kube-proxy", 7))
    async with remembering(world) as history:
        for number in range(5):
            if number > 2:
                world.kernel.processes = runs(("kube-proxy", 100 + number))
            world.kernel.apply((DeleteVirtualServer(key),))
            await history.audited(audited(world, world.reconciler.audit()))
            await history.settle()
            reasons = {p.reason for p in history.problems() if p.count == 1}
            assert reasons == ({f"{REASON}; {GUESS}"} if number > 1 else set())
            clock.now_s += LOOK_EVERY_S


GUESS = (
    "a guess at who that is: kube-proxy (pid 7),"
    " which runs on this node and changes such things"
)


def runs(*programs: tuple[str, int]) -> Processes:
    """These run, with their pids."""
    running = tuple(Process(name=name, pid=pid) for name, pid in programs)
    return Processes(running=running, are_nodes=True)


def test_who_runs_is_looked_for_in_a_fight_alone() -> None:
    """Of a kind of object, once in a while until somebody is found."""
    repeats = Repeats("node-0")
    one = {"add address 10.96.0.1": ObjectKind.ADDRESS}
    other = {"change sysctl": ObjectKind.SYSCTL}
    for now_s in range(OFTEN - 1):
        assert not repeats.want_look(one | other, now_s)
        repeats.note(one | other, now_s)
    assert repeats.want_look(one, OFTEN)
    repeats.note(one, OFTEN, runs())
    assert not repeats.want_look(one, OFTEN + 1)
    assert repeats.want_look(other, OFTEN + 1)
    (problem,) = repeats.problems(OFTEN + 1)
    assert problem.reason == REASON
    later_s = OFTEN + LOOK_EVERY_S
    assert repeats.want_look(one, later_s)
    repeats.note(one, later_s, runs(("keepalived", 3)))
    (problem,) = repeats.problems(later_s)
    assert "keepalived (pid 3)" in problem.reason
    assert not repeats.want_look(one, later_s + 2 * LOOK_EVERY_S)


def test_a_look_for_one_kind_changes_no_words_of_another() -> None:
    """Whoever is named in a problem stays, though his pid is another by now."""
    repeats = Repeats("node-0")
    for number, kind in enumerate((ObjectKind.ADDRESS, ObjectKind.VIRTUAL_SERVER)):
        for _ in range(OFTEN):
            repeats.note({kind.value: kind}, number, runs(("keepalived", number)))
    found = {problem.value: problem.reason for problem in repeats.problems(1)}
    assert "keepalived (pid 0)" in found[ObjectKind.ADDRESS.value]
    assert "keepalived (pid 1)" in found[ObjectKind.VIRTUAL_SERVER.value]


def test_a_guess_is_forgotten_with_its_fight() -> None:
    """Another one may be with somebody else."""
    repeats = Repeats("node-0")
    one = {"add address 10.96.0.1": ObjectKind.ADDRESS}
    for begun_s, name in ((0.0, "keepalived"), (10 * WITHIN_S, "NetworkManager")):
        for _ in range(OFTEN):
            repeats.note(one, begun_s, runs((name, 3)))
        (problem,) = repeats.problems(begun_s)
        assert f"{name} (pid 3)" in problem.reason


def test_a_fight_over_everything_is_bounded() -> None:
    """Some are in words, the others counted; memory has an end."""
    repeats = Repeats("node-0")
    everything = {f"add address {n}": ObjectKind.ADDRESS for n in range(5000)}
    for _ in range(OFTEN):
        repeats.note(everything, 1.0, runs(("kube-proxy", 7)))
    found = repeats.problems(2.0)
    assert len(found) == WORDED + 1
    assert sum(problem.count for problem in found) == 1000
