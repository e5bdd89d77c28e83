"""Rows 42, 43, 62 and 63: connections that end, TLS, and early responses."""

from __future__ import annotations

from ssl import TLSVersion
from typing import TYPE_CHECKING, Any

import certifi
import pytest

from support.attempts import assert_failed, assert_scheduled, fails, next_one_arrives
from support.certificates import authority, server_context, unknown_authority
from support.hostile import resets, says
from support.receiver import Answer, Early, Raw, local_sender
from webhooks.adapters.http.connection import new_ssl_context
from webhooks.domain.delivery import FailureReason, Status
from webhooks.wiring.dispatcher import DispatcherServices

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from support.fault_harness import Case, Stand
    from support.receiver import Receiver, Wire

    MakeReceiver = Callable[..., Receiver]


@pytest.mark.parametrize(
    ("act", "requests"), [(resets(), 1), (says(), 1)], ids=["reset", "closed without an answer"]
)
@pytest.mark.parametrize("tls", [False, True])
def test_row_42_a_connection_that_breaks_after_the_request(
    case: Case, receiver: MakeReceiver, act: Wire, requests: int, tls: bool
) -> None:
    hook = receiver(Raw(act), tls=tls)
    fails(case, hook, FailureReason.CONNECTION)
    assert len(hook.requests) == requests


def test_row_42_a_connection_that_is_reset_before_tls(case: Case, receiver: MakeReceiver) -> None:
    hook = receiver(on_connect=resets(), tls=True)
    case.webhook(hook)
    assert case.dispatch(case.message()) == []
    [attempt] = case.delivery().attempts
    # The reset meets the handshake before or after its first byte.
    assert attempt.error in {FailureReason.CONNECTION, FailureReason.TLS}
    assert case.delivery().status is Status.RETRYING
    assert_scheduled(case)
    assert hook.requests == []


@pytest.fixture
def with_own_context(
    stand: Stand, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[DispatcherServices]:
    """A dispatcher with the deployed TLS context, except for its trusted authorities."""
    trusted = tmp_path / "authorities.pem"
    trusted.write_text(authority().pem)
    monkeypatch.setattr(certifi, "where", lambda: str(trusted))
    made = stand.fresh(DispatcherServices)
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
    case: Case,
    receiver: MakeReceiver,
    with_own_context: DispatcherServices,
    options: dict[str, object],
    own: bool,
) -> None:
    made = {name: one() if callable(one) else one for name, one in options.items()}
    hook = receiver(tls=server_context(**made))
    case.webhook(hook)
    assert case.dispatch(case.message(), services=with_own_context if own else None) == []
    assert_failed(case.delivery(), FailureReason.TLS)
    assert_scheduled(case)
    assert hook.requests == []


def test_row_43_a_certificate_of_an_authority_that_is_known(
    case: Case, receiver: MakeReceiver, with_own_context: DispatcherServices
) -> None:
    hook = receiver(tls=True)
    case.webhook(hook)
    assert case.dispatch(case.message(), services=with_own_context) == []
    assert case.delivery().status is Status.SUCCEEDED
    # It accepts nothing older itself, even if the machine's OpenSSL does.
    assert new_ssl_context().minimum_version is TLSVersion.TLSv1_2


def test_row_43_a_self_signed_certificate_with_the_authorities_of_the_deployed(
    case: Case, receiver: MakeReceiver
) -> None:
    deployed = case.stand.fresh(DispatcherServices)
    sender = deployed._sender = local_sender(ssl_context=None)
    hook = receiver(tls=server_context(self_signed=True))
    case.webhook(hook)
    assert case.dispatch(case.message(), services=deployed) == []
    sender.close()
    assert_failed(case.delivery(), FailureReason.TLS)
    assert hook.requests == []


def test_row_43_plain_http_on_the_port_of_tls(case: Case, receiver: MakeReceiver) -> None:
    hook = receiver()
    case.webhook(hook.url.replace("http:", "https:"))
    assert case.dispatch(case.message()) == []
    [attempt] = case.delivery().attempts
    assert attempt.error in {FailureReason.TLS, FailureReason.CONNECTION, FailureReason.TIMEOUT}
    assert case.delivery().status is Status.RETRYING
    assert_scheduled(case)
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
    case: Case,
    receiver: MakeReceiver,
    status: int,
    expected: Status,
    options: dict[str, Any],
) -> None:
    answer = Answer(status, {"Retry-After": "120", "Connection": "close"})
    hook = receiver(Early(says(answer.encode())), **options)
    case.webhook(hook)
    assert case.dispatch(case.message(data=LARGE)) == []
    delivery = case.delivery()
    [attempt] = delivery.attempts
    assert (attempt.error, attempt.status_code) == (FailureReason.HTTP_STATUS, status)
    assert delivery.status is expected
    if status == 429:
        [state] = case.executions()
        assert 119 <= state["seconds"] <= 121
    assert len(hook.requests) == 1


def test_row_62_an_early_response_on_a_kept_connection_is_not_asked_for_again(
    case: Case, receiver: MakeReceiver
) -> None:
    early = Early(says(Answer(429, {"Connection": "close"}).encode()))
    hook = receiver(Answer(), early, Answer(202), tls=True)
    case.webhook(hook)
    assert case.dispatch(case.message("txn_before")) == []
    assert case.dispatch(case.message(data=LARGE)) == []
    [refused] = [one for one in case.deliveries() if one.transaction_id == "txn_1"]
    assert [attempt.status_code for attempt in refused.attempts] == [429]
    assert [one.connection for one in hook.requests] == [1, 1]
    next_one_arrives(case, hook)


@pytest.mark.parametrize("act", [says(), resets()], ids=["closes", "resets"])
def test_row_62_no_early_response_is_a_failed_connection_and_not_one_of_tls(
    case: Case, receiver: MakeReceiver, act: Wire
) -> None:
    hook = receiver(Early(act), tls=True)
    case.webhook(hook)
    assert case.dispatch(case.message(data=LARGE)) == []
    assert_failed(case.delivery(), FailureReason.CONNECTION)
    assert len(hook.requests) == 1


@pytest.mark.parametrize("tls", [True, False])
@pytest.mark.parametrize("act", [says(), resets()], ids=["closed", "reset"])
def test_row_63_a_kept_connection_that_has_ended_costs_no_attempt(
    case: Case, receiver: MakeReceiver, act: Wire, tls: bool
) -> None:
    """Both requests are of attempt 1: the receiver may have worked on the first of them."""
    hook = receiver(Answer(), Raw(act), Answer(202), tls=tls)
    case.webhook(hook)
    assert case.dispatch(case.message("txn_before")) == []
    assert case.dispatch(case.message()) == []
    [arrived] = [one for one in case.deliveries() if one.transaction_id == "txn_1"]
    assert [attempt.status_code for attempt in arrived.attempts] == [202]
    _, first, second = hook.requests
    assert (first.connection, second.connection) == (1, 2)
    assert first.headers == second.headers
    assert first.body == second.body
    assert second.headers["x-sendcomms-attempt"] == "1"
