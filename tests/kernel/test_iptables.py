"""The iptables binaries: real ones on a real kernel, and ones that misbehave."""

import errno
import os
import subprocess
from pathlib import Path

import pytest

from ipvsctl.kernel.iptables import Flavour, Iptables, choose_flavour
from ipvsctl.model.config import ProxyConfig
from ipvsctl.model.errors import Busy, KernelError, NotFound, WireError
from ipvsctl.model.net import IPFamily, parse_network
from ipvsctl.model.objects import NodeContext
from ipvsctl.model.rules import (
    ChainRef,
    Chains,
    MatchSet,
    Rule,
    RulesChange,
    Side,
    Table,
    Verdict,
)
from ipvsctl.model.sets import SetRole, set_key
from ipvsctl.plan.diff.rules import plan_rules
from ipvsctl.plan.rules.filter_mangle import desired_chains
from ipvsctl.wire.ipset.sets import set_name, set_spec
from tests.lab.netns import Netns

V4, V6 = IPFamily.IPV4, IPFamily.IPV6
COMMANDS = {V4: "iptables", V6: "ip6tables"}


def chains(family: IPFamily, **settings: object) -> Chains:
    """The rules of a node with one pod network of each family."""
    cidrs = tuple(parse_network(text) for text in ("172.16.0.0/12", "fd00:172::/32"))
    config = ProxyConfig(**{"cluster_cidrs": cidrs, **settings})  # type: ignore[arg-type]
    return desired_chains(family, config, NodeContext(name="n"), random_fully=True)


def make_sets() -> None:
    """Create the sets that rules refer to, with one process."""
    lines = []
    for family in IPFamily:
        for role in SetRole:
            spec = set_spec(set_key(role, family), 1024)
            options = "range 0-65535"
            if spec.family is not None:
                options = "family inet" if family is V4 else "family inet6"
            lines.append(f"create -exist {spec.name} {spec.type} {options}\n")
    subprocess.run(["ipset", "restore"], input="".join(lines), text=True, check=True)


def works(command: str) -> bool:
    """Whether a flavour's binary is there and its part of the kernel too."""
    try:
        subprocess.run([command, "-n", "-L"], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        return False
    return True


@pytest.fixture(
    params=[(flavour, family) for flavour in Flavour for family in IPFamily],
    ids=lambda pair: f"{pair[0]}-{pair[1].label}",
)
def tables(netns: Netns, request: pytest.FixtureRequest) -> Iptables:
    """The binaries of each flavour and family, in a namespace with our sets."""
    del netns
    flavour, family = request.param
    if not works(f"{COMMANDS[family]}-{flavour}"):
        pytest.skip(f"no {flavour} {COMMANDS[family]} on {os.uname().release}")
    make_sets()
    return Iptables(family, flavour=flavour)


def run(tables: Iptables, *arguments: str) -> None:
    """Do something as another agent of the node would."""
    command = f"{COMMANDS[tables.family]}-{tables.flavour}"
    subprocess.run([command, *arguments], check=True)


def settle(tables: Iptables, desired: Chains) -> RulesChange | None:
    """Read, plan, restore; the change that was needed."""
    change = plan_rules(tables.family, tables.read(), desired)
    if change is not None:
        tables.restore(change)
    return change


def saved(tables: Iptables) -> list[str]:
    """Every rule and chain in the namespace, other agents' too."""
    command = f"{COMMANDS[tables.family]}-{tables.flavour}-save"
    done = subprocess.run([command], check=True, capture_output=True, text=True)
    return [line for line in done.stdout.splitlines() if line.startswith((":", "-"))]


@pytest.mark.kernel
def test_some_flavour_works(netns: Netns) -> None:
    """The tests below ran on something: every lab has one flavour at least.

    On the lab's second kernel they ran on both.
    """
    del netns

    working = [
        flavour
        for flavour in Flavour
        if all(works(f"{command}-{flavour}") for command in COMMANDS.values())
    ]
    assert working
    if os.environ.get("IPVSCTL_LAB_KERNEL"):
        assert working == list(Flavour)


@pytest.mark.kernel
def test_rules_live_in_a_kernel(tables: Iptables) -> None:
    """What was restored is read back, stays, moves with the configuration, and goes.

    Rules and chains of others, above ours or not, are neither changed nor a reason to
    change ours; ours are put back when somebody edits them.
    """
    desired = chains(tables.family)
    run(tables, "-N", "KUBE-FIREWALL")
    run(tables, "-A", "OUTPUT", "-j", "KUBE-FIREWALL")
    foreign = set(saved(tables))

    assert settle(tables, desired) is not None
    assert tables.read() == desired
    assert settle(tables, desired) is None
    count = len(saved(tables))

    run(tables, "-I", "INPUT", "-p", "tcp", "--dport", "22", "-j", "ACCEPT")
    assert settle(tables, desired) is None
    run(tables, "-D", "INPUT", "-p", "tcp", "--dport", "22", "-j", "ACCEPT")

    run(tables, "-t", "nat", "-F", "KUBE-SERVICES")
    run(tables, "-F", "INPUT")
    change = settle(tables, desired)
    assert change is not None
    assert [ref.name for ref, _ in change.write] == ["KUBE-SERVICES"]
    assert [ref.name for ref, _ in change.link] == ["INPUT"]
    assert tables.read() == desired
    assert len(saved(tables)) == count

    other = chains(tables.family, cluster_cidrs=(), masquerade_bit=15)
    assert settle(tables, other) is not None
    assert tables.read() == other

    assert settle(tables, {}) is not None
    assert tables.read() == {}
    left = {line for line in saved(tables) if not line.endswith("ACCEPT [0:0]")}
    assert left == {line for line in foreign if not line.endswith("ACCEPT [0:0]")}


@pytest.mark.kernel
def test_a_chain_in_use_by_others_keeps_nothing_else(tables: Iptables) -> None:
    """Cleanup empties a chain that another agent's rule jumps to, and says which.

    Our sets can be destroyed all the same, since no rule refers to them any more.
    """
    settle(tables, chains(tables.family))
    run(tables, "-t", "nat", "-N", "CNI-PORTS")
    run(tables, "-t", "nat", "-A", "CNI-PORTS", "-j", "KUBE-MARK-MASQ")

    with pytest.raises(KernelError, match="KUBE-MARK-MASQ"):
        settle(tables, {})

    assert not any(tables.read().values())
    subprocess.run(["ipset", "destroy"], check=True)


@pytest.mark.kernel
def test_a_refused_line_is_quoted(tables: Iptables) -> None:
    """A rule on a set that is not there changes nothing, and the error shows it."""
    only_user = ChainRef(Table.NAT, "KUBE-POSTROUTING")
    settle(tables, {**chains(tables.family), only_user: ()})
    before = tables.read()
    ref = ChainRef(Table.NAT, "KUBE-SERVICES")
    nowhere = set_key(SetRole.LOOP_BACK, tables.family)
    subprocess.run(["ipset", "destroy", set_name(nowhere)], check=True)
    rule = Rule(matches=(MatchSet(nowhere, (Side.DST,)),), target=Verdict.ACCEPT)
    bad = RulesChange(family=tables.family, write=((ref, (rule,)),))

    with pytest.raises(
        KernelError, match=r"at '-A KUBE-SERVICES .*-LOOP-BACK"
    ) as caught:
        tables.restore(bad)

    assert caught.value.op.startswith(COMMANDS[tables.family])
    assert tables.read() == before


@pytest.mark.kernel
@pytest.mark.parametrize("hinted", list(Flavour))
def test_the_kubelets_flavour_is_chosen(netns: Netns, hinted: Flavour) -> None:
    """The flavour that has the kubelet's chain is the node's."""
    del netns
    if not works(f"iptables-{hinted}"):
        pytest.skip(f"no {hinted} iptables on {os.uname().release}")
    assert choose_flavour() is None

    command = f"iptables-{hinted}"
    canary = [command, "-t", "mangle", "-N", "KUBE-KUBELET-CANARY"]
    subprocess.run(canary, check=True)

    assert choose_flavour() is hinted
    assert Iptables(V4, flavour=choose_flavour()).flavour is hinted


FULL = "Fatal: can't open lock file /run/xtables.lock: No space left on device"
"""iptables 1.8.9 on a full file system, whose lock nobody has made yet."""

SCRIPTS = {
    "old": "echo 'iptables v1.6.1'",
    "legacy": "echo 'iptables v1.8.9 (legacy)'",
    "nft": "echo 'iptables v1.8.9 (nf_tables)'",
    "busy": "echo 'Another app is currently holding the xtables lock' >&2; exit 4",
    "full": f'echo "{FULL}" >&2; exit 4',
    "refuses": "echo 'iptables-restore: line 2 failed' >&2; exit 1",
    "mute": "exit 1",
}


def install(directory: Path, **scripts: str) -> str:
    """Put scripts where the binaries would be; a directory for PATH."""
    for name, script in scripts.items():
        file = directory / name.replace("_", "-")
        file.write_text(f"#!/bin/sh\n{script}\n")
        file.chmod(0o755)
    return str(directory)


def installed(directory: Path, version: str, restore: str = "mute") -> Iptables:
    """Binaries that say `version` and cannot restore."""
    path = install(
        directory,
        iptables=SCRIPTS[version],
        iptables_save="echo '*nat'",
        iptables_restore=SCRIPTS[restore],
    )
    return Iptables(V4, path=path)


@pytest.mark.parametrize(
    ("version", "flavour", "random_fully"),
    [
        ("old", Flavour.LEGACY, False),
        ("legacy", Flavour.LEGACY, True),
        ("nft", Flavour.NFT, True),
        ("mute", None, False),
    ],
)
def test_binaries_say_what_they_are(
    tmp_path: Path, version: str, flavour: Flavour | None, *, random_fully: bool
) -> None:
    """Flavour and abilities come from the binary; one that does not run is an error."""
    if flavour is None:
        with pytest.raises(KernelError, match="iptables: exit status 1"):
            installed(tmp_path, version)
        return
    tables = installed(tmp_path, version)

    assert (tables.flavour, tables.random_fully) == (flavour, random_fully)


@pytest.mark.parametrize("missing", ["iptables", "iptables-save", "iptables-restore"])
def test_a_missing_binary_is_named(tmp_path: Path, missing: str) -> None:
    """An image without iptables says which command it lacks."""
    installed(tmp_path, "nft")
    (tmp_path / missing).unlink()

    with pytest.raises(NotFound, match=f"{missing}: not installed"):
        Iptables(V4, path=str(tmp_path))


CHANGE = RulesChange(
    family=V4, write=((ChainRef(Table.NAT, "KUBE-SERVICES"), ()),), remove=()
)


@pytest.mark.parametrize(
    ("restore", "kind", "reason"),
    [
        ("busy", Busy, "Another app is currently holding the xtables lock"),
        ("full", Busy, FULL),
        (
            "refuses",
            KernelError,
            "iptables-restore: line 2 failed at ':KUBE-SERVICES - [0:0]'",
        ),
        ("mute", KernelError, "exit status 1"),
    ],
)
def test_why_a_restore_failed(
    tmp_path: Path, restore: str, kind: type[KernelError], reason: str
) -> None:
    """The error has the command's own words, and the line it stopped at."""
    tables = installed(tmp_path, "nft", restore)

    with pytest.raises(kind) as caught:
        tables.restore(CHANGE)

    assert caught.value.reason == reason
    assert caught.value.op == "iptables-restore"
    assert caught.value.errno in {errno.EBUSY, errno.EINVAL}


def test_output_cut_short_is_not_an_empty_node(tmp_path: Path) -> None:
    """A save that dies in the middle is an error, not a node to be filled anew."""
    with pytest.raises(WireError):
        installed(tmp_path, "nft").read()


HINT = "echo '*mangle'; echo ':KUBE-KUBELET-CANARY - [0:0]'; echo COMMIT"


@pytest.mark.parametrize(
    ("scripts", "chosen"),
    [
        ({}, None),
        ({"iptables_nft_save": HINT}, None),
        ({"iptables_nft_save": HINT, "iptables_legacy_save": "true"}, Flavour.NFT),
        ({"iptables_nft_save": "true", "iptables_legacy_save": HINT}, Flavour.LEGACY),
        ({"iptables_nft_save": HINT, "iptables_legacy_save": HINT}, Flavour.NFT),
        ({"iptables_nft_save": "false", "iptables_legacy_save": HINT}, Flavour.LEGACY),
        ({"iptables_nft_save": "true", "iptables_legacy_save": "true"}, None),
        (
            {
                "iptables_nft_save": "true",
                "ip6tables_nft_save": HINT,
                "iptables_legacy_save": "true",
            },
            Flavour.NFT,
        ),
    ],
)
def test_flavour_by_hint(
    tmp_path: Path, scripts: dict[str, str], chosen: Flavour | None
) -> None:
    """The kubelet's chain decides, nft first; without a choice or hint, neither."""
    assert choose_flavour(install(tmp_path, **scripts)) is chosen
