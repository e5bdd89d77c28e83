"""Rows 30 to 33: receivers that are slow, or send more than the sender reads."""

from __future__ import annotations

import gzip
import time
import tracemalloc
from typing import TYPE_CHECKING

import pytest

from faults import log_capture
from faults.attempts import HEAD, assert_failed, assert_scheduled
from support.hostile import INTERIM, drips, for_ever, silent
from support.receiver import Answer, Raw, local_sender
from webhooks.domain.delivery import FailureReason, Status
from webhooks.wiring.dispatcher import DispatcherServices

if TYPE_CHECKING:
    from collections.abc import Callable

    from faults.fault_harness import FaultHarness, Tenant
    from support.receiver import Receiver, Script, Wire

    MakeReceiver = Callable[..., Receiver]

DRIP = [b"x"] * 400
"""Longer than any limit, but no test hangs on it."""

HASTY_SECONDS = 0.8


@pytest.fixture(scope="module")
def hasty(harness: FaultHarness) -> DispatcherServices:
    """A dispatcher that waits less than five seconds; the rule is the same."""
    made = harness.fresh(DispatcherServices)
    made._sender = local_sender(timeout_seconds=HASTY_SECONDS)
    return made


def test_row_30_a_silent_receiver_is_given_up_after_five_seconds(
    tenant: Tenant, receiver: MakeReceiver
) -> None:
    before_tls = receiver(on_connect=silent(), tls=True)
    after_tls = receiver(Raw(silent()), tls=True)
    tenant.webhook(before_tls, 1)
    tenant.webhook(after_tls, 2)
    started = time.monotonic()
    assert tenant.dispatch(tenant.message()) == []
    assert 5 <= time.monotonic() - started < 8
    for delivery in tenant.deliveries():
        assert_failed(delivery, FailureReason.TIMEOUT)
        assert 5000 <= delivery.attempts[0].duration_ms < 6500
    assert_scheduled(tenant)
    assert (len(before_tls.requests), len(after_tls.requests)) == (0, 1)


def test_row_31_a_handshake_that_trickles_is_given_up(
    tenant: Tenant, receiver: MakeReceiver, hasty: DispatcherServices
) -> None:
    trickle = drips(b"\x16\x03\x03\x40\x00", [b"\x02"] * 400)
    hook = receiver(on_connect=trickle, tls=True)
    tenant.webhook(hook)
    assert tenant.dispatch(tenant.message(), services=hasty) == []
    assert_failed(tenant.delivery(), FailureReason.TIMEOUT)
    assert HASTY_SECONDS * 1000 <= tenant.delivery().attempts[0].duration_ms < 3000
    assert_scheduled(tenant)
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
    tenant: Tenant,
    receiver: MakeReceiver,
    hasty: DispatcherServices,
    act: Wire,
    error: FailureReason | None,
) -> None:
    hook = receiver(Raw(act), tls=True)
    tenant.webhook(hook)
    started = time.monotonic()
    assert tenant.dispatch(tenant.message(), services=hasty) == []
    # The whole of it, since an attempt's own time ends at the head.
    assert time.monotonic() - started < 10
    if error:
        assert_failed(tenant.delivery(), error)
    else:
        assert tenant.delivery().status is Status.SUCCEEDED
    assert tenant.delivery().attempts[0].duration_ms < 3000
    assert_scheduled(tenant)
    assert len(hook.requests) == 1


@pytest.mark.parametrize(
    "framing",
    [b"Content-Length: 999\r\n\r\n", b"Transfer-Encoding: chunked\r\n\r\n3e7\r\n", b"\r\n"],
    ids=["length", "chunk", "neither"],
)
def test_row_32_a_body_that_drips_is_waited_for_half_a_second(
    tenant: Tenant, receiver: MakeReceiver, framing: bytes
) -> None:
    """Not for the five seconds that an answer has, however many of its bytes come in time."""
    hook = receiver(Raw(drips(HEAD + framing, DRIP)), tls=True)
    # The modules are loaded now, and the bystander's connection is open.
    assert tenant.dispatch() == []
    tenant.webhook(hook)
    started = time.monotonic()
    assert tenant.dispatch(tenant.message()) == []
    took = time.monotonic() - started
    assert tenant.delivery().status is Status.SUCCEEDED
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
    tenant: Tenant, receiver: MakeReceiver, make: Callable[[], Script]
) -> None:
    hook = receiver(make())
    tenant.webhook(hook)
    # The first one loads the modules.
    assert tenant.dispatch(tenant.message("txn_before")) == []
    tracemalloc.start()
    assert tenant.dispatch(tenant.message()) == []
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    # The moto server of the same process is in this, too.
    assert peak_bytes < 32 << 20
    for delivery in tenant.deliveries():
        assert delivery.status is Status.SUCCEEDED
        assert len(delivery.attempts[0].response_body.encode()) <= 1024
