"""Every metric there is: name, type, labels, help. Others set their values.

kube-proxy's metrics have its names, types, labels and buckets, so that dashboards,
alerts and ClusterLoader2 find them. Source: kube-proxy pkg/proxy/metrics, v1.36;
client-go metrics of k8s.io/component-base.
"""

from enum import StrEnum
from typing import Final

import msgspec


class MetricType(StrEnum):
    """Prometheus' types of metrics."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


class Metric(msgspec.Struct, frozen=True):
    """One metric.

    Attributes:
        name: as it is scraped; a counter's ends in `_total`.
        labels: in the order they are given in.
        buckets: upper bounds of a histogram, without infinity.
    """

    name: str
    type: MetricType
    help: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()


def _counter(name: str, text: str, *labels: str) -> Metric:
    return Metric(name, MetricType.COUNTER, text, labels)


def _gauge(name: str, text: str, *labels: str) -> Metric:
    return Metric(name, MetricType.GAUGE, text, labels)


_SYNC_BUCKETS: Final = tuple(0.001 * 2**power for power in range(15))
_PROGRAMMING_BUCKETS: Final = (
    *(0.25, 0.5),
    *map(float, range(1, 60)),
    *map(float, range(60, 120, 5)),
    *map(float, range(120, 301, 30)),
)
_REQUEST_BUCKETS: Final = (
    *(0.005, 0.025, 0.1, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 30.0, 60.0),
)


def _duration(name: str, text: str) -> Metric:
    return Metric(name, MetricType.HISTOGRAM, text, ("ip_family",), _SYNC_BUCKETS)


_RULES: Final = "kubeproxy_sync_proxy_rules"

SYNC_DURATION: Final = _duration(
    f"{_RULES}_duration_seconds",
    "Duration of syncs and audits: read the kernel, compare, apply.",
)
FULL_SYNC_DURATION: Final = _duration(
    "kubeproxy_sync_full_proxy_rules_duration_seconds",
    "Duration of audits, which compare the whole kernel state.",
)
PARTIAL_SYNC_DURATION: Final = _duration(
    "kubeproxy_sync_partial_proxy_rules_duration_seconds",
    "Duration of syncs, which compare what events changed.",
)
PROGRAMMING_DURATION: Final = Metric(
    "kubeproxy_network_programming_duration_seconds",
    MetricType.HISTOGRAM,
    "From a change of a Service's pods, as its EndpointSlice says, to the kernel.",
    ("ip_family",),
    _PROGRAMMING_BUCKETS,
)
LAST_SYNC: Final = _gauge(
    f"{_RULES}_last_timestamp_seconds",
    "When the last sync or audit ended.",
    "ip_family",
)
LAST_QUEUED: Final = _gauge(
    f"{_RULES}_last_queued_timestamp_seconds",
    "When the last event came that asks for a sync.",
    "ip_family",
)
ENDPOINT_CHANGES_PENDING: Final = _gauge(
    f"{_RULES}_endpoint_changes_pending",
    "Changes of EndpointSlices that are not in the kernel yet.",
)
ENDPOINT_CHANGES: Final = _counter(
    f"{_RULES}_endpoint_changes_total", "Changes of EndpointSlices."
)
SERVICE_CHANGES_PENDING: Final = _gauge(
    f"{_RULES}_service_changes_pending",
    "Changes of Services that are not in the kernel yet.",
)
SERVICE_CHANGES: Final = _counter(
    f"{_RULES}_service_changes_total", "Changes of Services."
)
RESTORE_FAILURES: Final = _counter(
    f"{_RULES}_iptables_restore_failures_total",
    "Changes of firewall rules that failed, of iptables or nftables.",
    "ip_family",
)
PART_READ: Final = _gauge(
    "ipvsctl_part_read_timestamp_seconds",
    "When an audit could last read a part of the kernel; without that it is not "
    "repaired.",
    "part",
)
NO_LOCAL_ENDPOINTS: Final = _gauge(
    f"{_RULES}_no_local_endpoints_total",
    "Service ports of traffic policy Local that have no endpoint to use.",
    "ip_family",
    "traffic_policy",
)
HEALTHZ: Final = _counter(
    "kubeproxy_proxy_healthz_total", "Answers of /healthz.", "code"
)
LIVEZ: Final = _counter("kubeproxy_proxy_livez_total", "Answers of /livez.", "code")
REQUESTS: Final = _counter(
    "rest_client_requests_total",
    "Requests to the API server.",
    "code",
    "method",
    "host",
)
REQUEST_DURATION: Final = Metric(
    "rest_client_request_duration_seconds",
    MetricType.HISTOGRAM,
    "Duration of requests to the API server, up to the head of the answer.",
    ("verb", "host"),
    _REQUEST_BUCKETS,
)

BUILD_INFO: Final = _gauge(
    "ipvsctl_build_info", "Always 1; what runs here.", "version", "kernel", "firewall"
)
READY: Final = _gauge(
    "ipvsctl_ready", "1 once everything has been programmed for the first time."
)
VIRTUAL_SERVERS: Final = _gauge(
    "ipvsctl_virtual_servers", "Virtual servers that Services need on this node."
)
REAL_SERVERS: Final = _gauge(
    "ipvsctl_real_servers", "Real servers of these, without those that drain."
)
EMPTY_VIRTUAL_SERVERS: Final = _gauge(
    "ipvsctl_virtual_servers_without_real_servers",
    "Virtual servers whose clients are refused, since no endpoint may be used.",
)
PORTS_WITHOUT_ENDPOINTS: Final = _gauge(
    "ipvsctl_service_ports_without_endpoints",
    "Ports of Services with such virtual servers, by why no endpoint may be used: empty"
    " (there is none), port_name (none under this name), not_ready, local (a policy"
    " Local, and none on this node).",
    "ip_family",
    "reason",
)
FOREIGN_VIRTUAL_SERVERS: Final = _gauge(
    "ipvsctl_foreign_virtual_servers",
    "Virtual servers of others, left alone; as of the last audit.",
)
FULL_VIRTUAL_SERVERS: Final = _gauge(
    "ipvsctl_full_virtual_servers",
    "Virtual servers that refuse new clients, since each of their real servers has as"
    " many connections as it may have (maxConnections); as of the last audit.",
)
LOCALHOST_CONNECTIONS: Final = _gauge(
    "ipvsctl_localhost_connections",
    "Connections to node ports on localhost that are relayed now.",
)
LOCALHOST_RELAYED: Final = _counter(
    "ipvsctl_localhost_relayed_total",
    "Connections to node ports on localhost that an endpoint has taken.",
)
LOCALHOST_REFUSED: Final = _counter(
    "ipvsctl_localhost_refused_total",
    "Connections to node ports on localhost that were reset, by why: limit (there are"
    " too many), full (maxConnections), unreachable (no endpoint took it).",
    "reason",
)
LOCALHOST_BYTES: Final = _counter(
    "ipvsctl_localhost_bytes_total",
    "Bytes relayed at node ports on localhost, in (from clients) and out.",
    "direction",
)
DRAINING: Final = _gauge(
    "ipvsctl_draining_real_servers",
    "Real servers at weight 0 until their connections end.",
)
OLDEST_DRAIN: Final = _gauge(
    "ipvsctl_oldest_drain_age_seconds",
    "For how long the oldest of these has been draining; 0 without any.",
)
DRIFT_FOUND: Final = _counter(
    "ipvsctl_drift_found_total",
    "What audits found to be not as it was left, by kind of kernel object.",
    "kind",
)
DRIFT_REPAIRED: Final = _counter(
    "ipvsctl_drift_repaired_total", "What of that was put right.", "kind"
)
FAILED_OPS: Final = _counter(
    "ipvsctl_failed_ops_total", "Ops that the kernel refused.", "op", "errno"
)
PROBLEMS: Final = _gauge(
    "ipvsctl_problems",
    "Parts of objects that cannot be honoured, by kind of object.",
    "kind",
)
REFUSED_VIPS: Final = _gauge(
    "ipvsctl_refused_vips",
    "Addresses of Services that are not served, since they are a node's own, guarded"
    " or not allowed.",
)
OLDEST_CHANGE: Final = _gauge(
    "ipvsctl_oldest_pending_change_age_seconds",
    "For how long the oldest event has been waiting to be in the kernel;"
    " 0 without any.",
)
WATCH_CONNECTED: Final = _gauge(
    "ipvsctl_watch_connected",
    "1 while the source tells changes of this kind of object.",
    "kind",
)
WATCH_RESTARTS: Final = _counter(
    "ipvsctl_watch_restarts_total",
    "How often a watch had to be opened again.",
    "kind",
    "reason",
)
WATCH_AGE: Final = _gauge(
    "ipvsctl_watch_last_event_age_seconds",
    "Seconds since anything was heard of this kind of object, bookmarks too.",
    "kind",
)

SOURCE_AGE: Final = _gauge(
    "ipvsctl_source_age_seconds",
    "How old what is known of the objects may be: seconds since the API server gave a"
    " sign of life, or since the manifests were read.",
)
INPUT_UNREAD: Final = _gauge(
    "ipvsctl_input_unread",
    "Files, objects and lists of objects that cannot be read or believed;"
    " what they said last stays in force.",
)
DELETIONS_HELD: Final = _gauge(
    "ipvsctl_deletions_held",
    "1 while nothing of ours is deleted from the kernel that may be wanted after all,"
    " since it has not been possible to read the input whole yet.",
)

TUNNEL_RECEIVED: Final = _counter(
    "ipvsctl_tunnel_received_packets_total",
    "Packets that other nodes have sent in tunnels, as of the last audit.",
    "ip_family",
)
TUNNEL_BALANCED: Final = _counter(
    "ipvsctl_tunnel_balanced_packets_total",
    "Those of them that went to endpoints of this node. The others were dropped, since"
    " the address had none here, or were for one that is masqueraded.",
    "ip_family",
)

_SERVICE: Final = ("namespace", "service")
CONNECTIONS: Final = _counter(
    "ipvsctl_service_connections_total", "Connections scheduled.", *_SERVICE
)
PACKETS_IN: Final = _counter(
    "ipvsctl_service_incoming_packets_total", "Packets from clients.", *_SERVICE
)
PACKETS_OUT: Final = _counter(
    "ipvsctl_service_outgoing_packets_total", "Packets to clients.", *_SERVICE
)
BYTES_IN: Final = _counter(
    "ipvsctl_service_incoming_bytes_total", "Bytes from clients.", *_SERVICE
)
BYTES_OUT: Final = _counter(
    "ipvsctl_service_outgoing_bytes_total", "Bytes to clients.", *_SERVICE
)

KUBE_PROXY_METRICS: Final = (
    SYNC_DURATION,
    FULL_SYNC_DURATION,
    PARTIAL_SYNC_DURATION,
    PROGRAMMING_DURATION,
    LAST_SYNC,
    LAST_QUEUED,
    ENDPOINT_CHANGES_PENDING,
    ENDPOINT_CHANGES,
    SERVICE_CHANGES_PENDING,
    SERVICE_CHANGES,
    RESTORE_FAILURES,
    NO_LOCAL_ENDPOINTS,
    HEALTHZ,
    LIVEZ,
    REQUESTS,
    REQUEST_DURATION,
)
OWN_METRICS: Final = (
    BUILD_INFO,
    READY,
    VIRTUAL_SERVERS,
    REAL_SERVERS,
    EMPTY_VIRTUAL_SERVERS,
    PORTS_WITHOUT_ENDPOINTS,
    FOREIGN_VIRTUAL_SERVERS,
    FULL_VIRTUAL_SERVERS,
    TUNNEL_RECEIVED,
    TUNNEL_BALANCED,
    LOCALHOST_CONNECTIONS,
    LOCALHOST_RELAYED,
    LOCALHOST_REFUSED,
    LOCALHOST_BYTES,
    DRAINING,
    OLDEST_DRAIN,
    DRIFT_FOUND,
    DRIFT_REPAIRED,
    PART_READ,
    FAILED_OPS,
    PROBLEMS,
    REFUSED_VIPS,
    OLDEST_CHANGE,
    WATCH_CONNECTED,
    WATCH_RESTARTS,
    WATCH_AGE,
    SOURCE_AGE,
    INPUT_UNREAD,
    DELETIONS_HELD,
)
TRAFFIC_METRICS: Final = (CONNECTIONS, PACKETS_IN, PACKETS_OUT, BYTES_IN, BYTES_OUT)
