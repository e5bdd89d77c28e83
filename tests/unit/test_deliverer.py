"""One attempt: its headers, and the effects of a secret's rotation (contract 2.3)."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support import samples
from support.overlapping import DELIVERY, NEW, OLD, OVERLAP_MS, WEBHOOK, World, knowing
from webhooks.domain import signing
from webhooks.domain.delivery import FailureReason, Outcome, SignedWith, Status
from webhooks.domain.webhook import Secrets
from webhooks.ports import WebhookChanges

if TYPE_CHECKING:
    from typing import Any

    from webhooks.domain.delivery import Delivery


@pytest.fixture
def world() -> World:
    return World()


def test_both_secrets_sign_the_standard_header_the_new_one_first(world: World) -> None:
    world.attempt()
    [(_, body, headers)] = world.posts
    seconds = samples.NOW_MS // 1000
    assert headers["webhook-signature"] == " ".join(
        signing.standard_signature(secret, DELIVERY.event_id, seconds, body)
        for secret in (NEW, OLD)
    )


def test_the_timestamp_is_that_of_the_attempt_and_not_of_the_delivery(world: World) -> None:
    world.now_ms += 7_200_000
    after = world.attempt()
    [(_, body, headers)] = world.posts
    seconds = world.now_ms // 1000
    assert int(headers["webhook-timestamp"]) == seconds
    assert int(headers["webhook-timestamp"]) - DELIVERY.created_at_ms // 1000 >= 7000
    assert headers["webhook-signature"] == signing.standard_signature(
        NEW, DELIVERY.event_id, seconds, body
    )
    assert after.attempts[0].started_at_ms == world.now_ms


def test_a_receiver_that_has_not_moved_is_sent_the_old_signature_and_keeps_the_overlap(
    world: World,
) -> None:
    world.sender.answer = knowing(OLD)
    assert world.attempt().status is Status.SUCCEEDED
    assert world.signed_with() == [OLD]
    assert world.secrets.previous == OLD


@pytest.mark.parametrize("refusal", [400, 401, 402, 403, 404, 406, 407, 409, 418, 422, 451, 500])
def test_a_receiver_that_has_moved_is_offered_the_new_one_inside_the_same_attempt(
    world: World, refusal: int
) -> None:
    world.sender.answer = knowing(NEW, refusal)
    after = world.attempt()
    assert after.status is Status.SUCCEEDED
    [attempt] = after.attempts
    assert (attempt.number, attempt.status_code, attempt.duration_ms) == (1, 200, 20)
    assert (attempt.requests, attempt.signed_with) == (2, SignedWith.NEW)
    assert world.signed_with() == [OLD, NEW]
    assert {headers["X-SendComms-Attempt"] for _, _, headers in world.posts} == {"1"}
    assert len({body for _, body, _ in world.posts}) == 1
    assert world.telemetry.logged("attempt_failed") == []


def test_a_success_with_the_new_secret_ends_the_overlap(world: World) -> None:
    world.sender.answer = knowing(NEW)
    world.attempt()
    assert world.secrets == Secrets(NEW)
    world.posts.clear()
    world.attempt()
    assert world.signed_with() == [NEW]
    assert " " not in world.posts[0][2]["webhook-signature"]


def test_an_overlap_that_could_not_be_ended_costs_a_request_and_no_delivery(world: World) -> None:
    world.sender.answer = knowing(NEW)
    world.store.failures.plan("end_overlap", True)
    assert world.attempt().status is Status.SUCCEEDED
    assert world.secrets.previous == OLD
    [line] = world.telemetry.logged("overlap_not_ended")
    assert OLD not in str(line)
    assert NEW not in str(line)
    assert world.attempt().status is Status.SUCCEEDED
    assert world.signed_with() == [OLD, NEW] * 2
    assert world.secrets == Secrets(NEW)


def test_a_receiver_that_refuses_both_fails_one_attempt_and_keeps_the_overlap(world: World) -> None:
    world.sender.answer = knowing("a secret that nobody has")
    after = world.attempt()
    assert (after.status, len(after.attempts), after.attempts[0].status_code) == (
        Status.RETRYING,
        1,
        401,
    )
    assert len(world.posts) == 2
    assert world.secrets.previous == OLD


@pytest.mark.parametrize("status_code", [301, 408, 410, 413, 429, 501, 502, 503, 504])
def test_a_failure_of_another_cause_is_not_asked_again(world: World, status_code: int) -> None:
    world.sender.answer = lambda *_: Outcome(FailureReason.HTTP_STATUS, status_code=status_code)
    [attempt] = world.attempt().attempts
    assert (attempt.requests, attempt.signed_with) == (1, SignedWith.OLD)
    assert len(world.posts) == 1


def test_a_request_without_a_response_is_not_asked_again(world: World) -> None:
    world.sender.answer = lambda *_: Outcome(FailureReason.TIMEOUT)
    world.attempt()
    assert len(world.posts) == 1


def test_outside_an_overlap_a_refusal_is_not_asked_again(world: World) -> None:
    world.store.add(WEBHOOK, Secrets(NEW))
    world.sender.answer = knowing(OLD)
    assert world.attempt().status is Status.RETRYING
    assert world.signed_with() == [NEW]


def test_past_the_overlap_only_the_new_secret_signs(world: World) -> None:
    world.now_ms += OVERLAP_MS
    world.attempt()
    assert world.signed_with() == [NEW]
    assert " " not in world.posts[0][2]["webhook-signature"]


def test_a_manual_attempt_follows_the_same_rules(world: World) -> None:
    world.sender.answer = knowing(NEW)
    after = world.attempt(replace(DELIVERY, status=Status.EXHAUSTED), manual=True)
    assert (after.status, [attempt.manual for attempt in after.attempts]) == (
        Status.SUCCEEDED,
        [True],
    )
    assert world.secrets == Secrets(NEW)


@given(
    swap_at=st.integers(0, OVERLAP_MS - 1),
    times=st.lists(st.integers(0, OVERLAP_MS - 1), min_size=1, max_size=6).map(sorted),
    broken_writes=st.lists(st.booleans(), max_size=4),
)
def test_a_receiver_that_swaps_its_secret_at_any_moment_never_fails_a_delivery(
    swap_at: int, times: list[int], broken_writes: list[bool]
) -> None:
    world = World()
    world.store.failures.plan("end_overlap", *broken_writes)
    for at in times:
        world.now_ms = samples.NOW_MS + at
        world.sender.answer = knowing(OLD if at < swap_at else NEW)
        after = world.attempt()
        assert after.status is Status.SUCCEEDED
        assert len(after.attempts) == 1


def test_a_webhooks_own_headers_are_sent_and_never_stand_in_for_ours(world: World) -> None:
    own = {"X-Team": "billing", "x-sendcomms-signature": "forged", "Host": "x", "X-Bad": "a\r\nb"}
    world.store.add(replace(WEBHOOK, headers=own), Secrets(NEW))
    world.attempt()
    [(_, _, headers)] = world.posts
    lowered = {name.lower(): value for name, value in headers.items()}
    assert len(lowered) == len(headers)
    assert lowered["x-team"] == "billing"
    assert world.signed_with() == [NEW]
    assert not {"host", "x-bad"} & lowered.keys()


def test_a_webhooks_own_headers_are_not_logged(world: World) -> None:
    world.store.add(replace(WEBHOOK, headers={"X-Canary": "canary"}), Secrets(NEW))
    world.sender.answer = lambda *_: Outcome(FailureReason.HTTP_STATUS, status_code=500)
    world.attempt()
    assert "canary" not in repr(world.telemetry.lines).lower()
    assert "canary" not in repr(world.store.webhooks).lower()


def changed_meanwhile(world: World, **changes: Any) -> Delivery:
    """Make an attempt whose receiver answers that it is gone, after the webhook was changed."""

    def answer(*_: object) -> Outcome:
        webhook = world.store.update(
            WEBHOOK.account_id, WEBHOOK.id, WebhookChanges(**changes), world.now_ms + 1
        )
        assert webhook is not None
        return Outcome(FailureReason.HTTP_STATUS, status_code=410)

    world.sender.answer = answer
    return world.attempt()


@pytest.mark.parametrize("changes", [{"url": "https://new.example.com/hook"}, {"active": True}])
def test_the_old_receivers_gone_does_not_switch_off_what_was_changed_meanwhile(
    world: World, changes: dict[str, Any]
) -> None:
    after = changed_meanwhile(world, **changes)
    assert world.webhook().active
    assert world.operational_events.types == []
    # It must not wait, for it would never be sent: the webhook is on, and no recovery of it begins.
    assert after.status is Status.RETRYING
    assert after.next_attempt_at_ms == samples.NOW_MS + 5_000


def test_gone_of_a_webhook_that_its_owner_disabled_meanwhile_waits(world: World) -> None:
    after = changed_meanwhile(world, active=False)
    assert (after.status, after.reason) == (Status.WAITING, "gone")
    assert world.operational_events.types == []


def test_gone_of_a_webhook_that_was_deleted_meanwhile_is_left_to_the_schedule(
    world: World,
) -> None:
    def answer(*_: object) -> Outcome:
        world.store.delete(WEBHOOK.account_id, WEBHOOK.id)
        return Outcome(FailureReason.HTTP_STATUS, status_code=410)

    world.sender.answer = answer
    assert world.attempt().status is Status.RETRYING
