"""The relay of node ports on localhost, over real connections on loopback."""

import asyncio
import os
import random
import socket
import threading
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import pytest

from ipvsctl.model.relay import Refusal, RelayFigures
from ipvsctl.serve.relay.relay import LocalhostRelay
from ipvsctl.serve.relay.thread import TRIES, RelayThread
from tests.serve.relay.world import (
    LIMIT_S,
    Pod,
    World,
    fill,
    free_listener,
    is_reset,
    opened,
    port_at,
    read,
    reset,
    until,
    weighing,
)

MOST = 12
MOST_OF_ONE = 8


@pytest.fixture
async def world() -> AsyncIterator[World]:
    """A relay of nothing; closed at the end."""
    with opened() as stack:
        made = World(LocalhostRelay(MOST, MOST_OF_ONE), stack)
        yield made
        await made.relay.close()


def refused(world: World) -> dict[Refusal, int]:
    """How many clients were refused, and why."""
    figures = world.relay.figures()
    return {} if figures is None else dict(figures.refused)


def _descriptors() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


async def test_nothing_is_started_before_there_is_a_listener() -> None:
    """No thread, no descriptor."""
    before = threading.active_count(), _descriptors()
    relay = LocalhostRelay()
    await relay.replace({})
    await relay.update({free_listener(): None})
    assert (threading.active_count(), _descriptors()) == before
    assert relay.figures() is None
    assert relay.states() == {}
    await relay.close()


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
async def test_both_hear_each_other(world: World, address: str) -> None:
    """Byte for byte, in both families, and every byte is counted."""
    world.listener = free_listener(address)
    pod = world.pod("127.0.0.9" if "." in address else "::1")
    await world.serve(pod)
    client, server = world.pair(pod)
    client.sendall(b"question")
    assert read(server, 8) == b"question"
    server.sendall(b"answers")
    assert read(client, 7) == b"answers"
    wanted = RelayFigures(connections=1, relayed=1, bytes_in=8, bytes_out=7)
    until(lambda: world.relay.figures() == wanted)
    assert world.counts() == {str(pod.key): 1}


@pytest.mark.parametrize("first", ["client", "server"])
async def test_one_side_ends_before_the_other(world: World, first: str) -> None:
    """What the other says after that arrives, and then the end of that, too."""
    pod = world.pod()
    await world.serve(pod)
    client, server = world.pair(pod)
    one, other = (client, server) if first == "client" else (server, client)
    one.sendall(b"all")
    one.shutdown(socket.SHUT_WR)
    assert read(other, 10) == b"all"
    other.sendall(b"late")
    other.close()
    assert read(one, 10) == b"late"
    until(lambda: world.counts() == {})


async def test_much_that_is_read_late(world: World) -> None:
    """All of it arrives, with its end, although the sender has long closed."""
    pod = world.pod()
    await world.serve(pod)
    client, server = world.pair(pod)
    client.shutdown(socket.SHUT_WR)
    assert read(server, 1) == b""
    sent = os.urandom(1 << 22)

    def answer() -> None:
        server.sendall(sent)
        server.close()

    answering = threading.Thread(target=answer)
    answering.start()
    assert read(client, 1) == sent[:1]
    answering.join(1)
    assert read(client, len(sent)) == sent[1:]
    answering.join()
    until(lambda: world.counts() == {})


async def test_many_at_once(world: World) -> None:
    """Each hears its own, whole, however much and in whatever pieces it says it."""
    pods = [world.pod() for _ in range(2)]
    await world.serve(*pods)
    chance = random.Random(18)
    pairs = [world.pair(pods[number % 2]) for number in range(MOST_OF_ONE)]
    whole: dict[socket.socket, bytes] = {}

    def say(side: socket.socket, what: bytes, pieces: int) -> None:
        for start in range(0, len(what), pieces):
            side.sendall(what[start : start + pieces])
        side.shutdown(socket.SHUT_WR)

    def hear(side: socket.socket, count: int) -> None:
        whole[side] = read(side, count + 1)

    threads = []
    sent = {}
    for client, server in pairs:
        for side, other in ((client, server), (server, client)):
            sent[other] = what = chance.randbytes(chance.randrange(1 << 20))
            pieces = chance.choice((997, 1 << 14, 1 << 20))
            threads += [
                threading.Thread(target=say, args=(side, what, pieces)),
                threading.Thread(target=hear, args=(other, len(what))),
            ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert whole == sent
    until(lambda: world.counts() == {})


@pytest.mark.parametrize("first", ["client", "server"])
async def test_a_reset_goes_on(world: World, first: str) -> None:
    """The other side sees a reset as well, and no end that could be taken for one."""
    pod = world.pod()
    await world.serve(pod)
    client, server = world.pair(pod)
    one, other = (client, server) if first == "client" else (server, client)
    one.sendall(b"half of")
    assert read(other, 7) == b"half of"
    reset(one)
    assert is_reset(other)
    until(lambda: world.counts() == {})


async def test_who_does_not_read_stops_who_sends(world: World) -> None:
    """Nothing is kept in between but in the kernel's buffers, and others go on."""
    pod = world.pod()
    await world.serve(pod)
    client, server = world.pair(pod)
    for side in (client, server):
        side.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
    sent = fill(client)
    figures = world.relay.figures()
    assert figures is not None
    assert figures.bytes_in <= sent
    other, its_server = world.pair(pod)
    other.sendall(b"still")
    assert read(its_server, 5) == b"still"
    # It goes on as soon as it is read.
    client.shutdown(socket.SHUT_WR)
    assert len(read(server, 1 << 28)) == sent


async def test_a_blocked_way_does_not_keep_the_thread_busy(world: World) -> None:
    """Neither when the taker is full, nor when both ends are closed meanwhile."""
    pod = world.pod()
    await world.serve(pod)
    client, server = world.pair(pod)
    client.shutdown(socket.SHUT_WR)
    assert read(server, 1) == b""
    sent = fill(server)
    before_s = sum(os.times()[:2])
    threading.Event().wait(1.0)
    server.close()
    threading.Event().wait(1.0)
    assert sum(os.times()[:2]) - before_s < 0.5
    assert len(read(client, sent + 1)) == sent


async def test_another_endpoint_is_tried(world: World) -> None:
    """When one refuses, before anything is relayed; the client sees nothing of it."""
    gone, pod = world.pod(), world.pod()
    gone.refuse()
    await world.serve(gone, pod)
    for _ in range(3):
        client, server = world.pair(pod)
        client.sendall(b"hello")
        assert read(server, 5) == b"hello"
    assert world.counts() == {str(pod.key): 3}
    assert refused(world) == {}


async def test_no_endpoint_takes_it(world: World) -> None:
    """The client is reset, and counted; not more than some endpoints are tried."""
    pods = [world.pod() for _ in range(TRIES + 1)]
    for pod in pods[:-1]:
        pod.refuse()
    await world.serve(*pods)
    assert world.is_refused()
    assert refused(world) == {Refusal.UNREACHABLE: 1}
    assert world.counts() == {}
    assert not pods[-1].is_asked()


async def test_an_endpoint_that_says_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another is tried after the time that connecting may take."""
    monkeypatch.setattr("ipvsctl.serve.relay.thread.CONNECT_S", 0.2)
    silent, pod = world.pod(), world.pod()
    silent.socket.listen(0)
    # Fills its queue, so that the kernel drops what comes.
    filling = [socket.socket() for _ in range(4)]
    for one in filling:
        one.settimeout(0)
        one.connect_ex(silent.socket.getsockname())
    await world.serve(silent, pod)
    client, server = world.pair(pod)
    client.sendall(b"hello")
    assert read(server, 5) == b"hello"
    for one in filling:
        one.close()


async def test_a_client_that_gives_up(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While an endpoint is waited for: it is over at once."""
    monkeypatch.setattr("ipvsctl.serve.relay.thread.CONNECT_S", 60.0)
    silent = world.pod()
    silent.socket.listen(0)
    filling = [socket.socket() for _ in range(4)]
    for one in filling:
        one.settimeout(0)
        one.connect_ex(silent.socket.getsockname())
    await world.serve(silent)
    client = world.client()
    until(lambda: world.counts() == {str(silent.key): 1})
    reset(client)
    until(lambda: world.counts() == {})
    for one in filling:
        one.close()


async def test_the_limit_of_one_service(world: World) -> None:
    """Beyond it clients are reset at once; who goes makes room; others have theirs."""
    pod, other_pod = world.pod(), world.pod()
    await world.serve(pod)
    pairs = [world.pair(pod) for _ in range(MOST_OF_ONE)]
    assert world.is_refused()
    assert refused(world) == {Refusal.LIMIT: 1}
    first = world.listener
    world.listener = free_listener()
    await world.serve(other_pod, name="other")
    world.pair(other_pod)
    world.listener = first
    reset(pairs[0][0])
    until(lambda: world.counts() == {str(pod.key): MOST_OF_ONE - 1})
    client, server = world.pair(pod)
    client.sendall(b"in")
    assert read(server, 2) == b"in"


async def test_the_limit_of_all(world: World) -> None:
    """However they are spread over Services."""
    pods = []
    for number in range(2):
        pods.append(world.pod())
        world.listener = free_listener()
        await world.serve(pods[-1], name=f"s{number}")
        for _ in range(MOST // 2):
            world.pair(pods[-1])
    assert world.is_refused()
    assert refused(world) == {Refusal.LIMIT: 1}


async def test_an_endpoint_that_is_full(world: World) -> None:
    """The limit of a Service (I17) is one of its endpoints here, too."""
    pod = world.pod()
    await world.serve(weighing(pod, upper_threshold=1, lower_threshold=1))
    world.pair(pod)
    assert world.is_refused()
    assert refused(world) == {Refusal.FULL: 1}


async def test_an_endpoint_that_goes(world: World) -> None:
    """It gets no new connections; those that it has go on."""
    pod, other = world.pod(), world.pod()
    await world.serve(pod)
    client, server = world.pair(pod)
    await world.serve(other)
    world.pair(other)
    client.sendall(b"still")
    assert read(server, 5) == b"still"
    assert world.counts() == {str(pod.key): 1, str(other.key): 1}


async def test_a_drain_ends(world: World) -> None:
    """At the latest after the drain timeout, and not if the endpoint has come back."""
    pod, back, other = world.pod(), world.pod(), world.pod()
    await world.serve(pod, back)
    pairs = [world.pair(pod), world.pair(back)]
    await world.serve(other, drain_timeout_s=0.5)
    await world.serve(other, back, drain_timeout_s=0.5)
    assert is_reset(pairs[0][0])
    assert is_reset(pairs[0][1])
    pairs[1][0].sendall(b"still")
    assert read(pairs[1][1], 5) == b"still"


async def test_a_service_without_endpoints(world: World) -> None:
    """Its clients are refused; connections go on; with an endpoint it is back."""
    pod = world.pod()
    await world.serve(pod)
    client, server = world.pair(pod)
    for none in ((), (weighing(pod, weight=0),)):
        await world.serve(*none)
        with pytest.raises(ConnectionRefusedError):
            world.client()
    client.sendall(b"still")
    assert read(server, 5) == b"still"
    await world.serve(pod)
    world.pair(pod)
    assert world.relay.problems() == ()


async def test_a_service_that_goes(world: World) -> None:
    """Its listener is closed at once, its connections are reset."""
    pod = world.pod()
    await world.serve(pod)
    client, server = world.pair(pod)
    await world.relay.update({world.listener: None})
    with pytest.raises(ConnectionRefusedError):
        world.client()
    assert is_reset(client)
    assert is_reset(server)


async def test_a_port_becomes_another_services(world: World) -> None:
    """The connections of the one end, and the other's are relayed."""
    pod, other = world.pod(), world.pod()
    await world.serve(pod)
    client, _ = world.pair(pod)
    await world.serve(other, name="other")
    assert is_reset(client)
    client, server = world.pair(other)
    client.sendall(b"hello")
    assert read(server, 5) == b"hello"


async def test_a_port_in_use(world: World) -> None:
    """A problem of the Service that names the port, until it is free; others go on."""
    pod = world.pod()
    taken = world.listener
    with closing(socket.create_server((str(taken.address), taken.port))):
        await world.serve(pod)
        (problem,) = world.relay.problems()
        assert str(problem) == (
            f"Service default/web: spec.ports[0].nodePort: {taken}: cannot listen:"
            " Address already in use"
        )
        assert world.relay.states()[taken].refused
        world.listener = free_listener()
        await world.serve(pod, name="other")
        world.pair(pod)
    other = world.listener
    world.listener = taken
    await world.relay.replace(
        {taken: port_at(taken, [pod.key]), other: port_at(other, [pod.key])}
    )
    assert world.relay.problems() == ()
    world.pair(pod)


async def test_a_port_that_becomes_free(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is tried again before the next audit: a daemon may follow another."""
    monkeypatch.setattr("ipvsctl.serve.relay.relay._RETRY_S", 0.05)
    pod = world.pod()
    where = str(world.listener.address), world.listener.port
    with closing(socket.create_server(where)):
        await world.serve(pod)
        await asyncio.sleep(0.2)
        assert world.relay.problems()
    async with asyncio.timeout(LIMIT_S):
        while world.relay.problems():  # noqa: ASYNC110  # nothing else tells
            await asyncio.sleep(0.02)
    world.pair(pod)


async def test_an_audit_has_the_last_word(world: World) -> None:
    """What it does not know is closed; what is as it was goes on."""
    pod = world.pod()
    await world.serve(pod)
    client, server = world.pair(pod)
    await world.relay.replace({world.listener: port_at(world.listener, [pod.key])})
    client.sendall(b"still")
    assert read(server, 5) == b"still"
    await world.relay.replace({})
    assert is_reset(client)


async def test_the_end_of_the_daemon() -> None:
    """Listeners are closed, and connections reset, so that nobody sees an end."""
    with opened() as stack:
        world = World(LocalhostRelay(), stack)
        pod = Pod(stack)
        await world.serve(pod)
        client, server = world.pair(pod)
        server.sendall(b"half of an answer")
        assert read(client, 4) == b"half"
        await world.relay.close()
        assert is_reset(client)
        assert is_reset(server)
        with pytest.raises(ConnectionRefusedError):
            world.client()
        assert "relay" not in {thread.name for thread in threading.enumerate()}


async def test_a_thread_that_has_ended(world: World) -> None:
    """The next audit starts another one, with every listener."""
    pod = world.pod()
    started = []

    def start(most: int, most_of_one: int) -> RelayThread:
        started.append(RelayThread(most, most_of_one))
        return started[-1]

    world.relay = LocalhostRelay(start=start)
    await world.serve(pod)
    started[0].stop(LIMIT_S)
    await world.relay.replace({world.listener: port_at(world.listener, [pod.key])})
    assert len(started) == 2
    client, server = world.pair(pod)
    client.sendall(b"hello")
    assert read(server, 5) == b"hello"


async def test_no_thread_can_be_had() -> None:
    """A problem of each Service, and nothing else fails."""

    def fail(_most: int, _most_of_one: int) -> RelayThread:
        raise RuntimeError("can't start new thread")

    relay = LocalhostRelay(start=fail)
    listener = free_listener()
    await relay.update({listener: port_at(listener, [])})
    (problem,) = relay.problems()
    assert problem.reason == "cannot relay: can't start new thread"
    await relay.close()
