"""Facts about following manifests, on real files with real inotify."""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from ipvsctl.cluster.events import Deleted, Event, Invalid, Synced, Upserted
from ipvsctl.model.errors import ConfigError
from ipvsctl.model.source_state import source_state
from ipvsctl.sources.aside import ASIDE_BYTES
from ipvsctl.sources.manifests import ManifestsSource
from ipvsctl.sources.source import Source
from tests.builders import raw_service
from tests.fakes.clock import FakeClock


def text(*names: str, **spec: Any) -> str:
    """Manifests of a Service of each name."""
    return yaml.safe_dump_all([raw_service(name, **spec) for name in names])


def word(event: Event) -> str:
    """`+name` there or changed, `-name` gone, `!file` broken, `.file` repaired."""
    if isinstance(event, Upserted):
        return f"+{event.ref.name}"
    if isinstance(event, Deleted):
        return ("." if "/" in event.ref.name else "-") + Path(event.ref.name).name
    if isinstance(event, Invalid):
        return f"!{Path(event.ref.name).name}"
    return "synced" if isinstance(event, Synced) else "?"


@asynccontextmanager
async def following(*paths: Path) -> AsyncIterator[AsyncGenerator[Event, None]]:
    """The events of a source that has told its first state, which has no events."""
    async with aclosing(ManifestsSource(paths).events()) as events:
        async for event in events:
            if isinstance(event, Synced):
                break
        yield events


async def words(events: AsyncGenerator[Event, None], count: int) -> list[str]:
    """The next events in short."""
    return [word(await anext(events)) for _ in range(count)]


async def test_first_state(tmp_path: Path) -> None:
    """First comes everything, broken files too, then `Synced`."""
    (tmp_path / "a.yaml").write_text(text("a", "b"))
    (tmp_path / "z.yaml").write_text("x: [")
    source: Source = ManifestsSource([tmp_path])
    async with aclosing(source.events()) as events:
        assert await words(events, 4) == ["+a", "+b", "!z.yaml", "synced"]
    assert source.description == f"manifests in {tmp_path}"


async def test_empty_directory(tmp_path: Path) -> None:
    """A directory without manifests says nothing until there is one in it."""
    root = tmp_path / "manifests"
    root.mkdir()
    async with aclosing(ManifestsSource([root]).events()) as events:
        assert await words(events, 2) == ["!manifests", "synced"]
        (root / "a.yaml").write_text(text("a"))
        assert await words(events, 2) == ["+a", ".manifests"]


async def test_move_into_a_broken_file(tmp_path: Path) -> None:
    """What moves into a file that cannot be read stays until that can be."""
    old, new = tmp_path / "a.yaml", tmp_path / "b.yaml"
    old.write_text(text("a", "b"))
    (tmp_path / "other.yaml").write_text(text("o"))
    async with following(tmp_path) as events:
        new.write_text("x: [")
        old.rename(new)
        new.write_text(text("a") + "---\nx: [")
        assert await words(events, 1) == ["!b.yaml"]
        new.write_text(text("a"))
        assert await words(events, 2) == ["-b", ".b.yaml"]


async def test_a_file_that_was_always_broken_stops_no_withdrawal(
    tmp_path: Path,
) -> None:
    """No object moves into a file that is as it was when the object was first seen."""
    path = tmp_path / "a.yaml"
    (tmp_path / "z.yaml").write_text("x: [")
    path.write_text(text("a", "b"))
    async with following(tmp_path) as events:
        path.write_text(text("a"))
        assert await words(events, 1) == ["-b"]


async def test_health(tmp_path: Path) -> None:
    """It is as fresh as the last look at which everything could be read."""
    clock = FakeClock()
    path = tmp_path / "a.yaml"
    path.write_text(text("a"))
    source = ManifestsSource([tmp_path], clock=clock)
    (health,) = source.health()
    assert (health.age_s, health.is_connected, health.is_complete) == (
        None,
        False,
        False,
    )
    async with aclosing(source.events()) as events:
        assert await words(events, 2) == ["+a", "synced"]
        clock.advance(7)
        (health,) = source.health()
        assert (health.age_s, health.reason, health.is_complete) == (7, "", True)
        path.write_text("x: [")
        assert await words(events, 1) == ["!a.yaml"]
        clock.advance(40)
        (health,) = source.health()
        assert (health.age_s, health.is_connected, health.since_s) == (47, False, 40)
        assert str(path) in health.reason
        state = source_state(source.description, source.health())
        assert not state.is_fresh
        assert state.heard().startswith("manifests not read for 47 s: ")
        path.write_text(text("a"))
        assert await words(events, 1) == [".a.yaml"]
        assert source_state(source.description, source.health()).is_sure


async def test_missing(tmp_path: Path) -> None:
    """A path that is not there at the start is an error that names it."""
    async with aclosing(ManifestsSource([tmp_path / "no"]).events()) as events:
        with pytest.raises(ConfigError, match="no"):
            await anext(events)


async def test_changes(tmp_path: Path) -> None:
    """What is written, broken, repaired and deleted is told, and nothing else."""
    path = tmp_path / "a.yaml"
    path.write_text(text("a", "b"))
    (tmp_path / "other.yaml").write_text(text("o"))
    async with following(tmp_path) as events:
        path.write_text(text("a", "c"))
        assert await words(events, 2) == ["+c", "-b"]
        path.write_text("x: [")
        assert await words(events, 1) == ["!a.yaml"]
        path.write_text(text("a", "c", "d"))
        assert await words(events, 2) == ["+d", ".a.yaml"]
        path.unlink()
        assert await words(events, 3) == ["-a", "-c", "-d"]
        (tmp_path / "new.yaml").write_text(text("n"))
        assert await words(events, 1) == ["+n"]


async def test_write_between_reading_and_watching(tmp_path: Path) -> None:
    """A change made as soon as the first state is told is not missed."""
    path = tmp_path / "a.yaml"
    path.write_text(text("a"))
    async with aclosing(ManifestsSource([tmp_path]).events()) as events:
        assert await words(events, 1) == ["+a"]
        path.write_text(text("a", "b"))
        assert await words(events, 2) == ["synced", "+b"]


async def test_editor_that_renames(tmp_path: Path) -> None:
    """A file replaced by a rename is a change of its objects."""
    path = tmp_path / "a.yaml"
    path.write_text(text("a", "b"))
    async with following(path) as events:
        fresh = tmp_path / ".a.yaml.swp"
        fresh.write_text(text("b", "c"))
        fresh.rename(path)
        assert await words(events, 2) == ["+c", "-a"]
        path.write_text(text("b", "c", "d"))
        assert await words(events, 1) == ["+d"]


async def test_config_map_volume(tmp_path: Path) -> None:
    """A ConfigMap volume changes by swapping one link."""
    for version in ("..1", "..2"):
        (tmp_path / version).mkdir()
        (tmp_path / version / "a.yaml").write_text(text(f"a{version[-1]}"))
    (tmp_path / "..data").symlink_to("..1")
    (tmp_path / "a.yaml").symlink_to("..data/a.yaml")
    async with following(tmp_path) as events:
        (tmp_path / "..tmp").symlink_to("..2")
        (tmp_path / "..tmp").rename(tmp_path / "..data")
        assert await words(events, 2) == ["+a2", "-a1"]


async def test_directory_that_is_replaced(tmp_path: Path) -> None:
    """A directory that goes and returns is followed again; its Services stay."""
    root = tmp_path / "etc" / "manifests"
    root.mkdir(parents=True)
    (root / "a.yaml").write_text(text("a"))
    async with following(root) as events:
        root.rename(tmp_path / "aside")
        assert await words(events, 1) == ["!manifests"]
        root.mkdir()
        (root / "a.yaml").write_text(text("a", "b"))
        assert sorted(await words(events, 2)) == ["+b", ".manifests"]
        (root / "a.yaml").write_text(text("a", "b", "c"))
        assert await words(events, 1) == ["+c"]


async def test_several_paths(tmp_path: Path) -> None:
    """Files and directories are followed together."""
    directory = tmp_path / "d"
    directory.mkdir()
    (directory / "a.yaml").write_text(text("a"))
    file = tmp_path / "services"
    file.write_text(text("b"))
    async with following(directory, file) as events:
        file.write_text(text("b", "c"))
        assert await words(events, 1) == ["+c"]
        (directory / "a.yaml").write_text(text("a", "d"))
        assert await words(events, 1) == ["+d"]


def large(path: Path, *names: str) -> None:
    """A file that is read aside."""
    path.write_text(text(*names) + "#" * ASIDE_BYTES)


async def test_large_file(tmp_path: Path) -> None:
    """A large file is read aside; what it says comes later, and that is said."""
    (tmp_path / "a.yaml").write_text(text("a"))
    large(tmp_path / "b.yaml", "b")
    async with following(tmp_path) as events:
        large(tmp_path / "b.yaml", "b", "c")
        assert await words(events, 3) == ["!b.yaml", "+c", ".b.yaml"]
        (tmp_path / "a.yaml").write_text(text("a", "d"))
        assert await words(events, 1) == ["+d"]
