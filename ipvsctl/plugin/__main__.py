"""`kubectl ipvs`: see the package."""

import signal
import sys
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from ipvsctl.plugin import tables
from ipvsctl.plugin.arguments import Arguments, UsageError, parse, parser
from ipvsctl.plugin.kubectl import Kubectl, KubectlError, Pod, Said

_AT_ONCE: Final = 8
"""Nodes that are asked at the same time; each is a process of kubectl."""

_ERROR: Final = 2


def main() -> None:
    """The command line."""
    # Whoever reads may have seen enough, and that is no error of ours.
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    try:
        arguments = parse(sys.argv[1:])
        if not arguments.command:
            parser().print_help()
            return
        status = _run(arguments, Kubectl(arguments.kubectl))
    except (UsageError, KubectlError) as error:
        sys.stderr.write(f"kubectl ipvs: {error}\n")
        status = _ERROR
    sys.exit(status)


def _run(arguments: Arguments, kubectl: Kubectl) -> int:
    pods = kubectl.pods(arguments.namespace, arguments.selector)
    if not pods:
        place = arguments.namespace
        where = f"namespace {place}" if place else "any namespace"
        raise KubectlError(f"no pod with {arguments.selector} in {where}")
    if arguments.all_nodes:
        return _everywhere(arguments, kubectl, pods)
    return _somewhere(arguments, kubectl, [pod for pod in pods if pod.is_running])


def _somewhere(arguments: Arguments, kubectl: Kubectl, running: Sequence[Pod]) -> int:
    """On one node, as if it were here."""
    command, node = arguments.command, arguments.node
    if arguments.pod is not None:
        client = kubectl.pod(*arguments.pod)
        if not client.node:
            raise KubectlError(f"pod {client.namespace}/{client.name} has no node yet")
        node = client.node
        if arguments.name == "explain" and client.address and not _says_from(command):
            command = (*command, "--from", client.address)
    found = [pod for pod in running if node in {"", pod.node}]
    if not found:
        nodes = ", ".join(pod.node for pod in running) or "no node"
        where = f" on node {node}" if node else ""
        raise KubectlError(f"ipvsctl does not run{where}; it runs on {nodes}")
    if not node and len(found) > 1:
        sys.stderr.write(f"kubectl ipvs: this is node {found[0].node}; see --node\n")
    return kubectl.hand_over(found[0], command)


def _everywhere(arguments: Arguments, kubectl: Kubectl, pods: Iterable[Pod]) -> int:
    """On every node, and together in one table."""
    command, form = arguments.command, arguments.form
    is_status = command == ("status",)
    is_diff = arguments.name == "diff" and not form
    if is_status:
        command = ("status", "--problems", "-o", "json")
    elif is_diff:
        command = (*command, "-o", "json")

    def ask(pod: Pod) -> Said:
        if not pod.is_running:
            return Said(status=_ERROR, stdout="", stderr="its ipvsctl does not run")
        return kubectl.run(pod, command)

    # While pods are renewed a node has one that leaves, too.
    by_node = {pod.node or pod.name: pod for pod in sorted(pods, key=_is_running)}
    nodes = sorted(by_node)
    with ThreadPoolExecutor(_AT_ONCE) as threads:
        said = threads.map(ask, (by_node[node] for node in nodes))
        answers = dict(zip(nodes, said, strict=True))
    if is_status:
        _print(tables.status_table(answers))
    elif is_diff:
        _print(tables.diff_table(answers))
    elif form == "json":
        _print([tables.data_by_node(answers)])
    else:
        _print(tables.lines_by_node(answers))
    return max(one.status for one in answers.values())


def _is_running(pod: Pod) -> bool:
    return pod.is_running


def _says_from(command: Iterable[str]) -> bool:
    return any(word == "--from" or word.startswith("--from=") for word in command)


def _print(lines: Iterable[str]) -> None:
    sys.stdout.write("".join(f"{line}\n" for line in lines))


if __name__ == "__main__":
    main()
