"""iptables text: kernels' own output, other spellings, and restore input."""

import re
from pathlib import Path

import pytest

from ipvsctl.model.config import Compatibility, DetectLocalMode, ProxyConfig
from ipvsctl.model.errors import WireError
from ipvsctl.model.net import IPFamily, Protocol, parse_network
from ipvsctl.model.objects import NodeContext
from ipvsctl.model.rules import (
    ChainRef,
    Chains,
    Jump,
    MapMark,
    Masquerade,
    MatchAddrTypeLocal,
    MatchConntrackState,
    MatchIcmpType,
    MatchInInterface,
    MatchMark,
    MatchPhysdevIsIn,
    MatchProtocol,
    MatchSet,
    MatchSource,
    Reject,
    Rule,
    RulesChange,
    SetXMark,
    Side,
    Table,
    UnknownRule,
    Verdict,
)
from ipvsctl.model.sets import SetRole, set_key
from ipvsctl.plan.diff.rules import plan_rules
from ipvsctl.plan.rules.chains import OUR_CHAINS
from ipvsctl.plan.rules.filter_mangle import desired_chains
from ipvsctl.wire.iptables.rule_parse import parse_rule
from ipvsctl.wire.iptables.rule_render import MATCH_ORDER, render_rule
from ipvsctl.wire.iptables.ruleset import parse_save, render_restore, render_save

V4, V6 = IPFamily.IPV4, IPFamily.IPV6
GOLDEN = Path(__file__).parents[2] / "golden"
COMMANDS = {V4: "iptables", V6: "ip6tables"}
BOTH = pytest.mark.parametrize("family", [V4, V6], ids=lambda family: family.label)

CONFIG = ProxyConfig(
    cluster_cidrs=(parse_network("172.16.0.0/12"), parse_network("fd00:172::/32"))
)
NODE = NodeContext(name="node-0")


def chains(family: IPFamily, config: ProxyConfig = CONFIG) -> Chains:
    """The rules of the node that the captures were taken on."""
    return desired_chains(family, config, NODE, random_fully=True)


def capture(family: IPFamily) -> list[str]:
    """What kube-proxy left on a node with every kind of service."""
    name = f"{COMMANDS[family]}-save.txt"
    path = GOLDEN / "scenarios" / "16-whole-node" / "kube-proxy" / name
    return path.read_text().splitlines()


@BOTH
def test_rendering_is_what_kube_proxy_left(family: IPFamily) -> None:
    """Every line of the capture is rendered, in its order, but for node ports.

    Those are matched by address and port in one set, not by port in six.
    """
    expected = [line for line in capture(family) if "nodeport" not in line]
    rendered = iter(render_save(chains(family)))

    missing = [line for line in expected if line not in rendered]
    assert not missing


SHORT_CIRCUIT = '-m comment --comment "short circuit of externalTrafficPolicy=local"'
WITHOUT_LOCAL = (
    '-m comment --comment "externalTrafficPolicy=local without local endpoints"'
)
WITH_RANGES = (
    '-m comment --comment "Kubernetes service load balancer ip + port '
    'for load balancer with sourceRange"'
)


def test_with_kube_proxy_compatibility_packets_are_not_marked() -> None:
    """No mark is looked up, given or asked for but the masquerade mark."""
    config = ProxyConfig(
        cluster_cidrs=CONFIG.cluster_cidrs, compatibility=Compatibility.KUBE_PROXY
    )
    text = "\n".join(render_save(chains(V4, config)))

    assert "0x4000/0x4000" in text
    assert "0x20000" not in text
    assert "INSIDE" not in text
    assert "KUBE-IPVS-CLIENTS" not in text


def test_what_is_rendered_beyond_the_capture() -> None:
    """The constant rules kube-proxy does not have, as an operator sees them."""
    extra = [line for line in render_save(chains(V4)) if line not in capture(V4)]

    assert extra == [
        "-A KUBE-IPVS-FILTER -m conntrack --ctstate RELATED,ESTABLISHED -j RETURN",
        "-A KUBE-IPVS-FILTER -m set --match-set KUBE-FOREIGN dst,dst -j RETURN",
        "-A KUBE-IPVS-FILTER -p icmp -m icmp --icmp-type 8 -j RETURN",
        "-A KUBE-IPVS-FILTER -p icmp -m icmp --icmp-type 3/4 -j RETURN",
        ":KUBE-IPVS-INSIDE - [0:0]",
        "-A KUBE-IPVS-INSIDE -j MARK --set-xmark 0x0/0xffffffff",
        (
            "-A KUBE-IPVS-INSIDE -m addrtype --src-type LOCAL "
            "-j MASQUERADE --random-fully"
        ),
        (
            '-A KUBE-NODE-PORT -m comment --comment "Kubernetes nodeport ip + port '
            'with externalTrafficPolicy=local" '
            "-m set --match-set KUBE-NODE-PORT-LOCAL dst,dst -j RETURN"
        ),
        (
            '-A KUBE-NODE-PORT -m comment --comment "Kubernetes nodeport ip + port '
            'for masquerade purpose" '
            "-m set --match-set KUBE-NODE-PORT dst,dst -j KUBE-MARK-MASQ"
        ),
        (
            f"-A KUBE-POSTROUTING {SHORT_CIRCUIT} "
            "-m mark --mark 0x20000/0xffffc000 -j KUBE-IPVS-INSIDE"
        ),
        "*mangle",
        ":KUBE-IPVS-CLIENTS - [0:0]",
        ":KUBE-IPVS-INSIDE - [0:0]",
        f"-A PREROUTING -s 172.16.0.0/12 {SHORT_CIRCUIT} -j KUBE-IPVS-INSIDE",
        (
            f"-A PREROUTING {WITHOUT_LOCAL} -m conntrack --ctstate NEW "
            "-m set --match-set KUBE-NO-LOCAL-ENDPOINTS dst,dst -j KUBE-IPVS-CLIENTS"
        ),
        (
            f"-A OUTPUT {WITH_RANGES} -m set --match-set KUBE-LOAD-BALANCER-FW dst,dst "
            "-j KUBE-SOURCE-RANGES-FIREWALL"
        ),
        f"-A OUTPUT {SHORT_CIRCUIT} -j KUBE-IPVS-INSIDE",
        "-A KUBE-IPVS-CLIENTS -s 172.16.0.0/12 -j RETURN",
        f"-A KUBE-IPVS-CLIENTS {WITHOUT_LOCAL} -j DROP",
        "-A KUBE-IPVS-INSIDE -j SET --map-set KUBE-SHORT-CIRCUIT dst,dst --map-mark",
        (
            "-A KUBE-SOURCE-RANGES-FIREWALL -m set --match-set KUBE-LOAD-BALANCER-FW "
            "src,dst -j DROP"
        ),
    ]


@BOTH
@pytest.mark.parametrize(
    "config",
    [
        CONFIG,
        ProxyConfig(),
        ProxyConfig(masquerade_all=True, masquerade_bit=31),
        ProxyConfig(
            cluster_cidrs=tuple(
                parse_network(text)
                for text in ("10.1.0.0/16", "10.2.0.0/16", "fd01::/64", "fd02::/64")
            )
        ),
        ProxyConfig(
            detect_local_mode=DetectLocalMode.INTERFACE_NAME_PREFIX,
            interface_name_prefix="veth",
        ),
    ],
)
def test_rendered_rules_are_read_back(family: IPFamily, config: ProxyConfig) -> None:
    """parse(render(x)) is x for every shape the configuration can give the rules."""
    desired = chains(family, config)
    text = "\n".join(render_save(desired))

    assert parse_save(text, family, OUR_CHAINS) == desired


@BOTH
@pytest.mark.parametrize("flavour", ["legacy", "nft"])
def test_kernel_output_of_both_flavours(family: IPFamily, flavour: str) -> None:
    """What a kernel prints after a restore is what was wanted, among others' rules.

    Printed by iptables 1.8.9 on Linux 6.18.
    """
    path = GOLDEN / "iptables" / f"{COMMANDS[family]}-{flavour}-save.txt"

    assert parse_save(path.read_text(), family, OUR_CHAINS) == chains(family)


@BOTH
def test_counters_are_skipped(family: IPFamily) -> None:
    """`iptables-save -c` puts counters before each rule."""
    text = "\n".join(
        f"[12:345] {line}" if line.startswith("-A") else line
        for line in render_save(chains(family))
    )

    assert parse_save(text, family, OUR_CHAINS) == chains(family)


def test_captured_rules_are_understood() -> None:
    """A node is taken over knowing each rule but those of kube-proxy's own sets."""
    read = parse_save("\n".join(capture(V4)), V4, OUR_CHAINS)
    rules = [rule for chain in read.values() for rule in chain]

    assert len(rules) == 44
    unknown = [rule.text for rule in rules if isinstance(rule, UnknownRule)]
    assert all(re.search(" KUBE-NODE-PORT-[A-Z-]+ dst", text) for text in unknown)
    (sctp,) = (text for text in unknown if "SCTP" in text)
    assert sctp == (
        '-p sctp -m comment --comment "Kubernetes nodeport SCTP port for masquerade'
        r" purpose with type \'hash ip:port\'"
        '" -m set --match-set KUBE-NODE-PORT-SCTP-HASH dst,dst -j KUBE-MARK-MASQ'
    )


SET = set_key(SetRole.FOREIGN, V4)
IN_SET = MatchSet(SET, (Side.DST, Side.SRC))
SPELLINGS = [
    (
        "-m set --match-set KUBE-FOREIGN dst,src -j ACCEPT",
        V4,
        (IN_SET,),
        Verdict.ACCEPT,
    ),
    ("-p 17 -j DROP", V4, (MatchProtocol(Protocol.UDP),), Verdict.DROP),
    ("-p tcp -m tcp -j DROP", V4, (MatchProtocol(Protocol.TCP),), Verdict.DROP),
    ("-j MARK --set-xmark 0x4000/0x4000", V4, (), SetXMark(0x4000, 0x4000)),
    ("-j MARK --or-mark 0x4000", V4, (), SetXMark(0x4000, 0x4000)),
    ("-j MARK --xor-mark 0x4000", V4, (), SetXMark(0x4000, 0)),
    ("-j MARK --set-mark 0x1/0x3", V4, (), SetXMark(1, 3)),
    ("-j MARK --set-mark 16384", V4, (), SetXMark(0x4000, 0xFFFFFFFF)),
    ("-j MARK --and-mark 0xffffbfff", V4, (), SetXMark(0, 0x4000)),
    (
        "-m mark ! --mark 0x4000/0x4000 -j RETURN",
        V4,
        (MatchMark(0x4000, 0x4000, negated=True),),
        Verdict.RETURN,
    ),
    ("-m mark --mark 5 -j RETURN", V4, (MatchMark(5, 0xFFFFFFFF),), Verdict.RETURN),
    (
        "-j SET --map-mark --map-set KUBE-FOREIGN dst,src",
        V4,
        (),
        MapMark(SET, IN_SET.sides),
    ),
    ("-j MASQUERADE", V4, (), Masquerade()),
    ("-j MASQUERADE --random-fully", V6, (), Masquerade(random_fully=True)),
    ("-j REJECT", V4, (), Reject(V4)),
    ("-j REJECT --reject-with icmp6-port-unreachable", V6, (), Reject(V6)),
    (
        "! -s 10.0.0.1 -j C",
        V4,
        (MatchSource(parse_network("10.0.0.1/32"), negated=True),),
        Jump("C"),
    ),
    (
        "--source fd00::1/64 --jump C",
        V6,
        (MatchSource(parse_network("fd00::/64")),),
        Jump("C"),
    ),
    ("! -i veth+ -j C", V4, (MatchInInterface("veth+", negated=True),), Jump("C")),
    (
        "-p icmp -m icmp --icmp-type echo-request -j C",
        V4,
        (MatchIcmpType(V4, 8),),
        Jump("C"),
    ),
    (
        "-p icmp -m icmp --icmp-type 8/0-255 -j C",
        V4,
        (MatchIcmpType(V4, 8),),
        Jump("C"),
    ),
    (
        "-p 58 -m icmp6 --icmpv6-type packet-too-big -j C",
        V6,
        (MatchIcmpType(V6, 2),),
        Jump("C"),
    ),
    (
        (
            "-m addrtype --dst-type LOCAL -m physdev ! --physdev-is-in "
            "-m set --match-set KUBE-FOREIGN dst,src -j C"
        ),
        V4,
        (
            IN_SET,
            MatchPhysdevIsIn(negated=True),
            MatchAddrTypeLocal(Side.DST),
        ),
        Jump("C"),
    ),
    (
        "-m set --match-set KUBE-FOREIGN dst,src -m conntrack --ctstate NEW -j C",
        V4,
        (MatchConntrackState(("NEW",)), IN_SET),
        Jump("C"),
    ),
]


@pytest.mark.parametrize(("text", "family", "matches", "target"), SPELLINGS)
def test_spellings(
    text: str,
    family: IPFamily,
    matches: tuple[object, ...],
    target: object,
) -> None:
    """Flavours and versions differ in words and order, not in what is read."""
    rule = parse_rule(text, family)

    assert isinstance(rule, Rule)
    assert (rule.matches, rule.target) == (matches, target)
    assert parse_rule(render_rule(rule), family) == rule


def test_every_kind_of_match_is_spelled() -> None:
    """The table above misses no match of the model."""
    spelled = {type(match) for _, _, matches, _ in SPELLINGS for match in matches}

    assert spelled == set(MATCH_ORDER)


@pytest.mark.parametrize(
    "text",
    [
        "-m socket -j ACCEPT",
        "-m set ! --match-set KUBE-FOREIGN dst -j ACCEPT",
        "-m set --match-set KUBE-FOREIGN dst --return-nomatch -j ACCEPT",
        "-m set --match-set KUBE-FOREIGN dst",
        "-m conntrack ! --ctstate NEW -j DROP",
        "-d 10.0.0.1/32 -j ACCEPT",
        "-s 10.0.0.0/255.0.255.0 -j ACCEPT",
        "-p tcp -m tcp --dport 22 -j ACCEPT",
        "! -p tcp -j ACCEPT",
        "-p gre -j ACCEPT",
        "-p icmp -j ACCEPT",
        "-m icmp --icmp-type 8 -j ACCEPT",
        "-m addrtype --dst-type BROADCAST -j ACCEPT",
        "-j REJECT --reject-with tcp-reset",
        "-j MARK --set-xmark zero/0x0",
        "-j MASQUERADE --to-ports 1024-2048",
        "-j SET --map-set KUBE-FOREIGN dst,dst",
        "-j SET --map-set KUBE-FOREIGN dst,dst --map-mark --map-prio",
        "-j SET --add-set A dst --map-mark",
        "-g KUBE-MARK-MASQ",
        "-m mark",
        "!",
        "",
    ],
)
def test_what_is_not_understood_is_kept_as_text(text: str) -> None:
    """A rule with anything unknown is unknown, and written back word for word."""
    rule = parse_rule(text, V4)

    assert rule == UnknownRule(text)
    assert render_rule(rule) == text


@pytest.mark.parametrize(
    ("comment", "quoted"),
    [
        ("one", "one"),
        ("two words", '"two words"'),
        ('it\'s "5\\4"', r'"it\'s \"5\\4\""'),
        ("a=b", '"a=b"'),
        ("-j DROP", '"-j DROP"'),
    ],
)
def test_comments_are_quoted(comment: str, quoted: str) -> None:
    """Comments survive whatever is in them, and never become options."""
    rule = Rule(target=Verdict.ACCEPT, comment=comment)

    assert render_rule(rule) == f"-m comment --comment {quoted} -j ACCEPT"
    assert parse_rule(render_rule(rule), V4) == rule


def test_only_what_is_ours_is_read() -> None:
    """Other agents' tables, chains and rules are skipped, jumps to ours are not."""
    text = r"""# Generated by iptables-save
*raw
:KUBE-SERVICES - [0:0]
-A PREROUTING -j KUBE-SERVICES
COMMIT
*nat
:PREROUTING ACCEPT [0:0]
:CNI-SNAT - [0:0]
:KUBE-SERVICES - [0:0]
-A PREROUTING -j LOG --log-prefix KUBE-SERVICES
-A PREROUTING -m comment --comment "-j KUBE-SERVICES" -j CNI-SNAT
-A PREROUTING -p tcp -m tcp --dport 80 -j KUBE-SERVICES
-A PREROUTING -j KUBE-SERVICES
-A PREROUTING -g KUBE-SERVICES
-A CNI-SNAT -j KUBE-SERVICES
COMMIT
# Completed
# Table `private' is incompatible, use 'nft' tool.
"""

    assert parse_save(text, V4, OUR_CHAINS) == {
        ChainRef(Table.NAT, "KUBE-SERVICES"): (),
        ChainRef(Table.NAT, "PREROUTING"): (
            UnknownRule("-p tcp -m tcp --dport 80 -j KUBE-SERVICES"),
            Rule(target=Jump("KUBE-SERVICES")),
            UnknownRule("-g KUBE-SERVICES"),
        ),
    }


def test_a_ruleset_without_rules() -> None:
    """A kernel that has no table yet prints nothing."""
    assert parse_save("", V4, OUR_CHAINS) == {}
    assert render_save({}) == []


@pytest.mark.parametrize(
    ("text", "line"),
    [("*nat\n:KUBE-SERVICES - [0:0]\n", 2), ("-A KUBE-SERVICES -j ACCEPT\n", 1)],
)
def test_output_that_is_cut_short(text: str, line: int) -> None:
    """Half a ruleset is an error, never a node without rules."""
    with pytest.raises(WireError) as caught:
        parse_save(text, V4, OUR_CHAINS)

    assert caught.value.offset == line


def test_restore_input() -> None:
    """One transaction a table; deleting chains waits until everything else is done."""
    change = RulesChange(
        family=V4,
        write=(
            (ChainRef(Table.NAT, "KUBE-A"), (Rule(target=Jump("KUBE-B")),)),
            (ChainRef(Table.NAT, "KUBE-B"), ()),
        ),
        unlink=(
            (ChainRef(Table.FILTER, "INPUT"), Rule(target=Jump("KUBE-C"))),
            (ChainRef(Table.NAT, "OUTPUT"), UnknownRule("-d 10.0.0.1/32 -j KUBE-A")),
        ),
        link=(
            (
                ChainRef(Table.NAT, "OUTPUT"),
                (Rule(target=Jump("KUBE-A")), Rule(target=Jump("KUBE-B"))),
            ),
        ),
        remove=(ChainRef(Table.FILTER, "KUBE-C"),),
    )

    assert render_restore(change).splitlines() == [
        "*nat",
        ":KUBE-A - [0:0]",
        ":KUBE-B - [0:0]",
        "-D OUTPUT -d 10.0.0.1/32 -j KUBE-A",
        "-A KUBE-A -j KUBE-B",
        "-I OUTPUT 1 -j KUBE-A",
        "-I OUTPUT 2 -j KUBE-B",
        "COMMIT",
        "*filter",
        ":KUBE-C - [0:0]",
        "-D INPUT -j KUBE-C",
        "COMMIT",
        "*filter",
        "-X KUBE-C",
        "COMMIT",
    ]


@BOTH
def test_node_is_taken_over_from_kube_proxy(family: IPFamily) -> None:
    """Beside what is new only the chains that differ are written; no jump moves."""
    observed = parse_save("\n".join(capture(family)), family, OUR_CHAINS)

    change = plan_rules(family, observed, chains(family))

    assert change is not None
    assert not change.unlink
    assert not change.remove
    assert {ref.table for ref, _ in change.link} == {Table.MANGLE}
    if family is V4:
        assert [(ref.table.value, ref.name) for ref, _ in change.write] == [
            ("filter", "KUBE-IPVS-FILTER"),
            ("mangle", "KUBE-IPVS-CLIENTS"),
            ("mangle", "KUBE-IPVS-INSIDE"),
            ("mangle", "KUBE-SOURCE-RANGES-FIREWALL"),
            ("nat", "KUBE-IPVS-INSIDE"),
            ("nat", "KUBE-NODE-PORT"),
            ("nat", "KUBE-POSTROUTING"),
        ]
