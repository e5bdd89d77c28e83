"""One attempt: its headers, and the effects of a secret's rotation (contract 2.3)."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support import samples
from unit.services.overlap_fixture import (
    DELIVERY,
    NEW,
    OLD,
    OVERLAP_MS,
    WEBHOOK,
    OverlapFixture,
    knowing,
)
from webhooks.domain import signing
from webhooks.domain.delivery import FailureReason, Outcome, SignedWith, Status
from webhooks.domain.webhook import Secrets
from webhooks.ports import WebhookChanges

if TYPE_CHECKING:
    from typing import Any

    from webhooks.domain.delivery import Delivery


@pytest.fixture
def services() -> OverlapFixture:
    return OverlapFixture()


def test_both_secrets_sign_the_standard_header_the_new_one_first(services: OverlapFixture) -> None:
    services.attempt()
    [(_, body, headers)] = services.posts
    seconds = samples.NOW_MS // 1000
    assert headers["webhook-signature"] == " ".join(
        signing.standard_signature(secret, DELIVERY.event_id, seconds, body)
        for secret in (NEW, OLD)
    )


def test_the_timestamp_is_that_of_the_attempt_and_not_of_the_delivery(
    services: OverlapFixture,
) -> None:
    services.now_ms += 7_200_000
    after = services.attempt()
    [(_, body, headers)] = services.posts
    seconds = services.now_ms // 1000
    assert int(headers["webhook-timestamp"]) == seconds
    assert int(headers["webhook-timestamp"]) - DELIVERY.created_at_ms // 1000 >= 7000
    assert headers["webhook-signature"] == signing.standard_signature(
        NEW, DELIVERY.event_id, seconds, body
    )
    assert after.attempts[0].started_at_ms == services.now_ms


def test_a_receiver_that_has_not_moved_is_sent_the_old_signature_and_keeps_the_overlap(
    services: OverlapFixture,
) -> None:
    services.sender.answer = knowing(OLD)
    assert services.attempt().status is Status.SUCCEEDED
    assert services.signed_with() == [OLD]
    assert services.secrets.previous == OLD


@pytest.mark.parametrize("refusal", [400, 401, 402, 403, 404, 406, 407, 409, 418, 422, 451, 500])
def test_a_receiver_that_has_moved_is_offered_the_new_one_inside_the_same_attempt(
    services: OverlapFixture, refusal: int
) -> None:
    services.sender.answer = knowing(NEW, refusal)
    after = services.attempt()
    assert after.status is Status.SUCCEEDED
    [attempt] = after.attempts
    assert (attempt.number, attempt.status_code, attempt.duration_ms) == (1, 200, 20)
    assert (attempt.requests, attempt.signed_with) == (2, SignedWith.NEW)
    assert services.signed_with() == [OLD, NEW]
    assert {headers["X-SendComms-Attempt"] for _, _, headers in services.posts} == {"1"}
    assert len({body for _, body, _ in services.posts}) == 1
    assert services.telemetry.logged("attempt_failed") == []


def test_a_success_with_the_new_secret_ends_the_overlap(services: OverlapFixture) -> None:
    services.sender.answer = knowing(NEW)
    services.attempt()
    assert services.secrets == Secrets(NEW)
    services.posts.clear()
    services.attempt()
    assert services.signed_with() == [NEW]
    assert " " not in services.posts[0][2]["webhook-signature"]


def test_an_overlap_that_could_not_be_ended_costs_a_request_and_no_delivery(
    services: OverlapFixture,
) -> None:
    services.sender.answer = knowing(NEW)
    services.store.failures.plan("end_overlap", True)
    assert services.attempt().status is Status.SUCCEEDED
    assert services.secrets.previous == OLD
    [line] = services.telemetry.logged("overlap_not_ended")
    assert OLD not in str(line)
    assert NEW not in str(line)
    assert services.attempt().status is Status.SUCCEEDED
    assert services.signed_with() == [OLD, NEW] * 2
    assert services.secrets == Secrets(NEW)


def test_a_receiver_that_refuses_both_fails_one_attempt_and_keeps_the_overlap(
    services: OverlapFixture,
) -> None:
    services.sender.answer = knowing("a secret that nobody has")
    after = services.attempt()
    assert (after.status, len(after.attempts), after.attempts[0].status_code) == (
        Status.RETRYING,
        1,
        401,
    )
    assert len(services.posts) == 2
    assert services.secrets.previous == OLD


@pytest.mark.parametrize("status_code", [301, 408, 410, 413, 429, 501, 502, 503, 504])
def test_a_failure_of_another_cause_is_not_asked_again(
    services: OverlapFixture, status_code: int
) -> None:
    services.sender.answer = lambda *_: Outcome(FailureReason.HTTP_STATUS, status_code=status_code)
    [attempt] = services.attempt().attempts
    assert (attempt.requests, attempt.signed_with) == (1, SignedWith.OLD)
    assert len(services.posts) == 1


def test_a_request_without_a_response_is_not_asked_again(services: OverlapFixture) -> None:
    services.sender.answer = lambda *_: Outcome(FailureReason.TIMEOUT)
    services.attempt()
    assert len(services.posts) == 1


def test_outside_an_overlap_a_refusal_is_not_asked_again(services: OverlapFixture) -> None:
    services.store.add(WEBHOOK, Secrets(NEW))
    services.sender.answer = knowing(OLD)
    assert services.attempt().status is Status.RETRYING
    assert services.signed_with() == [NEW]


def test_past_the_overlap_only_the_new_secret_signs(services: OverlapFixture) -> None:
    services.now_ms += OVERLAP_MS
    services.attempt()
    assert services.signed_with() == [NEW]
    assert " " not in services.posts[0][2]["webhook-signature"]


def test_a_manual_attempt_follows_the_same_rules(services: OverlapFixture) -> None:
    services.sender.answer = knowing(NEW)
    after = services.attempt(replace(DELIVERY, status=Status.EXHAUSTED), manual=True)
    assert (after.status, [attempt.manual for attempt in after.attempts]) == (
        Status.SUCCEEDED,
        [True],
    )
    assert services.secrets == Secrets(NEW)


@given(
    swap_at=st.integers(0, OVERLAP_MS - 1),
    times=st.lists(st.integers(0, OVERLAP_MS - 1), min_size=1, max_size=6).map(sorted),
    broken_writes=st.lists(st.booleans(), max_size=4),
)
def test_a_receiver_that_swaps_its_secret_at_any_moment_never_fails_a_delivery(
    swap_at: int, times: list[int], broken_writes: list[bool]
) -> None:
    services = OverlapFixture()
    services.store.failures.plan("end_overlap", *broken_writes)
    for at in times:
        services.now_ms = samples.NOW_MS + at
        services.sender.answer = knowing(OLD if at < swap_at else NEW)
        after = services.attempt()
        assert after.status is Status.SUCCEEDED
        assert len(after.attempts) == 1


def test_a_webhooks_own_headers_are_sent_and_never_stand_in_for_ours(
    services: OverlapFixture,
) -> None:
    own = {"X-Team": "billing", "x-sendcomms-signature": "forged", "Host": "x", "X-Bad": "a\r\nb"}
    services.store.add(replace(WEBHOOK, headers=own), Secrets(NEW))
    services.attempt()
    [(_, _, headers)] = services.posts
    lowered = {name.lower(): value for name, value in headers.items()}
    assert len(lowered) == len(headers)
    assert lowered["x-team"] == "billing"
    assert services.signed_with() == [NEW]
    assert not {"host", "x-bad"} & lowered.keys()


def test_a_webhooks_own_headers_are_not_logged(services: OverlapFixture) -> None:
    services.store.add(replace(WEBHOOK, headers={"X-Canary": "canary"}), Secrets(NEW))
    services.sender.answer = lambda *_: Outcome(FailureReason.HTTP_STATUS, status_code=500)
    services.attempt()
    assert "canary" not in repr(services.telemetry.lines).lower()
    assert "canary" not in repr(services.store.webhooks).lower()


def changed_meanwhile(services: OverlapFixture, **changes: Any) -> Delivery:
    """Make an attempt whose receiver answers that it is gone, after the webhook was changed."""

    def answer(*_: object) -> Outcome:
        webhook = services.store.update(
            WEBHOOK.account_id, WEBHOOK.id, WebhookChanges(**changes), services.now_ms + 1
        )
        assert webhook is not None
        return Outcome(FailureReason.HTTP_STATUS, status_code=410)

    services.sender.answer = answer
    return services.attempt()


@pytest.mark.parametrize("changes", [{"url": "https://new.example.com/hook"}, {"active": True}])
def test_the_old_receivers_gone_does_not_switch_off_what_was_changed_meanwhile(
    services: OverlapFixture, changes: dict[str, Any]
) -> None:
    after = changed_meanwhile(services, **changes)
    assert services.webhook().active
    assert services.operational_events.types == []
    # It must not wait, for it would never be sent: the webhook is on, and no recovery of it begins.
    assert after.status is Status.RETRYING
    assert after.next_attempt_at_ms == samples.NOW_MS + 5_000


def test_gone_of_a_webhook_that_its_owner_disabled_meanwhile_waits(
    services: OverlapFixture,
) -> None:
    after = changed_meanwhile(services, active=False)
    assert (after.status, after.reason) == (Status.WAITING, "gone")
    assert services.operational_events.types == []


def test_gone_of_a_webhook_that_was_deleted_meanwhile_is_left_to_the_schedule(
    services: OverlapFixture,
) -> None:
    def answer(*_: object) -> Outcome:
        services.store.delete(WEBHOOK.account_id, WEBHOOK.id)
        return Outcome(FailureReason.HTTP_STATUS, status_code=410)

    services.sender.answer = answer
    assert services.attempt().status is Status.RETRYING
