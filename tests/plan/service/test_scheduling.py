"""Which scheduler and flags a Service gets: one row a fact."""

import msgspec
import pytest

from ipvsctl.model.config import Compatibility, ProxyConfig
from ipvsctl.model.ipvs import SCHEDULERS, ServiceFlags, VirtualServer
from ipvsctl.model.net import IPv4Address
from ipvsctl.model.objects import NodeContext
from ipvsctl.plan.service.compile import compile_service
from ipvsctl.plan.service.scheduling import Scheduling, choose_scheduling
from tests.builders import endpoint_slice, service

OURS = "ipvsctl.io/scheduler"
OUR_FLAGS = "ipvsctl.io/scheduler-flags"
ALIAS = "kube-router.io/service.scheduler"
FLAGS_ALIAS = "kube-router.io/service.schedflags"

NONE = ServiceFlags.NONE
FALLBACK = ServiceFlags.SCHED1
PORT = ServiceFlags.SCHED2

NODE = NodeContext(name="node-0", schedulers=SCHEDULERS - {"twos"})
KUBE_PROXY = ProxyConfig(compatibility=Compatibility.KUBE_PROXY)


def scheduling(
    annotations: dict[str, str], config: ProxyConfig | None = None
) -> Scheduling:
    """How a Service with these annotations is scheduled."""
    asking = service(annotations=tuple(sorted(annotations.items())))
    return choose_scheduling(asking, NODE, config or ProxyConfig())


@pytest.mark.parametrize(
    ("annotations", "scheduler", "flags"),
    [
        ({}, "rr", NONE),
        ({OURS: "wlc"}, "wlc", NONE),
        ({OURS: " lc "}, "lc", NONE),
        ({ALIAS: "wrr"}, "wrr", NONE),
        ({OURS: "lc", ALIAS: "wrr"}, "lc", NONE),
        ({OURS: "", ALIAS: "wrr"}, "wrr", NONE),
        ({OURS: "sh"}, "sh", FALLBACK),
        ({OURS: "mh"}, "mh", FALLBACK | PORT),
        ({OURS: "dh"}, "dh", NONE),
        ({OURS: "sh", OUR_FLAGS: "sh-port"}, "sh", FALLBACK | PORT),
        ({OURS: "mh", OUR_FLAGS: "mh-fallback"}, "mh", FALLBACK),
        ({ALIAS: "mh", FLAGS_ALIAS: "mh-port, mh-fallback"}, "mh", FALLBACK | PORT),
        ({OURS: "sh", FLAGS_ALIAS: "flag-2"}, "sh", FALLBACK | PORT),
        ({OURS: "wlc", OUR_FLAGS: "flag-1,flag-3"}, "wlc", ServiceFlags(0x28)),
        ({OURS: "mh", OUR_FLAGS: ",", FLAGS_ALIAS: "mh-port"}, "mh", FALLBACK),
    ],
)
def test_annotations(
    annotations: dict[str, str], scheduler: str, flags: ServiceFlags
) -> None:
    """A Service gets what it asks for, and the flags that keep it from dropping."""
    found = scheduling(annotations)
    assert (found.scheduler, found.flags) == (scheduler, flags)
    assert not found.problems


@pytest.mark.parametrize(
    ("annotations", "scheduler", "flags", "problems"),
    [
        (
            {OURS: "wrrr"},
            "mh",
            FALLBACK | PORT,
            [(OURS, "wrrr", f"not one of {' '.join(sorted(SCHEDULERS))}; mh is used")],
        ),
        (
            {ALIAS: "twos"},
            "mh",
            FALLBACK | PORT,
            [
                (
                    ALIAS,
                    "twos",
                    "this node's kernel has no module ip_vs_twos; mh is used",
                )
            ],
        ),
        (
            {OURS: "sh", OUR_FLAGS: "mh-port,sh-port"},
            "sh",
            FALLBACK | PORT,
            [
                (
                    OUR_FLAGS,
                    "mh-port",
                    (
                        "not one of flag-1, flag-2, flag-3, sh-fallback, sh-port,"
                        " which sh knows"
                    ),
                )
            ],
        ),
        (
            {OURS: "rr", FLAGS_ALIAS: "sh-port"},
            "rr",
            NONE,
            [
                (
                    FLAGS_ALIAS,
                    "sh-port",
                    "not one of flag-1, flag-2, flag-3, which rr knows",
                )
            ],
        ),
    ],
)
def test_annotations_that_cannot_be_honoured(
    annotations: dict[str, str],
    scheduler: str,
    flags: ServiceFlags,
    problems: list[tuple[str, str, str]],
) -> None:
    """Each is a problem that names the annotation; the rest of the Service stands."""
    found = scheduling(annotations, ProxyConfig(scheduler="mh"))
    assert (found.scheduler, found.flags) == (scheduler, flags)
    assert [
        (p.field.removeprefix("metadata.annotations."), p.value, p.reason)
        for p in found.problems
    ] == problems


def test_compatibility_knows_no_annotations() -> None:
    """kube-proxy has one scheduler for all, and says nothing of annotations."""
    found = scheduling({OURS: "nonesuch", OUR_FLAGS: "x"}, KUBE_PROXY)
    assert found == Scheduling(scheduler="rr", flags=NONE, wishes=found.wishes)


def test_every_virtual_server_of_a_service_is_scheduled_alike() -> None:
    """The annotation is for all ways in, and its problems are the Service's."""
    asking = service(
        annotations=((OURS, "sh"), (OUR_FLAGS, "x")),
        external_ips=(IPv4Address("203.0.113.7"),),
        affinity_timeout_s=600,
    )
    program = compile_service(asking, [endpoint_slice()], NODE, ProxyConfig())
    servers: list[VirtualServer] = [server.server for server in program.servers]
    assert len(servers) == 2
    for server in servers:
        assert server.scheduler == "sh"
        assert server.flags == FALLBACK | ServiceFlags.PERSISTENT
    assert [problem.value for problem in program.problems] == ["x"]


@pytest.mark.parametrize(
    ("config", "weights"), [(ProxyConfig(), [0, 5]), (KUBE_PROXY, [1, 1])]
)
def test_weights(config: ProxyConfig, weights: list[int]) -> None:
    """Endpoints have the weight of their slice; with kube-proxy it is 1."""
    slices = [
        endpoint_slice("web-a", "172.16.0.1", weight=5),
        endpoint_slice("web-b", "172.16.0.2", weight=0),
    ]
    program = compile_service(service(), slices, NODE, config)
    (server,) = program.servers
    assert sorted(s.weight for s in server.real_servers.values()) == weights


def test_a_weight_makes_another_program() -> None:
    """A changed weight is a change: it reaches the kernel."""
    light = endpoint_slice()
    heavy = msgspec.structs.replace(light, weight=2)
    config = ProxyConfig()
    assert compile_service(service(), [light], NODE, config) != compile_service(
        service(), [heavy], NODE, config
    )
