"""The fake API server as a process."""

import json
import signal
import ssl
import subprocess
import sys
from base64 import b64decode
from contextlib import closing
from http.client import HTTPSConnection
from pathlib import Path
from typing import Any

COMMAND = (sys.executable, "-m", "tests.fakes.apiserver")


def test_it_serves_a_cluster_until_it_is_ended() -> None:
    """Whoever has the kubeconfig that it prints can list what was asked for."""
    with subprocess.Popen(
        [*COMMAND, "--services", "3", "--slices", "6", "--endpoints", "2"],
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            slices = list_slices(Path(process.stdout.readline().strip()))
        finally:
            process.send_signal(signal.SIGTERM)
    assert process.returncode == 0
    assert [len(item["endpoints"]) for item in slices] == [2] * 6
    owners = {item["metadata"]["ownerReferences"][0]["name"] for item in slices}
    assert owners == {"service-0", "service-1", "service-2"}


def list_slices(kubeconfig: Path) -> list[dict[str, Any]]:
    """All EndpointSlices."""
    config = json.loads(kubeconfig.read_text())
    cluster = config["clusters"][0]["cluster"]
    trusted = b64decode(cluster["certificate-authority-data"]).decode()
    context = ssl.create_default_context(cadata=trusted)
    place = cluster["server"].removeprefix("https://")
    headers = {"Authorization": f"Bearer {config['users'][0]['user']['token']}"}
    with closing(HTTPSConnection(place, context=context)) as connection:
        path = "/apis/discovery.k8s.io/v1/endpointslices"
        connection.request("GET", path, headers=headers)
        items: list[dict[str, Any]] = json.load(connection.getresponse())["items"]
    return items
