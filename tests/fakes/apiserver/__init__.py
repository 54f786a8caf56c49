"""An API server that is as strict as the real one, over real HTTP and TLS.

It holds Services, EndpointSlices, Nodes, Namespaces, Pods, Events, Leases and
ServiceCIDRs, which is all that kube-proxy asks for, and answers in the words of
kube-apiserver 1.36 (tests/golden/apiserver-1.36 and the tests beside this package); of
discovery and of `exec` it has what kubectl needs. It speaks JSON alone. It does not run
controllers, keeps `managedFields` as a client sends them, and checks only what its
users may get wrong.
"""

from tests.fakes.apiserver.answers import Streaming
from tests.fakes.apiserver.execution import Executed, Execution
from tests.fakes.apiserver.faults import (
    Alter,
    Cut,
    Expire,
    Garble,
    Hang,
    Refuse,
    Throttle,
    When,
)
from tests.fakes.apiserver.kinds import (
    EVENTS,
    LEASES,
    NAMESPACES,
    NODES,
    PODS,
    SERVICE_CIDRS,
    SERVICES,
    SLICES,
)
from tests.fakes.apiserver.recorded import Recorded
from tests.fakes.apiserver.server import Door, FakeApiServer

__all__ = [
    "EVENTS",
    "LEASES",
    "NAMESPACES",
    "NODES",
    "PODS",
    "SERVICES",
    "SERVICE_CIDRS",
    "SLICES",
    "Alter",
    "Cut",
    "Door",
    "Executed",
    "Execution",
    "Expire",
    "FakeApiServer",
    "Garble",
    "Hang",
    "Recorded",
    "Refuse",
    "Streaming",
    "Throttle",
    "When",
]
