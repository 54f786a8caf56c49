"""Tables of nftables as kube-proxy makes them in that mode, small and made by hand.

The cluster IP of a Service of ours, a Service of kube-proxy's own with a node port, and
one without endpoints.
Source: kube-proxy 1.36, pkg/proxy/nftables/proxier.go (`setupNFTables`,
    `syncProxyRules`).
"""

from typing import Final

from ipvsctl.model.net import Protocol, parse_address
from tests.kernel.load import Way
from tests.lab.topology import Host

OWN: Final = parse_address("10.96.0.150")
CLOSED: Final = parse_address("10.96.0.200")
"""The cluster IP of the Service without endpoints."""

OWN_WAYS: Final = (
    Way("cluster IP", OWN, 80, Protocol.TCP),
    Way("node port", parse_address("10.0.0.10"), 30999, Protocol.TCP),
)

_TABLE: Final = """
table {ip} kube-proxy {{
  comment "rules for kube-proxy"
  set cluster-ips {{
    type {type}
    elements = {{ {vip}, {own}, {closed} }}
  }}
  set nodeport-ips {{
    type {type}
    elements = {{ {node} }}
  }}
  map service-ips {{
    type {type} . inet_proto . inet_service : verdict
    elements = {{ {vip} . tcp . 80 : goto service-WEB,
                 {own} . tcp . 80 : goto service-WEB }}
  }}
  map service-nodeports {{
    type inet_proto . inet_service : verdict
    elements = {{ tcp . 30999 : goto external-WEB }}
  }}
  map no-endpoint-services {{
    type {type} . inet_proto . inet_service : verdict
    elements = {{ {closed} . tcp . 80 : goto reject-chain }}
  }}
  chain endpoint-WEB {{
    {ip} saddr {pod} jump mark-for-masquerade
    meta l4proto tcp dnat to {target}
  }}
  chain service-WEB {{
    {ip} daddr {own} tcp dport 80 {ip} saddr != {pods} jump mark-for-masquerade
    numgen random mod 1 vmap {{ 0 : goto endpoint-WEB }}
  }}
  chain external-WEB {{
    jump mark-for-masquerade
    goto service-WEB
  }}
  chain filter-prerouting {{
    type filter hook prerouting priority -110; policy accept;
    ct state new jump firewall-check
  }}
  chain filter-input {{
    type filter hook input priority -110; policy accept;
    ct state new jump service-endpoints-check
  }}
  chain filter-forward {{
    type filter hook forward priority -110; policy accept;
    ct state new jump service-endpoints-check
    ct state new jump cluster-ips-check
  }}
  chain filter-output {{
    type filter hook output priority -110; policy accept;
    ct state new jump service-endpoints-check
    ct state new jump firewall-check
  }}
  chain filter-output-post-dnat {{
    type filter hook output priority -90; policy accept;
    ct state new jump cluster-ips-check
  }}
  chain nat-prerouting {{
    type nat hook prerouting priority dstnat; policy accept;
    jump services
  }}
  chain nat-output {{
    type nat hook output priority -100; policy accept;
    jump services
  }}
  chain nat-postrouting {{
    type nat hook postrouting priority srcnat; policy accept;
    jump masquerading
  }}
  chain services {{
    {ip} daddr . meta l4proto . th dport vmap @service-ips
    {ip} daddr @nodeport-ips meta l4proto . th dport vmap @service-nodeports
  }}
  chain service-endpoints-check {{
    {ip} daddr . meta l4proto . th dport vmap @no-endpoint-services
  }}
  chain cluster-ips-check {{
    {ip} daddr @cluster-ips reject comment "Reject traffic to invalid ports"
  }}
  chain firewall-check {{
  }}
  chain reject-chain {{
    reject
  }}
  chain mark-for-masquerade {{
    meta mark set meta mark | 0x4000
  }}
  chain masquerading {{
    meta mark & 0x4000 == 0 return
    meta mark set meta mark ^ 0x4000
    masquerade fully-random
  }}
}}
"""


def kube_proxys_tables(pod: Host, port: int) -> str:
    """Those of both families, with one endpoint."""
    v4, v6 = pod.ipv4, pod.ipv6
    return _TABLE.format(
        ip="ip",
        type="ipv4_addr",
        vip="10.96.0.10",
        own=str(OWN),
        closed=str(CLOSED),
        node="10.0.0.10",
        pod=v4,
        pods="172.16.0.0/12",
        target=f"{v4}:{port}",
    ) + _TABLE.format(
        ip="ip6",
        type="ipv6_addr",
        vip="fd00:10:96::10",
        own="fd00:10:96::150",
        closed="fd00:10:96::200",
        node="fd00:10::10",
        pod=v6,
        pods="fd00:172::/32",
        target=f"[{v6}]:{port}",
    )
