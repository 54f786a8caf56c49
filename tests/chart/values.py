"""The chart's values.yaml, and the table of them in the chart's README.

`python -m tests.chart.values` writes the table; a test says whether it is up to date.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

ROOT: Final = Path(__file__).parents[2]
CHART: Final = ROOT / "charts" / "ipvsctl"
ALERTS: Final = "alerts"
"""The value that has a mapping for each alert."""

_KEY = re.compile(r"( *)([A-Za-z]+):")
_BEGIN, _END = "<!-- values -->\n", "<!-- end of values -->\n"


@dataclass(frozen=True, kw_only=True)
class Value:
    """One value that has a description.

    Attributes:
        path: `image.tag`.
        default: as YAML holds it.
        description: the comment above it, on one line.
    """

    path: str
    default: Any
    description: str


def values() -> tuple[Value, ...]:
    """All of them, in the order of the file."""
    return tuple(_read((CHART / "values.yaml").read_text(encoding="utf-8")))


def _read(text: str) -> Iterator[Value]:
    defaults = yaml.safe_load(text)
    path: list[str] = []
    said: list[str] = []
    for line in text.splitlines():
        comment = line.strip().removeprefix("# ")
        if comment.startswith("-- "):
            said = [comment.removeprefix("-- ")]
        elif said and line.strip().startswith("# "):
            said.append(comment)
        elif match := _KEY.match(line):
            path = [*path[: len(match[1]) // 2], match[2]]
            if said:
                yield Value(
                    path=".".join(path),
                    default=_at(defaults, path),
                    description=" ".join(said),
                )
            said = []


def _at(tree: Any, path: list[str]) -> Any:
    for key in path:
        tree = tree[key]
    return tree


def table() -> str:
    """The README's table."""
    rows = ["| value | default | meaning |", "| --- | --- | --- |"]
    rows += [
        f"| `{value.path}` | `{json.dumps(value.default)}` | {value.description} |"
        for value in values()
    ]
    return "\n".join(rows) + "\n"


def readme() -> str:
    """The README with its table as it should be."""
    text = (CHART / "README.md").read_text(encoding="utf-8")
    before, _, rest = text.partition(_BEGIN)
    _, _, after = rest.partition(_END)
    return f"{before}{_BEGIN}{table()}{_END}{after}"


if __name__ == "__main__":
    (CHART / "README.md").write_text(readme(), encoding="utf-8")
