"""The outcome of a trace: where a packet ends, and the steps that decided it."""

from enum import StrEnum

import msgspec

from ipvsctl.model.ipvs import RealServerKey, VirtualServerKey
from ipvsctl.model.rules import ChainRef, Rule
from ipvsctl.plan.service.program import SetMember


class Fate(StrEnum):
    """Where a packet ends."""

    BALANCED = "sent to a real server by IPVS"
    NOT_OURS = "taken by a virtual server of another program"
    LOCAL = "delivered to a process of this host"
    ROUTED = "forwarded or sent without IPVS"
    DROPPED = "dropped without an answer"
    REJECTED = "answered with port unreachable"


class RuleStep(msgspec.Struct, frozen=True, kw_only=True):
    """A rule that matched the packet.

    Attributes:
        hook: the built-in chain through which the packet came to the rule.
        chain: the chain that the rule is in.
        number: its place there, from 1; in a built-in chain only our rules count.
        found: the set entries that made the rule match, or that gave the mark.
        mark: the packet's mark after the rule.
    """

    hook: str
    chain: ChainRef
    number: int
    rule: Rule
    found: tuple[SetMember, ...] = ()
    mark: int = 0

    def __str__(self) -> str:
        return f"{self.chain}: {self.rule.target}"


class ServerStep(msgspec.Struct, frozen=True):
    """The virtual server by which IPVS took the packet."""

    virtual_server: VirtualServerKey

    def __str__(self) -> str:
        return f"IPVS {self.virtual_server}"


Step = RuleStep | ServerStep


class Delivery(msgspec.Struct, frozen=True, kw_only=True):
    """One way that a packet may go from IPVS on.

    Attributes:
        endpoint: the real server.
        masqueraded: the packet gets an address of this host as source.
        fate: BALANCED, unless a rule after IPVS ends the way.
        steps: after IPVS.
        compared: rules that the packet was compared with after IPVS.
        is_tunnelled: the real server is another node, to which the packet goes as it
            came, in one of this host's.
    """

    endpoint: RealServerKey
    masqueraded: bool
    fate: Fate = Fate.BALANCED
    steps: tuple[Step, ...] = ()
    compared: int = 0
    is_tunnelled: bool = False


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """Where a packet ends, and why.

    Attributes:
        fate: of all ways that the packet may go, if it is the same; else BALANCED.
        virtual_server: the one that took the packet; None if none did.
        deliveries: one for each real server that may be chosen, sorted by its key.
        masqueraded: of a packet that was not balanced.
        steps: in the packet's order, up to IPVS or to the end.
        compared: rules that the packet was compared with, up to there.
    """

    fate: Fate
    virtual_server: VirtualServerKey | None = None
    deliveries: tuple[Delivery, ...] = ()
    masqueraded: bool = False
    steps: tuple[Step, ...] = ()
    compared: int = 0

    @property
    def endpoints(self) -> tuple[str, ...]:
        """The real servers that the packet may reach, as text."""
        return tuple(
            str(delivery.endpoint)
            for delivery in self.deliveries
            if delivery.fate is Fate.BALANCED
        )

    @property
    def is_masqueraded(self) -> bool | None:
        """Whether the packet is masqueraded; None if that depends on the endpoint."""
        answers = {delivery.masqueraded for delivery in self.deliveries}
        if not answers:
            return self.masqueraded
        return answers.pop() if len(answers) == 1 else None

    @property
    def path(self) -> tuple[str, ...]:
        """Every step as text; after IPVS one way after the other."""
        after = (step for delivery in self.deliveries for step in delivery.steps)
        return tuple(map(str, (*self.steps, *after)))
