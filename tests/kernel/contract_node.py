"""What every kernel does with ops about sysctls, the VIP link, addresses and rules."""

import errno
from typing import Final

import msgspec

from ipvsctl.model.ipvs import Timeouts
from ipvsctl.model.net import IPFamily, IPv4Address, IPv6Address
from ipvsctl.model.rules import (
    ChainRef,
    Jump,
    MatchSet,
    Rule,
    RulesChange,
    Side,
    Table,
    Verdict,
)
from ipvsctl.model.state import NodeState
from ipvsctl.model.tunnel import TunnelEnd
from ipvsctl.plan.diff.ops import (
    BindAddress,
    ChangeRules,
    DeleteVipLink,
    DestroySet,
    EnsureVipLink,
    MakeTunnelEnd,
    RaiseVipLink,
    RebuildSet,
    RemoveFormer,
    RemoveTunnelEnd,
    SetSysctl,
    SetTimeouts,
    UnbindAddress,
)
from tests.kernel.contract import CONNTRACK, MISSING_SYSCTL, VIP_LINK, Outcome, Row
from tests.kernel.contract_sets import SPEC, entry, keys, sets

IPSET_ERR_BUSY: Final = 4100

VIP: Final = IPv4Address("10.96.0.10")
VIP6: Final = IPv6Address("fd00:96::10")
LINK: Final = EnsureVipLink(VIP_LINK)


def link(state: NodeState) -> object:
    """Look at the VIP link and its addresses."""
    return state.vip_link_up, set(state.addresses)


NODE_ROWS: Final = (
    Row(
        fact="a sysctl is written",
        op=SetSysctl(CONNTRACK, "1"),
        look=lambda state: dict(state.sysctls),
        then={CONNTRACK: "1"},
    ),
    Row(
        fact="another firewall that is not there is removed already",
        op=RemoveFormer("nonesuch"),
        look=lambda state: state.former is None,
        then=True,
    ),
    Row(
        fact="a sysctl that is not there is not written",
        op=SetSysctl(MISSING_SYSCTL, "1"),
        code=errno.ENOENT,
    ),
    Row(
        fact="a sysctl of numbers takes no word",
        op=SetSysctl(CONNTRACK, "yes"),
        code=errno.EINVAL,
    ),
    Row(
        fact="timeouts are set, and 0 leaves one as it is",
        op=SetTimeouts(Timeouts(600, 0, 60)),
        look=lambda state: state.timeouts,
        then=Timeouts(600, 120, 60),
    ),
    Row(
        fact="a timeout longer than the kernel's clock counts is refused",
        op=SetTimeouts(Timeouts(0x7FFFFFFF, 0, 0)),
        code=errno.EINVAL,
    ),
    Row(
        fact="the VIP link is created, up and without addresses",
        op=LINK,
        look=link,
        then=(True, set()),
    ),
    Row(
        fact="the VIP link keeps its addresses when it is ensured",
        given=(LINK, BindAddress(VIP)),
        op=LINK,
        look=link,
        then=(True, {VIP}),
    ),
    Row(
        fact="the VIP link keeps its addresses when it is set up",
        given=(LINK, BindAddress(VIP)),
        op=RaiseVipLink(VIP_LINK),
        look=link,
        then=(True, {VIP}),
    ),
    Row(
        fact="the VIP link is deleted with its addresses",
        given=(LINK, BindAddress(VIP), BindAddress(VIP6)),
        op=DeleteVipLink(VIP_LINK),
        look=link,
        then=(False, set()),
    ),
    Row(
        fact="a VIP link that is not there is not deleted",
        op=DeleteVipLink(VIP_LINK),
        code=errno.ENODEV,
    ),
    Row(
        fact="an IPv4 address is bound",
        given=(LINK,),
        op=BindAddress(VIP),
        look=link,
        then=(True, {VIP}),
    ),
    Row(
        fact="an IPv6 address is bound",
        given=(LINK,),
        op=BindAddress(VIP6),
        look=link,
        then=(True, {VIP6}),
    ),
    Row(
        fact="an IPv4 address that is there is bound already",
        given=(LINK, BindAddress(VIP)),
        op=BindAddress(VIP),
        look=link,
        then=(True, {VIP}),
    ),
    Row(
        fact="an IPv6 address that is there is bound already",
        given=(LINK, BindAddress(VIP6)),
        op=BindAddress(VIP6),
        look=link,
        then=(True, {VIP6}),
    ),
    Row(
        fact="nothing is bound without the VIP link",
        op=BindAddress(VIP),
        code=errno.ENODEV,
    ),
    Row(
        fact="an IPv4 address is unbound",
        given=(LINK, BindAddress(VIP), BindAddress(VIP6)),
        op=UnbindAddress(VIP),
        look=link,
        then=(True, {VIP6}),
    ),
    Row(
        fact="an IPv6 address is unbound",
        given=(LINK, BindAddress(VIP), BindAddress(VIP6)),
        op=UnbindAddress(VIP6),
        look=link,
        then=(True, {VIP}),
    ),
    Row(
        fact="an IPv4 address that is not there is unbound already",
        given=(LINK,),
        op=UnbindAddress(VIP),
        look=link,
        then=(True, set()),
    ),
    Row(
        fact="an IPv6 address that is not there is unbound already",
        given=(LINK,),
        op=UnbindAddress(VIP6),
        look=link,
        then=(True, set()),
    ),
    Row(
        fact="without the VIP link an address is unbound already",
        op=UnbindAddress(VIP),
        look=link,
        then=(False, set()),
    ),
)

END: Final = TunnelEnd(address=VIP, port=6080)
END6: Final = TunnelEnd(address=VIP6, port=6081)
LOCAL: Final = (LINK, BindAddress(VIP), BindAddress(VIP6))


def ends(state: NodeState) -> object:
    """Look at the ends of tunnels."""
    return dict(state.tunnel_ends)


TUNNEL_ROWS: Final = (
    Row(
        fact="an end of IPv4 tunnels is made",
        given=LOCAL,
        op=MakeTunnelEnd(END),
        look=ends,
        then={IPFamily.IPV4: END},
    ),
    Row(
        fact="an end of IPv6 tunnels is another one",
        given=(*LOCAL, MakeTunnelEnd(END)),
        op=MakeTunnelEnd(END6),
        look=ends,
        then={IPFamily.IPV4: END, IPFamily.IPV6: END6},
    ),
    Row(
        fact="an end of tunnels is made again as it is",
        given=(*LOCAL, MakeTunnelEnd(END6)),
        op=MakeTunnelEnd(END6),
        look=ends,
        then={IPFamily.IPV6: END6},
    ),
    Row(
        fact="an end of tunnels moves to another port",
        given=(*LOCAL, MakeTunnelEnd(END)),
        op=MakeTunnelEnd(msgspec.structs.replace(END, port=7000)),
        look=ends,
        then={IPFamily.IPV4: msgspec.structs.replace(END, port=7000)},
    ),
    Row(
        fact="an end of tunnels is at an address of the host",
        op=MakeTunnelEnd(END),
        code=errno.EADDRNOTAVAIL,
    ),
    Row(
        fact="an end of tunnels is removed, and the other one stays",
        given=(*LOCAL, MakeTunnelEnd(END), MakeTunnelEnd(END6)),
        op=RemoveTunnelEnd(END),
        look=ends,
        then={IPFamily.IPV6: END6},
    ),
    Row(
        fact="an end of tunnels that is not there is removed already",
        op=RemoveTunnelEnd(END),
        look=ends,
        then={},
    ),
    Row(
        fact="addresses of ends of tunnels are none of the host's",
        given=(*LOCAL, MakeTunnelEnd(END6)),
        op=MakeTunnelEnd(END),
        look=link,
        then=(True, {VIP, VIP6}),
    ),
)

SERVICES: Final = ChainRef(Table.NAT, "KUBE-SERVICES")
PREROUTING: Final = ChainRef(Table.NAT, "PREROUTING")
JUMP: Final = Rule(target=Jump(SERVICES.name))
IN_SET: Final = Rule(
    matches=(MatchSet(SPEC.key, (Side.DST, Side.DST)),), target=Verdict.ACCEPT
)
RETURN: Final = Rule(target=Verdict.RETURN)


def change(*written: Rule, linked: bool = False) -> ChangeRules:
    """Write KUBE-SERVICES, and perhaps the jump to it."""
    return ChangeRules(
        RulesChange(
            family=IPFamily.IPV4,
            write=((SERVICES, written),),
            link=((PREROUTING, (JUMP,)),) if linked else (),
        )
    )


def chains(state: NodeState) -> object:
    """Look at the IPv4 rules."""
    return dict(state.chains[IPFamily.IPV4])


RULES_ROWS: Final = (
    Row(
        fact="a chain is written and linked",
        given=(SPEC,),
        op=change(IN_SET, RETURN, linked=True),
        look=chains,
        then={SERVICES: (IN_SET, RETURN), PREROUTING: (JUMP,)},
    ),
    Row(
        fact="a chain is replaced whole, and jumps to it stay",
        given=(SPEC, change(IN_SET, linked=True)),
        op=change(RETURN),
        look=chains,
        then={SERVICES: (RETURN,), PREROUTING: (JUMP,)},
    ),
    Row(
        fact="a chain is unlinked and removed",
        given=(change(RETURN, linked=True),),
        op=ChangeRules(
            RulesChange(
                family=IPFamily.IPV4,
                unlink=((PREROUTING, JUMP),),
                remove=(SERVICES,),
            )
        ),
        look=chains,
        then={},
    ),
    Row(
        fact="a rule matches no set that is not there",
        op=change(IN_SET),
        code=errno.EINVAL,
        nftables=Outcome(code=errno.ENOENT),
    ),
    Row(
        fact="a rule jumps to no chain that is not there",
        op=change(Rule(target=Jump("KUBE-LOAD-BALANCER"))),
        code=errno.EINVAL,
        nftables=Outcome(code=errno.ENOENT),
    ),
    Row(
        fact="a jump that is not there is not unlinked",
        given=(change(RETURN),),
        op=ChangeRules(RulesChange(family=IPFamily.IPV4, unlink=((PREROUTING, JUMP),))),
        code=errno.EINVAL,
        look=chains,
        # The chain is ours alone: without the jump it is as it should be.
        nftables=Outcome(then={SERVICES: (RETURN,)}),
    ),
    Row(
        fact="a set that a rule refers to is rebuilt",
        given=(SPEC, change(IN_SET)),
        op=RebuildSet(SPEC.key, 8, frozenset({entry()})),
        look=sets,
        then=(keys(SPEC), {SPEC.key: {entry()}}),
    ),
    Row(
        fact="a set that a rule refers to is not destroyed",
        given=(SPEC, change(IN_SET)),
        op=DestroySet(SPEC.key),
        code=IPSET_ERR_BUSY,
        nftables=Outcome(code=errno.EBUSY),
    ),
)
