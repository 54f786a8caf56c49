"""Everything that reads what others write: what it is given, and what it may raise."""

import json
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, Final

import msgspec
from hypothesis import strategies as st

from ipvsctl.cluster.config.config_file import parse_config
from ipvsctl.cluster.manifests.manifest import parse_manifest
from ipvsctl.cluster.objects.parse import decode_list, parse_object, parse_versioned
from ipvsctl.cluster.store import Store
from ipvsctl.controller.reconciler import Reconciler
from ipvsctl.kube.api_messages import meta_of, page_of, status_of, watch_line
from ipvsctl.kube.connect.files import Unusable
from ipvsctl.kube.connect.kubeconfig import parse_kubeconfig
from ipvsctl.model.config import ProxyConfig
from ipvsctl.model.errors import BadObject, ConfigError, IpvsctlError, WireError
from ipvsctl.model.ipvs import (
    ForwardingMethod,
    RealServer,
    RealServerKey,
    Timeouts,
    Tunnel,
    VirtualServer,
    VirtualServerKey,
)
from ipvsctl.model.net import IPFamily, Protocol, parse_address
from ipvsctl.model.problem import Kind
from ipvsctl.model.rules import ChainRef, Rule, Table
from ipvsctl.model.sets import SetEntry, SetRole, set_key
from ipvsctl.model.target import parse_target
from ipvsctl.plan.rules.chains import OUR_CHAINS
from ipvsctl.wire.conntrack.replies import FlowReplies
from ipvsctl.wire.fou.messages import FouReplies, FouRequests, UnpackingPort
from ipvsctl.wire.ipset.replies import IpsetReplies
from ipvsctl.wire.ipset.requests import add_entries, create_set
from ipvsctl.wire.ipset.sets import set_spec
from ipvsctl.wire.iptables.filter_table import parse_filter
from ipvsctl.wire.iptables.ruleset import parse_save
from ipvsctl.wire.ipvs.connections import parse_connection
from ipvsctl.wire.ipvs.rates import RateReplies
from ipvsctl.wire.ipvs.replies import IpvsReplies
from ipvsctl.wire.ipvs.requests import IpvsRequests
from ipvsctl.wire.netlink.messages import decode_ack, done_errno, iter_messages
from ipvsctl.wire.nftables import replies as nft_replies
from ipvsctl.wire.nftables import requests as nftables
from ipvsctl.wire.nftables.notices import changed_tables
from ipvsctl.wire.route.notices import parse_notices
from ipvsctl.wire.route.replies import (
    AddressReplies,
    LocalRouteReplies,
    MainRouteReplies,
)
from ipvsctl.wire.route.requests import add_route, bind_address
from ipvsctl.wire.sock_diag.replies import decode_socket
from tests.builders import (
    raw_endpoint,
    raw_endpoints,
    raw_lease,
    raw_node,
    raw_service,
    raw_slice,
    to_json,
)
from tests.clusters import NODE
from tests.fakes.kernel import FakeKernel
from tests.fuzz.inputs import attributes, changed_bytes, changed_object
from tests.wire.nftables.samples import chains

_PATH: Final = Path("/nowhere/kubeconfig")


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that is given inputs.

    Attributes:
        inputs: what it is given.
        feed: gives it one.
        raises: what it may raise; anything else is a finding.
    """

    name: str
    inputs: st.SearchStrategy[Any]
    feed: Callable[[Any], object]
    raises: tuple[type[Exception], ...] = (IpvsctlError,)

    def run(self, given: object) -> None:
        """Give it one input.

        Raises:
            Exception: it did what it may not.
        """
        with suppress(*self.raises):
            self.feed(given)


_RAW: Final = {
    Kind.SERVICE: (
        raw_service("web"),
        raw_service(
            "all",
            ingress=[{"ip": "198.51.100.1"}],
            type="LoadBalancer",
            clusterIPs=["10.96.0.11", "fd00:10:96::b"],
            clusterIP="10.96.0.11",
            ipFamilies=["IPv4", "IPv6"],
            externalIPs=["203.0.113.1"],
            loadBalancerSourceRanges=["10.0.0.0/8", "fd00::/8"],
            externalTrafficPolicy="Local",
            internalTrafficPolicy="Local",
            trafficDistribution="PreferClose",
            healthCheckNodePort=32000,
            sessionAffinity="ClientIP",
            sessionAffinityConfig={"clientIP": {"timeoutSeconds": 60}},
            ports=[
                {"name": "a", "port": 80, "protocol": "TCP", "nodePort": 30080},
                {"name": "b", "port": 53, "protocol": "UDP", "nodePort": 30053},
                {"name": "c", "port": 99, "protocol": "SCTP"},
            ],
        ),
    ),
    Kind.ENDPOINT_SLICE: (
        raw_slice("web-1"),
        raw_slice("all-1", raw_endpoint("172.16.0.2"), service="all"),
    ),
    Kind.ENDPOINTS: (raw_endpoints("web"),),
    Kind.NODE: (raw_node("node-0"), raw_node("node-1", "10.0.0.2")),
    Kind.LEASE: (raw_lease("node-0", "10.0.0.10"), raw_lease("node-1", "10.0.0.2")),
}

_OBJECTS: Final = st.one_of(
    *(
        st.tuples(st.just(kind), changed_object(*raw))
        for kind, raw in sorted(_RAW.items())
    )
)


def _program(given: Iterable[tuple[Kind, dict[str, Any]]]) -> None:
    """Serve these objects on a node; nothing may be refused, nor differ after that."""
    kernel = FakeKernel(host_addresses=NODE.host_addresses)
    store = Store("node-0")
    reconciler = Reconciler(kernel=kernel, config=ProxyConfig(), store=store)
    for kind, raw in given:
        try:
            reconciler.take_event(parse_object(kind, raw))
        except BadObject:
            continue
    done = reconciler.audit()
    if done.report.failed:
        raise AssertionError(done.report.failed)
    if left := reconciler.audit().plan:
        raise AssertionError(left)


_KEY: Final = VirtualServerKey(
    family=IPFamily.IPV4,
    protocol=Protocol.TCP,
    address=parse_address("10.96.0.10"),
    port=80,
)
_REAL: Final = RealServer(key=RealServerKey(parse_address("172.16.0.1"), 8080))
_WRAPPED: Final = RealServer(
    key=RealServerKey(parse_address("10.0.0.2"), 80),
    forwarding=ForwardingMethod.TUNNEL,
    tunnel=Tunnel(port=6080),
)
_CLUSTER_IP: Final = set_key(SetRole.CLUSTER_IP, IPFamily.IPV4)
_MARKING: Final = set_key(SetRole.SHORT_CIRCUIT, IPFamily.IPV4)
_ENTRY: Final = SetEntry(address=_KEY.address, protocol=Protocol.TCP, port=80)
_IPVS: Final = IpvsRequests(30)
_REQUESTS: Final = (
    _IPVS.new_service(VirtualServer(key=_KEY, scheduler="rr", netmask_bits=32)),
    _IPVS.new_dest(_KEY, _REAL),
    _IPVS.new_dest(_KEY, _WRAPPED),
    _IPVS.set_config(Timeouts(1, 2, 3)),
    FouRequests(31).add(UnpackingPort(parse_address("10.0.0.1"), 6080)),
    create_set(set_spec(_CLUSTER_IP, 1024)),
    add_entries("KUBE-CLUSTER-IP", [_ENTRY]),
    bind_address(3, parse_address("10.96.0.10")),
    bind_address(3, parse_address("fd00:10:96::a")),
    add_route(3, parse_address("10.96.0.10"), parse_address("10.0.0.1")),
    nftables.make_table(IPFamily.IPV4),
    nftables.make_chain(IPFamily.IPV4, ChainRef(Table.NAT, "PREROUTING")),
    nftables.create_set(_MARKING),
    nftables.add_entries(_CLUSTER_IP, [_ENTRY]),
    *(
        nftables.add_rule(IPFamily.IPV4, ref, rule)
        for ref, rules in chains(IPFamily.IPV4).items()
        for rule in rules
        if isinstance(rule, Rule)
    ),
)
"""The kernel answers in the attributes that it is asked with."""

_HEAD_BYTES: Final = (0, 4, 8, 12, 20)
"""What stands before the attributes of an answer: a header of its protocol."""

_ANSWERS: Final = st.one_of(
    changed_bytes(*(request[16:] for request in _REQUESTS)),
    st.tuples(st.sampled_from(_HEAD_BYTES), attributes()).map(
        lambda made: b"\x02\x01\0\0\x05".ljust(made[0], b"\0")[: made[0]] + made[1]
    ),
    st.binary(max_size=64),
)


def _answers(raw: bytes) -> None:
    ipvs, sets = IpvsReplies(), IpsetReplies()
    decoders: tuple[Callable[[bytes, int, int], object], ...] = (
        ipvs.service,
        ipvs.dest,
        lambda *part: ipvs.same_dests([part], {_REAL.key: _REAL}),
        ipvs.config,
        FouReplies().port,
        RateReplies().service,
        RateReplies().dest,
        sets.header,
        sets.count,
        lambda *part: list(sets.entries(*part)[0]),
        AddressReplies().address,
        AddressReplies().addresses,
        LocalRouteReplies().route,
        LocalRouteReplies().routes,
        MainRouteReplies().route,
        lambda *part: decode_socket(Protocol.TCP, *part),
        FlowReplies(IPFamily.IPV4).udp_flow,
        FlowReplies(IPFamily.IPV6).udp_flow,
        lambda *part: decode_ack(part[0], 0x300, part[1], part[2]),
        done_errno,
        nft_replies.table,
        nft_replies.chain,
        nft_replies.rule,
        nft_replies.set_header,
        *(
            partial(nft_replies.entries, key=set_key(role, family))
            for role in SetRole
            for family in IPFamily
        ),
    )
    for decode in decoders:
        try:
            decode(raw, 0, len(raw))
        except WireError:
            continue


def _datagram(raw: bytes) -> None:
    for parse in (
        iter_messages,
        parse_notices,
        lambda part: changed_tables(part, frozenset()),
    ):
        try:
            for _ in parse(raw):
                pass
        except WireError:
            continue


_RULES: Final = b"""# Generated by iptables-save
*nat
:PREROUTING ACCEPT [0:0]
:KUBE-SERVICES - [0:0]
-A PREROUTING -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
-A KUBE-SERVICES -s 127.0.0.0/8 -j RETURN
-A KUBE-SERVICES -m set --match-set KUBE-CLUSTER-IP dst,dst -j ACCEPT
-A KUBE-POSTROUTING -m mark ! --mark 0x4000/0x4000 -j RETURN
COMMIT
*filter
:INPUT DROP [1:2]
-A INPUT -p tcp -m conntrack --ctstate NEW,ESTABLISHED --comment "a \\"b" -j DROP
COMMIT
"""


def _rules(raw: bytes) -> None:
    text = raw.decode("utf-8", "surrogateescape")
    for family in IPFamily:
        with suppress(WireError):
            parse_save(text, family, OUR_CHAINS)
        parse_filter(text, family)


_CONNECTION: Final = (
    b"TCP AC100001 9C40 0A60000A 0050 AC100002 1F90 ESTABLISHED     899 00000000 NONE\n"
)

_CONFIG: Final = b"""apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
mode: ipvs
clusterCIDR: 10.244.0.0/16,fd00::/48
ipvs: {scheduler: rr, syncPeriod: 30s, excludeCIDRs: [10.0.0.0/8], tcpTimeout: 1h}
conntrack: {maxPerCore: 0, tcpEstablishedTimeout: 24h}
nodePortAddresses: [primary]
ipvsctl: {localFallback: cluster, limits: {serviceMarks: 5}}
"""

_KUBECONFIG: Final = b"""apiVersion: v1
kind: Config
current-context: a
clusters: [{name: a, cluster: {server: "https://10.0.0.1:6443", proxy-url: ""}}]
users: [{name: a, user: {token: x, exec: {command: y, args: [z], apiVersion: v1}}}]
contexts: [{name: a, context: {cluster: a, user: a}}]
"""


def _json(kinds: Iterable[Kind]) -> tuple[bytes, ...]:
    return tuple(to_json(raw) for kind in kinds for raw in _RAW[kind])


_MANIFESTS: Final = (
    *_json(_RAW),
    b"---\n".join(_json((Kind.SERVICE, Kind.ENDPOINT_SLICE))),
    to_json({"apiVersion": "v1", "kind": "List", "items": [*_RAW[Kind.SERVICE]]}),
    b"a: &a [x, *a]\n",
)

_LINES: Final = (
    *(
        to_json({"type": word, "object": raw})
        for word in ("ADDED", "BOOKMARK", "ERROR")
        for raw in _RAW[Kind.SERVICE]
    ),
    to_json({"metadata": {"resourceVersion": "7"}, "items": [*_RAW[Kind.SERVICE]]}),
    to_json({"kind": "Status", "code": 410, "details": {"retryAfterSeconds": 1}}),
)


def _text(raw: dict[str, Any]) -> bytes:
    return json.dumps(raw).encode()


def _line(raw: bytes) -> None:
    """As the client does with what the API server says."""
    for read in (watch_line, page_of, status_of):
        try:
            read(raw)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            continue
    meta_of(raw)
    for kind in _RAW:
        try:
            parse_versioned(kind, raw)
        except BadObject:
            continue


TARGETS: Final = (
    Target(
        name="objects",
        inputs=_OBJECTS,
        feed=lambda given: parse_object(*given),
        raises=(BadObject,),
    ),
    Target(
        name="programs",
        inputs=st.lists(_OBJECTS, max_size=4),
        feed=_program,
        raises=(),
    ),
    Target(name="lists", inputs=changed_bytes(*_LINES), feed=decode_list),
    Target(name="watches", inputs=changed_bytes(*_LINES), feed=_line, raises=()),
    Target(
        name="manifests",
        inputs=changed_bytes(*_MANIFESTS)
        | changed_object(*_RAW[Kind.SERVICE]).map(_text),
        feed=lambda raw: parse_manifest(raw, "a.yaml"),
        raises=(),
    ),
    Target(
        name="configuration",
        inputs=changed_bytes(_CONFIG),
        feed=lambda raw: parse_config(raw, "a.yaml"),
        raises=(ConfigError,),
    ),
    Target(
        name="kubeconfigs",
        inputs=changed_bytes(_KUBECONFIG),
        feed=lambda raw: parse_kubeconfig(_PATH, raw),
        raises=(Unusable,),
    ),
    Target(name="netlink answers", inputs=_ANSWERS, feed=_answers, raises=()),
    Target(
        name="netlink datagrams",
        inputs=changed_bytes(*_REQUESTS, b"".join(_REQUESTS)) | st.binary(max_size=64),
        feed=_datagram,
        raises=(),
    ),
    Target(
        name="iptables",
        inputs=changed_bytes(_RULES),
        feed=_rules,
        raises=(),
    ),
    Target(
        name="connections",
        inputs=changed_bytes(_CONNECTION).map(lambda raw: raw.decode("latin-1")),
        feed=parse_connection,
        raises=(WireError,),
    ),
    Target(
        name="targets of commands",
        inputs=changed_bytes(b"default/web:http", b"[fd00::1]:80/tcp").map(
            lambda raw: raw.decode("utf-8", "surrogateescape")
        ),
        feed=parse_target,
    ),
)
"""All of them, but for servers."""
