"""Facts about which files are read, and when again."""

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

from ipvsctl.cluster.events import Upserted
from ipvsctl.cluster.manifests.manifest import ManifestFile, merge
from ipvsctl.model.errors import ConfigError
from ipvsctl.model.objects import Service
from ipvsctl.model.problem import Kind
from ipvsctl.sources.aside import ASIDE_BYTES, Aside
from ipvsctl.sources.bounded import Fingerprint
from ipvsctl.sources.files import EMPTY_S, FileReader
from ipvsctl.sources.manifests import load_manifests
from tests.builders import raw_service, ref
from tests.fakes.clock import FakeClock
from tests.work import calls_of


def write(path: Path, *names: str, **spec: Any) -> Path:
    """A file with a Service of each name."""
    path.write_text(yaml.safe_dump_all([raw_service(name, **spec) for name in names]))
    return path


def services(reader: FileReader) -> list[str]:
    """Names of the Services in all files."""
    return sorted(name.name for _, name in merge(reader.read()).objects)


def test_directory(tmp_path: Path) -> None:
    """A directory means the manifests directly in it, without hidden ones."""
    write(tmp_path / "a.yaml", "a")
    write(tmp_path / "b.yml", "b")
    write(tmp_path / "c.json", "c").write_bytes(b'{"apiVersion":"v1","kind":"List"}')
    write(tmp_path / ".d.yaml", "d")
    write(tmp_path / "e.txt", "e")
    write(tmp_path / "f.yaml~", "f")
    (tmp_path / "sub").mkdir()
    (tmp_path / "dir.yaml").mkdir()
    write(tmp_path / "sub" / "g.yaml", "g")
    reader = FileReader([tmp_path])
    assert sorted(Path(path).name for path in reader.read()) == [
        "a.yaml",
        "b.yml",
        "c.json",
    ]
    assert services(reader) == ["a", "b"]


def test_named_file(tmp_path: Path) -> None:
    """A file that is named is read whatever its suffix."""
    path = write(tmp_path / "dump", "a", "b")
    found = load_manifests([path])
    assert [name.name for _, name in found.objects] == ["a", "b"]


def test_missing(tmp_path: Path) -> None:
    """A path that is not there at the start is an error that names it."""
    with pytest.raises(ConfigError) as caught:
        load_manifests([tmp_path, tmp_path / "no"])
    assert caught.value.value == str(tmp_path / "no")


def test_unchanged_files_are_not_read_again(tmp_path: Path) -> None:
    """What was not written since gives the very same answer."""
    write(tmp_path / "a.yaml", "a")
    write(tmp_path / "b.yaml", "b")
    reader = FileReader([tmp_path])
    first = reader.read()
    write(tmp_path / "b.yaml", "b2")
    second = reader.read()
    paths = str(tmp_path / "a.yaml"), str(tmp_path / "b.yaml")
    assert second[paths[0]] is first[paths[0]]
    assert services(reader) == ["a", "b2"]


def test_touched_files_are_read_again(tmp_path: Path) -> None:
    """A write that leaves size and time alone is seen when it is told of."""
    path = write(tmp_path / "a.yaml", "a")
    reader = FileReader([tmp_path])
    reader.read()
    times = path.stat()
    write(path, "b")
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert services(reader) == ["a"]
    reader.read([str(path)])
    assert services(reader) == ["b"]


def test_deleted_file(tmp_path: Path) -> None:
    """A file that goes takes its objects with it, and brings them back."""
    path = write(tmp_path / "a.yaml", "a")
    write(tmp_path / "b.yaml", "b")
    reader = FileReader([tmp_path])
    assert services(reader) == ["a", "b"]
    path.unlink()
    assert services(reader) == ["b"]
    write(path, "a")
    assert services(reader) == ["a", "b"]


def test_broken_file_keeps_its_last_good_state(tmp_path: Path) -> None:
    """A file that cannot be read any more stays in force, with a problem."""
    path = write(tmp_path / "a.yaml", "a", "b")
    reader = FileReader([tmp_path])
    reader.read()
    for text in ("x: [", "", "   \n"):
        path.write_text(text)
        found = merge(reader.read())
        assert [name.name for _, name in found.objects] == ["a", "b"]
        assert list(found.invalid) == [str(path)]
    write(path, "b")
    assert services(reader) == ["b"]
    assert merge(reader.read()).invalid == {}


@pytest.mark.parametrize("kind", ["file", "directory"])
def test_given_path_that_goes(tmp_path: Path, kind: str) -> None:
    """A path that was given and goes keeps its last good state until it returns."""
    directory = tmp_path / "manifests"
    directory.mkdir()
    write(directory / "a.yaml", "a")
    root = directory / "a.yaml" if kind == "file" else directory
    reader = FileReader([root])
    assert services(reader) == ["a"]
    aside = root.rename(tmp_path / "aside")
    for _ in range(2):
        assert services(reader) == ["a"]
        assert list(merge(reader.read()).invalid) == [str(root)]
    aside.rename(root)
    assert services(reader) == ["a"]
    assert merge(reader.read()).invalid == {}


def test_directory_replaced_by_an_empty_one(tmp_path: Path) -> None:
    """A new directory without manifests withdraws nothing, however long."""
    root = tmp_path / "manifests"
    root.mkdir()
    write(root / "a.yaml", "a")
    clock = FakeClock()
    reader = FileReader([root], clock=clock)
    assert services(reader) == ["a"]
    root.rename(tmp_path / "aside")
    root.mkdir()
    assert services(reader) == ["a"]
    clock.advance(10 * EMPTY_S)
    assert services(reader) == ["a"]
    write(root / "b.yaml", "b")
    assert services(reader) == ["b"]


def test_directory_that_is_emptied(tmp_path: Path) -> None:
    """Its objects are withdrawn when it has been empty for a minute, not before."""
    path = write(tmp_path / "a.yaml", "a")
    clock = FakeClock()
    reader = FileReader([tmp_path], clock=clock)
    assert services(reader) == ["a"]
    for _ in range(2):
        path.unlink()
        assert services(reader) == ["a"]
        clock.advance(EMPTY_S - 1)
        assert services(reader) == ["a"]
        assert list(merge(reader.read()).invalid) == [str(tmp_path)]
        write(path, "a")
        assert merge(reader.read()).invalid == {}
    path.unlink()
    assert services(reader) == ["a"]
    clock.advance(EMPTY_S)
    assert services(reader) == []
    assert merge(reader.read()).invalid == {}


def test_directory_without_manifests(tmp_path: Path) -> None:
    """It says nothing, whenever it is read; a file with an empty List says "none"."""
    clock = FakeClock()
    reader = FileReader([tmp_path], clock=clock)
    for _ in range(2):
        found = merge(reader.read())
        assert list(found.invalid) == [str(tmp_path)]
        assert found.unknown == {str(tmp_path)}
        clock.advance(2 * EMPTY_S)
    (tmp_path / "none.yaml").write_text("apiVersion: v1\nkind: List\nitems: []\n")
    assert merge(reader.read()).invalid == {}


def test_directory_that_cannot_be_listed(tmp_path: Path) -> None:
    """It is a problem from the start, as a file in its place that cannot be read."""
    root = tmp_path / "manifests"
    root.symlink_to(root)
    found = merge(FileReader([root]).read())
    assert found.unknown == {str(root)}


def test_dangling_link(tmp_path: Path) -> None:
    """A link to nothing is a manifest that cannot be read, not one that is gone."""
    path = tmp_path / "a.yaml"
    path.symlink_to(tmp_path / "nowhere")
    reader = FileReader([tmp_path])
    assert merge(reader.read()).unknown == {str(path)}
    write(tmp_path / "nowhere", "a")
    assert services(reader) == ["a"]
    (tmp_path / "nowhere").unlink()
    assert services(reader) == ["a"]
    assert merge(reader.read()).unknown == frozenset()


def test_config_map_volume(tmp_path: Path) -> None:
    """Files of a ConfigMap volume count once, and change when its link is swapped."""
    for version in ("..1", "..2"):
        (tmp_path / version).mkdir()
        write(tmp_path / version / "a.yaml", f"a{version[-1]}")
    (tmp_path / "..data").symlink_to("..1")
    (tmp_path / "a.yaml").symlink_to("..data/a.yaml")
    reader = FileReader([tmp_path])
    assert services(reader) == ["a1"]
    (tmp_path / "..tmp").symlink_to("..2")
    (tmp_path / "..tmp").rename(tmp_path / "..data")
    assert services(reader) == ["a2"]


def test_first_by_path_wins(tmp_path: Path) -> None:
    """Of an object in two files the first by path is used, in whatever order given."""
    second = write(tmp_path / "b.yaml", "web", clusterIP="10.96.0.2")
    first = write(tmp_path / "a.yaml", "web", clusterIP="10.96.0.1")
    found = load_manifests([second, first]).objects[Kind.SERVICE, ref("web")]
    assert isinstance(found, Upserted)
    (value,) = found.values
    assert isinstance(value, Service)
    assert str(value.cluster_ips[0]) == "10.96.0.1"
    assert [problem.value for problem in found.problems] == [str(second)]


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (os.mkfifo, "is a FIFO"),
        (lambda path: path.symlink_to("/dev/zero"), "is a character device"),
        (lambda path: path.symlink_to(path), "cannot be read"),
        (lambda path: path.symlink_to("/proc/kmsg"), "is empty"),
    ],
)
def test_what_never_ends(
    tmp_path: Path, make: Callable[[Path], None], reason: str
) -> None:
    """What never ends is a problem that names it, and costs no other file anything."""
    write(tmp_path / "a.yaml", "a")
    make(tmp_path / "b.yaml")
    write(tmp_path / "c.yaml", "c")
    found = merge(FileReader([tmp_path]).read())
    assert [name.name for _, name in found.objects] == ["a", "c"]
    ((path, (problem,)),) = found.invalid.items()
    assert path == str(tmp_path / "b.yaml")
    assert problem.reason.startswith(reason)


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (os.mkfifo, "is a FIFO, not a file or directory"),
        (lambda path: path.symlink_to("/dev/zero"), "is a character device"),
        (lambda path: path.symlink_to(path), "cannot be read: "),
        (lambda path: path.symlink_to("nowhere"), "is not there"),
    ],
)
def test_path_that_can_be_no_manifests(
    tmp_path: Path, make: Callable[[Path], None], reason: str
) -> None:
    """A path that is given and is no file or directory is an error at the start."""
    make(tmp_path / "b")
    with pytest.raises(ConfigError, match=re.escape(reason)) as caught:
        load_manifests([tmp_path / "b"])
    assert caught.value.value == str(tmp_path / "b")


def test_large_file(tmp_path: Path) -> None:
    """A file of two gigabytes is not read."""
    with (tmp_path / "a.yaml").open("wb") as file:
        file.truncate(2 * 2**30)
    found = merge(FileReader([tmp_path]).read())
    (problem,) = found.invalid[str(tmp_path / "a.yaml")]
    assert "larger than" in problem.reason


def test_file_that_stays_unreadable(tmp_path: Path) -> None:
    """It is tried again at each look, and is the same value as long as it fails."""
    path = write(tmp_path / "a.yaml", "a")
    reader = FileReader([tmp_path])
    reader.read()
    path.unlink()
    os.mkfifo(path)
    first = reader.read()[str(path)]
    assert reader.read()[str(path)] is first
    assert [name.name for _, name in first.objects] == ["a"]
    path.unlink()
    write(path, "b")
    assert services(reader) == ["b"]


def test_name_that_is_not_utf8(tmp_path: Path) -> None:
    """Its file is read, and what is said of it can be written anywhere."""
    write(tmp_path / os.fsdecode(b"\xff.yaml"), "a")
    (tmp_path / os.fsdecode(b"\xfe.yaml")).write_text("x: [")
    reader = FileReader([tmp_path])
    found = merge(reader.read())
    assert [name.name for _, name in found.objects] == ["a"]
    assert list(found.invalid) == [f"{tmp_path}/\\xfe.yaml"]
    assert "xfe" in msgspec.json.encode(found.invalid).decode()
    root = tmp_path / os.fsdecode(b"\xfd")
    root.mkdir()
    write(root / "b.yaml", "b")
    reader = FileReader([root])
    assert services(reader) == ["b"]
    root.rename(tmp_path / "aside")
    assert services(reader) == ["b"]


class Slow(Aside):
    """Has read a file when the test says so."""

    def __init__(self, reader: FileReader) -> None:
        self._reader = reader
        self.is_done = False
        self.asked = 0

    def take(self, path: Path) -> tuple[Fingerprint | None, ManifestFile] | None:
        """See `Aside`."""
        self.asked += 1
        return self._reader.read_one(path) if self.is_done else None


def large(path: Path, *names: str) -> None:
    """A file that is read aside."""
    write(path, *names)
    path.write_bytes(path.read_bytes() + b"#" * ASIDE_BYTES)


def test_large_file_aside(tmp_path: Path) -> None:
    """While it is read its last good state stays, and other files are read."""
    write(tmp_path / "a.yaml", "a")
    large(tmp_path / "b.yaml", "b", "c")
    reader = FileReader([tmp_path])
    slow = Slow(reader)
    assert services(reader) == ["a", "b", "c"]
    large(tmp_path / "b.yaml", "c", "d")
    write(tmp_path / "a.yaml", "e")
    path = str(tmp_path / "b.yaml")
    looks = [reader.read((), slow) for _ in range(2)]
    assert looks[0][path] is looks[1][path]
    found = merge(looks[1])
    assert sorted(name.name for _, name in found.objects) == ["b", "c", "e"]
    (problem,) = found.invalid[path]
    assert problem.reason == "is large, and still being read"
    slow.is_done = True
    found = merge(reader.read((), slow))
    assert sorted(name.name for _, name in found.objects) == ["c", "d", "e"]
    assert found.invalid == {}
    asked = slow.asked
    reader.read((), slow)
    assert slow.asked == asked


def test_work_of_a_look(tmp_path: Path) -> None:
    """A look at many files that nobody wrote costs little of each."""
    for number in range(2000):
        (tmp_path / f"{number}.yaml").write_text("# nothing")
    reader = FileReader([tmp_path])
    reader.read()
    # How many calls pathlib makes itself differs from one Python to the next.
    assert calls_of(reader.read) < 2000 * 90
