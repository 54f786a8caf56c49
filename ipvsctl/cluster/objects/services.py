"""A Service of the API to a value."""

from typing import Final, NamedTuple

from ipvsctl.cluster.events import Upserted
from ipvsctl.cluster.objects.api import (
    ApiService,
    ApiServicePort,
    ServiceSpec,
    ServiceStatus,
)
from ipvsctl.cluster.objects.decode import RawObject, ShapeDecoder, object_ref
from ipvsctl.cluster.objects.findings import Findings
from ipvsctl.model.net import (
    IPAddress,
    IPFamily,
    IPNetwork,
    Protocol,
    family_of,
    of_family,
)
from ipvsctl.model.objects import Service, ServicePort, ServiceType, TrafficPolicy
from ipvsctl.model.problem import Kind

PROXY_NAME_LABEL = "service.kubernetes.io/service-proxy-name"
HEADLESS_LABEL = "service.kubernetes.io/headless"
SOURCE_RANGES_ANNOTATION = "service.beta.kubernetes.io/load-balancer-source-ranges"

_STEERING_PREFIXES = ("ipvsctl.io/", "kube-router.io/service.")
_DEFAULT_AFFINITY_S = 10800
_MAX_AFFINITY_S = 86400

SERVICES: Final = ShapeDecoder("Service", ApiService)


def parse_service(raw: RawObject, proxy_name: str = "") -> Upserted:
    """Read one Service.

    Returns:
        Exactly one value. A Service that is not ours to proxy (headless,
        ExternalName, another proxy's) is a bare one with `proxied=False`.

    Raises:
        BadObject: not a Service, or without a name.
    Source: kube-proxy pkg/proxy/serviceport.go, pkg/proxy/util/utils.go.
    """
    return read_service(SERVICES.decode(raw), proxy_name)


def read_service(api: ApiService, proxy_name: str) -> Upserted:
    """Read a Service that was decoded."""
    ref = object_ref(Kind.SERVICE, api.metadata)
    found = Findings(Kind.SERVICE, ref)
    service = _service(api, found, proxy_name)
    return Upserted(
        kind=Kind.SERVICE, ref=ref, values=(service,), problems=found.problems
    )


def given_away(labels: dict[str, str], proxy_name: str) -> bool:
    """Whether the labels leave an object to another proxy than the one of this name.

    kube-proxy has no name: it leaves out what has the label, whatever its value, by a
    label selector (cmd/kube-proxy/app/server.go), EndpointSlices as well as Services.
    """
    owner = labels.get(PROXY_NAME_LABEL)
    is_mine = owner == proxy_name if proxy_name else owner is None
    return not is_mine or HEADLESS_LABEL in labels


def _service(api: ApiService, found: Findings, proxy_name: str) -> Service:
    ref = object_ref(Kind.SERVICE, api.metadata)
    meta = api.metadata
    created = meta.creation_timestamp if meta else None
    labels = meta.labels if meta else None
    annotations = (meta.annotations if meta else None) or {}
    spec = api.spec or ServiceSpec()
    left_alone = _why_left_alone(spec, labels or {}, proxy_name)
    if left_alone:
        return Service(
            ref=ref, created=created or "", proxied=False, left_alone=left_alone
        )
    kind = found.choice("spec.type", spec.type, ServiceType.CLUSTER_IP)
    external = found.choice(
        "spec.externalTrafficPolicy",
        spec.external_traffic_policy,
        TrafficPolicy.CLUSTER,
    )
    allocate = spec.allocate_load_balancer_node_ports
    ranges = _source_ranges(spec, annotations, found)
    vips = _ingress_vips(api.status or ServiceStatus(), found)
    cluster_ips = _cluster_ips(spec, found)
    return Service(
        ref=ref,
        created=created or "",
        type=kind,
        ports=_ports(spec.ports or [], kind, found),
        cluster_ips=cluster_ips,
        lost_families=_lost_families(spec, cluster_ips),
        external_ips=found.addresses("spec.externalIPs", spec.external_ips or ()),
        ingress_vips=_guarded(vips, ranges, found),
        source_ranges=ranges.networks,
        has_annotated_ranges=bool(ranges.networks)
        and not spec.load_balancer_source_ranges,
        internal_traffic_policy=found.choice(
            "spec.internalTrafficPolicy",
            spec.internal_traffic_policy,
            TrafficPolicy.CLUSTER,
        ),
        external_traffic_policy=external,
        affinity_timeout_s=_affinity_timeout(spec, found),
        allocate_node_ports=allocate is None or allocate,
        has_selector=bool(spec.selector),
        health_check_node_port=_health_check_node_port(spec, kind, external, found),
        annotations=tuple(
            sorted(
                a for a in annotations.items() if a[0].startswith(_STEERING_PREFIXES)
            )
        ),
    )


def _why_left_alone(spec: ServiceSpec, labels: dict[str, str], proxy_name: str) -> str:
    """See `Service.left_alone`."""
    if spec.type == ServiceType.EXTERNAL_NAME:
        return "is an ExternalName: DNS answers with another name"
    cluster_ips = _cluster_ip_texts(spec)
    if "None" in cluster_ips:
        return "is headless: DNS answers with the addresses of its endpoints"
    if not cluster_ips:
        return "has no cluster IP yet"
    if HEADLESS_LABEL in labels:
        return f"is headless, by its label {HEADLESS_LABEL}"
    if given_away(labels, proxy_name):
        return f"is another proxy's, by its label {PROXY_NAME_LABEL}"
    return ""


def _cluster_ip_texts(spec: ServiceSpec) -> list[str]:
    if spec.cluster_ips:
        return spec.cluster_ips
    return [spec.cluster_ip] if spec.cluster_ip else []


def _cluster_ips(spec: ServiceSpec, found: Findings) -> tuple[IPAddress, ...]:
    field = "spec.clusterIPs" if spec.cluster_ips else "spec.clusterIP"
    by_family: dict[int, IPAddress] = {}
    for index, text in enumerate(_cluster_ip_texts(spec)):
        path = f"{field}[{index}]" if spec.cluster_ips else field
        address = found.any_address(path, text)
        if address is None:
            continue
        if by_family.setdefault(address.version, address) != address:
            found.add(path, text, f"a second cluster IP of IPv{address.version}")
    return tuple(by_family.values())


def _lost_families(
    spec: ServiceSpec, cluster_ips: tuple[IPAddress, ...]
) -> tuple[IPFamily, ...]:
    """The families of which there is a cluster IP, and none that can be used.

    An address that cannot be read shows its family by how it is written.
    """
    written = {
        IPFamily.IPV6 if ":" in text else IPFamily.IPV4
        for text in _cluster_ip_texts(spec)
    }
    # One of each is all there may be: an IPv4 address written as IPv6 is none too few.
    if len(cluster_ips) >= len(written):
        return ()
    return tuple(sorted(written - set(map(family_of, cluster_ips))))


def _ports(
    ports: list[ApiServicePort], kind: ServiceType, found: Findings
) -> tuple[ServicePort, ...]:
    kept: list[ServicePort] = []
    # Numbers, names and node ports that earlier ports of the protocol have.
    taken: set[tuple[Protocol, int | str]] = set()
    taken_node_ports: set[tuple[Protocol, int]] = set()
    for index, api in enumerate(ports):
        field = f"spec.ports[{index}]"
        protocol = found.protocol(f"{field}.protocol", api.protocol)
        number = found.port(f"{field}.port", api.port)
        if protocol is None or number is None:
            continue
        name = api.name or ""
        if (protocol, number) in taken:
            found.add(f"{field}.port", number, "an earlier port has this number")
        elif (protocol, name) in taken:
            found.add(f"{field}.name", name, "an earlier port has this name")
        else:
            node_port = _node_port(f"{field}.nodePort", api.node_port, kind, found)
            if (protocol, node_port) in taken_node_ports:
                found.add(
                    f"{field}.nodePort", node_port, "an earlier port has this number"
                )
                node_port = 0
            if node_port:
                taken_node_ports.add((protocol, node_port))
            taken |= {(protocol, number), (protocol, name)}
            kept.append(
                ServicePort(
                    name=name, protocol=protocol, port=number, node_port=node_port
                )
            )
    return tuple(kept)


def _node_port(
    field: str, value: int | None, kind: ServiceType, found: Findings
) -> int:
    """The node port, 0 for none.

    A port that is written down is honoured even if `allocateLoadBalancerNodePorts` is
    false: that setting stops the API server from choosing a port, no more.
    """
    if not value:
        return 0
    if kind not in {ServiceType.NODE_PORT, ServiceType.LOAD_BALANCER}:
        found.add(field, value, f"type {kind} has no node ports")
        return 0
    return found.port(field, value) or 0


def _ingress_vips(status: ServiceStatus, found: Findings) -> tuple[IPAddress, ...]:
    balancer = status.load_balancer
    vips: dict[IPAddress, None] = {}
    for index, ingress in enumerate((balancer and balancer.ingress) or ()):
        field = f"status.loadBalancer.ingress[{index}]"
        if not ingress.ip or ingress.ip_mode == "Proxy":
            continue
        if ingress.ip_mode not in {None, "", "VIP"}:
            found.add(f"{field}.ipMode", ingress.ip_mode, "not one of VIP, Proxy")
            continue
        address = found.any_address(f"{field}.ip", ingress.ip)
        if address is not None:
            vips[address] = None
    return tuple(vips)


class _SourceRanges(NamedTuple):
    """Who may use the ingress VIPs.

    Attributes:
        field: of the Service that has the ranges.
        texts: the ranges as written; none is "all".
        networks: the ranges that can be read.
        is_whole: every range can be read.
    """

    field: str
    texts: list[str]
    networks: tuple[IPNetwork, ...]
    is_whole: bool


def _source_ranges(
    spec: ServiceSpec, annotations: dict[str, str], found: Findings
) -> _SourceRanges:
    """The ranges of a Service, whatever its type: kube-proxy does not look at that."""
    if spec.load_balancer_source_ranges:
        field = "spec.loadBalancerSourceRanges"
        texts = spec.load_balancer_source_ranges
    else:
        field = f"metadata.annotations.{SOURCE_RANGES_ANNOTATION}"
        text = annotations.get(SOURCE_RANGES_ANNOTATION, "")
        texts = text.split(",") if text.strip() else []
    before = len(found.problems)
    networks = found.networks(field, texts)
    is_whole = len(found.problems) == before
    return _SourceRanges(field, texts, networks, is_whole)


def _guarded(
    vips: tuple[IPAddress, ...], ranges: _SourceRanges, found: Findings
) -> tuple[IPAddress, ...]:
    """The ingress VIPs that may be served.

    The ranges of one family do not concern a VIP of the other: it is open, as in
    kube-proxy, and that is said. But a range that cannot be read may have been meant
    for that VIP, which must not be open to everyone then.
    """
    served = vips
    for family in IPFamily if ranges.texts else ():
        concerned = tuple(of_family(vips, family))
        if not concerned or any(of_family(ranges.networks, family)):
            continue
        reason = f"no {family.label} range: ingress VIPs of it are open to everyone"
        if not ranges.is_whole:
            reason = f"no {family.label} range can be read: its ingress VIPs are closed"
            served = tuple(vip for vip in served if vip not in concerned)
        found.add(ranges.field, ",".join(ranges.texts), reason)
    return served


def _affinity_timeout(spec: ServiceSpec, found: Findings) -> int | None:
    if spec.session_affinity in {None, "", "None"}:
        return None
    if spec.session_affinity != "ClientIP":
        found.add(
            "spec.sessionAffinity", spec.session_affinity, "not one of None, ClientIP"
        )
        return None
    config = spec.session_affinity_config
    timeout = config.client_ip.timeout_seconds if config and config.client_ip else None
    if timeout is None:
        return _DEFAULT_AFFINITY_S
    if not 0 < timeout <= _MAX_AFFINITY_S:
        found.add(
            "spec.sessionAffinityConfig.clientIP.timeoutSeconds",
            timeout,
            f"not 1-{_MAX_AFFINITY_S}; {_DEFAULT_AFFINITY_S} is used",
        )
        return _DEFAULT_AFFINITY_S
    return timeout


def _health_check_node_port(
    spec: ServiceSpec, kind: ServiceType, external: TrafficPolicy, found: Findings
) -> int:
    """The port a load balancer probes; only Local load balancers have one."""
    value = spec.health_check_node_port
    if (
        not value
        or kind is not ServiceType.LOAD_BALANCER
        or external is not TrafficPolicy.LOCAL
    ):
        return 0
    return found.port("spec.healthCheckNodePort", value) or 0
