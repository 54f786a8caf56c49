"""What operators of iptables and ipset call the things of a firewall."""

from ipvsctl.model.net import IPFamily
from ipvsctl.model.rules import Rule, UnknownRule
from ipvsctl.model.sets import SetKey
from ipvsctl.wire.ipset.sets import set_name, set_spec
from ipvsctl.wire.iptables.rule_render import render_rule


class IptablesWords:
    """See `plan.diff.words.FirewallWords`."""

    def set_name(self, key: SetKey) -> str:
        """See `FirewallWords`."""
        return set_name(key)

    def new_set(self, key: SetKey) -> str:
        """See `FirewallWords`."""
        return f"{set_name(key)} {set_spec(key, 0).type}"

    def rules(self, family: IPFamily) -> str:
        """See `FirewallWords`."""
        return "iptables rules" if family is IPFamily.IPV4 else "ip6tables rules"

    def rule(self, rule: Rule | UnknownRule) -> str:
        """See `FirewallWords`."""
        return render_rule(rule)
