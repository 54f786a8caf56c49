"""What is to be compiled next: many small Services at once, large ones part by part.

A Service with thousands of virtual servers takes seconds to compile and to program.
Its turn is cut into parts, between which all others are served.
"""

from collections import OrderedDict
from collections.abc import Callable, Generator, Iterable
from typing import Final, NamedTuple

import msgspec

from ipvsctl.model.config import ProxyConfig
from ipvsctl.model.objects import EndpointSlice, NodeContext, Service
from ipvsctl.model.problem import ObjectRef
from ipvsctl.plan.service.allowance import EVERYTHING
from ipvsctl.plan.service.amounts import ANY_AMOUNTS, Amounts
from ipvsctl.plan.service.compile import compile_in_steps
from ipvsctl.plan.service.demand import Demand, demand_of
from ipvsctl.plan.service.program import ServiceProgram

SMALL: Final = 100
"""Services that are compiled at once: some ten milliseconds."""

LARGE_VIRTUAL_SERVERS: Final = 64
LARGE_ENDPOINTS: Final = 2000
"""A Service that may have more virtual servers than this, or has slices with more
endpoints and ports, is a large one: it takes some milliseconds to compile."""

MOST_PARTS: Final = 16
"""Parts of a large Service that are put into place at once."""

_SLOW_S: Final = 0.02
_FAST_S: Final = 0.01

Parts = Generator[None, None, None]


class Limited(NamedTuple):
    """The limits of one Service's share."""

    own: Amounts
    namespace: Amounts


class Job(msgspec.Struct, eq=False, kw_only=True):
    """A Service to be compiled, with all that takes, as of one moment.

    Measured first; then, when it is known what is granted to it, compiled. All of it
    may be done in any thread.

    Attributes:
        asked: what it asks for of what its namespace may have.
        granted: set in between.
        compiling: what is under way.
        program: the result.
    """

    service: Service
    slices: tuple[EndpointSlice, ...]
    context: NodeContext
    config: ProxyConfig
    limits: Limited
    demand: Demand | None = None
    asked: Amounts = Amounts()
    granted: Amounts = ANY_AMOUNTS
    compiling: Generator[None, None, ServiceProgram] | None = None
    program: ServiceProgram | None = None

    @property
    def is_large(self) -> bool:
        """Whether it takes long."""
        service = self.service
        vips = len(service.external_ips) + len(service.ingress_vips)
        if len(service.ports) * (2 + vips) > LARGE_VIRTUAL_SERVERS:
            return True
        found = 0
        for piece in self.slices:
            found += len(piece.endpoints) + len(piece.ports)
        return found > LARGE_ENDPOINTS

    def measure(self) -> None:
        """See `asked`."""
        if self.service.proxied:
            demand = demand_of(self.service, self.slices, self.context, self.config)
            self.demand, self.asked = demand, demand.within(self.limits.own)

    def compile(self) -> ServiceProgram:
        """What it means; also in `program`."""
        while self.program is None:
            self.go_on()
        return self.program

    def go_on(self) -> None:
        """Compile it for some milliseconds more."""
        if self.compiling is None:
            self.compiling = self._compile_in_steps()
        try:
            next(self.compiling)
        except StopIteration as done:
            self.program = done.value

    def _compile_in_steps(self) -> Generator[None, None, ServiceProgram]:
        allowance = EVERYTHING
        if self.demand is not None:
            own, namespace = self.limits
            allowance = self.demand.allowance(own, self.granted, namespace)
        return compile_in_steps(
            self.service, self.slices, self.context, self.config, allowance
        )


class Backlog:
    """Services that are to be compiled, each once.

    Large ones have their turn one at a time, those of one namespace after those of
    another.

    Attributes:
        small: in the order they came.
    """

    def __init__(self) -> None:
        self.small: OrderedDict[ObjectRef, None] = OrderedDict()
        self._large: dict[str, dict[ObjectRef, None]] = {}
        self._current: ObjectRef | None = None
        self._job: Job | None = None
        self._parts: Parts | None = None

    @property
    def has_parts(self) -> bool:
        """Whether something can be done at once."""
        return bool(self.small) or self._parts is not None

    @property
    def has_large(self) -> bool:
        """Whether a large Service's turn can begin."""
        return self._current is None and bool(self._large)

    @property
    def current(self) -> ObjectRef | None:
        """The large Service whose turn it is."""
        return self._current

    def add(self, refs: Iterable[ObjectRef]) -> None:
        """These are to be compiled."""
        self.small.update(dict.fromkeys(refs))

    def is_taken(self, ref: ObjectRef) -> bool:
        """Whether a Service waits among the large ones, or has its turn."""
        return ref == self._current or ref in self._large.get(ref.namespace, ())

    def postpone(self, ref: ObjectRef) -> None:
        """Have a Service wait among the large ones."""
        self._large.setdefault(ref.namespace, {})[ref] = None

    def begin(self, age_if_gone: Callable[[ObjectRef], str | None]) -> ObjectRef:
        """Give the next large Service its turn.

        Those that are gone come first, the youngest before the others: it is the older
        one that has what both want, and what it leaves would be put into place for the
        younger one, only to be taken away again.

        Args:
            age_if_gone: when a Service was created that is no more; None of others.
        """
        namespace, refs = next(iter(self._large.items()))
        gone = [(age, ref) for ref in refs if (age := age_if_gone(ref)) is not None]
        ref = max(gone)[1] if gone else next(iter(refs))
        del refs[ref], self._large[namespace]
        if refs:
            self._large[namespace] = refs
        self._current = ref
        return ref

    def hold(self, job: Job) -> None:
        """Its turn begins with this job."""
        self._job = job

    def is_held(self, job: Job) -> bool:
        """Whether a job is still wanted."""
        return job is self._job

    def put(self, parts: Parts) -> None:
        """Its turn ends with these parts."""
        self._job, self._parts = None, parts

    def work(self, parts: int) -> None:
        """Do so many of its parts."""
        for _ in range(parts):
            if self._parts is None:
                return
            try:
                next(self._parts)
            except StopIteration:
                self._current = self._parts = None

    def abandon_job(self) -> ObjectRef | None:
        """Forget the job of the Service whose turn it is; it has no turn then."""
        if self._job is None:
            return None
        ref, self._current, self._job = self._current, None, None
        return ref


class Pace:
    """How many parts of a large Service are imposed at once.

    Others wait for them, and how long they take is the kernel's business: adding a real
    server goes through all deleted of late (ip_vs_ctl.c:ip_vs_trash_get_dest).
    """

    def __init__(self) -> None:
        self.parts = 1

    def note(self, took_s: float) -> None:
        """So long took what was imposed last."""
        if took_s > _SLOW_S:
            self.parts = max(1, self.parts // 2)
        elif took_s < _FAST_S:
            self.parts = min(MOST_PARTS, self.parts * 2)
