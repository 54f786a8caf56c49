"""What operators of nftables call the things of a firewall."""

from typing import Final

from ipvsctl.model.net import IPFamily
from ipvsctl.model.rules import Rule, UnknownRule
from ipvsctl.model.sets import SetKey
from ipvsctl.wire.nftables.rule_text import render_rule
from ipvsctl.wire.nftables.sets import TABLE, set_name

FAMILY_WORDS: Final = {IPFamily.IPV4: "ip", IPFamily.IPV6: "ip6"}
_FAMILIES: Final = {word: family for family, word in FAMILY_WORDS.items()}


def qualified(family: IPFamily, name: str) -> str:
    """A thing in our table, as commands of nft take it: `ip ipvsctl cluster-ip`."""
    return f"{FAMILY_WORDS[family]} {TABLE} {name}"


def family_and_name(found: str) -> tuple[IPFamily, str]:
    """The reverse of `qualified`."""
    word, _, name = found.split(" ", 2)
    return _FAMILIES[word], name


class NftablesWords:
    """See `plan.diff.words.FirewallWords`."""

    def set_name(self, key: SetKey) -> str:
        """See `FirewallWords`."""
        return qualified(key.family, set_name(key))

    def new_set(self, key: SetKey) -> str:
        """See `FirewallWords`."""
        return self.set_name(key)

    def rules(self, family: IPFamily) -> str:
        """See `FirewallWords`."""
        return f"nft rules of table {FAMILY_WORDS[family]} {TABLE}"

    def rule(self, rule: Rule | UnknownRule) -> str:
        """See `FirewallWords`."""
        return render_rule(rule)
