"""What a store hands to whoever compiles: what is dirty, and where to look it up."""

from collections.abc import Iterable
from collections.abc import Set as AbstractSet
from typing import Protocol

import msgspec

from ipvsctl.cluster.vouched import Vouched
from ipvsctl.model.host import ApiServers
from ipvsctl.model.net import IPAddress
from ipvsctl.model.objects import EndpointSlice, Node, NodeContext, Service
from ipvsctl.model.problem import ObjectRef


class Dirty(msgspec.Struct, frozen=True, kw_only=True):
    """What has to be compiled again; false if nothing.

    Attributes:
        services: these, whether they are still there or not.
        node_changed: this node's own zone, addresses or pod networks are others, which
            concerns every Service and the node program.
    """

    services: frozenset[ObjectRef] = frozenset()
    node_changed: bool = False

    def __bool__(self) -> bool:
        return self.node_changed or bool(self.services)


class Taken(msgspec.Struct, frozen=True, kw_only=True):
    """What a store knew at one moment, but for the objects themselves: see `Objects`.

    Attributes:
        dirty: what became so since the store was asked before.
        nodes: what compiling needs of the Nodes; host addresses are not known here.
        api_servers: where the API server is.
        vouched: how much of what there is could be read.
    """

    dirty: Dirty
    nodes: NodeContext
    api_servers: ApiServers
    vouched: Vouched


class Objects(Protocol):
    """What may be asked of a store in any thread, while another one puts events in.

    Every answer is one lookup in a dict, of a value that never changes: the store puts
    another one in its place. So an answer is true at some moment of the call. If that
    is later than what was taken (`Store.take`), its object is dirty again, since an
    event marks it after it has put in the value; it will be asked for once more, and
    the end is the same.
    """

    def refs(self) -> AbstractSet[ObjectRef]:
        """Every Service there is; a copy, made in one go."""
        ...

    def service(self, ref: ObjectRef) -> Service | None:
        """One Service."""
        ...

    def slices_of(self, ref: ObjectRef) -> tuple[EndpointSlice, ...]:
        """The slices that count for a Service; the one that changed last comes last."""
        ...

    def claimants(self, addresses: Iterable[IPAddress]) -> frozenset[ObjectRef]:
        """The Services that ask for one of these addresses."""
        ...

    def node(self, name: str) -> Node | None:
        """One Node."""
        ...
