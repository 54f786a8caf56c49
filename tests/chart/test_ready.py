"""The pod of `helm test`: what it asks, and that it has no rights to speak of."""

import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

from tests.chart.rendered import Rendered, render

pytestmark = pytest.mark.chart

READY = {
    "ready": True,
    "source": "API server of https://10.0.0.5:6443",
    "sourceHeardSecondsAgo": 1.5,
}
TRIAL = {
    "serviceProxyName": "ipvsctl",
    "config": {
        "healthzBindAddress": "127.0.0.1:10266",
        "metricsBindAddress": "127.0.0.1:10259",
    },
}


@contextmanager
def readyz(status: int, body: Any) -> Iterator[int]:
    """Something that answers /readyz; its port."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status if self.path == "/readyz" else 404)
            self.end_headers()
            self.wfile.write(json.dumps(body).encode())

        def log_message(self, *_: object) -> None:
            """Not on stderr."""

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def free_port() -> int:
    """A port at which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port


def run(rendered: Rendered, port: int, cluster_ip_port: int) -> tuple[int, str, str]:
    """Run the pod's command here: status, and what it said."""
    (container,) = rendered.of("Pod")["spec"]["containers"]
    python, *words = container["command"]
    assert python == "python"
    env = {item["name"]: item.get("value", "127.0.0.1") for item in container["env"]}
    here = {
        "HEALTHZ_PORT": str(port),
        "KUBERNETES_SERVICE_HOST": "127.0.0.1",
        "KUBERNETES_SERVICE_PORT": str(cluster_ip_port),
        "WAIT_S": "0",
        "PATH": os.environ["PATH"],
    }
    done = subprocess.run(
        [sys.executable, *words],
        env={**env, **here},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


def test_a_node_that_is_ready_and_serves(default: Rendered) -> None:
    """It says what it saw."""
    with readyz(200, READY) as port:
        status, said, errors = run(default, port, port)
    assert (status, errors) == (0, "")
    assert said.splitlines()[1:] == [
        "ready; API server of https://10.0.0.5:6443, heard 1.5 s ago",
        f"cluster IP 127.0.0.1, port {port} answers",
    ]


def test_a_node_that_is_not_ready(default: Rendered) -> None:
    """The whole answer is shown."""
    with readyz(503, {"ready": False, "sourceError": "refused"}) as port:
        status, _, errors = run(default, port, port)
    assert status == 1
    assert 'not ready: {"ready": false, "sourceError": "refused"}' in errors


def test_a_node_without_ipvsctl(default: Rendered) -> None:
    """Nothing listens there."""
    status, _, errors = run(default, free_port(), 1)
    assert status == 1
    assert "no answer of http://127.0.0.1:" in errors


def test_a_cluster_ip_that_does_not_answer(default: Rendered) -> None:
    """Ready or not, nobody is served."""
    closed = free_port()
    with readyz(200, READY) as port:
        status, _, errors = run(default, port, closed)
    assert status == 1
    assert f"no connection to cluster IP 127.0.0.1, port {closed}" in errors


def test_a_trial_serves_no_cluster_ip_of_the_api_server() -> None:
    """Another proxy does, so nothing is said of it; loopback is the host's."""
    trial = render(TRIAL)
    with readyz(200, READY) as port:
        status, said, errors = run(trial, port, free_port())
    assert (status, errors) == (0, "")
    assert "cluster IP" not in said
    assert trial.of("Pod")["spec"]["hostNetwork"] is True


def test_its_rights(default: Rendered) -> None:
    """No user but nobody, no token, nothing of the host's."""
    spec = default.of("Pod")["spec"]
    assert not {"hostNetwork", "hostPID", "hostIPC", "volumes"} & spec.keys()
    assert spec["automountServiceAccountToken"] is False
    assert spec["securityContext"]["runAsNonRoot"] is True
    (container,) = spec["containers"]
    assert container["securityContext"] == {
        "readOnlyRootFilesystem": True,
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
    }


def test_it_is_no_pod_of_the_daemonset(default: Rendered) -> None:
    """Neither the DaemonSet, nor a monitor, takes it for one."""
    pod = default.of("Pod")["metadata"]
    selector = default.of("DaemonSet")["spec"]["selector"]["matchLabels"]
    assert not selector.items() <= pod["labels"].items()
    assert pod["annotations"]["helm.sh/hook"] == "test"
