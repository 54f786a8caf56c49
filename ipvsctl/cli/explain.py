"""`explain`: why a Service answers on this node, or does not."""

from collections.abc import Generator
from contextlib import closing
from pathlib import Path

import msgspec

from ipvsctl.cli.daemon import ask
from ipvsctl.cli.errors import ExitStatus
from ipvsctl.cli.options import PlanFormat
from ipvsctl.cli.output import print_data, print_styled, terminal_width
from ipvsctl.cli.show_explain import explanation_lines
from ipvsctl.cluster.store import Store
from ipvsctl.cluster.taken import Objects
from ipvsctl.controller.look import Seen, see
from ipvsctl.controller.reconciler import Reconciler
from ipvsctl.kernel.interface import Kernel
from ipvsctl.model.config import ProxyConfig
from ipvsctl.model.errors import ConfigError, KernelError
from ipvsctl.model.explanation import Explanation, Part, Step, Verdict
from ipvsctl.model.neighbours import Neighbours
from ipvsctl.model.net import IPAddress, Protocol, parse_address
from ipvsctl.model.problem import Problem
from ipvsctl.model.relay import ListenerStates
from ipvsctl.model.source_state import SourceState
from ipvsctl.model.status import LoopStatus
from ipvsctl.model.steps import finish
from ipvsctl.model.target import AddressTarget, Target, parse_target
from ipvsctl.plan.report.explain import explain
from ipvsctl.plan.report.explain_inputs import ExplainInputs
from ipvsctl.plan.report.explain_packet import Client, Origin
from ipvsctl.plan.union.fwmark_allocator import BesideKind

_STATUSES = {
    Verdict.OK: ExitStatus.OK,
    Verdict.BROKEN: ExitStatus.DIFFERENT,
    Verdict.UNKNOWN: ExitStatus.ERROR,
}


class Question(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked, in the words of whoever asks.

    Attributes:
        client: `pod`, `host`, `outside` or an address; "" for whoever usually asks.
        protocol: `tcp`, `udp` or `sctp`; "" for all.
    """

    target: Target
    client: str = ""
    protocol: str = ""

    def read_client(self) -> Client | None:
        """Who the packets come from.

        Raises:
            ConfigError: neither a kind of client nor an address.
        """
        if not self.client:
            return None
        try:
            return Origin(self.client)
        except ValueError:
            pass
        try:
            return parse_address(self.client)
        except ValueError:
            reason = "neither pod, host, outside nor an address"
            raise ConfigError(
                field="--from", value=self.client, reason=reason
            ) from None

    def read_protocol(self) -> Protocol | None:
        """The only protocol to explain.

        Raises:
            ConfigError: IPVS has no such protocol.
        """
        if not self.protocol:
            return None
        try:
            return Protocol[self.protocol.upper()]
        except KeyError:
            reason = "neither tcp, udp nor sctp"
            raise ConfigError(
                field="--protocol", value=self.protocol, reason=reason
            ) from None


class Surroundings(msgspec.Struct, frozen=True, kw_only=True):
    """What is known besides the node itself.

    Attributes:
        source: what the objects are worth.
        loop: how the daemon does; None if it was not asked.
        mute: that there is a daemon which cannot be asked, a clause; "" if not.
        problems: of all objects.
        listeners: the daemon's on localhost; None if it was not asked.
    """

    source: SourceState
    loop: LoopStatus | None = None
    mute: str = ""
    problems: tuple[Problem, ...] = ()
    listeners: ListenerStates | None = None


def ask_to_explain(socket: Path, question: Question) -> Explanation | None:
    """The daemon's own explanation; None when there is no daemon.

    Raises:
        ConfigError: a word of the question means nothing.
        DaemonError: the daemon cannot say.
    """
    question.read_client()
    question.read_protocol()
    query = {"question": msgspec.json.encode(words_of(question)).decode()}
    answer = ask(socket, "/v1/explain", query, needs=2)
    return None if answer is None else msgspec.json.decode(answer, type=Explanation)


def read_question(text: str) -> Question:
    """The question of a client, as `ask_to_explain` sends it.

    Raises:
        ConfigError: it is none.
    """
    try:
        words = msgspec.json.decode(text, type=dict[str, str])
    except msgspec.DecodeError as error:
        raise ConfigError(field="question", value=text, reason=str(error)) from error
    question = Question(
        target=parse_target(words.get("target", "")),
        client=words.get("client", ""),
        protocol=words.get("protocol", ""),
    )
    question.read_client()
    question.read_protocol()
    return question


def read_explanation(
    kernel: Kernel,
    store: Store,
    config: ProxyConfig,
    source: SourceState,
    question: Question,
    mute: str = "",
) -> Explanation:
    """The explanation without a daemon; `mute` says that there is one, and why not."""
    with closing(kernel):
        neighbours = kernel.read_neighbours(addresses_of(question.target, store))
        reconciler = Reconciler(kernel=kernel, config=config, store=store)
        seen = see(reconciler, reconciler.survey())
        return finish(
            explain_in_steps(
                seen,
                store,
                config,
                neighbours,
                question,
                Surroundings(source=source, mute=mute, problems=reconciler.problems()),
            )
        )


def addresses_of(target: Target, objects: Objects) -> frozenset[IPAddress]:
    """The addresses whose connections matter to a target."""
    if isinstance(target, AddressTarget):
        refs = objects.claimants([target.address])
        own = frozenset({target.address})
    else:
        own = frozenset()
        refs = frozenset(ref for ref in objects.refs() if target.is_of(ref))
    services = filter(None, map(objects.service, refs))
    return own | frozenset(
        address
        for service in services
        for address in (
            *service.cluster_ips,
            *service.external_ips,
            *service.ingress_vips,
        )
    )


def explain_in_steps(
    seen: Seen,
    objects: Objects,
    config: ProxyConfig,
    neighbours: Neighbours,
    question: Question,
    about: Surroundings,
) -> Generator[None, None, Explanation]:
    """Explain a node as it was seen; the source and the daemon come first."""
    loop = about.loop
    repair = "the next audit puts it right; see ipvsctl diff"
    if loop is None:
        repair = "no daemon puts it right: start ipvsctl run, or ipvsctl apply"
    inputs = ExplainInputs(
        objects=objects,
        desired=seen.desired,
        observed=seen.observed,
        neighbours=neighbours,
        context=seen.context,
        config=config,
        options=seen.options,
        words=seen.words,
        problems=about.problems,
        drain_ages_s=seen.drain_ages_s,
        repair=repair,
        listeners=about.listeners,
        insides={
            outer: inside
            for outer, inside in seen.desired.beside(BesideKind.INSIDE).items()
            if seen.desired.served[outer].inside is not None
        },
        arrivals=seen.desired.beside(BesideKind.ARRIVAL),
    )
    found = yield from explain(
        inputs, question.target, question.read_client(), question.read_protocol()
    )
    steps = (*_source_steps(about.source), _loop_step(loop, about.mute))
    head = Part(title="what is known", steps=steps)
    return msgspec.structs.replace(
        found.before(head), by="no daemon was asked" if loop is None else ""
    )


def without_kernel(question: Question, error: KernelError) -> Explanation:
    """The explanation on a node whose kernel cannot be read."""
    step = Step(
        verdict=Verdict.BROKEN,
        subject="kernel",
        found=str(error),
        remedy="ipvsctl check says what this node needs",
    )
    return Explanation(
        target=str(question.target), parts=(Part(title="kernel", steps=(step,)),)
    )


def print_explanation(explanation: Explanation, form: PlanFormat) -> ExitStatus:
    """Print an explanation; the status says whether all is well."""
    if form is PlanFormat.TABLE:
        print_styled([*explanation_lines(explanation, terminal_width())])
    else:
        print_data(_Data.of(explanation), form)
    return _STATUSES[explanation.verdict]


class _Data(msgspec.Struct, frozen=True, kw_only=True):
    """An explanation as data, with what follows from its steps."""

    target: str
    verdict: Verdict
    headline: Step | None
    parts: tuple[Part, ...]

    @classmethod
    def of(cls, explanation: Explanation) -> "_Data":
        return cls(
            target=explanation.target,
            verdict=explanation.verdict,
            headline=explanation.headline,
            parts=explanation.parts,
        )


def words_of(question: Question) -> dict[str, str]:
    """The question as it is sent; see `read_question`."""
    return {
        "target": str(question.target),
        "client": question.client,
        "protocol": question.protocol,
    }


def _source_steps(source: SourceState) -> list[Step]:
    steps = [
        Step(
            verdict=Verdict.OK if source.is_fresh else Verdict.UNKNOWN,
            subject="source",
            found=source.heard(),
            remedy="" if source.is_fresh else "what follows may be old",
        )
    ]
    return steps + [
        Step(verdict=Verdict.UNKNOWN, subject="source", found=f"not known: {doubt}")
        for doubt in source.doubts
    ]


def _loop_step(loop: LoopStatus | None, mute: str) -> Step:
    if mute:
        return Step(
            verdict=Verdict.BROKEN,
            subject="daemon",
            found=mute,
            remedy="look at its log, and at its version",
        )
    if loop is None:
        return Step(
            verdict=Verdict.NOTE,
            subject="daemon",
            found="no ipvsctl run answers: nothing keeps the kernel as it should be",
            remedy="start it",
        )
    if loop.audited_s_ago is None:
        return Step(verdict=Verdict.NOTE, subject="daemon", found="no audit yet")
    ago = f"last audit {loop.audited_s_ago:.0f} s ago"
    if loop.is_overdue:
        return Step(
            verdict=Verdict.BROKEN,
            subject="daemon",
            found=f"{ago}, overdue: it does not repair what is wrong",
            remedy="its log says why: kubectl logs of the pod on this node",
        )
    failed = f", {loop.failed_ops} ops failed" if loop.failed_ops else ""
    verdict = Verdict.BROKEN if failed else Verdict.OK
    return Step(verdict=verdict, subject="daemon", found=f"{ago}{failed}")
