"""Erasures: an owner's requests, the steps of the job, and the data that stays."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from support import samples
from support.fakes import FakeJobScheduler, FakeRateLimitStore
from support.http_api import LIMITS
from support.service_fixture import ServiceFixture
from webhooks.domain.delivery import Delivery, FailureReason, Outcome, Status, delivery_id
from webhooks.domain.errors import InvalidInputError, TooManyErasuresError, UnavailableError
from webhooks.domain.jobs.erasure import Erasure, ErasureStatus
from webhooks.domain.rate_limit import RateLimit
from webhooks.services.jobs import erasure as erasures
from webhooks.services.jobs.erasure import PAUSE_SECONDS, SECONDS_FOR_A_BATCH, ErasureService
from webhooks.services.rate_limits import RateLimits
from webhooks.services.redriver import Redriven, Redriver

if TYPE_CHECKING:
    from collections.abc import Mapping

ANNA = "anna@example.com"
SETTLED = (Status.SUCCEEDED, Status.EXHAUSTED, Status.CANCELLED)
UNSETTLED = (Status.PENDING, Status.RETRYING, Status.WAITING)


class ErasureFixture(ServiceFixture):
    """Two webhooks of an account, one of another, and the job that erases their deliveries."""

    def __init__(self) -> None:
        super().__init__(random=0.5)
        self.add(1, 2)
        self.add(3, account_id="acc_2")
        self.erasure_scheduler = FakeJobScheduler()
        self.services = ErasureService(
            store=self.erasures,
            scheduler=self.erasure_scheduler,
            rate_limits=RateLimits(
                FakeRateLimitStore(),
                limits=LIMITS | {RateLimit.ERASURES: 3},
                telemetry=self.telemetry,
                clock=self.clock,
            ),
            now_ns=lambda: (self.now_ms + len(self.erasures.jobs)) * 1_000_000,
        )

    def about(self, to: str, webhook: int = 1, seconds_ago: int = 0, **changes: Any) -> Delivery:
        """Store a delivery of an event about a recipient."""
        webhook_id = samples.webhook(webhook).id
        event_id = f"evt_{to}_{seconds_ago}".replace("@", "_")
        body = {
            "event": "email.delivered",
            "transaction_id": f"txn_{seconds_ago}",
            "data": {"to": to, "subject": "Hello"},
        }
        values = {
            "id": delivery_id(event_id, samples.NOW_MS - seconds_ago * 1000, webhook_id),
            "event_id": event_id,
            "body": json.dumps(body, separators=(",", ":")).encode(),
            "attempts": (samples.attempt(response_body=f"no such user: {to}"),),
        }
        return self.put(samples.delivery(webhook, **{**values, **changes}))

    def now(self, delivery: Delivery) -> Delivery:
        return self.deliveries.deliveries[delivery.key]

    def start(self, address: str = ANNA) -> Erasure:
        return self.services.start("acc_1", address)

    def step(self, erasure: Erasure) -> float | None:
        following = self.erasure_job.step(erasure.key, lambda: self.remaining)
        return None if following is None else following.seconds

    def finish(self, erasure: Erasure) -> Erasure:
        """Make every step, each when it is due."""
        while (seconds := self.step(erasure)) is not None:
            self.now_ms += int(seconds * 1000)
        return self.erasures.jobs[erasure.key]


@pytest.fixture
def fixture() -> ErasureFixture:
    return ErasureFixture()


@pytest.mark.parametrize("status", SETTLED)
def test_a_settled_delivery_keeps_its_status_and_loses_its_payload(
    fixture: ErasureFixture, status: Status
) -> None:
    delivery = fixture.about(ANNA, status=status, reason="timeout", next_attempt_at_ms=None)
    fixture.finish(fixture.start())
    erased = fixture.now(delivery)
    assert (erased.status, erased.reason, erased.erased) == (status, "timeout", True)
    assert erased.body == b'{"event":"email.delivered","transaction_id":"txn_0"}'
    assert [attempt.response_body for attempt in erased.attempts] == [""]
    assert [attempt.status_code for attempt in erased.attempts] == [500]


@pytest.mark.parametrize("status", UNSETTLED)
def test_one_that_has_not_arrived_never_will(fixture: ErasureFixture, status: Status) -> None:
    delivery = fixture.about(ANNA, status=status)
    fixture.finish(fixture.start())
    erased = fixture.now(delivery)
    assert (erased.status, erased.reason) == (Status.CANCELLED, "recipient_erased")
    assert erased.next_attempt_at_ms is None


def test_every_webhook_of_the_account_is_gone_through_and_no_other(fixture: ErasureFixture) -> None:
    mine = [fixture.about(ANNA, webhook) for webhook in (1, 2)]
    others = [
        fixture.about("joanna@example.com"),
        fixture.about("anna@example.community", 2),
        fixture.about(ANNA, 3, account_id="acc_2"),
    ]
    ended = fixture.finish(fixture.start())
    assert [fixture.now(each).erased for each in mine] == [True, True]
    assert [fixture.now(each) for each in others] == others
    assert (ended.status, ended.erased) == (ErasureStatus.COMPLETED, 2)


def test_deliveries_of_a_webhook_that_was_deleted_are_found(fixture: ErasureFixture) -> None:
    delivery = fixture.about(ANNA, 2)
    fixture.store.delete("acc_1", samples.webhook(2).id)
    fixture.finish(fixture.start())
    assert fixture.now(delivery).erased


def test_an_event_id_that_tells_the_address_counts_too(fixture: ErasureFixture) -> None:
    delivery = fixture.about("somebody", event_id=f"b:{ANNA}")
    fixture.finish(fixture.start())
    assert (fixture.now(delivery).erased, fixture.now(delivery).event_id) == (True, "erased")


def test_where_only_an_answer_tells_the_address_the_delivery_goes_on(
    fixture: ErasureFixture,
) -> None:
    answer = samples.attempt(response_body=f"<{ANNA}> is unknown")
    delivery = fixture.about("somebody", attempts=(answer,))
    assert fixture.finish(fixture.start()).erased == 0
    assert fixture.now(delivery) == replace(delivery, attempts=(replace(answer, response_body=""),))


def test_a_transaction_id_that_tells_the_address_goes_too(fixture: ErasureFixture) -> None:
    body = json.dumps({"event": "email.sent", "transaction_id": f"to={ANNA}", "data": {}})
    delivery = fixture.about("x", body=body.replace(" ", "").encode(), event_type="email.sent")
    fixture.finish(fixture.start())
    assert fixture.now(delivery).body == b'{"event":"email.sent"}'


def test_nothing_of_the_record_tells_the_address_and_at_the_end_not_even_a_hash_is_left(
    fixture: ErasureFixture,
) -> None:
    fixture.about(ANNA)
    erasure = fixture.start("Anna@Example.com")
    assert erasure.seeks([ANNA])
    assert not erasure.seeks(["bob@example.com"])
    assert "anna" not in repr(erasure).lower()
    assert erasure.salt not in (b"", fixture.start("bob@example.com").salt)
    ended = fixture.finish(erasure)
    assert (ended.salt, ended.digest) == (b"", b"")
    assert "anna" not in repr(fixture.telemetry.lines).lower()
    [line] = fixture.telemetry.logged("erasure_ended")
    assert line == {
        "account_id": "acc_1",
        "erasure_id": erasure.id,
        "status": "completed",
        "reason": None,
        "examined": 2,
        "erased": 1,
        "unsearched": 0,
    }


def test_a_step_is_bounded_and_the_next_goes_on_behind_it(
    fixture: ErasureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(erasures, "_BATCH", 2)
    monkeypatch.setattr(erasures, "_EXAMINED_A_STEP", 3)
    mine = [fixture.about(ANNA, seconds_ago=number) for number in range(7)]
    erasure = fixture.start()
    assert fixture.step(erasure) == PAUSE_SECONDS
    assert [fixture.now(each).erased for each in mine] == [True] * 4 + [False] * 3
    progress = fixture.erasures.jobs[erasure.key]
    assert (progress.steps, progress.examined, progress.running) == (1, 4, True)
    assert progress.position == mine[3].id
    fixture.step(erasure)
    assert fixture.finish(erasure).erased == 7


def test_a_second_pass_finds_what_was_recorded_behind_the_first(fixture: ErasureFixture) -> None:
    erasure = fixture.start()
    assert fixture.step(erasure) == fixture.settle_seconds
    late = fixture.about(ANNA, seconds_ago=1000)
    fixture.now_ms += 30_000
    assert fixture.step(erasure) == fixture.settle_seconds - 30
    assert not fixture.now(late).erased
    ended = fixture.finish(erasure)
    assert fixture.now(late).erased
    assert (ended.status, ended.erased) == (ErasureStatus.COMPLETED, 1)
    assert fixture.step(erasure) is None


def test_an_attempt_under_way_records_no_payload_and_no_answer(fixture: ErasureFixture) -> None:
    delivery = fixture.about(ANNA, status=Status.EXHAUSTED, next_attempt_at_ms=None)

    def answer(_url: str, _headers: Mapping[str, str]) -> Outcome:
        fixture.finish(fixture.start())
        return Outcome(FailureReason.HTTP_STATUS, status_code=500, response_body=f"no {ANNA}")

    fixture.sender.answer = answer
    assert fixture.retrier.resend(delivery.key).succeeded is False
    erased = fixture.now(delivery)
    assert erased.erased
    assert [attempt.response_body for attempt in erased.attempts] == ["", ""]
    assert b"anna" not in erased.body


def test_a_delivery_that_changes_meanwhile_is_read_again(
    fixture: ErasureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    delivery = fixture.about(ANNA)
    changed = replace(
        delivery, attempts=(*delivery.attempts, samples.attempt(2, response_body=ANNA))
    )
    original = fixture.deliveries.page

    def page(*arguments: Any) -> Any:
        found = original(*arguments)
        if not fixture.now(delivery).erased:
            fixture.put(changed)
        return found

    monkeypatch.setattr(fixture.deliveries, "page", page)
    fixture.finish(fixture.start())
    assert [attempt.response_body for attempt in fixture.now(delivery).attempts] == ["", ""]


def test_a_step_that_a_fault_of_ours_ended_goes_on_where_it_was(fixture: ErasureFixture) -> None:
    mine = [fixture.about(ANNA, seconds_ago=number) for number in range(3)]
    erasure = fixture.start()
    fixture.deliveries.failures.plan("update", False, True)
    with pytest.raises(UnavailableError):
        fixture.step(erasure)
    progress = fixture.erasures.jobs[erasure.key]
    assert (progress.examined, progress.erased, progress.position) == (1, 1, mine[0].id)
    ended = fixture.finish(erasure)
    assert (ended.examined, ended.erased) == (2 * 3, 3)
    assert all(fixture.now(each).erased for each in mine)
    assert {fixture.now(each).generation for each in mine} == {1}


def test_too_little_time_for_a_step_is_our_own_fault(fixture: ErasureFixture) -> None:
    delivery = fixture.about(ANNA)
    fixture.remaining = SECONDS_FOR_A_BATCH - 1
    with pytest.raises(UnavailableError):
        fixture.step(fixture.start())
    assert fixture.now(delivery) == delivery


def test_an_erasure_that_somebody_else_carried_on_is_looked_at_again(
    fixture: ErasureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    erasure = fixture.start()
    original = fixture.reader.oldest_first

    def oldest_first(*arguments: Any) -> Any:
        fixture.erasures.jobs[erasure.key] = replace(erasure, steps=5)
        return original(*arguments)

    monkeypatch.setattr(fixture.reader, "oldest_first", oldest_first)
    assert fixture.step(erasure) == PAUSE_SECONDS
    assert fixture.erasures.jobs[erasure.key].steps == 5


def test_what_is_erased_is_never_sent_again(fixture: ErasureFixture) -> None:
    delivery = fixture.about(ANNA, status=Status.EXHAUSTED, next_attempt_at_ms=None)
    fixture.finish(fixture.start())
    assert fixture.retrier.resend(delivery.key).succeeded is False
    assert Redriver(fixture.deliveries, fixture.scheduler, fixture.clock).redrive(delivery.key) is (
        Redriven.ERASED
    )
    assert fixture.sender.posts == []


def test_an_event_that_comes_again_stays_erased_and_is_no_conflict(fixture: ErasureFixture) -> None:
    assert fixture.send(samples.event_text()) == []
    fixture.finish(fixture.start("recipient@example.com"))
    before = dict(fixture.deliveries.deliveries)
    assert fixture.send(samples.event_text()) == []
    assert fixture.deliveries.deliveries == before
    assert fixture.telemetry.logged("event_conflict") == []
    assert len(fixture.sender.posts) == 2


def test_the_same_address_again_is_the_same_erasure_until_its_second_pass(
    fixture: ErasureFixture,
) -> None:
    first = fixture.start()
    assert fixture.start("ANNA@example.com") == first
    assert fixture.start("bob@example.com") != first
    fixture.step(first)
    again = fixture.start()
    assert again.id != first.id
    assert fixture.erasure_scheduler.keys[-1] == again.key


def test_an_account_begins_only_so_many_erasures_a_day(fixture: ErasureFixture) -> None:
    for number in range(3):
        fixture.start(f"{number}@example.com")
    with pytest.raises(TooManyErasuresError) as refused:
        fixture.start()
    # 10:30 in the morning.
    assert refused.value.retry_after_seconds == 13.5 * 3600
    assert fixture.start("0@example.com").id


def test_what_is_no_address_begins_nothing(fixture: ErasureFixture) -> None:
    with pytest.raises(InvalidInputError):
        fixture.start("anna")
    assert fixture.erasures.jobs == {}


def test_one_that_could_not_be_started_has_failed_and_forgotten(fixture: ErasureFixture) -> None:
    fixture.erasure_scheduler.failures.plan("start", True)
    with pytest.raises(UnavailableError):
        fixture.start()
    [failed] = fixture.erasures.jobs.values()
    assert (failed.status, failed.reason, failed.digest) == ("failed", "not_started", b"")
    assert fixture.start().running


def test_one_that_is_given_up_has_failed_for_all_to_see(fixture: ErasureFixture) -> None:
    erasure = fixture.start()
    fixture.erasure_job.abandon(erasure.key)
    fixture.erasure_job.abandon(erasure.key)
    failed = fixture.erasures.jobs[erasure.key]
    assert (failed.status, failed.reason, failed.salt) == ("failed", "internal_error", b"")
    [line] = fixture.telemetry.logged("erasure_ended")
    assert line["status"] == "failed"
    assert fixture.step(erasure) is None


def test_an_erasure_of_another_account_is_not_found(fixture: ErasureFixture) -> None:
    erasure = fixture.start()
    assert fixture.services.get("acc_1", erasure.id) == erasure
    assert fixture.services.get("acc_2", erasure.id) is None
    assert fixture.services.get("acc_1", "nonsense") is None
