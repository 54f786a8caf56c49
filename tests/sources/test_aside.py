"""Facts about large files, which are read aside."""

import queue
import threading
from pathlib import Path

from ipvsctl.cluster.manifests.manifest import ManifestFile
from ipvsctl.sources.aside import Aside

ONE, TWO = Path("one"), Path("two")


class Disk:
    """Lets a file be read when the test says so."""

    def __init__(self) -> None:
        self.gate: queue.Queue[None] = queue.Queue()
        self.read: list[Path] = []
        self.done: queue.Queue[None] = queue.Queue()
        self.aside = Aside(self._read, lambda: self.done.put(None))

    def _read(self, path: Path) -> tuple[tuple[int, int, int, int], ManifestFile]:
        self.gate.get(timeout=60)
        self.read.append(path)
        return (0, 0, 0, len(self.read)), ManifestFile(objects={})

    def let_one(self) -> None:
        """One file more is read."""
        self.gate.put(None)
        self.done.get(timeout=60)


def test_nothing_waits() -> None:
    """A file is asked for again until it was read; then what it said is had once."""
    disk = Disk()
    assert [disk.aside.take(ONE) for _ in range(3)] == [None] * 3
    disk.let_one()
    assert disk.aside.take(ONE) == ((0, 0, 0, 1), ManifestFile(objects={}))
    assert disk.aside.take(ONE) is None
    disk.let_one()
    assert disk.aside.take(ONE) == ((0, 0, 0, 2), ManifestFile(objects={}))


def test_one_after_the_other() -> None:
    """Several files take turns, in one thread."""
    before = threading.active_count()
    disk = Disk()
    assert [disk.aside.take(path) for path in (ONE, TWO, ONE, TWO)] == [None] * 4
    assert threading.active_count() == before + 1
    disk.let_one()
    disk.let_one()
    assert disk.read == [ONE, TWO]
    assert disk.aside.take(TWO) == ((0, 0, 0, 2), ManifestFile(objects={}))
