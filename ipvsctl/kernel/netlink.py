"""A netlink socket: batches of requests, single questions, dumps. Calls block.

The kernel works through a request inside `send`, so an answer is there when `send`
returns; the time limit only ends a wait for an answer that was lost.
"""

import errno
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final, Self, TypeVar

from ipvsctl.kernel.socket import (
    AnswersLostError,
    Endpoint,
    RawSocket,
    open_socket,
    socket_error,
)
from ipvsctl.model.errors import DumpInterrupted, KernelError
from ipvsctl.model.steps import Step, Steps, finish
from ipvsctl.wire.netlink.messages import (
    NLM_F_DUMP_INTR,
    Ack,
    MessageType,
    NetlinkProtocol,
    decode_ack,
    done_errno,
    iter_messages,
    numbered,
    stamp,
)

T = TypeVar("T")

Decode = Callable[[bytes, int, int], T]
"""From a buffer, and where a payload starts and ends in it, to a value."""

Payload = tuple[bytes, int, int]
"""A received buffer, and where a payload starts and ends in it."""

BATCH_MESSAGES: Final = 200
"""Requests in one `send`: their answers fit into the receive buffer, however small,
and the kernel is not held for long."""

BATCH_BYTES: Final = 128 * 1024
"""Bytes in one `send`; the default send buffer takes 208 KiB."""

_DATAGRAM_BYTES: Final = 64 * 1024
"""The kernel fills dump datagrams of up to 32 KiB for a reader with such a buffer
(af_netlink.c:netlink_dump)."""

_STEP_DATAGRAMS: Final = 4
"""What of a dump is received in one step: some milliseconds."""

_MAX_SEQUENCE: Final = 0xFFFFFFFF
_DUMP_TRIES: Final = 5

_ENDS: Final = frozenset({MessageType.DONE, MessageType.ERROR})
"""What a dump ends with."""

_NO_ANSWER: Final = Ack(errno.ENODATA, "the kernel gave no answer")
_LOST_ANSWER: Final = Ack(errno.ENOBUFS, "the kernel's answer was lost")


class NetlinkSocket:
    """One socket of one netlink protocol.

    One that fails is replaced, see `Endpoint`.

    Args:
        endpoint: the open socket; it is closed with this.
        name: for errors.
        reopen: opens another one, or raises OSError; None if there is no other.

    Raises:
        KernelError: from any method, that the socket is dead.
    """

    def __init__(
        self,
        endpoint: RawSocket,
        name: str,
        reopen: Callable[[], RawSocket] | None = None,
    ) -> None:
        self._endpoint = Endpoint(endpoint, name, reopen)
        self._sequence = 1

    @classmethod
    def open(cls, protocol: NetlinkProtocol) -> Self:
        """A new socket in the caller's network namespace.

        Raises:
            KernelError: it cannot be opened.
        """
        name = f"netlink {protocol.name.lower()} socket"
        try:
            return cls(open_socket(protocol), name, lambda: open_socket(protocol))
        except OSError as error:
            raise socket_error(error, name) from error

    def close(self) -> None:
        """Close the socket."""
        self._endpoint.close()

    def apply(self, messages: Iterable[bytes]) -> dict[int, Ack]:
        """Run change requests in order; one that is refused does not stop the next.

        Returns:
            Why those that were refused were, by their place in `messages`.
        """
        refused: dict[int, Ack] = {}
        first = 0
        for batch in _batches(messages):
            for place, ack in self._apply_batch(batch).items():
                refused[first + place] = ack
            first += len(batch)
        return refused

    def ask(self, messages: Iterable[bytes], decode: Decode[T]) -> list[T | Ack]:
        """The answers to questions that are not dumps, in their order.

        A question that was refused has an Ack in place of its answer.
        """
        answers: list[T | Ack] = []
        for batch in _batches(messages):
            answers += self._ask_batch(batch, decode)
        return answers

    def ask_one(self, message: bytes, decode: Decode[T], what: str) -> T:
        """The answer to one question.

        Args:
            message: the question.
            decode: from the answer to a value.
            what: the question in words, for errors.

        Raises:
            KernelError: it was refused.
        """
        answer = self.ask([message], decode)[0]
        if isinstance(answer, Ack):
            raise KernelError.of(answer.errno, what, answer.reason)
        return answer

    def dump(self, request: bytes, decode: Decode[T], what: str) -> list[T]:
        """All that a dump lists, consistent: read again if the table changed meanwhile.

        Args:
            request: the dump request.
            decode: from one message to one value.
            what: the request in words, for errors.

        Raises:
            KernelError: it was refused; DumpInterrupted, it changed time and again.
            WireError: `decode` could not read a message.
        """
        return [decode(*payload) for payload in self.read(request, what)]

    def read(self, request: bytes, what: str) -> list[Payload]:
        """See `dump`; the messages as they are, to be decoded later."""
        for _ in range(_DUMP_TRIES):
            payloads, interrupted = finish(self._read_dump(request, what))
            if not interrupted:
                return payloads
        raise DumpInterrupted(errno=errno.EINTR, op=what)

    def read_in_steps(self, request: bytes, what: str) -> Steps[list[Payload]]:
        """`read` in steps; at once if the table changed between two of them.

        Until it is done the socket takes no other request.
        """
        payloads, interrupted = yield from self._read_dump(request, what)
        return self.read(request, what) if interrupted else payloads

    def stream(self, request: bytes, decode: Decode[T], what: str) -> Iterator[T]:
        """What a dump lists, value by value, of a table that never stands still.

        The same thing may be listed twice, and what comes meanwhile not at all.

        Args:
            request: the dump request.
            decode: from one message to one value.
            what: the request in words, for errors.

        Returns:
            An iterator to be exhausted: until then the socket takes no other dump.

        Raises:
            KernelError: it was refused.
            WireError: `decode` could not read a message.
        """
        wanted = self._ask_for_dump(request)
        while True:
            datagram = self._receive_dump(what)
            for kind, flags, sequence, start, end in iter_messages(datagram):
                if sequence != wanted:
                    continue
                if kind in _ENDS:
                    _check_end(datagram, kind, flags, start, end, what)
                    return
                yield decode(datagram, start, end)

    def _apply_batch(self, batch: Sequence[bytes]) -> dict[int, Ack]:
        """Send a batch and check the ack of each of its messages."""
        first = self._send(batch)
        refused = dict.fromkeys(range(len(batch)), _NO_ANSWER)
        while True:
            try:
                datagram = self._endpoint.receive(_DATAGRAM_BYTES)
            except AnswersLostError:
                return dict.fromkeys(range(len(batch)), _LOST_ANSWER)
            for kind, flags, sequence, start, end in iter_messages(datagram):
                place = sequence - first
                if kind != MessageType.ERROR or not 0 <= place < len(batch):
                    continue
                ack = decode_ack(datagram, flags, start, end)
                if ack.errno:
                    refused[place] = ack
                else:
                    refused.pop(place, None)
                if ack.errno == errno.EPERM:
                    return _refuse_rest(refused, place, len(batch), ack)
                if place == len(batch) - 1:
                    return refused

    def _ask_batch(self, batch: Sequence[bytes], decode: Decode[T]) -> list[T | Ack]:
        first = self._send(batch)
        answers: dict[int, T | Ack] = {}
        places = range(len(batch))
        while True:
            try:
                datagram = self._endpoint.receive(_DATAGRAM_BYTES)
            except AnswersLostError:
                return [answers.get(place, _LOST_ANSWER) for place in places]
            for kind, flags, sequence, start, end in iter_messages(datagram):
                place = sequence - first
                if place not in places:
                    continue
                if kind != MessageType.ERROR:
                    answers[place] = decode(datagram, start, end)
                    continue
                ack = decode_ack(datagram, flags, start, end)
                if ack.errno:
                    answers[place] = ack
                if place == places[-1]:
                    return [answers.get(place, _NO_ANSWER) for place in places]

    def _read_dump(
        self, request: bytes, what: str
    ) -> Steps[tuple[list[Payload], bool]]:
        """Where the messages of a dump are, and whether the table changed meanwhile."""
        payloads: list[Payload] = []
        wanted = self._ask_for_dump(request)
        all_flags = received = 0
        while True:
            datagram = self._receive_dump(what)
            for kind, flags, sequence, start, end in iter_messages(datagram):
                if sequence != wanted:
                    continue
                all_flags |= flags
                if kind not in _ENDS:
                    payloads.append((datagram, start, end))
                    continue
                _check_end(datagram, kind, flags, start, end, what)
                return payloads, bool(all_flags & NLM_F_DUMP_INTR)
            received += 1
            if received % _STEP_DATAGRAMS == 0:
                yield Step.EXCLUSIVE

    def _ask_for_dump(self, request: bytes) -> int:
        wanted = self._next_sequences(1)
        self._endpoint.send(numbered(request, wanted))
        return wanted

    def _receive_dump(self, what: str) -> bytes:
        try:
            return self._endpoint.receive(_DATAGRAM_BYTES)
        except AnswersLostError as error:
            raise KernelError.of(errno.ENOBUFS, what) from error

    def _send(self, batch: Sequence[bytes]) -> int:
        """Send whole messages; the sequence number of the first."""
        lengths = list(map(len, batch))
        data = bytearray(b"".join(batch))
        first = self._next_sequences(len(batch))
        stamp(data, lengths, first)
        self._endpoint.send(data)
        return first

    def _next_sequences(self, count: int) -> int:
        # Numbers tell an answer from one to an earlier batch that was given up.
        if self._sequence + count > _MAX_SEQUENCE:
            self._sequence = 1
        first = self._sequence
        self._sequence += count
        return first


def _check_end(
    datagram: bytes, kind: int, flags: int, start: int, end: int, what: str
) -> None:
    if kind == MessageType.DONE:
        ack = Ack(done_errno(datagram, start, end), "")
    else:
        ack = decode_ack(datagram, flags, start, end)
    if ack.errno:
        raise KernelError.of(ack.errno, what, ack.reason)


def _batches(messages: Iterable[bytes]) -> Iterator[list[bytes]]:
    """Runs of messages that may go in one `send`."""
    batch: list[bytes] = []
    size = 0
    for message in messages:
        if len(batch) == BATCH_MESSAGES or (
            batch and size + len(message) > BATCH_BYTES
        ):
            yield batch
            batch, size = [], 0
        batch.append(message)
        size += len(message)
    if batch:
        yield batch


def _refuse_rest(
    refused: dict[int, Ack], place: int, count: int, ack: Ack
) -> dict[int, Ack]:
    """Netfilter answers once for a batch that it will not look at.

    Source: nfnetlink.c:nfnetlink_rcv.
    """
    return refused | dict.fromkeys(range(place, count), ack)
