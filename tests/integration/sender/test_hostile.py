"""The sender against receivers that hang, drip, flood and lie."""

from __future__ import annotations

import gzip
import itertools
import time
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from support.hostile import INTERIM, drips, for_ever, says, silent
from support.receiver import Answer, Raw, Receiver, local_sender
from webhooks.adapters.http.sender import TIMEOUT_SECONDS
from webhooks.domain.delivery import FailureReason

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.receiver import Wire
    from webhooks.adapters.http.sender import GuardedSender

HEAD = b"HTTP/1.1 200 OK\r\n"
SHORT_SECONDS = 0.6
DRIP = itertools.repeat(b"x")


@pytest.fixture
def sender() -> Iterator[GuardedSender]:
    guarded = local_sender()
    yield guarded
    guarded.close()


@pytest.fixture
def hasty_sender() -> Iterator[GuardedSender]:
    guarded = local_sender(timeout_seconds=SHORT_SECONDS)
    yield guarded
    guarded.close()


def test_the_deadline_is_five_seconds_in_total(sender: GuardedSender) -> None:
    with Receiver(Raw(drips(HEAD, DRIP)), tls=True) as receiver:
        started = time.monotonic()
        outcome = sender.post(receiver.url, b"{}", {})
        took = time.monotonic() - started
    assert outcome.error == FailureReason.TIMEOUT
    assert outcome.status_code is None
    assert TIMEOUT_SECONDS <= took < TIMEOUT_SECONDS + 1.5
    assert TIMEOUT_SECONDS * 1000 <= outcome.duration_ms < TIMEOUT_SECONDS * 1000 + 1500


@pytest.mark.parametrize("tls", [False, True])
@pytest.mark.parametrize(
    "act",
    [
        silent(),
        says(HEAD, then_silent=True),
        says(HEAD + b"Content-Length: 0\r\n", then_silent=True),
        drips(HEAD + b"X-Header: ", DRIP),
        drips(b"", itertools.repeat(INTERIM), 0.1),
        for_ever(b"", INTERIM),
    ],
    ids=[
        "silent",
        "half a head",
        "no last line",
        "head drip",
        "slow interim answers",
        "endless interim answers",
    ],
)
def test_a_head_that_does_not_end_in_time_is_a_timeout(
    act: Wire, tls: bool, hasty_sender: GuardedSender
) -> None:
    with Receiver(Raw(act), tls=tls) as receiver:
        outcome = hasty_sender.post(receiver.url, b"{}", {})
    assert outcome.error == FailureReason.TIMEOUT
    assert outcome.duration_ms >= SHORT_SECONDS * 1000


@pytest.mark.parametrize(
    "act",
    [silent(), drips(b"\x16\x03\x03\x40\x00", itertools.repeat(b"\x02"))],
    ids=["silent", "handshake drip"],
)
def test_a_handshake_that_does_not_end_in_time_is_a_timeout(
    act: Wire, hasty_sender: GuardedSender
) -> None:
    with Receiver(on_connect=act, tls=True) as receiver:
        outcome = hasty_sender.post(receiver.url, b"{}", {})
    assert outcome.error == FailureReason.TIMEOUT
    assert receiver.requests == []


@pytest.mark.parametrize("act", [silent(), drips(HEAD, DRIP)], ids=["silent", "drip"])
def test_a_kept_connection_that_stalls_is_a_timeout_and_not_asked_again(
    act: Wire, hasty_sender: GuardedSender
) -> None:
    with Receiver(Answer(), Raw(act), tls=True) as receiver:
        assert hasty_sender.post(receiver.url, b"{}", {}).succeeded
        assert hasty_sender.post(receiver.url, b"{}", {}).error == FailureReason.TIMEOUT
    assert len(receiver.requests) == 2


@pytest.mark.parametrize("tls", [False, True])
@pytest.mark.parametrize(
    "framing",
    [b"\r\n", b"Content-Length: 999\r\n\r\n", b"Transfer-Encoding: chunked\r\n\r\nff\r\n"],
)
def test_a_body_that_drips_behind_a_whole_2xx_head_is_success(
    framing: bytes, tls: bool, hasty_sender: GuardedSender
) -> None:
    with Receiver(Raw(drips(HEAD + framing + b"yes", DRIP, 0.1)), Answer(202), tls=tls) as receiver:
        outcome = hasty_sender.post(receiver.url, b"{}", {})
        assert outcome.succeeded
        assert outcome.response_body.startswith("yesx")
        assert hasty_sender.post(receiver.url, b"{}", {}).status_code == 202


def test_a_body_that_never_ends_is_not_waited_for_as_an_answer_is(sender: GuardedSender) -> None:
    head = HEAD + b"Content-Length: 999\r\n\r\nyes"
    with Receiver(Raw(drips(head, [b"more"], 60.0)), tls=True) as receiver:
        started = time.monotonic()
        outcome = sender.post(receiver.url, b"{}", {})
        assert outcome.succeeded
        assert outcome.response_body == "yes"
        # Far from the 5 seconds of a whole attempt, even on the busiest machine.
        assert outcome.duration_ms < 2500
        assert time.monotonic() - started < 4


def test_one_watchdog_ends_many_requests_at_once(hasty_sender: GuardedSender) -> None:
    with Receiver(Raw(silent()), tls=True) as receiver, ThreadPoolExecutor(20) as threads:
        posts = [threads.submit(hasty_sender.post, receiver.url, b"{}", {}) for _ in range(20)]
        outcomes = [post.result() for post in posts]
    assert {outcome.error for outcome in outcomes} == {FailureReason.TIMEOUT}


@pytest.mark.parametrize(
    "act",
    [
        for_ever(b"HTTP/1.1 103 Early Hints\r\n", b"Link: y\r\n"),
        for_ever(HEAD, b"X-Header: y\r\n"),
        says(HEAD + b"X: " + b"y" * 70_000 + b"\r\n\r\n"),
        says(HEAD + b"X: y\r\n" * 101 + b"\r\n"),
    ],
    ids=["an endless interim answer", "endless headers", "long line", "101 headers"],
)
def test_a_head_without_bounds_is_too_large(act: Wire, sender: GuardedSender) -> None:
    with Receiver(Raw(act)) as receiver:
        outcome = sender.post(receiver.url, b"{}", {})
    assert outcome.error == FailureReason.RESPONSE_TOO_LARGE


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"garbage\r\n\r\n",
        b"HTTP/0.9 200 OK\r\n\r\n",
        b"HTTP/2.0 200 OK\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"HTTP/1.1 000 Zero\r\n\r\n",
        b"HTTP/1.1 99999 Many\r\n\r\n",
        b"HTTP/1.1 +200 OK\r\n\r\n",
        b"HTTP/1.1 2_0 OK\r\n\r\n",
        b"HTTP/1.1 199 Odd\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok",
        b"<html>200 OK</html>",
        b"\x15\x03\x03\x00\x02\x02\x28",
    ],
)
def test_what_is_not_http_is_a_failed_connection_and_harms_nobody_else(
    said: bytes, sender: GuardedSender
) -> None:
    with Receiver(Raw(says(said)), Answer(202)) as receiver:
        outcome = sender.post(receiver.url, b"{}", {})
        assert outcome.error == FailureReason.CONNECTION
        assert sender.post(receiver.url, b"{}", {}).status_code == 202
    assert len(receiver.requests) == 2


@pytest.mark.parametrize(
    "said",
    [
        b"Content-Length: -5\r\n\r\nyes",
        b"Content-Length: many\r\n\r\nyes",
        b"Content-Length: 99\r\n\r\nyes",
        b"Content-Length: " + b"9" * 5000 + b"\r\n\r\nyes",
        b"Transfer-Encoding: chunked\r\n\r\n3\r\nyes\r\nzz\r\n",
        b"Transfer-Encoding: chunked\r\n\r\n3\r\nyes",
    ],
    ids=["negative", "no number", "truncated", "absurd", "bad chunk", "truncated chunk"],
)
def test_a_broken_body_behind_a_whole_2xx_head_is_success(
    said: bytes, sender: GuardedSender
) -> None:
    with Receiver(Raw(says(HEAD + said)), Answer(202)) as receiver:
        outcome = sender.post(receiver.url, b"{}", {})
        assert outcome.succeeded
        assert outcome.response_body == "yes"
        assert sender.post(receiver.url, b"{}", {}).status_code == 202


@pytest.mark.parametrize(("status", "succeeded"), [(200, True), (500, False), (302, False)])
def test_of_a_huge_body_only_the_beginning_is_read(
    status: int, succeeded: bool, sender: GuardedSender
) -> None:
    head = f"HTTP/1.1 {status} X\r\nLocation: /\r\nContent-Length: {400 << 20}\r\n\r\n".encode()
    with Receiver(Raw(for_ever(head, b"x" * 65_536))) as receiver:
        sender.post(receiver.url, b"{}", {})
        tracemalloc.start()
        outcome = sender.post(receiver.url, b"{}", {})
        _, peak_bytes = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert (outcome.succeeded, outcome.status_code) == (succeeded, status)
    assert outcome.response_body == "x" * 1024
    assert peak_bytes < 1 << 20


def test_a_compressed_body_is_never_unpacked(sender: GuardedSender) -> None:
    bomb = gzip.compress(bytes(10 << 20))
    with Receiver(Answer(headers={"Content-Encoding": "gzip"}, body=bomb)) as receiver:
        outcome = sender.post(receiver.url, b"{}", {})
    assert outcome.succeeded
    assert outcome.response_body.startswith(r"\x1f\x8b\x08")


def test_a_post_with_a_forbidden_header_is_our_fault_and_sends_nothing(
    sender: GuardedSender,
) -> None:
    smuggled: dict[str, Any] = {"X-Custom": "a\r\nX-Injected: 1"}
    with Receiver() as receiver:
        with pytest.raises(ValueError, match="header"):
            sender.post(receiver.url, b"{}", smuggled)
        assert sender.post(receiver.url, b"{}", {}).succeeded
    assert len(receiver.requests) == 1
