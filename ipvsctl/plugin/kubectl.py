"""Calls of kubectl."""

import json
import subprocess
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote

CONTAINER: Final = "ipvsctl"
_ENDED: Final = "command terminated with exit code"


class KubectlError(Exception):
    """kubectl did not do it; the text is what it said."""


@dataclass(frozen=True, kw_only=True, order=True)
class Pod:
    """A pod.

    Attributes:
        node: "" while it has none.
    """

    node: str
    namespace: str
    name: str
    address: str = ""
    is_running: bool = False
    has_container: bool = False


@dataclass(frozen=True, kw_only=True)
class Said:
    """How a command on a node ended."""

    status: int
    stdout: str
    stderr: str


class Kubectl:
    """The kubectl that is in the path.

    Args:
        flags: for every call.
    """

    def __init__(self, flags: Sequence[str]) -> None:
        self._base = ("kubectl", *flags)

    def pods(self, namespace: str, selector: str) -> list[Pod]:
        """Pods with these labels, in the order of their nodes.

        Args:
            namespace: "" for all.
            selector: labels.

        Raises:
            KubectlError: the API server does not tell.
        """
        place = f"namespaces/{quote(namespace)}/" if namespace else ""
        path = f"/api/v1/{place}pods?labelSelector={quote(selector, safe='')}"
        return sorted(map(_pod, self._get(path)["items"]))

    def pod(self, namespace: str, name: str) -> Pod:
        """One pod; without a namespace, in that of the context.

        Raises:
            KubectlError: there is none, or the API server does not tell.
        """
        where = namespace or self._namespace()
        return _pod(self._get(f"/api/v1/namespaces/{quote(where)}/pods/{quote(name)}"))

    def run(self, pod: Pod, command: Sequence[str]) -> Said:
        """Run a command of ipvsctl, and keep what it says."""
        done = subprocess.run(
            self._exec(pod, command, ()),
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            stdin=subprocess.DEVNULL,
        )
        errors = [line for line in done.stderr.splitlines() if _ENDED not in line]
        return Said(
            status=done.returncode, stdout=done.stdout, stderr="\n".join(errors)
        )

    def hand_over(self, pod: Pod, command: Sequence[str]) -> int:
        """Run a command of ipvsctl as if it were here; its exit status.

        It has a terminal where this process has one.
        """
        flags = ("-i", "-t") if sys.stdin.isatty() and sys.stdout.isatty() else ()
        call = self._exec(pod, command, flags)
        with subprocess.Popen(call, stderr=subprocess.PIPE) as process:
            teller = threading.Thread(target=_tell, args=(process,), daemon=True)
            teller.start()
            while True:
                try:
                    status = process.wait()
                    break
                except KeyboardInterrupt:
                    # It has got the signal as well, and ends by itself.
                    continue
            teller.join()
        return status

    def _exec(
        self, pod: Pod, command: Sequence[str], flags: Sequence[str]
    ) -> tuple[str, ...]:
        container = ("-c", CONTAINER) if pod.has_container else ()
        place = ("-n", pod.namespace, pod.name, *container)
        return (*self._base, "exec", *flags, *place, "--", "ipvsctl", *command)

    def _get(self, path: str) -> Any:  # noqa: ANN401  # JSON
        return json.loads(self._call("get", "--raw", path))

    def _namespace(self) -> str:
        path = "jsonpath={..namespace}"
        found = self._call("config", "view", "--minify", "--output", path)
        return found.split(" ")[0].strip() or "default"

    def _call(self, *words: str) -> str:
        try:
            done = subprocess.run(
                (*self._base, *words),
                capture_output=True,
                text=True,
                errors="replace",
                check=False,
                stdin=subprocess.DEVNULL,
            )
        except FileNotFoundError as error:
            raise KubectlError("there is no kubectl in the path") from error
        if done.returncode:
            raise KubectlError(done.stderr.strip() or f"kubectl {words[0]} failed")
        return done.stdout


def _tell(process: subprocess.Popen[bytes]) -> None:
    for line in process.stderr or ():
        text = line.decode(errors="replace")
        if _ENDED not in text:
            sys.stderr.write(text)
            sys.stderr.flush()


def _pod(raw: Any) -> Pod:  # noqa: ANN401  # JSON
    metadata, spec, status = raw["metadata"], raw["spec"], raw.get("status", {})
    is_leaving = "deletionTimestamp" in metadata
    names = {container["name"] for container in spec.get("containers", ())}
    return Pod(
        node=spec.get("nodeName", ""),
        namespace=metadata["namespace"],
        name=metadata["name"],
        address=status.get("podIP", ""),
        # One that is not ready can be asked why; one that leaves cannot for long.
        is_running=status.get("phase") == "Running" and not is_leaving,
        has_container=CONTAINER in names,
    )
