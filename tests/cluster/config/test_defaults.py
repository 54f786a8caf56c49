"""A field that is left out, or null, is what kube-proxy 1.36 makes of it.

Source: kube-proxy pkg/proxy/apis/config/v1alpha1/defaults.go, and for what that leaves
empty cmd/kube-proxy/app/server_linux.go and pkg/proxy/ipvs/proxier.go.
"""

from typing import Any

import pytest
import yaml

from ipvsctl.cluster.config.config_file import API_VERSION, KIND, parse_config
from ipvsctl.cluster.config.effective import effective_config
from ipvsctl.cluster.config.fields import FIELDS, Treatment
from ipvsctl.cluster.config.flags import OWN_KEY
from ipvsctl.model.config import ProxyConfig

UNSET = "left out"

DEFAULTS: dict[str, object] = {
    "hostnameOverride": "",
    "bindAddress": UNSET,
    "healthzBindAddress": "0.0.0.0:10256",
    "metricsBindAddress": "127.0.0.1:10249",
    "bindAddressHardFail": False,
    "clusterCIDR": "",
    "detectLocalMode": "ClusterCIDR",
    "detectLocal.bridgeInterface": "",
    "detectLocal.interfaceNamePrefix": "",
    "nodePortAddresses": [],
    "iptables.masqueradeAll": False,
    "iptables.masqueradeBit": 14,
    "ipvs.scheduler": "rr",
    "ipvs.excludeCIDRs": [],
    "ipvs.tcpTimeout": "0s",
    "ipvs.tcpFinTimeout": "0s",
    "ipvs.udpTimeout": "0s",
    "ipvs.syncPeriod": "30s",
    "conntrack.maxPerCore": 32768,
    "conntrack.min": 131072,
    "conntrack.tcpEstablishedTimeout": "86400s",
    "conntrack.tcpCloseWaitTimeout": "3600s",
    "conntrack.tcpBeLiberal": False,
    "conntrack.udpTimeout": "0s",
    "conntrack.udpStreamTimeout": "0s",
    "clientConnection.kubeconfig": "",
}
"""As `effective_config` writes them; an unset bindAddress is that of the Node."""

OTHERS: dict[str, tuple[object, str]] = {
    # kube-proxy: false, so that every node answers ARP for a load balancer's VIP.
    "ipvs.strictARP": (UNSET, "kube-proxy's default is false"),
    # kube-proxy: 0, a sync for each change.
    "ipvs.minSyncPeriod": ("1s", "kube-proxy's default is 0"),
}
"""Those that differ on purpose, and what the page says of that."""

HONOURED = [
    f.path
    for f in FIELDS
    if f.treatment is Treatment.HONOURED and not f.path.startswith(OWN_KEY)
]


def parsed(**fields: object) -> ProxyConfig:
    """The settings of a file with these fields; it has no warnings."""
    document = {"apiVersion": API_VERSION, "kind": KIND, "mode": "ipvs", **fields}
    config, warnings = parse_config(yaml.safe_dump(document), "config.conf")
    assert warnings == ()
    return config


def nested(path: str, value: object) -> dict[str, object]:
    """One field in its section."""
    section, _, name = path.rpartition(".")
    return {section: {name: value}} if section else {name: value}


def effective(config: ProxyConfig, path: str) -> object:
    """What the settings are in a file."""
    value: Any = effective_config(config)
    for step in path.split("."):
        value = value.get(step, UNSET)
    return value


@pytest.mark.parametrize("path", HONOURED)
@pytest.mark.parametrize("written", ["no file", "left out", "null", "section null"])
def test_defaults(path: str, written: str) -> None:
    """Each field has kube-proxy's default, or a reason for another."""
    section = path.split(".", maxsplit=1)[0]
    match written:
        case "no file":
            config = ProxyConfig()
        case "left out":
            config = parsed()
        case "null":
            config = parsed(**nested(path, None))
        case _:
            config = parsed(**{section: None})
    expected = DEFAULTS[path] if path in DEFAULTS else OTHERS[path][0]
    assert effective(config, path) == expected


@pytest.mark.parametrize("path", OTHERS)
def test_another_default_is_explained(path: str) -> None:
    """The page has the reason, where the field is."""
    attribute = next(f.attribute for f in FIELDS if f.path == path)
    text = " ".join((ProxyConfig.__doc__ or "").split())
    start = text.index(f" {attribute}: ")
    assert OTHERS[path][1] in text[start : start + 400]


def test_every_field_is_in_the_table() -> None:
    """And no other."""
    assert {*DEFAULTS, *OTHERS} == set(HONOURED)


@pytest.mark.parametrize(
    ("field", "attribute"),
    [
        ("maxPerCore", "max_per_core"),
        ("min", "min"),
        ("tcpEstablishedTimeout", "tcp_established_timeout_s"),
        ("tcpCloseWaitTimeout", "tcp_close_wait_timeout_s"),
    ],
)
def test_an_explicit_zero_is_no_default(field: str, attribute: str) -> None:
    """It leaves what the kernel has."""
    for zero in ("0s", "0") if "Timeout" in field else (0,):
        config = parsed(conntrack={field: zero})
        assert getattr(config.conntrack, attribute) == 0


@pytest.mark.parametrize(
    ("address", "servers"),
    [
        ("0.0.0.0", ("0.0.0.0:10256", "127.0.0.1:10249")),
        ("010.0.0.10", ("0.0.0.0:10256", "127.0.0.1:10249")),
        ("::ffff:10.0.0.10", ("0.0.0.0:10256", "127.0.0.1:10249")),
        ("::", ("[::]:10256", "[::1]:10249")),
        ("fd00::00010", ("[::]:10256", "[::1]:10249")),
    ],
)
def test_where_to_serve_follows_bind_address(
    address: str, servers: tuple[str, str]
) -> None:
    """On the unspecified and the loopback address of its family."""
    serve = parsed(bindAddress=address).serve
    assert (str(serve.healthz), str(serve.metrics)) == servers


@pytest.mark.parametrize(
    ("path", "value", "expected"),
    [
        ("bindAddress", "010.000.000.010", "10.0.0.10"),
        ("healthzBindAddress", "010.0.0.1", "10.0.0.1:10256"),
        ("metricsBindAddress", "010.0.0.1:0080", "10.0.0.1:80"),
        ("clusterCIDR", "010.0.0.0/08,fd00::00/008", "10.0.0.0/8,fd00::/8"),
        ("clusterCIDR", "::ffff:10.0.0.0/104", "10.0.0.0/8"),
        ("nodePortAddresses", ["010.000.000.000/8"], ["10.0.0.0/8"]),
        ("nodePortAddresses", ["::ffff:10.0.0.0/104"], ["10.0.0.0/8"]),
        ("ipvs.excludeCIDRs", ["010.1.2.3/016"], ["10.1.0.0/16"]),
    ],
)
def test_addresses_are_read_as_stored_ones(
    path: str, value: object, expected: object
) -> None:
    """Leading zeros are decimal, and mapped addresses IPv4's: kube-proxy's reader."""
    assert effective(parsed(**nested(path, value)), path) == expected
