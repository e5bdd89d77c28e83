"""Receivers that refuse signatures in their own way, or refuse both secrets of an overlap."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from support import samples
from unit.services.overlap_fixture import DELIVERY, NEW, OLD, WEBHOOK, OverlapFixture, knowing
from webhooks.domain import signing
from webhooks.domain.delivery import FailureReason, Outcome, SignedWith, Status
from webhooks.domain.health import Health
from webhooks.domain.rotation import Refusals
from webhooks.domain.webhook import Secrets

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


@pytest.fixture
def services() -> OverlapFixture:
    return OverlapFixture()


def refusing_both(
    status_code: int = 400, other: int = 400
) -> Callable[[str, Mapping[str, str]], Outcome]:
    """A receiver with refusals of its own: one response to the old secret, another to the new."""
    old = signing.sendcomms_signature(OLD, DELIVERY.body)

    def answer(_url: str, headers: Mapping[str, str]) -> Outcome:
        code = status_code if headers["X-SendComms-Signature"] == old else other
        return Outcome(FailureReason.HTTP_STATUS, status_code=code, duration_ms=10)

    return answer


def failing(services: OverlapFixture) -> None:
    """Record that the webhook's last attempt failed."""
    services.store.add(replace(WEBHOOK, health=Health(failures=1)), services.secrets)


@pytest.mark.parametrize("refusal", [400, 404, 422, 500])
def test_a_receiver_with_refusals_of_its_own_soon_costs_one_request_a_delivery(
    services: OverlapFixture, refusal: int
) -> None:
    services.sender.answer = refusing_both(refusal)
    for _ in range(10):
        assert services.attempt().status is Status.RETRYING
    assert len(services.posts) == 11
    assert services.secrets.refusals == Refusals(1, services.now_ms)


def test_refusals_of_both_secrets_double_the_pause_up_to_five_minutes(
    services: OverlapFixture,
) -> None:
    services.store.add(WEBHOOK, Secrets(NEW, OLD, samples.NOW_MS + 86_400_000))
    services.sender.answer = refusing_both()
    second_requests = []
    for second in range(2_000):
        services.now_ms = samples.NOW_MS + second * 1000
        before = len(services.posts)
        services.attempt()
        if len(services.posts) - before == 2:
            second_requests.append(second)
    assert second_requests == [0, 1, 3, 7, 15, 31, 63, 127, 255, 511, 811, 1111, 1411, 1711]
    assert services.secrets.refusals == Refusals(14, samples.NOW_MS + 1_711_000)


@pytest.mark.parametrize("other", [None, 408, 410, 413, 429, 502, 503])
def test_a_receiver_that_moved_and_fails_for_other_reasons_has_not_refused_both(
    services: OverlapFixture, other: int | None
) -> None:
    """The next delivery is to have the new secret too, and the receiver's own words stay."""
    refusing = refusing_both(400, other or 0)
    timed_out = Outcome(FailureReason.TIMEOUT, duration_ms=10)

    def answer(url: str, headers: Mapping[str, str]) -> Outcome:
        outcome = refusing(url, headers)
        return outcome if outcome.status_code else timed_out

    services.sender.answer = answer
    services.attempt()
    assert services.secrets.refusals is None
    services.sender.answer = knowing(NEW, 400)
    assert services.attempt().status is Status.SUCCEEDED


def test_a_receiver_that_moves_after_it_refused_both_is_found_by_the_first_retry(
    services: OverlapFixture,
) -> None:
    services.sender.answer = refusing_both()
    failed = services.attempt()
    services.sender.answer = knowing(NEW, 400)
    services.now_ms += 5_000
    assert services.attempt(failed).status is Status.SUCCEEDED
    assert services.secrets == Secrets(NEW)


def test_a_refusal_by_401_is_offered_the_second_secret_however_often_both_were_refused(
    services: OverlapFixture,
) -> None:
    services.sender.answer = refusing_both()
    services.attempt()
    services.posts.clear()
    services.sender.answer = knowing(NEW, 401)
    assert services.attempt().status is Status.SUCCEEDED
    assert services.signed_with() == [OLD, NEW]


@pytest.mark.parametrize(
    ("first", "second", "kept", "signed_with"),
    [
        (422, 401, 422, SignedWith.OLD),
        (422, 400, 422, SignedWith.OLD),
        (500, 500, 500, SignedWith.OLD),
        (401, 422, 422, SignedWith.NEW),
        (401, 401, 401, SignedWith.NEW),
        (400, 503, 503, SignedWith.NEW),
        (400, 429, 429, SignedWith.NEW),
    ],
)
def test_the_log_keeps_the_response_that_tells_more_than_a_refused_signature(
    services: OverlapFixture, first: int, second: int, kept: int, signed_with: SignedWith
) -> None:
    services.sender.answer = refusing_both(first, second)
    [attempt] = services.attempt().attempts
    assert (attempt.status_code, attempt.signed_with) == (kept, signed_with)
    assert (attempt.requests, attempt.duration_ms) == (2, 20)


@pytest.mark.parametrize(("refusal", "requests"), [(500, 1), (400, 2), (401, 2)])
def test_a_failing_webhooks_500_says_nothing_about_the_signature(
    services: OverlapFixture, refusal: int, requests: int
) -> None:
    failing(services)
    services.sender.answer = knowing(NEW, refusal)
    services.attempt()
    assert len(services.posts) == requests


@pytest.mark.parametrize("kind", ["manual", "probe"])
def test_a_failing_webhook_that_answers_500_is_offered_the_new_secret_where_asked_for(
    services: OverlapFixture, kind: str
) -> None:
    """Otherwise a webhook that moved while out of order would fail until the overlap's end."""
    failing(services)
    services.sender.answer = knowing(NEW, 500)
    destination = services.store.destination(WEBHOOK.account_id, WEBHOOK.id)
    assert destination is not None
    after = services.deliverer.attempt(destination, DELIVERY, **{kind: True})
    assert after.status is Status.SUCCEEDED
    assert services.secrets == Secrets(NEW)


def test_refusals_are_counted_at_once_for_one(services: OverlapFixture) -> None:
    destination = services.store.destination(WEBHOOK.account_id, WEBHOOK.id)
    assert destination is not None
    services.sender.answer = refusing_both()
    for _ in range(3):
        services.deliverer.attempt(destination, DELIVERY)
    assert services.secrets.refusals == Refusals(1, services.now_ms)


def test_a_refusal_that_could_not_be_counted_fails_nothing(services: OverlapFixture) -> None:
    services.sender.answer = refusing_both()
    services.store.failures.plan("refused_both", True)
    assert services.attempt().status is Status.RETRYING
    [line] = services.telemetry.logged("refusal_not_counted")
    assert OLD not in str(line)
    assert NEW not in str(line)
    assert services.secrets.refusals is None


def test_outside_an_overlap_an_attempt_names_no_secret(services: OverlapFixture) -> None:
    services.store.add(WEBHOOK, Secrets(NEW))
    services.sender.answer = refusing_both()
    [attempt] = services.attempt().attempts
    assert (attempt.requests, attempt.signed_with) == (1, None)
