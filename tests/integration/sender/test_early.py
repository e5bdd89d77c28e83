"""The sender against receivers that answer before they have read the request, and close.

A rate limit, a body limit and a firewall do that. The unread part of the request makes the
receiver's system reset the connection, which the sender may notice while it still sends.
"""

from __future__ import annotations

import itertools
import socket
from typing import TYPE_CHECKING

import pytest

from support.hostile import resets, says
from support.receiver import Answer, Early, Raw, Receiver, local_sender
from webhooks.domain.delivery import FailureReason

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Iterator

    from support.receiver import Script, Wire
    from webhooks.adapters.http.sender import GuardedSender

TRIES = 12
RECORD = 16_384
BUSY = Answer(429, {"Retry-After": "7", "Connection": "close"}, b"busy").encode()


def says_and_resets(said: bytes) -> Wire:
    def act(connection: socket.socket, stop: threading.Event) -> None:
        says(said)(connection, stop)
        resets()(connection, stop)

    return act


def says_below_tls(said: bytes) -> Wire:
    """Write to the connection under TLS bytes that TLS would never write."""

    def act(connection: socket.socket, _: threading.Event) -> None:
        socket.socket.sendall(connection, said)

    return act


@pytest.fixture
def make_sender() -> Iterator[Callable[[], GuardedSender]]:
    made: list[GuardedSender] = []

    def make() -> GuardedSender:
        made.append(local_sender(timeout_seconds=2.0))
        return made[-1]

    yield make
    for sender in made:
        sender.close()


@pytest.mark.parametrize("tls", [True, False], ids=["TLS", "plain"])
@pytest.mark.parametrize("kept", [False, True], ids=["fresh", "kept"])
@pytest.mark.parametrize("window_bytes", [None, 4096], ids=["window", "small window"])
@pytest.mark.parametrize("act", [says(BUSY), says_and_resets(BUSY)], ids=["closes", "resets"])
def test_an_early_answer_is_read_wherever_the_request_is_cut_short(
    make_sender: Callable[[], GuardedSender],
    act: Wire,
    window_bytes: int | None,
    kept: bool,
    tls: bool,
) -> None:
    early = Early(act)
    answers: list[Script] = [Answer(), early] if kept else [early]
    sizes = itertools.cycle([RECORD - 1, RECORD, RECORD + 1, 2 * RECORD, 4 * RECORD])
    with Receiver(tls=tls, window_bytes=window_bytes) as receiver:
        for _ in range(TRIES):
            receiver.answer_with(*answers)
            sender = make_sender()
            if kept:
                assert sender.post(receiver.url, b"{}", {}).succeeded
            outcome = sender.post(receiver.url, b"x" * next(sizes), {})
            assert (outcome.status_code, outcome.retry_after_seconds) == (429, 7.0)
            assert outcome.response_body == "busy"
    # An answered request is not sent again.
    assert len(receiver.requests) == TRIES * len(answers)
    assert receiver.connections == TRIES


@pytest.mark.parametrize("tls", [True, False], ids=["TLS", "plain"])
def test_an_early_answer_is_read_where_the_rest_is_never_taken(
    make_sender: Callable[[], GuardedSender], tls: bool
) -> None:
    stays = Early(says(Answer(413, body=b"large").encode(), then_silent=True))
    with Receiver(stays, Answer(202), tls=tls) as receiver:
        sender = make_sender()
        outcome = sender.post(receiver.url, bytes(8 << 20), {})
        assert (outcome.status_code, outcome.response_body) == (413, "large")
        assert outcome.duration_ms < 2000
        # The next request is separate from the rest of this one.
        assert sender.post(receiver.url, b"{}", {}).status_code == 202
    assert [request.connection for request in receiver.requests] == [1, 2]


@pytest.mark.parametrize("tls", [True, False], ids=["TLS", "plain"])
@pytest.mark.parametrize("act", [says(), resets(), says(b"HTTP/1.1 2")])
def test_a_request_cut_short_without_an_answer_is_a_failed_connection(
    make_sender: Callable[[], GuardedSender], act: Wire, tls: bool
) -> None:
    with Receiver(Early(act), tls=tls) as receiver:
        outcome = make_sender().post(receiver.url, b"x" * 4 * RECORD, {})
    assert outcome.error is FailureReason.CONNECTION
    assert len(receiver.requests) == 1


@pytest.mark.parametrize("tls", [True, False], ids=["TLS", "plain"])
def test_a_request_that_is_never_taken_is_a_timeout(
    make_sender: Callable[[], GuardedSender], tls: bool
) -> None:
    with Receiver(Early(says(then_silent=True)), tls=tls) as receiver:
        outcome = make_sender().post(receiver.url, bytes(8 << 20), {})
    assert outcome.error is FailureReason.TIMEOUT
    assert 2000 <= outcome.duration_ms < 3500
    assert len(receiver.requests) == 1


@pytest.mark.parametrize(
    ("said", "error"),
    [
        (b"", FailureReason.CONNECTION),
        (b"\x17\x03\x03\x00\x40half a record", FailureReason.CONNECTION),
        (b"\x17\x03\x03\x00\x20" + bytes(32), FailureReason.TLS),
        (b"\x16\x03\x03\x00\x04" + bytes(4), FailureReason.TLS),
        (Answer().encode(), FailureReason.TLS),
    ],
    ids=["end", "half a record", "forged record", "handshake", "plain HTTP"],
)
def test_after_the_handshake_only_a_failure_of_tls_is_one(
    make_sender: Callable[[], GuardedSender], said: bytes, error: FailureReason
) -> None:
    with Receiver(Raw(says_below_tls(said)), tls=True) as receiver:
        assert make_sender().post(receiver.url, b"{}", {}).error is error
    assert len(receiver.requests) == 1
