"""One Service on its way to a program: measured, granted its share, compiled."""

from collections.abc import Generator
from typing import Final, NamedTuple

import msgspec

from ipvsctl.model.config import ProxyConfig
from ipvsctl.model.objects import EndpointSlice, NodeContext, Service
from ipvsctl.plan.service.allowance import EVERYTHING
from ipvsctl.plan.service.amounts import ANY_AMOUNTS, Amounts
from ipvsctl.plan.service.compile import compile_in_steps
from ipvsctl.plan.service.demand import Demand, demand_of
from ipvsctl.plan.service.endpoints import KnownSlices
from ipvsctl.plan.service.program import ServiceProgram

LARGE_VIRTUAL_SERVERS: Final = 64
LARGE_ENDPOINTS: Final = 2000
"""A Service that may have more virtual servers than this, or has slices with more
endpoints and ports, is a large one: it takes some milliseconds to compile."""


class Limited(NamedTuple):
    """The limits of one Service's share."""

    own: Amounts
    namespace: Amounts


class Compilation(msgspec.Struct, eq=False, kw_only=True):
    """One Service's turn to be compiled, with all that takes, as of one moment.

    Measured first; then, when it is known what is granted to it, compiled. All of it
    may be done in any thread, one call at a time.

    Attributes:
        asked: what it asks for of what its namespace may have.
        granted: set in between.
        known: what was found in its slices before; None, and nothing is kept.
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
    known: KnownSlices | None = None
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
            self.service,
            self.slices,
            self.context,
            self.config,
            allowance,
            self.known,
        )
