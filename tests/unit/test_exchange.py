"""Receivers that refuse signatures in their own way, or refuse both secrets of an overlap."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from support import samples
from support.overlapping import DELIVERY, NEW, OLD, WEBHOOK, World, knowing
from webhooks.domain import signing
from webhooks.domain.delivery import FailureReason, Outcome, SignedWith, Status
from webhooks.domain.health import Health
from webhooks.domain.rotation import Refusals
from webhooks.domain.webhook import Secrets

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


@pytest.fixture
def world() -> World:
    return World()


def refusing_both(
    status_code: int = 400, other: int = 400
) -> Callable[[str, Mapping[str, str]], Outcome]:
    """A receiver with refusals of its own: one response to the old secret, another to the new."""
    old = signing.sendcomms_signature(OLD, DELIVERY.body)

    def answer(_url: str, headers: Mapping[str, str]) -> Outcome:
        code = status_code if headers["X-SendComms-Signature"] == old else other
        return Outcome(FailureReason.HTTP_STATUS, status_code=code, duration_ms=10)

    return answer


def failing(world: World) -> None:
    """Record that the webhook's last attempt failed."""
    world.store.add(replace(WEBHOOK, health=Health(failures=1)), world.secrets)


@pytest.mark.parametrize("refusal", [400, 404, 422, 500])
def test_a_receiver_with_refusals_of_its_own_soon_costs_one_request_a_delivery(
    world: World, refusal: int
) -> None:
    world.sender.answer = refusing_both(refusal)
    for _ in range(10):
        assert world.attempt().status is Status.RETRYING
    assert len(world.posts) == 11
    assert world.secrets.refusals == Refusals(1, world.now_ms)


def test_refusals_of_both_secrets_double_the_pause_up_to_five_minutes(world: World) -> None:
    world.store.add(WEBHOOK, Secrets(NEW, OLD, samples.NOW_MS + 86_400_000))
    world.sender.answer = refusing_both()
    second_requests = []
    for second in range(2_000):
        world.now_ms = samples.NOW_MS + second * 1000
        before = len(world.posts)
        world.attempt()
        if len(world.posts) - before == 2:
            second_requests.append(second)
    assert second_requests == [0, 1, 3, 7, 15, 31, 63, 127, 255, 511, 811, 1111, 1411, 1711]
    assert world.secrets.refusals == Refusals(14, samples.NOW_MS + 1_711_000)


@pytest.mark.parametrize("other", [None, 408, 410, 413, 429, 502, 503])
def test_a_receiver_that_moved_and_fails_for_other_reasons_has_not_refused_both(
    world: World, other: int | None
) -> None:
    """The next delivery is to have the new secret too, and the receiver's own words stay."""
    refusing = refusing_both(400, other or 0)
    timed_out = Outcome(FailureReason.TIMEOUT, duration_ms=10)

    def answer(url: str, headers: Mapping[str, str]) -> Outcome:
        outcome = refusing(url, headers)
        return outcome if outcome.status_code else timed_out

    world.sender.answer = answer
    world.attempt()
    assert world.secrets.refusals is None
    world.sender.answer = knowing(NEW, 400)
    assert world.attempt().status is Status.SUCCEEDED


def test_a_receiver_that_moves_after_it_refused_both_is_found_by_the_first_retry(
    world: World,
) -> None:
    world.sender.answer = refusing_both()
    failed = world.attempt()
    world.sender.answer = knowing(NEW, 400)
    world.now_ms += 5_000
    assert world.attempt(failed).status is Status.SUCCEEDED
    assert world.secrets == Secrets(NEW)


def test_a_refusal_by_401_is_offered_the_second_secret_however_often_both_were_refused(
    world: World,
) -> None:
    world.sender.answer = refusing_both()
    world.attempt()
    world.posts.clear()
    world.sender.answer = knowing(NEW, 401)
    assert world.attempt().status is Status.SUCCEEDED
    assert world.signed_with() == [OLD, NEW]


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
    world: World, first: int, second: int, kept: int, signed_with: SignedWith
) -> None:
    world.sender.answer = refusing_both(first, second)
    [attempt] = world.attempt().attempts
    assert (attempt.status_code, attempt.signed_with) == (kept, signed_with)
    assert (attempt.requests, attempt.duration_ms) == (2, 20)


@pytest.mark.parametrize(("refusal", "requests"), [(500, 1), (400, 2), (401, 2)])
def test_a_failing_webhooks_500_says_nothing_about_the_signature(
    world: World, refusal: int, requests: int
) -> None:
    failing(world)
    world.sender.answer = knowing(NEW, refusal)
    world.attempt()
    assert len(world.posts) == requests


@pytest.mark.parametrize("kind", ["manual", "probe"])
def test_a_failing_webhook_that_answers_500_is_offered_the_new_secret_where_asked_for(
    world: World, kind: str
) -> None:
    """Otherwise a webhook that moved while out of order would fail until the overlap's end."""
    failing(world)
    world.sender.answer = knowing(NEW, 500)
    destination = world.store.destination(WEBHOOK.account_id, WEBHOOK.id)
    assert destination is not None
    after = world.deliverer.attempt(destination, DELIVERY, **{kind: True})
    assert after.status is Status.SUCCEEDED
    assert world.secrets == Secrets(NEW)


def test_refusals_are_counted_at_once_for_one(world: World) -> None:
    destination = world.store.destination(WEBHOOK.account_id, WEBHOOK.id)
    assert destination is not None
    world.sender.answer = refusing_both()
    for _ in range(3):
        world.deliverer.attempt(destination, DELIVERY)
    assert world.secrets.refusals == Refusals(1, world.now_ms)


def test_a_refusal_that_could_not_be_counted_fails_nothing(world: World) -> None:
    world.sender.answer = refusing_both()
    world.store.failures.plan("refused_both", True)
    assert world.attempt().status is Status.RETRYING
    [line] = world.telemetry.logged("refusal_not_counted")
    assert OLD not in str(line)
    assert NEW not in str(line)
    assert world.secrets.refusals is None


def test_outside_an_overlap_an_attempt_names_no_secret(world: World) -> None:
    world.store.add(WEBHOOK, Secrets(NEW))
    world.sender.answer = refusing_both()
    [attempt] = world.attempt().attempts
    assert (attempt.requests, attempt.signed_with) == (1, None)
