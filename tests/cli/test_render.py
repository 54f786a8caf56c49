"""`ipvsctl render`."""

import errno
import json
import os
from ipaddress import IPv4Address
from pathlib import Path

import pytest
import yaml

from tests.builders import raw_node, raw_service, raw_slice
from tests.cli.conftest import Invoke, write


def test_ipvsadm_lines_are_sorted_and_complete(invoke: Invoke, manifests: Path) -> None:
    """`-o ipvsadm` is the default: the lines of `ipvsadm-save -n`, sorted."""
    result = invoke("render", "--manifests", manifests)
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout == (
        "-A -t 10.96.0.10:80 -s rr\n"
        "-a -t 10.96.0.10:80 -r 172.16.0.1:8080 -m -w 1\n"
        "-a -t 10.96.0.10:80 -r 172.16.1.1:8080 -m -w 1\n"
    )


@pytest.mark.parametrize(
    ("form", "first", "contains"),
    [
        ("ipset", "create KUBE-6-CLUSTER-IP", "add KUBE-CLUSTER-IP 10.96.0.10,tcp:80"),
        ("iptables", "*filter", "-A KUBE-SERVICES"),
        ("ip6tables", "*filter", "KUBE-6-CLUSTER-IP"),
        ("nft", "table ip ipvsctl\ndelete table ip ipvsctl", "@cluster-ip"),
        ("addresses", "inet 10.96.0.10/32", "inet 10.96.0.10/32"),
        (
            "routes",
            "local 10.96.0.10 dev kube-ipvs0 proto 66 scope host src 10.0.0.10",
            "",
        ),
    ],
)
def test_every_text_form_is_printed(
    invoke: Invoke, manifests: Path, form: str, first: str, contains: str
) -> None:
    """Each form is the text of the tool it is named for."""
    result = invoke("render", "--manifests", manifests, "-o", form)
    assert result.exit_code == 0
    assert result.stdout.startswith(first)
    assert contains in result.stdout


@pytest.mark.parametrize(
    ("count", "form", "lines"),
    [
        (1_999, "addresses", 1_999),
        (1_999, "routes", 1_999),
        (2_000, "addresses", 0),
        (2_000, "routes", 2_000),
    ],
)
def test_auto_is_as_on_an_empty_node(
    invoke: Invoke, tmp_path: Path, count: int, form: str, lines: int
) -> None:
    """`vipBinding: auto` depends on the number of VIPs, without a kernel to look at."""
    first = IPv4Address("203.0.113.0")
    external = [str(first + number) for number in range(count - 1)]
    write(
        tmp_path / "all.yaml",
        raw_node(),
        raw_service(externalIPs=external),
        raw_slice(),
    )
    result = invoke("render", "--manifests", tmp_path, "--vip-binding=auto", "-o", form)
    assert (result.exit_code, result.stderr) == (0, "")
    assert len(result.stdout.splitlines()) == lines


def test_json_is_the_whole_state(invoke: Invoke, manifests: Path) -> None:
    """`-o json` holds every part of the state, keyed by readable names."""
    result = invoke("render", "--manifests", manifests, "-o", "json")
    state = json.loads(result.stdout)
    assert set(state) == {
        "vip_link_up",
        "sysctls",
        "timeouts",
        "sets",
        "entries",
        "leftovers",
        "former",
        "chains",
        "virtual_servers",
        "real_servers",
        "addresses",
        "routes",
        "stand_ins",
        "tunnel_ends",
    }
    assert state["virtual_servers"]["tcp 10.96.0.10:80"]["key"]["protocol"] == "tcp"
    assert state["addresses"] == ["10.96.0.10"]
    assert state["routes"] == {"10.96.0.10": "10.0.0.10"}
    assert "filter/KUBE-FORWARD" in state["chains"]["IPv4"]


def test_nft_has_the_tables_of_both_families(invoke: Invoke, manifests: Path) -> None:
    """`-o nft` is a file for `nft -f` that puts our tables in place of ours, whole."""
    result = invoke("render", "--manifests", manifests, "-o", "nft")
    lines = result.stdout.splitlines()
    assert [line for line in lines if line and not line.startswith("\t")] == [
        "table ip ipvsctl",
        "delete table ip ipvsctl",
        "table ip ipvsctl {",
        "}",
        "table ip6 ipvsctl",
        "delete table ip6 ipvsctl",
        "table ip6 ipvsctl {",
        "}",
    ]
    assert "flush" not in result.stdout
    assert "\t\telements = { 10.96.0.10 . tcp . 80 }" in lines
    assert "\t\tip6 daddr . meta l4proto . th dport @cluster-ip return" in lines
    assert "\t\ttype nat hook postrouting priority 95; policy accept;" in lines


@pytest.mark.parametrize(
    ("settings", "form", "is_there"),
    [
        ((), "nft", False),
        (("--firewall", "iptables"), "nft", False),
        ((), "iptables", True),
        (("--firewall", "nftables"), "iptables", True),
    ],
)
def test_each_form_has_the_rules_of_its_firewall(
    invoke: Invoke,
    tmp_path: Path,
    settings: tuple[str, ...],
    form: str,
    *,
    is_there: bool,
) -> None:
    """Rules that only iptables can have are in its form, and in that of nft never."""
    path = tmp_path / "cluster.json"
    write(path, raw_node(), raw_service(externalIPs=["203.0.113.5"]), raw_slice())
    result = invoke("render", "--manifests", path, "-o", form, *settings)
    assert ("physdev" in result.stdout) is is_there


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        ((), "KUBE-CLUSTER-IP"),
        (("--firewall", "auto"), "KUBE-CLUSTER-IP"),
        (("--firewall", "nftables"), "ip ipvsctl cluster-ip"),
    ],
)
def test_json_has_the_names_of_the_firewall(
    invoke: Invoke, manifests: Path, settings: tuple[str, ...], name: str
) -> None:
    """Sets in `-o json` are called as the firewall that is asked for calls them."""
    result = invoke("render", "--manifests", manifests, "-o", "json", *settings)
    (entry,) = json.loads(result.stdout)["entries"][name]
    assert entry["address"] == "10.96.0.10"


@pytest.mark.parametrize(
    ("given", "served"),
    [
        ((), ["10.0.0.10:30080"]),
        (
            ("--node-addresses", "10.0.0.10,10.9.0.10"),
            ["10.0.0.10:30080", "10.9.0.10:30080"],
        ),
        (("--node-addresses", ""), []),
    ],
)
def test_node_ports_are_served_on_the_nodes_own_addresses(
    invoke: Invoke, tmp_path: Path, given: tuple[str, ...], served: list[str]
) -> None:
    """`--node-addresses` are the node's; without it, those of its Node object."""
    path = tmp_path / "cluster.json"
    ports = [{"name": "http", "port": 80, "nodePort": 30080}]
    write(path, raw_node(), raw_service(type="NodePort", ports=ports), raw_slice())
    result = invoke("render", "--manifests", path, *given)
    keys = [line.split()[2] for line in result.stdout.splitlines() if line[:2] == "-A"]
    assert [key for key in keys if key.endswith("30080")] == served


def test_an_unknown_node_is_a_warning(invoke: Invoke, manifests: Path) -> None:
    """Without its Node object a node has no zone and no addresses, and works."""
    result = invoke("render", "--manifests", manifests, "--node-name", "other")
    assert result.exit_code == 0
    assert "-A -t 10.96.0.10:80 -s rr" in result.stdout
    assert result.stderr == (
        "ipvsctl: warning: no Node other in the manifests:"
        " its zone, addresses and pod networks are unknown\n"
    )


def test_problems_go_to_stderr_one_line_each(invoke: Invoke, tmp_path: Path) -> None:
    """A problem names kind, object, field, value and reason, and stops nothing."""
    path = tmp_path / "cluster.json"
    broken = raw_service("bad", clusterIP="10.96.0.11", externalIPs=["no\n\x1b[31m"])
    write(path, raw_node(), raw_service(), broken, raw_slice())
    result = invoke("render", "--manifests", path)
    assert result.exit_code == 0
    assert "-A -t 10.96.0.10:80 -s rr" in result.stdout
    assert result.stderr == (
        "Service default/bad: spec.externalIPs[0]: no\\n\\x1b[31m: not an IP address\n"
    )


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            (),
            "--manifests: a file or directory of Services and EndpointSlices is needed",
        ),
        (("--manifests", "/nowhere"), "--manifests: '/nowhere': is not there"),
        (
            ("--manifests", "{}", "--cluster-cidr", "10/8"),
            "--cluster-cidr: '10/8'",
        ),
        (
            ("--manifests", "{}", "--compatibility", "full"),
            "--compatibility: 'full': not one of none, kube-proxy",
        ),
        (
            ("--manifests", "{}", "--node-addresses", "10.0.0"),
            "--node-addresses: '10.0.0': not an IP address",
        ),
        (
            ("--manifests", "{}", "--config", "/nowhere"),
            f"--config: '/nowhere': cannot be read: {os.strerror(errno.ENOENT)}",
        ),
        (
            ("--manifests", "{}", "--config", "/dev/zero"),
            "--config: '/dev/zero': is a character device, not a file",
        ),
        (
            ("--manifests", "/dev/zero"),
            "--manifests: '/dev/zero': is a character device, not a file or directory",
        ),
        (
            ("--manifests", "/nowhere/\udcff"),
            r"--manifests: '/nowhere/\\xff': is not there",
        ),
        (
            ("--manifests", "{}", "--config", "/nowhere/\udcff"),
            r"--config: '/nowhere/\\xff': cannot be read: No such file or directory",
        ),
    ],
)
def test_what_cannot_be_used_is_one_clear_sentence(
    invoke: Invoke, manifests: Path, words: tuple[str, ...], message: str
) -> None:
    """An error names the option, the value and the reason; the status is 2."""
    result = invoke(
        "render", *(word.format(manifests) if word == "{}" else word for word in words)
    )
    assert result.exit_code == 2
    assert result.stderr.startswith(f"ipvsctl: error: {message}")
    assert result.stderr.count("\n") == 1


def test_verbose_adds_the_cause(invoke: Invoke, manifests: Path) -> None:
    """With -v the exception behind the sentence follows."""
    words = ("render", "--manifests", manifests, "--config", "/nowhere", "-v")
    assert "  caused by FileNotFoundError: " in invoke(*words).stderr


def test_the_file_and_the_flags_are_settings(
    invoke: Invoke, manifests: Path, tmp_path: Path
) -> None:
    """`--config` is read, flags win over it, and what is set in vain is said."""
    config = tmp_path / "config.yaml"
    config.write_text(
        "apiVersion: kubeproxy.config.k8s.io/v1alpha1\n"
        "kind: KubeProxyConfiguration\n"
        "mode: nftables\n"
        "clusterCIDR: 10.0.0.0/8\n"
        "ipvs: {scheduler: lc}\n"
    )
    words = ("render", "--manifests", manifests, "--config", config)
    result = invoke(*words)
    assert "-A -t 10.96.0.10:80 -s lc" in result.stdout
    assert result.stderr == (
        f"ipvsctl: warning: {config}: mode: 'nftables' has no effect;"
        " the mode is always ipvs\n"
    )
    rules = invoke(*words, "-o", "iptables").stdout
    assert "! -s 10.0.0.0/8" in rules
    rules = invoke(*words, "-o", "iptables", "--cluster-cidr", "172.16.0.0/12").stdout
    assert "! -s 172.16.0.0/12" in rules


def test_the_host_name_is_the_default_node(invoke: Invoke, manifests: Path) -> None:
    """Without a name the host's is used; this host is not in the cluster."""
    result = invoke("render", "--manifests", manifests, "--node-name", "")
    assert "warning: no Node " in result.stderr


def test_what_is_overlooked_is_said(invoke: Invoke, tmp_path: Path) -> None:
    """Slices of no Service are said without -v; the manifests are whole."""
    path = tmp_path / "a.yaml"
    path.write_bytes(
        b"---\n".join(
            yaml.safe_dump(raw).encode()
            for raw in (
                raw_node("node-0"),
                raw_service("web"),
                raw_slice("a", service=None),
                raw_slice("b", service=None),
            )
        )
    )
    result = invoke("render", "--manifests", path)
    assert result.exit_code == 0
    assert result.stdout == "-A -t 10.96.0.10:80 -s rr\n"
    (line,) = result.stderr.splitlines()
    assert line.startswith(f"Manifest {path}: document 3: discovery.k8s.io/v1")
    assert "kubernetes.io/service-name" in line
    assert "2 in this file" in line


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-be", "utf-32"])
@pytest.mark.parametrize("name", ["a.json", "a.yaml"])
def test_encodings(
    invoke: Invoke, manifests: Path, tmp_path: Path, encoding: str, name: str
) -> None:
    """Manifests and configuration are read in every encoding of Unicode."""
    path = tmp_path / "encoded" / name
    path.parent.mkdir()
    path.write_bytes(manifests.read_text().encode(encoding))
    config = tmp_path / "config"
    config.write_bytes(
        "apiVersion: kubeproxy.config.k8s.io/v1alpha1\n"
        "kind: KubeProxyConfiguration\n"
        "ipvs: {scheduler: lc, strictARP: yes}\n".encode(encoding)
    )
    result = invoke("render", "--manifests", path, "--config", config)
    assert "-A -t 10.96.0.10:80 -s lc" in result.stdout
    assert (result.exit_code, result.stderr) == (0, "")
