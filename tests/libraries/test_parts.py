"""`libraries`: what is loaded of libraries, and that nobody misses the rest."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ipvsctl.libraries.parts import in_part, without

DAEMON = (
    "ipvsctl.cli.run",
    "ipvsctl.cli.logs",
    "ipvsctl.cli.objects",
    "ipvsctl.kernel.linux",
    "ipvsctl.kube.source",
)

MOST_MODULES = 960
"""Of a daemon on an API server, Python's own among them; it was 1,083 with all of
pyroute2 and with rich."""

LEFT_OUT = (
    "kubernetes_asyncio",
    "pydantic",
    "pygments",
    "pyroute2.dhcp",
    "pyroute2.ethtool",
    "pyroute2.ndb",
    "pyroute2.netlink.nl80211",
    "rich",
)


def _run(code: str, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


def test_a_daemon_imports_no_more_than_it_uses() -> None:
    """Each module costs every node memory for as long as the daemon runs."""
    lines = (
        *(f"import {name}" for name in DAEMON),
        "import sys",
        "print(*sys.modules)",
    )
    modules = _run("\n".join(lines)).split()
    assert not {*LEFT_OUT} & {*modules}
    assert len(modules) <= MOST_MODULES


def test_who_imports_all_of_pyroute2_gets_all_of_it() -> None:
    """The parts are those of the whole, whichever comes first."""
    code = """
import sys
if sys.argv[1] == "last":
    import pyroute2
from ipvsctl.libraries import pyroute
assert (sys.argv[1] == "last") == ("pyroute2.ndb" in sys.modules)
import pyroute2.netlink.exceptions
from pyroute2 import IPRoute, netns
assert pyroute2.NDB and pyroute2.netlink.nl80211 and netns.setns
assert IPRoute is pyroute2.IPRoute is pyroute.IPRoute
assert pyroute2.netlink.exceptions.NetlinkError is pyroute.NetlinkError
assert pyroute2.GenericNetlinkSocket is pyroute.GenericNetlinkSocket
assert not hasattr(pyroute2, "no_such_name")
"""
    for place in ("first", "last"):
        _run(code, place)


def test_structlog_does_without_rich_and_rich_is_there() -> None:
    """Both ways of logging work, and a table may still be drawn."""
    code = """
import sys
from ipvsctl.cli.logs import configure_logs
from ipvsctl.cli.options import LogFormat
from ipvsctl.libraries.log import structlog
assert "rich" not in sys.modules
for form in (LogFormat.JSON, LogFormat.CONSOLE):
    configure_logs(form, verbose=0)
    structlog.get_logger().info("sync", count=1)
assert "rich" not in sys.modules
import rich.console
"""
    _run(code)


def test_an_optional_library_is_missing_in_the_block_alone() -> None:
    """It is as if it were not installed."""
    sys.modules.pop("this", None)
    with without("this"), pytest.raises(ModuleNotFoundError):
        import this  # noqa: F401, PLC0415  # no other test needs it
    assert "this" not in sys.modules
    with without("json"):
        import json  # noqa: PLC0415  # it was imported long before
    assert json is sys.modules["json"]


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A package with a module `part`, and `WHOLE` in itself."""
    name = f"package_{tmp_path.name}"
    home = tmp_path / name
    home.mkdir()
    (home / "__init__.py").write_text(f"from {name} import part\nWHOLE = part.IT\n")
    (home / "part.py").write_text("IT = object()\n")
    monkeypatch.syspath_prepend(tmp_path)
    return name


def test_a_package_is_run_for_what_is_in_none_of_its_modules(package: str) -> None:
    """And only then."""

    def import_parts() -> Any:
        return __import__(f"{package}.part").part.IT

    part = in_part(package, import_parts)
    whole = sys.modules[package]
    assert "WHOLE" not in vars(whole)
    assert whole.WHOLE is part
    with pytest.raises(AttributeError):
        _ = whole.NOTHING


def test_modules_that_need_the_whole_package_have_it(
    package: str, tmp_path: Path
) -> None:
    """Another release may have other modules, or need more of itself."""
    (tmp_path / package / "__init__.py").write_text(
        f"FIRST = 1\nfrom {package} import part\nWHOLE = part.IT\n"
    )
    (tmp_path / package / "part.py").write_text(
        "import sys\n"
        f"if 'FIRST' not in vars(sys.modules[{package!r}]):\n"
        "    raise ImportError\n"
        "IT = object()\n"
    )

    def import_parts() -> Any:
        return __import__(f"{package}.part").part.IT

    assert in_part(package, import_parts) is sys.modules[package].WHOLE
    with pytest.raises(ModuleNotFoundError):
        in_part("no_such_package", lambda: __import__("no_such_package"))
