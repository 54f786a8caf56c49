"""Says whether ipvsctl of this node is ready, and whether a cluster IP answers.

Runs in the image, as the pod of `helm test`; its settings are variables:
    NODE_NAME           for what is said
    HEALTHZ_HOST, _PORT where /readyz is
    SERVES_CLUSTER_IPS  "true": reach the API server by its cluster IP, too
    KUBERNETES_SERVICE_HOST, _PORT
                        that cluster IP; every pod has them
    WAIT_S              how long to try, 60 unless it is set
"""

# A script that is put into a pod, no module of a package; what it prints is its answer.
# ruff: noqa: INP001, T201

import json
import os
import socket
import sys
import time
import urllib.error
import urllib.request

TIMEOUT_S = 5.0


def readyz(host: str, port: str) -> str:
    """What is wrong with the answer of /readyz; "" if nothing."""
    where = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    # The node's own address: no proxy of the environment is on the way.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"http://{where}/readyz", timeout=TIMEOUT_S) as response:
            body = json.load(response)
    except urllib.error.HTTPError as error:
        return f"not ready: {error.read().decode(errors='replace')}"
    except (OSError, ValueError) as error:
        return f"no answer of http://{where}/readyz: {error}"
    print(f"ready; {body['source']}, heard {body['sourceHeardSecondsAgo']} s ago")
    return ""


def cluster_ip(host: str, port: str) -> str:
    """What is wrong with a connection to a cluster IP; "" if nothing."""
    try:
        socket.create_connection((host, int(port)), TIMEOUT_S).close()
    except OSError as error:
        return f"no connection to cluster IP {host}, port {port}: {error}"
    print(f"cluster IP {host}, port {port} answers")
    return ""


def main() -> None:
    """Try until both are well, or the time is up."""
    env = os.environ
    print(f"node {env['NODE_NAME']}")
    checks = [(readyz, env["HEALTHZ_HOST"], env["HEALTHZ_PORT"])]
    if env["SERVES_CLUSTER_IPS"] == "true":
        place = (env["KUBERNETES_SERVICE_HOST"], env["KUBERNETES_SERVICE_PORT"])
        checks.append((cluster_ip, *place))
    end = time.monotonic() + float(env.get("WAIT_S", "60"))
    for check, host, port in checks:
        while wrong := check(host, port):
            if time.monotonic() >= end:
                sys.exit(wrong)
            time.sleep(1)


main()
