"""What the plugin takes, and what it hands on."""

import pytest

from ipvsctl.plugin.arguments import UsageError, parse


@pytest.mark.parametrize(
    ("words", "command", "node"),
    [
        ("status --node a -n shop", ("status", "-n", "shop"), "a"),
        ("--node=a explain shop/web --from host", None, "a"),
        ("diff shop/web -o json", ("diff", "shop/web", "-o", "json"), ""),
        # One of ipvsctl's that begins like one of ours.
        ("status --node-name b", ("status", "--node-name", "b"), ""),
    ],
)
def test_the_rest_is_ipvsctls(
    words: str, command: tuple[str, ...] | None, node: str
) -> None:
    """In its order, wherever ours stand."""
    found = parse(words.split())
    assert found.node == node
    assert found.command == (command or ("explain", "shop/web", "--from", "host"))


@pytest.mark.parametrize("words", ["", "--help", "-h", "help"])
def test_help(words: str) -> None:
    """Of the plugin; that of a command is ipvsctl's."""
    assert parse(words.split()).command == ()
    assert parse(["status", "--help"]).command == ("status", "--help")


@pytest.mark.parametrize(
    ("text", "pod"), [("web-1", ("", "web-1")), ("shop/web-1", ("shop", "web-1"))]
)
def test_a_pod(text: str, pod: tuple[str, str]) -> None:
    """With its namespace or without."""
    assert parse(["explain", "web", "--pod", text]).pod == pod


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ("apply --all-nodes", "apply: the first word is one of"),
        ("run", "run: the first word is one of"),
        ("explain web --pod /x", "--pod /x: neither"),
        ("explain web --pod x/", "--pod x/: neither"),
        ("top --all-nodes", "goes on for ever"),
        ("status -w --all-nodes", "goes on for ever"),
        ("events --follow --all-nodes", "goes on for ever"),
    ],
)
def test_refused(words: str, reason: str) -> None:
    """By its name."""
    with pytest.raises(UsageError, match=reason):
        parse(words.split())


@pytest.mark.parametrize(
    "words", ["top --once --all-nodes", "top -o json --all-nodes", "events --all-nodes"]
)
def test_what_ends_may_be_everywhere(words: str) -> None:
    """Once is enough for a table of all nodes."""
    assert parse(words.split()).all_nodes


def test_two_places_are_none(capsys: pytest.CaptureFixture[str]) -> None:
    """Argparse says so."""
    with pytest.raises(SystemExit):
        parse(["status", "--all-nodes", "--node", "a"])
    assert "not allowed with argument" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "form"),
    [
        ("-o json", "json"),
        ("-ojson", "json"),
        ("-o=json", "json"),
        ("--output yaml", "yaml"),
        ("--output=wide", "wide"),
        ("", ""),
    ],
)
def test_form(words: str, form: str) -> None:
    """However it is spelled."""
    assert parse(["status", *words.split()]).form == form


def test_flags_of_kubectl() -> None:
    """They are for every call."""
    found = parse(["status", "--context", "prod", "--as=me"])
    assert found.kubectl == ("--context=prod", "--as=me")
    assert found.command == ("status",)
