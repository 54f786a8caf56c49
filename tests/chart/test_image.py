"""What the Dockerfile puts together, as far as it can be seen without an engine."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from ipvsctl import __version__
from ipvsctl.kernel.iptables import Flavour, choose_flavour
from tests.chart.values import CHART, ROOT

pytestmark = pytest.mark.chart

DOCKERFILE = ROOT.joinpath("Dockerfile").read_text(encoding="utf-8")
WRAPPER = ROOT / "charts" / "image" / "iptables"

HINT = ":KUBE-IPTABLES-HINT - [0:0]"
CANARY = ":KUBE-KUBELET-CANARY - [0:0]"
NAMES = [
    f"{command}{suffix}"
    for command in ("iptables", "ip6tables")
    for suffix in ("", "-save", "-restore")
]


def instructions(word: str) -> list[str]:
    """All instructions of a kind, each on one line."""
    lines = "\n".join(
        line for line in DOCKERFILE.splitlines() if not line.startswith("#")
    )
    joined = lines.replace("\\\n", " ").splitlines()
    return [line for line in joined if line.startswith(f"{word} ")]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The environment that the first stage builds, by its own commands."""
    opt = tmp_path_factory.mktemp("image")
    steps = [
        line.removeprefix("RUN ")
        for line in instructions("RUN")
        if "venv" in line or "chmod" in line
    ]
    commands = " && ".join(steps).replace("/opt/", f"{opt}/")
    script = f'set -e; pip() {{ python -m pip "$@"; }}; {commands}'
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    subprocess.run(
        ["sh", "-c", script], cwd=ROOT, env={**os.environ, "PATH": path}, check=True
    )
    return opt / "ipvsctl"


def test_the_environment_works_as_it_is(built: Path) -> None:
    """The command starts by itself, and writes nothing."""
    before = {path: path.stat().st_mtime_ns for path in built.rglob("*")}
    env = {"PATH": f"{built / 'bin'}:/usr/bin:/bin"}
    for words in (
        ["version"],
        ["render", "--manifests", str(ROOT / "examples"), "--node-name", "node-0"],
    ):
        done = subprocess.run(
            ["ipvsctl", *words], env=env, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
    assert {path: path.stat().st_mtime_ns for path in built.rglob("*")} == before
    assert not (built / "bin" / "pip").exists()


def test_the_charts_scripts_find_what_they_import(built: Path, tmp_path: Path) -> None:
    """They run with the image's Python, and no other packages than its own."""
    (tmp_path / "a.yaml").write_text("ipvs: {scheduler: rr, tcpTimeout: 2h}\n")
    (tmp_path / "b.yaml").write_text("ipvs: {scheduler: lc}\n")
    files = [tmp_path / name for name in ("a.yaml", "b.yaml", "c.json")]
    python = built / "bin" / "python"
    subprocess.run([python, CHART / "files" / "merge.py", *files], env={}, check=True)
    assert json.loads(files[2].read_text()) == {
        "ipvs": {"scheduler": "lc", "tcpTimeout": "2h"}
    }


def test_all_of_it_is_compiled(built: Path) -> None:
    """A module without compiled code would be compiled at each start."""
    sources = [
        path
        for path in (built / "lib").rglob("*.py")
        if "ipvsctl" in path.parts[-3:] or path.parent.name == "ipvsctl"
    ]
    assert len(sources) > 3
    assert [
        path
        for path in sources
        if not list((path.parent / "__pycache__").glob(f"{path.stem}.*.pyc"))
    ] == []


def test_nobody_may_write_there(built: Path) -> None:
    """Not even root, who is not allowed to override modes."""
    writable = [
        path
        for path in built.rglob("*")
        if not path.is_symlink() and path.stat().st_mode & 0o222
    ]
    assert writable == []


def test_all_of_it_is_installed_by_hash() -> None:
    """What comes from outside is named by a lock, and nothing is built from source."""
    installs = [
        words
        for line in instructions("RUN")
        for words in re.split(r" && ", line)
        if re.search(r"\bpip(?: --python \S+)? (?:install|wheel)\b", words)
    ]
    assert len(installs) == 4
    for words in installs:
        if "--requirement" in words:
            assert re.search(r"--only-binary :all: --require-hashes .*locks/\w+", words)
        else:
            assert "--no-deps" in words
            assert "--no-index" in words or "--no-build-isolation" in words


def test_labels_say_what_it_is() -> None:
    """The version is the project's."""
    assert f"ARG VERSION={__version__}" in instructions("ARG")
    (labels,) = instructions("LABEL")
    names = re.findall(r"org\.opencontainers\.image\.([a-z.]+)=", labels)
    assert {"title", "description", "licenses", "version", "revision"} <= {*names}
    (base,) = (line for line in instructions("ARG") if line.startswith("ARG BASE="))
    assert base.removeprefix("ARG BASE=") in labels


def test_it_is_built_from_what_is_copied() -> None:
    """What .dockerignore lets in is there, and the Dockerfile copies no more."""
    ignored = ROOT.joinpath(".dockerignore").read_text(encoding="utf-8").splitlines()
    let_in = {line.removeprefix("!") for line in ignored if line.startswith("!")}
    assert [name for name in let_in if not ROOT.joinpath(name).exists()] == []
    copied = {
        next(name for name in let_in if Path(word).is_relative_to(name))
        for line in instructions("COPY")
        if "--from" not in line
        for word in line.split()[1:-1]
        if not word.startswith("--")
    }
    assert copied == let_in


def test_every_name_of_iptables_is_there() -> None:
    """Each leads to the wrapper, which goes by its name."""
    (links,) = (line for line in instructions("RUN") if "ln -s" in line)
    (wrapper,) = (
        line for line in instructions("COPY") if "charts/image/iptables" in line
    )
    assert wrapper.endswith(" /usr/local/sbin/iptables")
    words = links.partition(" in ")[2].partition(";")[0].split()
    assert sorted(["iptables", *words]) == sorted(NAMES)


@pytest.mark.parametrize(
    ("firewall", "packages", "names"),
    [
        ("all", {"nftables", "ipvsadm", "kmod", "iptables", "ipset"}, NAMES),
        ("nftables", {"nftables", "ipvsadm", "kmod"}, []),
        ("iptables", None, None),
    ],
)
def test_what_is_in_it_for_a_firewall(
    tmp_path: Path, firewall: str, packages: set[str] | None, names: list[str] | None
) -> None:
    """Without iptables not even the wrapper is there, which would be taken for it."""
    installs, links = (
        line.removeprefix("RUN ")
        for line in instructions("RUN")
        if "apt-get" in line or "ln -s" in line
    )
    for name in ("apt-get", "pip", "rm"):
        fake = tmp_path / "fakes" / name
        fake.parent.mkdir(exist_ok=True)
        fake.write_text('#!/bin/sh\necho "$@"\n')
        fake.chmod(0o755)
    # Nothing else is found there.
    done = subprocess.run(
        ["/bin/sh", "-c", installs],
        env={"PATH": str(tmp_path / "fakes"), "FIREWALL": firewall},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode == 0) is (packages is not None)
    if packages is None or names is None:
        return
    assert {*re.findall(r"([a-z]+)=", done.stdout)} == packages
    sbin = tmp_path / "sbin"
    sbin.mkdir()
    (sbin / "iptables").write_text("")
    env = {"PATH": "/usr/bin:/bin", "FIREWALL": firewall}
    linked = links.replace("/usr/local/sbin", str(sbin))
    subprocess.run(["/bin/sh", "-c", linked], env=env, check=True)
    assert sorted(path.name for path in sbin.iterdir()) == sorted(names)


def fake_binaries(directory: Path, rules: dict[str, str]) -> None:
    """Binaries of both flavours; `rules` are what those that save print, by command."""
    for flavour in Flavour:
        for name in NAMES:
            command, dash, suffix = name.partition("-")
            full = f"{command}-{flavour}{dash}{suffix}"
            said = rules.get(f"{command}-{flavour}", "")
            body = f"echo '{said}'" if suffix == "save" else f'echo {full} "$@"'
            if said == "broken":
                body = "exit 1"
            (directory / full).write_text(f"#!/bin/sh\n{body}\n")
            (directory / full).chmod(0o755)
    for name in NAMES:
        (directory / name).symlink_to(WRAPPER)


@pytest.mark.parametrize(
    ("rules", "flavour"),
    [
        ({}, None),
        ({"iptables-nft": HINT}, Flavour.NFT),
        ({"iptables-legacy": HINT}, Flavour.LEGACY),
        ({"ip6tables-legacy": CANARY}, Flavour.LEGACY),
        ({"ip6tables-nft": CANARY}, Flavour.NFT),
        ({"iptables-nft": HINT, "iptables-legacy": HINT}, Flavour.NFT),
        ({"iptables-nft": "broken", "iptables-legacy": HINT}, Flavour.LEGACY),
        ({"iptables-nft": ":MY-KUBE-IPTABLES-HINT - [0:0]"}, None),
        ({"iptables-legacy": ":KUBE-IPTABLES-HINTS - [0:0]"}, None),
    ],
)
def test_the_wrapper_chooses_as_ipvsctl_does(
    tmp_path: Path, rules: dict[str, str], flavour: Flavour | None
) -> None:
    """The same flavour; without a hint ipvsctl takes the wrapper, and that nft."""
    fake_binaries(tmp_path, rules)
    assert choose_flavour(str(tmp_path)) == flavour
    expected = flavour or Flavour.NFT
    env = {"PATH": f"{tmp_path}:/usr/bin:/bin"}
    for name in ("iptables", "ip6tables", "iptables-restore", "ip6tables-restore"):
        command, dash, suffix = name.partition("-")
        said = subprocess.run(
            [str(tmp_path / name), "-w", "a b"],
            env=env,
            capture_output=True,
            text=True,
            check=False,
        )
        if rules.get(f"{command}-{expected}") == "broken":
            continue
        assert said.stdout == f"{command}-{expected}{dash}{suffix} -w a b\n"


def test_the_base_has_a_python_that_is_supported() -> None:
    """Its exact release is named, not a tag that moves on."""
    (base,) = (line for line in instructions("ARG") if line.startswith("ARG BASE="))
    found = re.search(r"python:(\d+\.\d+)\.\d+-slim-\w+$", base)
    assert found
    text = ROOT.joinpath("pyproject.toml").read_text(encoding="utf-8")
    assert f'"Programming Language :: Python :: {found[1]}"' in text
