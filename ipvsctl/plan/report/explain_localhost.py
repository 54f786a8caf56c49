"""Node ports on localhost in an explanation."""

from ipvsctl.model.config import Compatibility
from ipvsctl.model.explanation import Part, Step, Verdict
from ipvsctl.model.net import Protocol, family_of
from ipvsctl.model.relay import ListenerState
from ipvsctl.model.target import AddressTarget
from ipvsctl.plan.report.explain_inputs import ExplainInputs
from ipvsctl.plan.service.frontends import has_node_port
from ipvsctl.plan.service.program import LocalhostPort


def localhost_part(inputs: ExplainInputs, port: LocalhostPort) -> Part:
    """What there is at one listener on localhost."""
    title = f"{port.way} {port.listener}/{port.port_name.protocol.name}"
    return Part(title=title, steps=(_listener_step(inputs, port),))


def _listener_step(inputs: ExplainInputs, port: LocalhostPort) -> Step:
    subject = "listener"
    listener = port.listener
    holder = inputs.desired.localhost_ports.get(listener)
    if holder is not None and holder.port_name != port.port_name:
        return Step(
            verdict=Verdict.BROKEN,
            subject=subject,
            found=f"{listener} is Service {holder.port_name.service}'s, which is older",
            remedy=f"{port.field}: two Services ask for one port",
        )
    if inputs.listeners is None:
        return Step(
            verdict=Verdict.UNKNOWN,
            subject=subject,
            found="no ipvsctl run was asked, and nobody else listens there for it",
            remedy="ask it, without --manifests; if there is none, start it",
        )
    state = inputs.listeners.get(listener, ListenerState())
    if state.refused:
        return Step(
            verdict=Verdict.BROKEN,
            subject=subject,
            found=state.refused,
            remedy=f"see who has it: ss -ltnp sport = :{listener.port}",
        )
    if not port.is_served:
        return Step(
            verdict=Verdict.BROKEN,
            subject=subject,
            found="closed, since there is no endpoint to relay to",
        )
    endpoints = sum(1 for s in port.real_servers.values() if s.weight)
    held = sum(state.connections.values())
    return Step(
        verdict=Verdict.OK,
        subject=subject,
        found=f"the daemon listens, and relays to {endpoints:,} endpoint"
        f"{'' if endpoints == 1 else 's'}; {held:,} connections",
        details=("endpoints see this node's address, and none of loopback",),
    )


def why_not_on_localhost(inputs: ExplainInputs, target: AddressTarget) -> str:
    """Why nothing of this node answers at a loopback address."""
    config = inputs.config
    if config.localhost(family_of(target.address)) is None:
        if config.compatibility is Compatibility.KUBE_PROXY:
            return "there are no node ports on localhost with compatibility kube-proxy"
        return (
            "there are no node ports on localhost: nodePortAddresses names neither"
            " localhost nor a loopback network"
        )
    for ref in sorted(inputs.objects.refs()):
        service = inputs.objects.service(ref)
        for port in service.ports if service is not None else ():
            if (
                service is not None
                and target.port == port.node_port != 0
                and port.protocol is not Protocol.TCP
                and has_node_port(service, port)
            ):
                return (
                    f"node port {target.port} of Service {ref} is for"
                    f" {port.protocol.name}, and on localhost there are those of TCP"
                    " alone"
                )
    return f"no Service has a node port at {target}"
