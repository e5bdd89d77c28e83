"""Checks of a receiver that asks for a pause."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from support import samples
from unit.services.jobs.check_fixture import CheckFixture
from webhooks.domain.delivery import FailureReason, Outcome
from webhooks.domain.health import Health
from webhooks.domain.jobs.check import CheckStatus
from webhooks.domain.webhook import Secrets

if TYPE_CHECKING:
    from collections.abc import Mapping

NO_TIME = 0.0
ENOUGH = 60.0


@pytest.fixture
def fixture() -> CheckFixture:
    return CheckFixture()


def pause(fixture: CheckFixture, seconds: int) -> None:
    until_ms = fixture.now_ms + seconds * 1000
    paused = replace(fixture.webhook, health=Health(not_before_ms=until_ms))
    fixture.webhooks.add(paused, Secrets(samples.SECRET))


def test_a_check_waits_for_the_end_of_a_pause_and_is_made_then(fixture: CheckFixture) -> None:
    pause(fixture, 3600)
    check = fixture.checks.start(fixture.webhook)
    fixture.now_ms += 1000
    following = fixture.check_job.step(check.key, lambda: NO_TIME)
    assert following is not None
    assert following.seconds == 3599
    waiting = fixture.now(check)
    assert waiting.running
    assert waiting.run.due_at_ms > fixture.now_ms + 3_599_000
    assert fixture.receiver.came == []

    fixture.now_ms += 3_600_000
    assert fixture.check_job.step(check.key, lambda: ENOUGH, following.state) is None
    assert fixture.now(check).status is CheckStatus.COMPLETED


def test_a_check_without_a_reader_after_a_pause_has_failed(fixture: CheckFixture) -> None:
    pause(fixture, 3600)
    check = fixture.checks.start(fixture.webhook)
    following = fixture.check_job.step(check.key, lambda: ENOUGH)
    assert following is not None
    fixture.now_ms += 3_600_000 + 600_001
    assert fixture.check_job.step(check.key, lambda: ENOUGH, following.state) is None
    assert fixture.now(check).reason == "internal_error"


def test_a_check_whose_valid_request_asks_for_a_pause_begins_one(fixture: CheckFixture) -> None:
    asking = Outcome(FailureReason.HTTP_STATUS, 429, retry_after_seconds=600)
    fixture.receiver.instead = asking
    made = fixture.check()
    assert made.status is CheckStatus.COMPLETED
    found = fixture.webhooks.get(fixture.webhook.account_id, fixture.webhook.id)
    assert found is not None
    # Nothing else of its health changes.
    assert found.health.not_before_ms is not None
    assert replace(found.health, not_before_ms=None) == Health()


def test_a_check_any_of_whose_requests_asks_for_a_pause_begins_one(fixture: CheckFixture) -> None:
    """A receiver that limits its rate accepts one, and refuses the next ones."""
    post = fixture.receiver.post
    asked = iter([600, 900, 300])

    def limited(url: str, body: bytes, headers: Mapping[str, str]) -> Outcome:
        outcome = post(url, body, headers)
        seconds = next(asked, 1) if len(fixture.receiver.came) > 1 else None
        if seconds is None:
            return outcome
        return Outcome(FailureReason.HTTP_STATUS, 429, retry_after_seconds=seconds)

    fixture.receiver.post = limited  # type: ignore[method-assign]
    assert fixture.check().status is CheckStatus.COMPLETED
    found = fixture.webhooks.get(fixture.webhook.account_id, fixture.webhook.id)
    assert found is not None
    assert found.health.not_before_ms == fixture.now_ms + 900_000
