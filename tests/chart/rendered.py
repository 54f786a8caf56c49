"""What helm makes of the chart."""

import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import yaml

from tests.chart.values import CHART

Raw = dict[str, Any]
Values = Mapping[str, Any]

CI_VALUES: Final = tuple(sorted((CHART / "ci").glob("*-values.yaml")))


class Refused(Exception):
    """Helm did not take the values; its words."""


@dataclass(frozen=True)
class Rendered:
    """The objects of one release, named `proxy` in the namespace kube-system."""

    objects: tuple[Raw, ...]

    def of(self, kind: str) -> Raw:
        """The only object of a kind.

        Raises:
            LookupError: there is none, or more than one.
        """
        found = [item for item in self.objects if item["kind"] == kind]
        if len(found) != 1:
            raise LookupError(kind, len(found))
        return found[0]

    def has(self, kind: str) -> bool:
        """There is an object of that kind."""
        return any(item["kind"] == kind for item in self.objects)

    @property
    def pod(self) -> Raw:
        """The pod's spec."""
        spec: Raw = self.of("DaemonSet")["spec"]["template"]["spec"]
        return spec

    @property
    def container(self) -> Raw:
        """The container that stays."""
        (found,) = self.pod["containers"]
        container: Raw = found
        return container

    @property
    def env(self) -> dict[str, str]:
        """Its variables that have a value of their own."""
        return {item["name"]: item.get("value", "") for item in self.container["env"]}


def run_helm(*words: str, values: Values | None = None) -> str:
    """Run helm with values on top of the chart's; what it printed.

    Raises:
        Refused: it failed.
    """
    given = ("--values", "-") if values else ()
    done = subprocess.run(
        ["helm", *words, *given],
        input=yaml.safe_dump(dict(values or {})),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise Refused(done.stderr)
    return done.stdout


def template(values: Values | None = None) -> str:
    """The manifests as text."""
    where = ("--namespace", "kube-system", "--kube-version", "1.36.0")
    return run_helm("template", "proxy", str(CHART), *where, values=values)


def render(values: Values | None = None) -> Rendered:
    """The manifests, parsed."""
    documents = yaml.safe_load_all(template(values))
    return Rendered(tuple(item for item in documents if item))


def notes(values: Values | None = None) -> str:
    """What helm says after an installation."""
    where = ("--namespace", "kube-system", "--dry-run=client")
    said = run_helm("install", "proxy", str(CHART), *where, values=values)
    return said.partition("\nNOTES:\n")[2]


def tree(path: str, value: Any) -> Raw:
    """Values with one of them set, `image.tag` as `{"image": {"tag": ...}}`."""
    for key in reversed(path.split(".")):
        value = {key: value}
    found: Raw = value
    return found


def merged(*trees: Values) -> Raw:
    """Values on top of each other, as helm merges them."""
    result: Raw = {}
    for one in trees:
        for key, value in one.items():
            old = result.get(key)
            if isinstance(old, dict) and isinstance(value, dict):
                result[key] = merged(old, value)
            else:
                result[key] = value
    return result
