"""Row 95: a response with a complete head, whose rest comes slowly or not at all."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from faults.attempts import HEAD, next_one_arrives
from support.hostile import drips, says
from support.receiver import Raw
from webhooks.domain.delivery import FailureReason, Status

if TYPE_CHECKING:
    from collections.abc import Callable

    from faults.fault_harness import Tenant
    from support.receiver import Receiver, Wire

    MakeReceiver = Callable[..., Receiver]

CHUNKED = b"Transfer-Encoding: chunked\r\n\r\n"
LETTERS = [b"a"] * 400

SLOW = {
    "a chunk's size": drips(HEAD + CHUNKED, [b"0"] * 400),
    "a chunk's extension": drips(HEAD + CHUNKED + b"5;", LETTERS),
    "a chunk's bytes": drips(HEAD + CHUNKED + b"3e7\r\n", LETTERS),
    "the end of a chunk": drips(HEAD + CHUNKED + b"1\r\na", [b"\r"] * 400),
    "chunk after chunk": drips(HEAD + CHUNKED, [b"1\r\na\r\n"] * 400),
    "a trailer": drips(HEAD + CHUNKED + b"0\r\nX-Trailer: ", LETTERS),
    "trailer after trailer": drips(HEAD + CHUNKED + b"0\r\n", [b"A: b\r\n"] * 400),
    "a body of a length": drips(HEAD + b"Content-Length: 999\r\n\r\n", LETTERS),
    "a body without a length": drips(HEAD + b"\r\n", LETTERS),
    "a packed body": drips(HEAD + b"Content-Encoding: gzip\r\n\r\n\x1f\x8b\x08", [b"\0"] * 400),
    "silence in a chunk's size": says(HEAD + CHUNKED + b"5", then_silent=True),
    "silence in the trailers": says(HEAD + CHUNKED + b"0\r\n", then_silent=True),
}


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
@pytest.mark.parametrize("act", SLOW.values(), ids=SLOW)
def test_row_95_what_is_slow_behind_the_head_ends_after_half_a_second(
    tenant: Tenant, receiver: MakeReceiver, act: Wire, tls: bool
) -> None:
    hook = receiver(Raw(act), tls=tls)
    assert tenant.dispatch() == []
    tenant.webhook(hook)
    started = time.monotonic()
    assert tenant.dispatch(tenant.message()) == []
    took_ms = (time.monotonic() - started) * 1000
    assert tenant.delivery().status is Status.SUCCEEDED
    [attempt] = tenant.delivery().attempts
    # The time that its thread was held: far from five seconds, even on the busiest machine.
    assert 500 <= attempt.duration_ms <= took_ms < 3000
    next_one_arrives(tenant, hook)


def test_row_95_the_recorded_time_is_that_of_the_whole_request(
    tenant: Tenant, receiver: MakeReceiver
) -> None:
    """A failure's body is waited for as long, and its time counts too."""
    hook = receiver(Raw(drips(HEAD.replace(b"200", b"500") + CHUNKED + b"5;", LETTERS)))
    tenant.webhook(hook)
    assert tenant.dispatch(tenant.message()) == []
    [attempt] = tenant.delivery().attempts
    assert attempt.error is FailureReason.HTTP_STATUS
    assert attempt.duration_ms >= 500
