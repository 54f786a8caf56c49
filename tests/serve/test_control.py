"""The control socket, over a real unix socket."""

import asyncio
import contextlib
import json
import socket
import stat
import threading
from collections.abc import Mapping
from pathlib import Path

import pytest

from ipvsctl.cli import daemon
from ipvsctl.cli.daemon import DaemonError, DaemonHung, DaemonOld, ask
from ipvsctl.model.errors import ConfigError, KernelError
from ipvsctl.serve.control import Answer, Pieces, control_socket


async def echo(query: Mapping[str, str]) -> Pieces:
    """Answers what it was asked."""
    text = json.dumps(dict(query)).encode()
    return text[:1], text[1:]


async def refuse(_query: Mapping[str, str]) -> Pieces:
    """Cannot read the kernel."""
    raise KernelError.of(1, "read virtual servers")


PIECES = tuple(bytes([n]) * 70_000 for n in range(30))
"""Of a large answer."""

ANSWERS: Mapping[str, Answer] = {"/v1/echo": echo, "/v1/refuse": refuse}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A socket in a directory that is not there yet."""
    return tmp_path / "ipvsctl" / "ipvsctl.sock"


def permissions(path: Path) -> int:
    """Mode bits of a file."""
    return stat.S_IMODE(path.stat().st_mode)


def put_file(path: Path) -> None:
    """Have a file that is not a socket."""
    path.parent.mkdir()
    path.write_text("precious")


def listing(path: Path) -> list[str]:
    """Names beside the socket."""
    return [item.name for item in path.parent.iterdir()]


async def test_a_route_answers_with_its_query(path: Path) -> None:
    """The client gets the body; an empty word of the query is left out."""
    async with control_socket(path, ANSWERS):
        query = {"name": "default/web", "namespace": ""}
        body = await asyncio.to_thread(ask, path, "/v1/echo", query)
    assert body is not None
    assert json.loads(body) == {"name": "default/web"}


async def test_only_root_can_connect(path: Path) -> None:
    """The socket has mode 0600, the directory made for it 0700."""
    async with control_socket(path, ANSWERS):
        assert permissions(path) == 0o600
        assert permissions(path.parent) == 0o700


async def test_it_is_gone_afterwards(path: Path) -> None:
    """Nothing is left that a client could take for a daemon."""
    async with control_socket(path, ANSWERS):
        pass
    assert listing(path) == []
    assert await asyncio.to_thread(ask, path, "/v1/echo") is None


async def test_a_refusal_reaches_the_client(path: Path) -> None:
    """What the daemon cannot do, it says."""
    async with control_socket(path, ANSWERS):
        with pytest.raises(DaemonError) as caught:
            await asyncio.to_thread(ask, path, "/v1/refuse")
    assert caught.value.reason == (
        "read virtual servers: EPERM (not permitted (CAP_NET_ADMIN is needed))"
    )


async def test_an_unknown_route_is_an_error(path: Path) -> None:
    """A client newer than the daemon is told, not misled."""
    async with control_socket(path, ANSWERS):
        with pytest.raises(DaemonError, match="404"):
            await asyncio.to_thread(ask, path, "/v1/unheard")


def leave_stale(path: Path) -> None:
    """Leave what a killed daemon leaves: a socket nobody listens on."""
    path.parent.mkdir()
    with socket.socket(socket.AF_UNIX) as killed:
        killed.bind(str(path))


async def test_the_socket_of_a_killed_daemon_is_replaced(path: Path) -> None:
    """It refuses connections, so nobody misses it."""
    leave_stale(path)
    assert await asyncio.to_thread(ask, path, "/v1/echo") is None
    async with control_socket(path, ANSWERS):
        assert await asyncio.to_thread(ask, path, "/v1/echo") == b"{}"


async def test_two_daemons_do_not_share_a_socket(path: Path) -> None:
    """The second one says why it does not start, and the first goes on."""
    async with control_socket(path, ANSWERS):
        with pytest.raises(ConfigError) as caught:
            await control_socket(path, ANSWERS).__aenter__()
        assert await asyncio.to_thread(ask, path, "/v1/echo") == b"{}"
    assert caught.value.reason == "another ipvsctl run answers there"


async def test_a_file_is_not_replaced(path: Path) -> None:
    """A mistyped path costs nobody a file."""
    put_file(path)
    with pytest.raises(ConfigError, match="is not a socket"):
        await control_socket(path, ANSWERS).__aenter__()
    assert listing(path) == [path.name]


async def test_a_path_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    """A file is in the way, or the path is longer than a socket's may be."""
    file = tmp_path / "file"
    file.touch()
    with pytest.raises(ConfigError, match="cannot be made"):
        await control_socket(file / "ipvsctl.sock", ANSWERS).__aenter__()
    with pytest.raises(ConfigError, match="cannot be made"):
        await control_socket(tmp_path / ("x" * 200), ANSWERS).__aenter__()


async def test_a_broken_conversation_is_an_error(path: Path) -> None:
    """Who answers something else than HTTP is not a daemon."""
    path.parent.mkdir()
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(path))
        other.listen()

        def hang_up() -> None:
            connection, _ = other.accept()
            connection.recv(100)
            connection.sendall(b"what?\r\n")
            connection.close()

        waiting = asyncio.create_task(asyncio.to_thread(hang_up))
        with pytest.raises(DaemonError, match="no answer"):
            await asyncio.to_thread(ask, path, "/v1/echo")
        await waiting


async def test_who_sends_takes_turns(path: Path) -> None:
    """Twenty large answers leave the event loop free between any two pieces."""
    sent: list[int] = []
    rounds = 0

    async def large(_query: Mapping[str, str]) -> Pieces:
        return PIECES

    async def calm(limit_s: float) -> float:
        sent.append(rounds)
        assert limit_s > 0
        return 0.0

    async def count() -> None:
        nonlocal rounds
        while True:
            rounds += 1
            await asyncio.sleep(0)

    counting = asyncio.ensure_future(count())
    async with control_socket(path, {"/v1/large": large}, calm):
        asked = (asyncio.to_thread(ask, path, "/v1/large") for _ in range(20))
        bodies = await asyncio.gather(*asked)
    counting.cancel()
    assert set(bodies) == {b"".join(PIECES)}
    assert len(sent) == 20 * (len(PIECES) + 1)
    assert len(set(sent)) == len(sent), "no two in one round"


async def test_patience_with_urgent_work_ends(path: Path) -> None:
    """An answer is sent in the end, although something urgent is always under way."""
    limits: list[float] = []

    async def large(_query: Mapping[str, str]) -> Pieces:
        return PIECES

    async def calm(limit_s: float) -> float:
        limits.append(limit_s)
        return limit_s if limit_s < 0.5 else 0.4

    async with control_socket(path, {"/v1/large": large}, calm):
        body = await asyncio.to_thread(ask, path, "/v1/large")
    assert body == b"".join(PIECES)
    assert limits[0] > limits[1] > limits[2] > 0
    assert limits[-1] == 0


def test_a_daemon_that_never_accepts(path: Path) -> None:
    """However many have waited before, it hangs, and is nothing else."""
    path.parent.mkdir()
    with socket.socket(socket.AF_UNIX) as hung:
        hung.bind(str(path))
        hung.listen(1)
        waiting = [socket.socket(socket.AF_UNIX) for _ in range(4)]
        try:
            for one in waiting:
                one.settimeout(0)
                with contextlib.suppress(BlockingIOError):
                    one.connect(str(path))
            with pytest.raises(DaemonHung, match="hangs"):
                ask(path, "/v1/status")
        finally:
            for one in waiting:
                one.close()


def test_a_daemon_that_drips(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A byte now and then is no sign of life."""
    monkeypatch.setattr(daemon, "_PING_TIMEOUT_S", 0.3)
    path.parent.mkdir()
    ended = threading.Event()

    def drip() -> None:
        peer, _ = hung.accept()
        with peer, contextlib.suppress(OSError):
            while not ended.wait(0.05):
                peer.sendall(b"H")

    with socket.socket(socket.AF_UNIX) as hung:
        hung.bind(str(path))
        hung.listen(1)
        dripping = threading.Thread(target=drip)
        dripping.start()
        try:
            with pytest.raises(DaemonHung, match="hangs"):
                ask(path, "/v1/status")
        finally:
            ended.set()
            dripping.join()


async def test_a_daemon_of_another_version(path: Path) -> None:
    """What it does not know it is not asked; what it says besides is passed over."""
    said: list[bytes] = [b'{"version": "0.1.0"}']

    async def version(_query: Mapping[str, str]) -> Pieces:
        return (said[0],)

    async with control_socket(path, {**ANSWERS, "/v1/version": version}):
        with pytest.raises(DaemonOld, match=r"version 0\.1\.0 does not know"):
            await asyncio.to_thread(ask, path, "/v1/echo", needs=2)
        assert await asyncio.to_thread(ask, path, "/v1/echo") == b"{}"
        said[0] = b'{"version": "9.0.0", "protocol": 7, "new": {"a": 1}}'
        assert await asyncio.to_thread(ask, path, "/v1/echo", needs=2) == b"{}"


def test_what_is_mute_is_told(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """In a line; then others are asked."""

    def question() -> None:
        raise DaemonOld(path, "version 0.1.0 does not know this question")

    assert daemon.unless_mute(question) is None
    assert "the kernel is read without it" in capsys.readouterr().err
