"""Which resources there are, as kubectl asks before it names one, and who tells."""

from collections import defaultdict

from tests.fakes.apiserver.kinds import RESOURCES, Resource

_VERBS = ["create", "delete", "get", "list", "patch", "update", "watch"]
_VERSION = {
    "major": "1",
    "minor": "36",
    "gitVersion": "v1.36.2",
    "gitCommit": "",
    "gitTreeState": "",
    "buildDate": "1970-01-01T00:00:00Z",
    "goVersion": "",
    "compiler": "gc",
    "platform": "linux/amd64",
}
"""The server whose words are spoken here; of it, what every server has."""


def discovered(path: str) -> dict[str, object] | None:
    """The answer at a path; None if it is no such path."""
    groups: defaultdict[tuple[str, str], list[Resource]] = defaultdict(list)
    for resource in RESOURCES:
        groups[resource.group, resource.version].append(resource)
    match path.strip("/").split("/"):
        case ["version"]:
            return {**_VERSION}
        case ["api"]:
            return {"kind": "APIVersions", "versions": ["v1"]}
        case ["apis"]:
            named = [_group(*key) for key in groups if key[0]]
            return {"kind": "APIGroupList", "apiVersion": "v1", "groups": named}
        case ["api", version] if ("", version) in groups:
            return _resources(version, groups["", version])
        case ["apis", group, version] if (group, version) in groups:
            return _resources(f"{group}/{version}", groups[group, version])
    return None


def _group(group: str, version: str) -> dict[str, object]:
    named = {"groupVersion": f"{group}/{version}", "version": version}
    return {"name": group, "versions": [named], "preferredVersion": named}


def _resources(group_version: str, resources: list[Resource]) -> dict[str, object]:
    return {
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": group_version,
        "resources": [
            {
                "name": resource.plural,
                "singularName": resource.kind.lower(),
                "namespaced": resource.is_namespaced,
                "kind": resource.kind,
                "verbs": _VERBS,
            }
            for resource in resources
        ],
    }
