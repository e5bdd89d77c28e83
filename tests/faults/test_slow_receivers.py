"""Rows 30 to 33: receivers that are slow, or send more than the sender reads."""

from __future__ import annotations

import gzip
import time
import tracemalloc
from typing import TYPE_CHECKING

import pytest

from support import log_capture
from support.attempts import HEAD, assert_failed, assert_scheduled
from support.hostile import INTERIM, drips, for_ever, silent
from support.receiver import Answer, Raw, local_sender
from webhooks.domain.delivery import FailureReason, Status
from webhooks.wiring.dispatcher import DispatcherServices

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.fault_harness import Case, Stand
    from support.receiver import Receiver, Script, Wire

    MakeReceiver = Callable[..., Receiver]

DRIP = [b"x"] * 400
"""Longer than any limit, but no test hangs on it."""

HASTY_SECONDS = 0.8


@pytest.fixture(scope="module")
def hasty(stand: Stand) -> DispatcherServices:
    """A dispatcher that waits less than five seconds; the rule is the same."""
    made = stand.fresh(DispatcherServices)
    made._sender = local_sender(timeout_seconds=HASTY_SECONDS)
    return made


def test_row_30_a_silent_receiver_is_given_up_after_five_seconds(
    case: Case, receiver: MakeReceiver
) -> None:
    before_tls = receiver(on_connect=silent(), tls=True)
    after_tls = receiver(Raw(silent()), tls=True)
    case.webhook(before_tls, 1)
    case.webhook(after_tls, 2)
    started = time.monotonic()
    assert case.dispatch(case.message()) == []
    assert 5 <= time.monotonic() - started < 8
    for delivery in case.deliveries():
        assert_failed(delivery, FailureReason.TIMEOUT)
        assert 5000 <= delivery.attempts[0].duration_ms < 6500
    assert_scheduled(case)
    assert (len(before_tls.requests), len(after_tls.requests)) == (0, 1)


def test_row_31_a_handshake_that_trickles_is_given_up(
    case: Case, receiver: MakeReceiver, hasty: DispatcherServices
) -> None:
    trickle = drips(b"\x16\x03\x03\x40\x00", [b"\x02"] * 400)
    hook = receiver(on_connect=trickle, tls=True)
    case.webhook(hook)
    assert case.dispatch(case.message(), services=hasty) == []
    assert_failed(case.delivery(), FailureReason.TIMEOUT)
    assert HASTY_SECONDS * 1000 <= case.delivery().attempts[0].duration_ms < 3000
    assert_scheduled(case)
    assert hook.requests == []


@pytest.mark.parametrize(
    ("act", "error"),
    [
        (drips(HEAD + b"X-Header: ", DRIP), FailureReason.TIMEOUT),
        (drips(b"", [INTERIM] * 200, 0.1), FailureReason.TIMEOUT),
        (for_ever(b"", INTERIM), FailureReason.TIMEOUT),
        (drips(HEAD + b"Content-Length: 999\r\n\r\n", DRIP, 0.1), None),
    ],
    ids=["header drip", "100 Continue drip", "endless 100 Continue", "body drip"],
)
def test_row_32_a_drip_ends_in_time(
    case: Case,
    receiver: MakeReceiver,
    hasty: DispatcherServices,
    act: Wire,
    error: FailureReason | None,
) -> None:
    hook = receiver(Raw(act), tls=True)
    case.webhook(hook)
    started = time.monotonic()
    assert case.dispatch(case.message(), services=hasty) == []
    # The whole of it, since an attempt's own time ends at the head.
    assert time.monotonic() - started < 10
    if error:
        assert_failed(case.delivery(), error)
    else:
        assert case.delivery().status is Status.SUCCEEDED
    assert case.delivery().attempts[0].duration_ms < 3000
    assert_scheduled(case)
    assert len(hook.requests) == 1


@pytest.mark.parametrize(
    "framing",
    [b"Content-Length: 999\r\n\r\n", b"Transfer-Encoding: chunked\r\n\r\n3e7\r\n", b"\r\n"],
    ids=["length", "chunk", "neither"],
)
def test_row_32_a_body_that_drips_is_waited_for_half_a_second(
    case: Case, receiver: MakeReceiver, framing: bytes
) -> None:
    """Not for the five seconds that an answer has, however many of its bytes come in time."""
    hook = receiver(Raw(drips(HEAD + framing, DRIP)), tls=True)
    # The modules are loaded now, and the bystander's connection is open.
    assert case.dispatch() == []
    case.webhook(hook)
    started = time.monotonic()
    assert case.dispatch(case.message()) == []
    took = time.monotonic() - started
    assert case.delivery().status is Status.SUCCEEDED
    # Far from five, even on the busiest machine.
    assert 0.5 <= took < 3


def many_bytes() -> Script:
    """400 MB of body, as fast as the sender reads."""
    head = HEAD + f"Content-Length: {400 << 20}\r\n\r\n".encode()
    return Raw(for_ever(head, log_capture.RECEIVERS_WORDS.encode() * 3000))


def bomb() -> Script:
    """300 KB of gzip that are 300 MB unpacked."""
    member = gzip.compress(bytes(10 << 20))
    return Answer(headers={"Content-Encoding": "gzip"}, body=member * 30)


@pytest.mark.parametrize("make", [many_bytes, bomb])
def test_row_33_of_a_huge_body_only_the_beginning_is_read(
    case: Case, receiver: MakeReceiver, make: Callable[[], Script]
) -> None:
    hook = receiver(make())
    case.webhook(hook)
    # The first one loads the modules.
    assert case.dispatch(case.message("txn_before")) == []
    tracemalloc.start()
    assert case.dispatch(case.message()) == []
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    # The moto server of the same process is in this, too.
    assert peak_bytes < 32 << 20
    for delivery in case.deliveries():
        assert delivery.status is Status.SUCCEEDED
        assert len(delivery.attempts[0].response_body.encode()) <= 1024
