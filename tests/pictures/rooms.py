"""The picture of the rooms, made from the imports."""

import ast
import textwrap
import tomllib
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet
from pathlib import Path
from typing import Final

import msgspec

from tests.pictures.drawing import HEAD, LOOK, ROOT, Picture

_PACKAGE: Final = "ipvsctl"
_HOUSES: Final = frozenset({"cluster", "kube", "plan", "wire"})
"""Packages that have rooms of their own."""
_WIDTH: Final = 26
"""Characters in a line of a room's description."""

_START: Final = """\
digraph rooms {
  graph [rankdir=TB, nodesep=0.25, ranksep=0.45, style=rounded];
""".splitlines()


class Room(msgspec.Struct, frozen=True, kw_only=True):
    """A folder of modules.

    Attributes:
        name: `kernel`, `plan.diff`.
        purpose: the first sentence of its docstring.
        modules: how many it has.
    """

    name: str
    purpose: str
    modules: int


def rooms() -> tuple[Room, ...]:
    """Every room of the package, by name."""
    counted = Counter(_room(path) for path in _modules())
    return tuple(
        Room(name=name, purpose=_purpose(name), modules=modules)
        for name, modules in sorted(counted.items())
    )


def arrows() -> frozenset[tuple[str, str]]:
    """Which room imports from which, without those that follow from other arrows."""
    found: defaultdict[str, set[str]] = defaultdict(set)
    for path in _modules():
        room = _room(path)
        found[room].update(
            other for name in _imports(path) if (other := _room_of(name)) != room
        )
    return frozenset(
        (room, other)
        for room, others in found.items()
        for other in others
        if not any(
            other in _reached(found, between) for between in others if between != other
        )
    )


def picture() -> Picture:
    """The rooms, those of a house in its frame, and which imports from which."""
    lines = [HEAD, *_START, *LOOK]
    known = {room.name: room for room in rooms()}
    for house in sorted(_HOUSES):
        lines += [f"  subgraph cluster_{house} {{", f'    label="{house}";']
        lines += [
            f"    {_node(room)}"
            for name, room in known.items()
            if _house(name) == house
        ]
        lines.append("  }")
    lines += [
        f"  {_node(room)}"
        for name, room in known.items()
        if _house(name) not in _HOUSES
    ]
    for layer in _layers():
        same = [f'"{name}";' for name in layer if name in known]
        if len(same) > 1:
            lines.append(f"  {{ rank=same; {' '.join(same)} }}")
    lines += [f'  "{room}" -> "{other}";' for room, other in sorted(arrows())]
    return Picture(name="rooms", text="\n".join([*lines, "}", ""]))


def _node(room: Room) -> str:
    words = "\\n".join(textwrap.wrap(room.purpose.replace('"', "'"), _WIDTH))
    title = room.name.rpartition(".")[2]
    count = "1 module" if room.modules == 1 else f"{room.modules} modules"
    return f'"{room.name}" [label="{title} ({count})\\n{words}"];'


def _layers() -> Iterator[list[str]]:
    """The rooms that stand side by side in each layer, the top one first."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    contract = settings["tool"]["importlinter"]["contracts"][0]
    for layer in contract["layers"]:
        yield [name.strip().removeprefix(f"{_PACKAGE}.") for name in layer.split("|")]


def _modules() -> Iterator[Path]:
    for path in sorted((ROOT / _PACKAGE).rglob("*.py")):
        # The package itself has the version and the way to `python -m`.
        if path.parent.name != _PACKAGE and path.name != "__init__.py":
            yield path


def _room(path: Path) -> str:
    return _room_of(".".join(path.relative_to(ROOT).with_suffix("").parts))


def _room_of(module: str) -> str:
    """The room of `ipvsctl.plan.diff.ops`, and of `ipvsctl.plan.diff` itself."""
    parts = module.split(".")[1:]
    if parts[0] in _HOUSES and (ROOT / _PACKAGE / parts[0] / parts[1]).is_dir():
        return f"{parts[0]}.{parts[1]}"
    return parts[0]


def _house(room: str) -> str:
    return room.partition(".")[0]


def _imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            if node.module.startswith(f"{_PACKAGE}."):
                yield node.module
        elif isinstance(node, ast.Import):
            yield from (a.name for a in node.names if a.name.startswith(f"{_PACKAGE}."))


def _reached(found: Mapping[str, AbstractSet[str]], start: str) -> AbstractSet[str]:
    """The rooms that are reached from a room over one or more arrows."""
    reached: set[str] = set()
    waiting = list(found.get(start, ()))
    while waiting:
        room = waiting.pop()
        if room not in reached:
            reached.add(room)
            waiting += found.get(room, ())
    return reached


def _purpose(room: str) -> str:
    path = ROOT.joinpath(_PACKAGE, *room.split("."), "__init__.py")
    words = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    return words.split("\n\n", maxsplit=1)[0].replace("\n", " ").rstrip(".")
