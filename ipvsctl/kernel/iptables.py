"""iptables of one family: one process to read it, one to change it.

xtables has no stable netlink interface, so the binaries are the interface. They come
in two flavours that keep separate rulesets in the kernel: rules must be put where the
node's other agents put theirs.
"""

import errno
import re
from enum import StrEnum
from typing import Final

from ipvsctl.kernel import tools
from ipvsctl.kernel.rules import LOCK_WAIT_S
from ipvsctl.model.errors import KernelError
from ipvsctl.model.neighbours import FilterTable
from ipvsctl.model.net import IPFamily
from ipvsctl.model.rules import Chains, RulesChange
from ipvsctl.plan.rules.chains import OUR_CHAINS
from ipvsctl.wire.iptables.filter_table import parse_filter
from ipvsctl.wire.iptables.ruleset import parse_save, render_restore


class Flavour(StrEnum):
    """Which of the kernel's two rulesets a binary works on; the value names it."""

    LEGACY = "legacy"
    NFT = "nft"


_COMMANDS: Final = {IPFamily.IPV4: "iptables", IPFamily.IPV6: "ip6tables"}

# The kubelet makes these in the flavour of its host; older ones only the second.
_HINTS: Final = re.compile(r"^:(KUBE-IPTABLES-HINT|KUBE-KUBELET-CANARY) ", re.MULTILINE)

_RULE: Final = re.compile(r"^-A ", re.MULTILINE)
_CHAIN: Final = re.compile(r"^:(\S+) ", re.MULTILINE)
_VERSION: Final = re.compile(r"v(\d+)\.(\d+)\.(\d+)")
_LINE: Final = re.compile(r"line:? (\d+)")

_RESOURCE_PROBLEM: Final = 4
"""Exit status when the lock is held [xtables.h: RESOURCE_PROBLEM]."""


class Iptables:
    """The rules of one family that are ours.

    Attributes:
        family: IPv4 (`iptables`) or IPv6 (`ip6tables`).
        flavour: the ruleset the binaries work on, as they say themselves.
        random_fully: they know `MASQUERADE --random-fully`; every kernel with the
            IPVS sysctls we set does too.
    """

    def __init__(
        self,
        family: IPFamily,
        *,
        flavour: Flavour | None = None,
        path: str | None = None,
    ) -> None:
        """Find the binaries and ask them for their version.

        Args:
            family: which binaries.
            flavour: use those of this flavour; None uses the plain ones, which are
                whatever the system's administrator chose.
            path: directories to look in, as in `PATH`, which is the default.

        Raises:
            NotFound: one of the binaries is missing.
            KernelError: they do not run.
        """
        command = _COMMANDS[family] + (f"-{flavour}" if flavour else "")
        self.family = family
        self._save = tools.find(f"{command}-save", path)
        self._restore = tools.find(f"{command}-restore", path)
        banner = _run([tools.find(command, path), "--version"])
        found = _VERSION.search(banner)
        version = tuple(int(part) for part in found.groups()) if found else (0, 0, 0)
        self.flavour = Flavour.NFT if "(nf_tables)" in banner else Flavour.LEGACY
        # 1.6.2 brought --random-fully, and -w for the restore command.
        self.random_fully = version >= (1, 6, 2)

    def read(self) -> Chains:
        """Our chains, and the jumps to them from built-in chains.

        Raises:
            KernelError: the ruleset could not be read.
            WireError: its text is cut short.
        """
        return parse_save(_run([self._save]), self.family, OUR_CHAINS)

    def read_filter(self) -> FilterTable:
        """Everybody's filter rules, as far as packets come to them.

        Raises:
            KernelError: the ruleset could not be read.
        """
        # Naming the table would make the legacy flavour create it.
        return parse_filter(_run([self._save]), self.family)

    def read_chain_names(self) -> frozenset[str]:
        """Everybody's chains, of all tables.

        Raises:
            KernelError: the ruleset could not be read.
        """
        return frozenset(_CHAIN.findall(_run([self._save])))

    def restore(self, change: RulesChange) -> None:
        """Apply a change; each table changes at once or not at all.

        Raises:
            Busy: another process held the lock all the time.
            KernelError: a line was refused; the reason quotes it.
        """
        wait = ["-w", str(LOCK_WAIT_S)] if self.random_fully else []
        _run([self._restore, "--noflush", *wait], render_restore(change))


def count_rules() -> dict[str, int]:
    """How many rules each flavour has whose binaries are here, of both families."""
    counts: dict[str, int] = {}
    for flavour in Flavour:
        for command in _COMMANDS.values():
            found = tools.look_for(f"{command}-{flavour}-save")
            if found is None:
                continue
            try:
                # All tables: naming one would make the legacy binary create it.
                number = len(_RULE.findall(_run([found])))
            except KernelError:
                # A kernel without this flavour has no rules of it.
                continue
            counts[flavour] = counts.get(flavour, 0) + number
    return counts


def everybodys_filters(family: IPFamily) -> tuple[FilterTable, ...]:
    """The filter rules of a family, of each flavour whose binaries are here."""
    tables = []
    for flavour in Flavour:
        found = tools.look_for(f"{_COMMANDS[family]}-{flavour}-save")
        if found is not None:
            try:
                tables.append(parse_filter(_run([found]), family))
            except KernelError:
                # A kernel without this flavour has no rules of it.
                continue
    return tuple(tables)


def choose_flavour(path: str | None = None) -> Flavour | None:
    """The flavour this node's kubelet uses, found by the chains it makes as a hint.

    Args:
        path: directories to look in, as in `PATH`, which is the default.

    Returns:
        None when there is no choice or no hint: use the plain binaries.
    """
    commands = {
        flavour: [
            tools.look_for(f"{command}-{flavour}-save", path)
            for command in _COMMANDS.values()
        ]
        for flavour in (Flavour.NFT, Flavour.LEGACY)
    }
    if not all(any(found) for found in commands.values()):
        return None
    for flavour, found in commands.items():
        # All tables: naming one would make the legacy binary create it.
        if any(_has_hint(command) for command in found if command):
            return flavour
    return None


def _has_hint(command: str) -> bool:
    try:
        return _HINTS.search(_run([command])) is not None
    except KernelError:
        # A kernel without this flavour cannot have the kubelet's chains in it.
        return False


def _run(command: list[str], text: str = "") -> str:
    """Run a command; its standard output."""
    done = tools.run(command, text)
    if done.returncode != 0:
        busy = done.returncode == _RESOURCE_PROBLEM
        code = errno.EBUSY if busy else errno.EINVAL
        name = command[0].rpartition("/")[2]
        raise KernelError.of(code, name, _explain(done.stderr, text, done.returncode))
    return done.stdout


def _explain(stderr: str, text: str, status: int) -> str:
    """What the command said, in one line, with the line of input it stopped at."""
    said = [line.strip() for line in stderr.splitlines() if line.strip()]
    hints = ("Try `", "Error occurred")
    reason = "; ".join(line for line in said if not line.startswith(hints))
    found = _LINE.search(stderr)
    lines = text.splitlines()
    if found and 0 < int(found[1]) <= len(lines):
        reason += f" at {lines[int(found[1]) - 1]!r}"
    return reason or f"exit status {status}"
