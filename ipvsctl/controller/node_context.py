"""What compiling is told of this node, and whom it concerns when that is another."""

from collections.abc import Iterable
from typing import NamedTuple

import msgspec

from ipvsctl.model.capabilities import Capabilities
from ipvsctl.model.config import ProxyConfig
from ipvsctl.model.host import ApiServers, HostNetwork
from ipvsctl.model.net import IPAddress, by_number
from ipvsctl.model.objects import NodeContext
from ipvsctl.plan.service.guards import api_ports, guarded_addresses
from ipvsctl.plan.service.node_addresses import standing_addresses
from ipvsctl.plan.service.tunnels import GUE_FIXED


class Sources(NamedTuple):
    """What a context is made of.

    Attributes:
        nodes: what the Nodes say.
        api: where the API server is.
        host: what the kernel says of the host's own network.
    """

    nodes: NodeContext
    api: ApiServers
    host: HostNetwork
    config: ProxyConfig
    capabilities: Capabilities


def context_of(sources: Sources) -> NodeContext:
    """The whole context, with host addresses sorted."""
    nodes, api, host, config, capabilities = sources
    has_tunnel = config.has_tunnel and capabilities.release >= GUE_FIXED
    hosts = tuple(sorted(host.addresses, key=by_number))
    named = nodes.node_addresses
    if config.node_address is not None:
        # The first address of a family is the one that stands for the node.
        named = (config.node_address, *named)
    return msgspec.structs.replace(
        nodes,
        node_addresses=standing_addresses(named, (*host.primary, *hosts)),
        host_addresses=hosts,
        guarded=guarded_addresses(host, api),
        api_ports=api_ports(api),
        tunnel_offers=nodes.tunnel_offers if has_tunnel else {},
        families=capabilities.families,
        schedulers=capabilities.schedulers,
    )


def is_other_node(before: NodeContext, after: NodeContext) -> bool:
    """Whether what is in no Service is another for all of them.

    That is node ports, the source of the node's connections, its ends of tunnels.
    """
    return (
        before.host_addresses != after.host_addresses
        or before.node_addresses != after.node_addresses
    )


def guarded_differences(before: NodeContext, after: NodeContext) -> Iterable[IPAddress]:
    """The addresses that are guarded in one of two contexts, or for another reason."""
    return {address for address, _ in before.guarded.items() ^ after.guarded.items()}
