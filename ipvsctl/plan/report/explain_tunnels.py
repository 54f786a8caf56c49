"""How packets of outside clients get to endpoints on other nodes, explained."""

from collections.abc import Iterator

from ipvsctl.model.explanation import Step, Verdict
from ipvsctl.model.objects import Service
from ipvsctl.plan.report.explain_inputs import ExplainInputs
from ipvsctl.plan.report.why import endpoints_of
from ipvsctl.plan.service.kube_router import as_annotated
from ipvsctl.plan.service.program import ServerProgram, WayIn
from ipvsctl.plan.service.tunnels import tunnel_obstacle, wants_tunnel
from ipvsctl.plan.service.wishes import read_wishes

_WAYS = (WayIn.EXTERNAL_IP, WayIn.INGRESS_VIP)


def tunnel_steps(
    inputs: ExplainInputs, asked: Service, server: ServerProgram
) -> Iterator[Step]:
    """Whether a way in is tunnelled, or why it is not; nothing if it is not to be."""
    service = as_annotated(asked, inputs.config)
    wishes = read_wishes(service, inputs.config)
    if server.way not in _WAYS or not wants_tunnel(service, wishes, inputs.config):
        return
    port = next(
        one
        for one in service.ports
        if (one.name, one.protocol)
        == (server.port_name.port, server.port_name.protocol)
    )
    family = server.server.key.family
    slices = inputs.objects.slices_of(service.ref)
    found = endpoints_of(service, port, family, slices, inputs.context)
    reason = tunnel_obstacle(
        port, family, found.usable, wishes, inputs.context, inputs.config
    )
    holder = inputs.desired.server(server.server.key)
    if not reason and (holder is None or holder.arrival is None):
        reason = "no packet mark is free"
    yield Step(
        verdict=Verdict.NOTE if reason else Verdict.OK,
        subject="tunnels",
        found=f"masqueraded: {reason}"
        if reason
        else "endpoints on other nodes get packets in tunnels, and answer clients"
        " themselves",
    )
