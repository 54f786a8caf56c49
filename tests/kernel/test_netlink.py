"""Netlink conversations: what a socket makes of the answers it gets."""

import errno
import os
from collections.abc import Callable
from struct import pack

import pytest

from ipvsctl.kernel.netlink import BATCH_BYTES, BATCH_MESSAGES, NetlinkSocket
from ipvsctl.model.errors import DumpInterrupted, KernelError, NotFound, WireError
from ipvsctl.wire.netlink.messages import (
    NLM_F_ACK,
    NLM_F_DUMP,
    NLM_F_DUMP_INTR,
    Ack,
    MessageType,
    iter_messages,
    message_header,
)

KIND = 77

Answer = bytes | int
"""A datagram, or the errno that receiving fails with."""

Script = Callable[[list[tuple[int, int]]], list[Answer]]
"""From the flags and sequence numbers in a sent datagram to what is received."""


class ScriptedEndpoint:
    """An endpoint that answers each datagram by a script."""

    def __init__(self, *scripts: Script) -> None:
        self.scripts = list(scripts)
        self.sent: list[list[tuple[int, int]]] = []
        self.pending: list[Answer] = []
        self.is_closed = self.is_left = False

    def send(self, data: bytes | bytearray, /) -> int:
        """Run the next script; the last one is for ever."""
        headers = [
            (flags, sequence) for _, flags, sequence, _, _ in iter_messages(bytes(data))
        ]
        self.sent.append(headers)
        script = self.scripts.pop(0) if len(self.scripts) > 1 else self.scripts[0]
        self.pending += script(headers)
        return len(data)

    def recv(self, _size: int, /) -> bytes:
        """The next answer; a wait for one that does not come ends in EAGAIN."""
        answer = self.pending.pop(0) if self.pending else errno.EAGAIN
        if isinstance(answer, int):
            raise OSError(answer, os.strerror(answer))
        return answer

    def close(self) -> None:
        """Be closed."""
        self.is_closed = True

    def detach(self) -> int:
        """Be left alone."""
        self.is_left = True
        return -1


def message(sequence: int, payload: bytes, kind: int = KIND, flags: int = 0) -> bytes:
    """A message from the kernel, padded."""
    head = pack("=IHHII", 16 + len(payload), kind, flags, sequence, 0)
    return head + payload + b"\0" * (-len(payload) % 4)


def ack(sequence: int, code: int = 0) -> bytes:
    """An acknowledgement or a refusal."""
    payload = pack("=i", -code) + b"\0" * 16
    return message(sequence, payload, MessageType.ERROR, 0x100)


def done(sequence: int, code: int = 0, flags: int = 0) -> bytes:
    """The end of a dump."""
    return message(sequence, pack("=i", -code), MessageType.DONE, flags)


def request(payload: bytes = b"") -> bytes:
    """A request."""
    return message_header(KIND, 0, len(payload)) + payload


def dump_request() -> bytes:
    """A dump request."""
    return message_header(KIND, NLM_F_DUMP, 0)


def text(buffer: bytes, start: int, end: int) -> str:
    """A payload as text; some text is not what it should be."""
    if buffer[start:end] == b"evil":
        raise WireError(offset=start, reason="evil")
    return buffer[start:end].decode()


def opened(*scripts: Script) -> tuple[NetlinkSocket, ScriptedEndpoint]:
    """A socket on such an endpoint."""
    endpoint = ScriptedEndpoint(*scripts)
    return NetlinkSocket(endpoint, "scripted socket"), endpoint


def refuse(*places: int, code: int = errno.EEXIST) -> Script:
    """Refuse the requests in these places and acknowledge the others that ask."""
    return lambda headers: [
        ack(sequence, code if place in places else 0)
        for place, (flags, sequence) in enumerate(headers)
        if place in places or flags & NLM_F_ACK
    ]


class BrokenEndpoint(ScriptedEndpoint):
    """An endpoint that sends nothing any more."""

    def __init__(self, code: int) -> None:
        super().__init__(refuse())
        self.code = code

    def send(self, _data: bytes | bytearray, /) -> int:
        """Fail."""
        raise OSError(self.code, os.strerror(self.code))


@pytest.mark.parametrize("code", [errno.EBADF, errno.ENOTSOCK])
def test_a_socket_that_somebody_has_closed_is_replaced_at_once(code: int) -> None:
    """Nothing was sent, so nobody notices; its number is another's by now."""
    broken, fresh = BrokenEndpoint(code), ScriptedEndpoint(refuse(1))
    socket = NetlinkSocket(broken, "scripted socket", lambda: fresh)
    assert socket.apply([request()] * 2) == {1: Ack(errno.EEXIST, "")}
    assert (broken.is_closed, broken.is_left) == (False, True)


@pytest.mark.parametrize(
    ("broken", "code"),
    [
        (BrokenEndpoint(errno.ENOMEM), errno.ENOMEM),
        (ScriptedEndpoint(lambda _: []), errno.ETIMEDOUT),
        (ScriptedEndpoint(lambda _: [errno.ENETDOWN]), errno.ENETDOWN),
    ],
)
def test_a_socket_that_fails_is_replaced_for_the_next_request(
    broken: ScriptedEndpoint, code: int
) -> None:
    """It may have been sent, and what it says later is nobody's answer."""
    fresh = ScriptedEndpoint(refuse())
    socket = NetlinkSocket(broken, "scripted socket", lambda: fresh)
    with pytest.raises(KernelError, match="scripted socket") as error:
        socket.apply([request()])
    assert error.value.errno == code
    assert (broken.is_closed, broken.is_left) == (True, False)
    assert socket.apply([request()]) == {}


def test_a_socket_without_another_one() -> None:
    """There are no descriptors left: each request says so, until there are."""
    endpoints = [None, None, ScriptedEndpoint(refuse())]

    def reopen() -> ScriptedEndpoint:
        endpoint = endpoints.pop(0)
        if endpoint is None:
            raise OSError(errno.EMFILE, "no more")
        return endpoint

    socket = NetlinkSocket(BrokenEndpoint(errno.EBADF), "scripted socket", reopen)
    for _ in range(2):
        with pytest.raises(KernelError, match="EMFILE"):
            socket.apply([request()])
    assert socket.apply([request()]) == {}
    socket.close()


def test_every_request_asks_for_an_ack() -> None:
    """Success is what the kernel says, for each message of a batch."""
    socket, endpoint = opened(refuse())
    assert socket.apply([request()] * 3) == {}
    assert [flags & NLM_F_ACK for flags, _ in endpoint.sent[0]] == [NLM_F_ACK] * 3
    assert [sequence for _, sequence in endpoint.sent[0]] == [1, 2, 3]


def test_silence_is_no_success() -> None:
    """A request whose ack did not come, although a later one's did, has failed."""
    socket, _ = opened(lambda headers: [ack(headers[0][1]), ack(headers[2][1])])
    refused = socket.apply([request()] * 3)
    assert refused == {1: Ack(errno.ENODATA, "the kernel gave no answer")}


def test_refusals_find_their_requests() -> None:
    """Sequence numbers name the request, in whichever batch it was."""
    socket, endpoint = opened(refuse(0, 7), refuse(), refuse(49))
    refused = socket.apply(request() for _ in range(2 * BATCH_MESSAGES + 50))
    assert [len(batch) for batch in endpoint.sent] == [BATCH_MESSAGES] * 2 + [50]
    assert refused == {
        0: Ack(errno.EEXIST, ""),
        7: Ack(errno.EEXIST, ""),
        2 * BATCH_MESSAGES + 49: Ack(errno.EEXIST, ""),
    }


def test_long_requests_make_short_batches() -> None:
    """A batch fits into the send buffer."""
    socket, endpoint = opened(refuse())
    long = request(b"long" * (BATCH_BYTES // 12))
    assert socket.apply([long] * 5) == {}
    assert [len(batch) for batch in endpoint.sent] == [2, 2, 1]


def test_nothing_to_send() -> None:
    """No requests, no conversation."""
    socket, endpoint = opened(refuse())
    assert socket.apply([]) == {}
    assert socket.ask([], text) == []
    assert endpoint.sent == []


def test_answers_to_others_are_ignored() -> None:
    """What an earlier, abandoned conversation left behind is no answer."""
    socket, _ = opened(
        lambda headers: [ack(999, errno.EINVAL), ack(0), ack(headers[-1][1])]
    )
    assert socket.apply([request()]) == {}


def test_lost_answers_are_failures() -> None:
    """When answers were lost any request may have been refused."""
    socket, _ = opened(
        lambda headers: [ack(headers[0][1], errno.EEXIST), errno.ENOBUFS]
    )
    refused = socket.apply([request()] * 2)
    assert {place: item.errno for place, item in refused.items()} == {
        0: errno.ENOBUFS,
        1: errno.ENOBUFS,
    }


def test_one_refusal_for_all() -> None:
    """Netfilter answers once for a batch of somebody who may not ask at all."""
    socket, _ = opened(lambda headers: [ack(headers[0][1], errno.EPERM)])
    refused = socket.apply([request()] * 3)
    assert {place: item.errno for place, item in refused.items()} == dict.fromkeys(
        range(3), errno.EPERM
    )


@pytest.mark.parametrize(
    ("code", "expected"),
    [(errno.EAGAIN, errno.ETIMEDOUT), (errno.EBADF, errno.EBADF)],
)
def test_a_dead_socket_is_an_error(code: int, expected: int) -> None:
    """An answer that never comes is a dead socket, like one that cannot be read."""
    socket, _ = opened(lambda _: [code])
    for call in (
        lambda: socket.apply([request()]),
        lambda: socket.ask([request()], text),
        lambda: socket.dump(dump_request(), text, "list"),
    ):
        with pytest.raises(KernelError, match="scripted socket") as caught:
            call()
        assert caught.value.errno == expected


def test_answers_to_questions() -> None:
    """Each question has its answer or its refusal, in the order of the questions."""

    def script(headers: list[tuple[int, int]]) -> list[Answer]:
        first, second, third, last = (sequence for _, sequence in headers)
        return [
            message(first, b"one") + message(third, b"three"),
            ack(second, errno.ESRCH),
            ack(last),
        ]

    socket, _ = opened(script)
    answers = socket.ask([request()] * 4, text)
    assert answers[:3] == ["one", Ack(errno.ESRCH, ""), "three"]
    assert answers[3] == Ack(errno.ENODATA, "the kernel gave no answer")


def test_lost_answers_to_questions() -> None:
    """Answers that came count; those that were lost are refusals."""
    socket, _ = opened(lambda headers: [message(headers[0][1], b"one"), errno.ENOBUFS])
    answers = socket.ask([request()] * 2, text)
    assert answers == ["one", Ack(errno.ENOBUFS, "the kernel's answer was lost")]


def test_one_question() -> None:
    """A refused question raises what fits, and says what was asked."""
    socket, _ = opened(lambda headers: [ack(headers[0][1], errno.ENODEV)])
    with pytest.raises(NotFound, match="find it"):
        socket.ask_one(request(), text, "find it")


def test_dump() -> None:
    """A dump is all messages until its end, from as many datagrams as it takes."""

    def script(headers: list[tuple[int, int]]) -> list[Answer]:
        ((flags, sequence),) = headers
        assert flags == NLM_F_DUMP | 1
        return [
            message(sequence, b"one") + message(77, b"other"),
            message(sequence, b"two") + message(sequence, b"three") + done(sequence),
        ]

    socket, _ = opened(script)
    assert socket.dump(dump_request(), text, "list") == ["one", "two", "three"]


@pytest.mark.parametrize("in_done", [False, True])
def test_an_interrupted_dump_is_read_again(*, in_done: bool) -> None:
    """The table changed during the dump: what was read is thrown away."""
    flags = (0, NLM_F_DUMP_INTR) if in_done else (NLM_F_DUMP_INTR, 0)

    def interrupted(headers: list[tuple[int, int]]) -> list[Answer]:
        sequence = headers[0][1]
        return [
            message(sequence, b"half", flags=flags[0]),
            done(sequence, flags=flags[1]),
        ]

    def whole(headers: list[tuple[int, int]]) -> list[Answer]:
        return [message(headers[0][1], b"whole"), done(headers[0][1])]

    socket, endpoint = opened(interrupted, interrupted, whole)
    assert socket.dump(dump_request(), text, "list") == ["whole"]
    assert len(endpoint.sent) == 3
    socket, endpoint = opened(interrupted)
    with pytest.raises(DumpInterrupted, match="list"):
        socket.dump(dump_request(), text, "list")
    assert len(endpoint.sent) == 5


@pytest.mark.parametrize("end", [ack, done])
def test_a_refused_dump(end: Callable[[int, int], bytes]) -> None:
    """A dump is refused at its start, or gives up at its end."""
    socket, _ = opened(lambda headers: [end(headers[0][1], errno.ENOENT)])
    with pytest.raises(NotFound, match="list"):
        socket.dump(dump_request(), text, "list")


def test_lost_parts_of_a_dump() -> None:
    """A dump with a hole is no dump."""
    socket, _ = opened(lambda headers: [message(headers[0][1], b"one"), errno.ENOBUFS])
    with pytest.raises(KernelError, match="list") as caught:
        socket.dump(dump_request(), text, "list")
    assert caught.value.errno == errno.ENOBUFS


def test_an_unreadable_message_leaves_a_usable_socket() -> None:
    """The dump it is in is read to its end before the error is raised."""
    socket, endpoint = opened(
        lambda headers: [message(headers[0][1], b"evil"), done(headers[0][1])]
    )
    with pytest.raises(WireError, match="evil"):
        socket.dump(dump_request(), text, "list")
    assert endpoint.pending == []


def test_close() -> None:
    """Closing closes the endpoint."""
    socket, endpoint = opened(refuse())
    socket.close()
    assert endpoint.is_closed
