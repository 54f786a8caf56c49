"""What the things of a firewall are called, by those who know the firewall and not."""

from typing import Final, Protocol

from ipvsctl.model.net import IPFamily
from ipvsctl.model.rules import Rule, UnknownRule
from ipvsctl.model.sets import SetKey


class FirewallWords(Protocol):
    """What operators of a firewall call what is in it."""

    def set_name(self, key: SetKey) -> str:
        """The name of a set."""
        ...

    def new_set(self, key: SetKey) -> str:
        """A set that is made, with what else there is to say of it."""
        ...

    def rules(self, family: IPFamily) -> str:
        """The rules of a family."""
        ...

    def rule(self, rule: Rule | UnknownRule) -> str:
        """One rule, without its chain."""
        ...


class _PlainWords:
    """The same whatever the firewall."""

    def set_name(self, key: SetKey) -> str:
        return str(key)

    def new_set(self, key: SetKey) -> str:
        return str(key)

    def rules(self, family: IPFamily) -> str:
        return f"{family.label} rules"

    def rule(self, rule: Rule | UnknownRule) -> str:
        if isinstance(rule, UnknownRule):
            return rule.text
        return " ".join(map(str, (*rule.matches, rule.target)))


PLAIN_WORDS: Final[FirewallWords] = _PlainWords()
