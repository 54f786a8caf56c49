"""What may not be taken from the kernel, since the input is not whole."""

from collections.abc import Iterable, Iterator

from ipvsctl.cluster.vouched import WHOLE, Vouched
from ipvsctl.model.ipvs import VirtualServerKey
from ipvsctl.model.problem import ObjectRef
from ipvsctl.model.state import NodeState
from ipvsctl.plan.diff.plan import Hold, Known
from ipvsctl.plan.union.desired import Desired


class Holding:
    """Keeps one node's hold up with what its input is vouched for.

    What is unknown matters until a first audit that holds nothing: from then on,
    whatever of ours is in the kernel is there since this process wanted it. Objects
    that are broken later keep their last good state, and so stay desired.
    """

    def __init__(self, desired: Desired) -> None:
        self._desired = desired
        self._known: Known | None = Known()
        self.hold: Hold | None = None
        self.doubts: tuple[str, ...] = ()

    def take(self, vouched: Vouched) -> bool:
        """Hold for this from now on; whether less is held than before."""
        before, self.doubts = self.hold, vouched.doubts
        if vouched is WHOLE:
            self.hold = None
            return before is not None
        knows_all = self._known is None
        hold = Hold(
            known=self._known or Known(),
            services=not (vouched.has_all_services or knows_all),
            endpoints=not (vouched.has_all_endpoints or knows_all),
            unsure=frozenset(self._keys_of(vouched.unsure)),
        )
        is_any = hold.services or hold.endpoints or hold.unsure
        self.hold = hold if is_any else None
        return before is not None and not (is_any and before.is_within(hold))

    def know(self, desired: NodeState) -> None:
        """This is about to be imposed."""
        if self.hold is not None and self._known is not None:
            self._known.add(desired)

    def audited(self, hold: Hold | None) -> None:
        """Everything has been imposed, but for what was held."""
        if hold is None or not (hold.services or hold.endpoints):
            self._known = None

    def _keys_of(self, refs: Iterable[ObjectRef]) -> Iterator[VirtualServerKey]:
        if not refs:
            return
        keys = set()
        for ref in refs:
            program = self._desired.programs.get(ref)
            if program is not None:
                keys |= {server.server.key for server in program.servers}
        yield from keys
        circuits = self._desired.short_circuits.items()
        yield from (inside for inside, address in circuits if address in keys)
