"""Rows 42, 43, 62 and 63: connections that end, TLS, and early responses."""

from __future__ import annotations

from ssl import TLSVersion
from typing import TYPE_CHECKING, Any

import certifi
import pytest

from faults.attempts import assert_failed, assert_scheduled, fails, next_one_arrives
from support.certificates import authority, server_context, unknown_authority
from support.hostile import resets, says
from support.receiver import Answer, Early, Raw, local_sender
from webhooks.adapters.http.connection import new_ssl_context
from webhooks.domain.delivery import FailureReason, Status
from webhooks.wiring.dispatcher import DispatcherServices

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from faults.fault_harness import FaultHarness, Tenant
    from support.receiver import Receiver, Wire

    MakeReceiver = Callable[..., Receiver]


@pytest.mark.parametrize(
    ("act", "requests"), [(resets(), 1), (says(), 1)], ids=["reset", "closed without an answer"]
)
@pytest.mark.parametrize("tls", [False, True])
def test_row_42_a_connection_that_breaks_after_the_request(
    tenant: Tenant, receiver: MakeReceiver, act: Wire, requests: int, tls: bool
) -> None:
    hook = receiver(Raw(act), tls=tls)
    fails(tenant, hook, FailureReason.CONNECTION)
    assert len(hook.requests) == requests


# CPython's `wrap_socket` leaves its socket to the garbage collector where the reset is read first.
@pytest.mark.filterwarnings(
    "ignore:Exception ignored in. <ssl:pytest.PytestUnraisableExceptionWarning"
)
def test_row_42_a_connection_that_is_reset_before_tls(
    tenant: Tenant, receiver: MakeReceiver
) -> None:
    hook = receiver(on_connect=resets(), tls=True)
    tenant.webhook(hook)
    assert tenant.dispatch(tenant.message()) == []
    [attempt] = tenant.delivery().attempts
    # The reset meets the handshake before or after its first byte.
    assert attempt.error in {FailureReason.CONNECTION, FailureReason.TLS}
    assert tenant.delivery().status is Status.RETRYING
    assert_scheduled(tenant)
    assert hook.requests == []


@pytest.fixture
def with_own_context(
    harness: FaultHarness, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[DispatcherServices]:
    """A dispatcher with the deployed TLS context, except for its trusted authorities."""
    trusted = tmp_path / "authorities.pem"
    trusted.write_text(authority().pem)
    monkeypatch.setattr(certifi, "where", lambda: str(trusted))
    made = harness.fresh(DispatcherServices)
    sender = made._sender = local_sender(ssl_context=None)
    yield made
    sender.close()


@pytest.mark.parametrize("own", [False, True], ids=["the tests' context", "our own context"])
@pytest.mark.parametrize(
    "options",
    [
        {"signed_by": unknown_authority},
        {"self_signed": True},
        {"names": ("other.example.com",)},
        {"expired": True},
        {"only_tls_1_0": True},
        {"only_tls_1_1": True},
    ],
    ids=["unknown authority", "self-signed", "wrong name", "expired", "TLS 1.0", "TLS 1.1"],
)
def test_row_43_a_certificate_that_proves_nothing(
    tenant: Tenant,
    receiver: MakeReceiver,
    with_own_context: DispatcherServices,
    options: dict[str, object],
    own: bool,
) -> None:
    made = {name: one() if callable(one) else one for name, one in options.items()}
    hook = receiver(tls=server_context(**made))
    tenant.webhook(hook)
    assert tenant.dispatch(tenant.message(), services=with_own_context if own else None) == []
    assert_failed(tenant.delivery(), FailureReason.TLS)
    assert_scheduled(tenant)
    assert hook.requests == []


def test_row_43_a_certificate_of_an_authority_that_is_known(
    tenant: Tenant, receiver: MakeReceiver, with_own_context: DispatcherServices
) -> None:
    hook = receiver(tls=True)
    tenant.webhook(hook)
    assert tenant.dispatch(tenant.message(), services=with_own_context) == []
    assert tenant.delivery().status is Status.SUCCEEDED
    # It accepts nothing older itself, even if the machine's OpenSSL does.
    assert new_ssl_context().minimum_version is TLSVersion.TLSv1_2


def test_row_43_a_self_signed_certificate_with_the_authorities_of_the_deployed(
    tenant: Tenant, receiver: MakeReceiver
) -> None:
    deployed = tenant.harness.fresh(DispatcherServices)
    sender = deployed._sender = local_sender(ssl_context=None)
    hook = receiver(tls=server_context(self_signed=True))
    tenant.webhook(hook)
    assert tenant.dispatch(tenant.message(), services=deployed) == []
    sender.close()
    assert_failed(tenant.delivery(), FailureReason.TLS)
    assert hook.requests == []


def test_row_43_plain_http_on_the_port_of_tls(tenant: Tenant, receiver: MakeReceiver) -> None:
    hook = receiver()
    tenant.webhook(hook.url.replace("http:", "https:"))
    assert tenant.dispatch(tenant.message()) == []
    [attempt] = tenant.delivery().attempts
    assert attempt.error in {FailureReason.TLS, FailureReason.CONNECTION, FailureReason.TIMEOUT}
    assert tenant.delivery().status is Status.RETRYING
    assert_scheduled(tenant)
    assert not any(one.method == "POST" for one in hook.requests)


LARGE = {"html": "x" * 60_000}
"""More than a receiver's first read, so that the rest is unread when it closes."""


@pytest.mark.parametrize(
    "options",
    [{"tls": True}, {"tls": True, "window_bytes": 4096}, {}],
    ids=["TLS", "slow", "plain"],
)
@pytest.mark.parametrize(
    ("status", "expected"),
    [(401, Status.RETRYING), (410, Status.WAITING), (413, Status.RETRYING), (429, Status.RETRYING)],
)
def test_row_62_a_response_before_the_body_is_read_counts(
    tenant: Tenant,
    receiver: MakeReceiver,
    status: int,
    expected: Status,
    options: dict[str, Any],
) -> None:
    answer = Answer(status, {"Retry-After": "120", "Connection": "close"})
    hook = receiver(Early(says(answer.encode())), **options)
    tenant.webhook(hook)
    assert tenant.dispatch(tenant.message(data=LARGE)) == []
    delivery = tenant.delivery()
    [attempt] = delivery.attempts
    assert (attempt.error, attempt.status_code) == (FailureReason.HTTP_STATUS, status)
    assert delivery.status is expected
    if status == 429:
        [state] = tenant.executions()
        assert 119 <= state["seconds"] <= 121
    assert len(hook.requests) == 1


def test_row_62_an_early_response_on_a_kept_connection_is_not_asked_for_again(
    tenant: Tenant, receiver: MakeReceiver
) -> None:
    early = Early(says(Answer(429, {"Connection": "close"}).encode()))
    hook = receiver(Answer(), early, Answer(202), tls=True)
    tenant.webhook(hook)
    assert tenant.dispatch(tenant.message("txn_before")) == []
    assert tenant.dispatch(tenant.message(data=LARGE)) == []
    [refused] = [one for one in tenant.deliveries() if one.transaction_id == "txn_1"]
    assert [attempt.status_code for attempt in refused.attempts] == [429]
    assert [one.connection for one in hook.requests] == [1, 1]
    next_one_arrives(tenant, hook)


@pytest.mark.parametrize("act", [says(), resets()], ids=["closes", "resets"])
def test_row_62_no_early_response_is_a_failed_connection_and_not_one_of_tls(
    tenant: Tenant, receiver: MakeReceiver, act: Wire
) -> None:
    hook = receiver(Early(act), tls=True)
    tenant.webhook(hook)
    assert tenant.dispatch(tenant.message(data=LARGE)) == []
    assert_failed(tenant.delivery(), FailureReason.CONNECTION)
    assert len(hook.requests) == 1


@pytest.mark.parametrize("tls", [True, False])
@pytest.mark.parametrize("act", [says(), resets()], ids=["closed", "reset"])
def test_row_63_a_kept_connection_that_has_ended_costs_no_attempt(
    tenant: Tenant, receiver: MakeReceiver, act: Wire, tls: bool
) -> None:
    """Both requests are of attempt 1: the receiver may have worked on the first of them."""
    hook = receiver(Answer(), Raw(act), Answer(202), tls=tls)
    tenant.webhook(hook)
    assert tenant.dispatch(tenant.message("txn_before")) == []
    assert tenant.dispatch(tenant.message()) == []
    [arrived] = [one for one in tenant.deliveries() if one.transaction_id == "txn_1"]
    assert [attempt.status_code for attempt in arrived.attempts] == [202]
    _, first, second = hook.requests
    assert (first.connection, second.connection) == (1, 2)
    assert first.headers == second.headers
    assert first.body == second.body
    assert second.headers["x-sendcomms-attempt"] == "1"
