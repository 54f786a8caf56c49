"""Commands over input that cannot be read: nothing of it is taken for gone."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.builders import raw_service
from tests.cli.conftest import Invoke
from tests.cli.test_sync import WEB
from tests.fakes.kernel import FakeKernel

Break = Callable[[Path], None]


def text(content: str) -> Break:
    """The file's text is another."""

    def change(path: Path) -> None:
        (path / "web.json").write_text(content)

    return change


def append(content: str) -> Break:
    """Another document follows in a file of YAML."""

    def change(path: Path) -> None:
        old = path / "web.json"
        (path / "web.yaml").write_text(f"{old.read_text()}\n---\n{content}\n")
        old.unlink()

    return change


def link(path: Path) -> None:
    """The file is a link that leads nowhere, as a ConfigMap's without its data."""
    (path / "web.json").unlink()
    (path / "web.json").symlink_to("..data/web.json")


def no_directory(path: Path) -> None:
    """The directory leads nowhere that can be listed."""
    shutil.rmtree(path)
    path.symlink_to(path / "loop")


def strip(path: Path) -> None:
    """The directory is there and empty, as a mount point without its volume."""
    (path / "web.json").unlink()


BAD_SERVICE = json.dumps({**raw_service("bad"), "spec": {"ports": "none"}})

BROKEN = pytest.mark.parametrize(
    "break_it",
    [
        pytest.param(text('{"apiVersion": "v1", '), id="cut short"),
        pytest.param(text(""), id="empty file"),
        pytest.param(text("null"), id="no object"),
        pytest.param(text('{"kind": "Service"}'), id="no apiVersion"),
        pytest.param(text(BAD_SERVICE), id="a Service that is none"),
        pytest.param(text('{"apiVersion":"v1","kind":"List","items":7}'), id="no list"),
        pytest.param(append("x: ["), id="a document that is not YAML"),
        pytest.param(append("- a\n- b"), id="a document that is no object"),
        pytest.param(append(BAD_SERVICE), id="a document that is no Service"),
        pytest.param(link, id="dangling link"),
        pytest.param(strip, id="no manifests"),
    ],
)


@pytest.fixture
def directory(manifests: Path, tmp_path: Path) -> Path:
    """The small cluster in a directory."""
    path = tmp_path / "manifests"
    path.mkdir()
    manifests.rename(path / "web.json")
    return path


@pytest.fixture
def served(directory: Path, invoke: Invoke, kernel: FakeKernel) -> Path:
    """The same, in the kernel too; what follows is logged anew."""
    assert invoke("apply", "--manifests", directory).exit_code == 0
    assert WEB in kernel.observe().state.virtual_servers
    kernel.log.clear()
    return directory


@BROKEN
@pytest.mark.parametrize("flags", [(), ("--dry-run",), ("-o", "json")])
def test_apply_changes_nothing(
    served: Path,
    invoke: Invoke,
    kernel: FakeKernel,
    break_it: Break,
    flags: tuple[str, ...],
) -> None:
    """It exits 2 and names what cannot be read, dry or not, in any format."""
    break_it(served)
    result = invoke("apply", "--manifests", served, *flags)
    assert (result.exit_code, result.stdout) == (2, "")
    assert str(served) in result.stderr
    assert kernel.log == []


@BROKEN
def test_diff_never_says_that_it_knows(
    served: Path, invoke: Invoke, break_it: Break
) -> None:
    """It exits 2, deletes nothing in what it shows, and says so in data too."""
    break_it(served)
    result = invoke("diff", "--manifests", served)
    assert result.exit_code == 2
    assert "equal:" not in result.stdout
    assert "  - " not in result.stdout
    assert f"not known: Manifest {served}" in result.stderr
    data = invoke("diff", "--manifests", served, "-o", "json")
    assert data.exit_code == 2
    plan = json.loads(data.stdout)
    assert plan["delete"] == 0
    assert str(served) in plan["source"]["doubts"][0]
    held = plan["source"]["held"]
    assert (f"{held} deletions are held" in result.stderr) == bool(held)


@BROKEN
@pytest.mark.parametrize("command", ["render", "check", "status"])
def test_what_is_known_is_shown(
    served: Path, invoke: Invoke, break_it: Break, command: str
) -> None:
    """With what is not, and exit status 2."""
    break_it(served)
    result = invoke(command, "--manifests", served)
    assert result.exit_code == 2
    assert f"not known: Manifest {served}" in result.stderr
    assert "kernel equal," not in result.stdout
    assert not result.stdout.endswith("kernel equal\n")


def test_a_directory_that_cannot_be_listed(
    served: Path, invoke: Invoke, kernel: FakeKernel
) -> None:
    """It is an error, too, of every command."""
    no_directory(served)
    for command in ("apply", "diff", "render", "check", "status"):
        result = invoke(command, "--manifests", served)
        assert result.exit_code == 2, command
        assert str(served) in result.stderr
    assert kernel.log == []


def test_what_can_be_read_is_compared(
    served: Path, invoke: Invoke, kernel: FakeKernel
) -> None:
    """`diff` over half of the input shows what is to be added, and no deletion."""
    (served / "api.json").write_text(
        json.dumps(raw_service("api", clusterIP="10.96.0.11"))
    )
    (served / "web.json").write_text("{")
    result = invoke("diff", "--manifests", served)
    assert "+ virtual server tcp 10.96.0.11:80 rr" in result.stdout
    assert "deletions are held until all is known" in result.stderr
    assert kernel.log == []


def test_a_field_is_no_object(served: Path, invoke: Invoke, kernel: FakeKernel) -> None:
    """A field that cannot be honoured loses what it says, and nothing else."""
    wrong = raw_service("web", externalIPs=["203.0.113.300", "203.0.113.1"])
    (served / "z.json").write_text(json.dumps(wrong))
    raw = json.loads((served / "web.json").read_text())
    raw["items"] = [item for item in raw["items"] if item["kind"] != "Service"]
    (served / "web.json").write_text(json.dumps(raw))
    result = invoke("apply", "--manifests", served)
    assert result.exit_code == 0
    assert "spec.externalIPs[0]" in result.stderr
    addresses = {str(k.address) for k in kernel.observe().state.virtual_servers}
    assert addresses == {"10.96.0.10", "203.0.113.1"}


def test_an_empty_list_says_that_there_is_nothing(
    served: Path, invoke: Invoke, kernel: FakeKernel
) -> None:
    """A deletion that is wanted still happens."""
    (served / "web.json").write_text('{"apiVersion":"v1","kind":"List","items":[]}')
    assert invoke("apply", "--manifests", served).exit_code == 0
    assert not kernel.observe().state.virtual_servers


def test_cleanup_is_not_held(served: Path, invoke: Invoke, kernel: FakeKernel) -> None:
    """It needs no objects, and removes all that is ours."""
    (served / "web.json").write_text("{")
    assert invoke("cleanup").exit_code == 0
    assert not kernel.observe().state.virtual_servers
