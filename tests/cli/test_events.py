"""`ipvsctl events`: what a daemon remembers."""

import asyncio
import json
import time
from collections.abc import Mapping
from pathlib import Path

import msgspec
import pytest
from typer.testing import CliRunner, Result

from ipvsctl.cli.app import app
from ipvsctl.cli.daemon import PROTOCOL
from ipvsctl.model.history import Entry, History, What
from ipvsctl.serve.control import Pieces, control_socket

ENTRIES = (
    Entry(
        serial=7,
        at_s=0,
        what=What.SYNC,
        services=("shop/web", "shop/api", "a/b"),
        text="add real server tcp 10.96.0.10:80 -> 172.16.0.1:8080; and 9 more",
        count=10,
    ),
    Entry(
        serial=8,
        at_s=61,
        what=What.REPAIR,
        services=("shop/web",),
        text="change virtual server tcp 10.96.0.10:80 rr (was lc)\x1b[31m",
    ),
)


@pytest.fixture(autouse=True)
def _utc(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()


async def _version(_query: Mapping[str, str]) -> Pieces:
    return (json.dumps({"version": "9", "protocol": PROTOCOL}).encode(),)


async def asked(path: Path, *histories: History, words: tuple[str, ...] = ()) -> Result:
    """The command on a daemon that says these, one after the other."""
    left = [*histories]

    async def answer(_query: Mapping[str, str]) -> Pieces:
        return (msgspec.json.encode(left.pop(0) if len(left) > 1 else left[0]),)

    async with control_socket(path, {"/v1/events": answer, "/v1/version": _version}):
        call = CliRunner().invoke
        return await asyncio.to_thread(
            call, app, ["events", *words, "--socket", str(path)]
        )


async def test_a_table(tmp_path: Path) -> None:
    """Time, what, whose, and what was there before; nothing a terminal would obey."""
    said = await asked(tmp_path / "s", History(daemon="a", entries=ENTRIES))
    assert said.exit_code == 0, said.output
    assert said.stdout == (
        "TIME                 WHAT    SERVICE      DONE\n"
        "1970-01-01 00:00:00  sync    shop/web +2"
        "  add real server tcp 10.96.0.10:80 -> 172.16.0.1:8080; and 9 more\n"
        "1970-01-01 00:01:01  repair  shop/web"
        "     change virtual server tcp 10.96.0.10:80 rr (was lc)\\x1b[31m\n"
    )


async def test_those_of_one_service(tmp_path: Path) -> None:
    """By its name, with its namespace or without."""
    history = History(daemon="a", entries=ENTRIES)
    for word, count in (("web", 2), ("shop/api", 1), ("other/web", 0)):
        said = await asked(tmp_path / "s", history, words=(word, "-o", "json"))
        assert len(json.loads(said.stdout)) == count, word


async def test_nothing_yet(tmp_path: Path) -> None:
    """Is said."""
    said = await asked(tmp_path / "s", History(daemon="a"))
    assert said.stdout == "nothing was done yet\n"


async def test_following(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What comes is a line each; another daemon and what is lost are said."""
    naps = 0

    def sleep(_seconds: float) -> None:
        nonlocal naps
        naps += 1
        if naps == 4:
            raise KeyboardInterrupt

    monkeypatch.setattr(time, "sleep", sleep)
    first, second = ENTRIES
    said = await asked(
        tmp_path / "s",
        History(daemon="a", entries=(first,)),
        History(daemon="a", entries=(second,), lost=3),
        History(daemon="b"),
        History(daemon="b", entries=(first,)),
        History(daemon="b"),
        words=("--follow", "-o", "json"),
    )
    serials = [json.loads(line)["serial"] for line in said.stdout.splitlines()]
    assert serials == [7, 8, 7]
    assert "3 events are forgotten already" in said.stderr
    assert "the daemon has been started anew" in said.stderr


def test_without_a_daemon(tmp_path: Path) -> None:
    """Nobody else has a memory."""
    said = CliRunner().invoke(app, ["events", "--socket", str(tmp_path / "s")])
    assert said.exit_code == 2
    assert "only a daemon has a memory" in said.stderr


@pytest.mark.parametrize("word", ["10.96.0.10", "shop/web:http", "a b"])
def test_events_are_known_by_services(word: str) -> None:
    """Anything else is refused, by name."""
    said = CliRunner().invoke(app, ["events", word])
    assert said.exit_code == 2
    assert said.stdout == ""


async def test_a_word_of_a_newer_daemon(tmp_path: Path) -> None:
    """Its events are shown all the same."""
    entry = {**msgspec.to_builtins(ENTRIES[1]), "what": "dance"}

    async def answer(_query: Mapping[str, str]) -> Pieces:
        return (json.dumps({"daemon": "a", "entries": [entry], "new": 1}).encode(),)

    path = tmp_path / "s"
    async with control_socket(path, {"/v1/events": answer, "/v1/version": _version}):
        call = CliRunner().invoke
        said = await asyncio.to_thread(call, app, ["events", "--socket", str(path)])
    assert said.exit_code == 0, said.output
    assert "other  shop/web" in said.stdout
