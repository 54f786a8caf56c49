"""`render`: the desired state of a node, without a kernel."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from ipvsctl.cli.inputs import tell_problems
from ipvsctl.cli.options import PlanFormat, RenderFormat
from ipvsctl.cli.output import print_data, print_lines
from ipvsctl.cli.plain import plain
from ipvsctl.cluster.store import Store
from ipvsctl.controller.compiler import Compiler
from ipvsctl.model.capabilities import Capabilities
from ipvsctl.model.config import FirewallKind, ProxyConfig
from ipvsctl.model.errors import ConfigError
from ipvsctl.model.host import HostNetwork
from ipvsctl.model.net import IPAddress, IPFamily, parse_address
from ipvsctl.model.state import NodeState
from ipvsctl.plan.union.vip_binding import choose_binding
from ipvsctl.wire.ipset.save_text import render_ipset
from ipvsctl.wire.iptables.ruleset import render_save
from ipvsctl.wire.iptables.words import IptablesWords
from ipvsctl.wire.ipvs.save_text import render_ipvsadm
from ipvsctl.wire.nftables.rule_text import render_table
from ipvsctl.wire.nftables.words import NftablesWords
from ipvsctl.wire.route.show_text import render_addresses, render_routes

_WITH_NFTABLES: Final = Capabilities(
    firewall=FirewallKind.NFTABLES, sees_bridge_ports=False
)
_OF_IPTABLES: Final = frozenset(
    {RenderFormat.IPSET, RenderFormat.IPTABLES, RenderFormat.IP6TABLES}
)


def render(
    store: Store,
    config: ProxyConfig,
    addresses: Sequence[IPAddress] | None,
    form: RenderFormat,
) -> None:
    """Print the desired state, and problems on stderr.

    Args:
        store: all objects.
        config: settings.
        addresses: of the node's own links, the primary one of each family first; None
            takes those of its Node object.
        form: the part of the state to print, and how.
    """
    is_nftables = _is_nftables(form, config)
    capabilities = _WITH_NFTABLES if is_nftables else Capabilities()
    compiler = Compiler(config=config, store=store, capabilities=capabilities)
    compiler.compile_all(store.take())
    if addresses is None:
        addresses = compiler.context.node_addresses
    # As the host's addresses do, they come in an order: the first is the primary one.
    compiler.set_host(
        HostNetwork(addresses=frozenset(addresses), primary=tuple(addresses))
    )
    # As on a node that has nothing yet.
    vips = compiler.desired.shared.vips
    compiler.bind_vips(choose_binding(len(vips), bound=0, routed=0))
    state = compiler.desired.state()
    if form is RenderFormat.JSON:
        words = NftablesWords() if is_nftables else IptablesWords()
        print_data(plain(state, words.set_name), PlanFormat.JSON)
    else:
        print_lines(_lines(state, form, config.vip_link))
    tell_problems(compiler.problems())


def parse_addresses(text: str | None) -> tuple[IPAddress, ...] | None:
    """`A,B` as addresses; None if nothing was given.

    Raises:
        ConfigError: one is not an address.
    """
    if text is None:
        return None
    return tuple(_address(item.strip()) for item in text.split(",") if item.strip())


def _address(text: str) -> IPAddress:
    try:
        return parse_address(text)
    except ValueError as error:
        raise ConfigError(
            field="--node-addresses", value=text, reason="not an IP address"
        ) from error


def _is_nftables(form: RenderFormat, config: ProxyConfig) -> bool:
    """Whether the state is that of nftables, as its form says, or the settings."""
    if form in _OF_IPTABLES:
        return False
    is_wanted = config.wanted_firewall is FirewallKind.NFTABLES
    return form is RenderFormat.NFT or is_wanted


def _lines(state: NodeState, form: RenderFormat, vip_link: str) -> Iterable[str]:
    match form:
        case RenderFormat.IPVSADM:
            return render_ipvsadm(state)
        case RenderFormat.ROUTES:
            return render_routes(state, vip_link)
        case RenderFormat.ADDRESSES:
            return render_addresses(state)
        case _:
            return _firewall_lines(state, form)


def _firewall_lines(state: NodeState, form: RenderFormat) -> Iterable[str]:
    match form:
        case RenderFormat.IPSET:
            return render_ipset(state)
        case RenderFormat.IPTABLES:
            return render_save(state.chains[IPFamily.IPV4])
        case RenderFormat.IP6TABLES:
            return render_save(state.chains[IPFamily.IPV6])
        case _:
            return _nft_lines(state)


def _nft_lines(state: NodeState) -> Iterator[str]:
    for family in IPFamily:
        chains = state.chains[family]
        yield from render_table(family, chains, state.sets, state.entries)
