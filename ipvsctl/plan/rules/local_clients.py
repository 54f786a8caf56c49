"""How packets of this cluster's pods are told from those of other clients."""

from ipvsctl.model.config import DetectLocalMode, ProxyConfig
from ipvsctl.model.net import IPFamily, family_of
from ipvsctl.model.objects import NodeContext
from ipvsctl.model.rules import MatchInInterface, MatchSource

LocalClient = MatchSource | MatchInInterface


def local_clients(
    family: IPFamily, config: ProxyConfig, node: NodeContext
) -> tuple[LocalClient, ...]:
    """Matches for pod traffic; any one suffices. Empty when that is not configured."""
    mode = config.detect_local_mode
    if mode is DetectLocalMode.BRIDGE_INTERFACE:
        bridge = config.bridge_interface
        return (MatchInInterface(bridge),) if bridge else ()
    if mode is DetectLocalMode.INTERFACE_NAME_PREFIX:
        prefix = config.interface_name_prefix
        return (MatchInInterface(f"{prefix}+"),) if prefix else ()
    by_node = mode is DetectLocalMode.NODE_CIDR
    networks = node.pod_cidrs if by_node else config.cluster_cidrs
    return tuple(MatchSource(net) for net in networks if family_of(net) is family)
