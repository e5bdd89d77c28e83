"""The redrive of both dead-letter queues, through the operator's command."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from integration.ops.redrive_fixture import EXHAUSTED, NOW_MS, RedriveFixture, dead_letter
from ops import redrive
from ops.dead_letters import OutcomeCounts, texts_of
from ops.outputs import NoStackError
from support import samples
from webhooks.domain.delivery import MAX_ATTEMPTS, Status
from webhooks.domain.errors import UnavailableError
from webhooks.domain.resending import ARRIVED_AT, TRIES
from webhooks.services.redriver import Redriven

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient


@pytest.fixture
def fixture(sqs: SQSClient) -> RedriveFixture:
    return RedriveFixture(sqs)


def test_two_messages_of_one_generation_are_one_redrive(fixture: RedriveFixture) -> None:
    delivery = fixture.put(EXHAUSTED)
    for _ in range(2):
        fixture.send(fixture.stack.dead_letter_queue_url, dead_letter(delivery, generation=0))
    assert fixture.run() == {"started": 1, "redriven before": 1}
    assert fixture.left(fixture.stack.dead_letter_queue_url) == []
    assert fixture.stored(delivery).generation == 1

    # Exhausted again, it has a message that names another generation.
    fixture.put(replace(fixture.stored(delivery), status=Status.EXHAUSTED, next_attempt_at_ms=None))
    fixture.send(fixture.stack.dead_letter_queue_url, dead_letter(delivery, generation=0))
    fixture.send(fixture.stack.dead_letter_queue_url, dead_letter(delivery, generation=1))
    assert fixture.run() == {"redriven before": 1, "started": 1}


def test_a_redrive_that_step_functions_refuses_is_left_to_the_sweep(
    fixture: RedriveFixture,
) -> None:
    delivery = fixture.put(EXHAUSTED)
    fixture.send(fixture.stack.dead_letter_queue_url, dead_letter(delivery))
    fixture.scheduler.failures.plan("start", True)
    assert fixture.run() == {"left to the sweep": 1}
    assert fixture.left(fixture.stack.dead_letter_queue_url) == []
    stored = fixture.stored(delivery)
    assert (stored.status, stored.unstarted) == (Status.RETRYING, True)


@pytest.mark.parametrize(("late_seconds", "outcome"), [(59, "under way"), (61, "started")])
def test_a_short_retry_is_under_way_until_the_sweep_would_take_it(
    fixture: RedriveFixture, late_seconds: int, outcome: str
) -> None:
    due_ms = NOW_MS - late_seconds * 1000
    delivery = fixture.put(samples.delivery(short=True, next_attempt_at_ms=due_ms))
    fixture.send(fixture.stack.dead_letter_queue_url, dead_letter(delivery, generation=0))
    assert fixture.run() == {outcome: 1}


def test_an_exhausted_delivery_begins_its_schedule_anew_as_another_generation(
    fixture: RedriveFixture,
) -> None:
    fixture.put(EXHAUSTED)
    fixture.send(fixture.stack.dead_letter_queue_url, dead_letter(EXHAUSTED))
    assert fixture.run() == {"started": 1}
    after = fixture.stored(EXHAUSTED)
    assert (after.status, after.generation, after.scheduled_attempts) == (Status.RETRYING, 1, 0)
    assert after.attempts == EXHAUSTED.attempts
    assert after.next_attempt_at_ms == NOW_MS
    assert fixture.scheduler.executions == {EXHAUSTED.key: (1, 0)}
    assert fixture.left(fixture.stack.dead_letter_queue_url) == []


@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        (Status.WAITING, Redriven.WAITING),
        (Status.SUCCEEDED, Redriven.SETTLED),
        (Status.CANCELLED, Redriven.SETTLED),
    ],
)
def test_a_delivery_that_needs_no_redrive_is_left_as_it_is(
    fixture: RedriveFixture, status: Status, outcome: Redriven
) -> None:
    before = fixture.put(replace(EXHAUSTED, status=status))
    assert fixture.redriver.redrive(before.key) is outcome
    assert fixture.stored(before) == before
    assert fixture.scheduler.executions == {}


def test_one_that_expired_or_has_a_full_log_is_told(fixture: RedriveFixture) -> None:
    assert fixture.redriver.redrive(EXHAUSTED.key) is Redriven.EXPIRED
    attempts = tuple(samples.attempt(number) for number in range(1, MAX_ATTEMPTS + 1))
    full = fixture.put(replace(EXHAUSTED, attempts=attempts))
    assert fixture.redriver.redrive(full.key) is Redriven.LOG_FULL


def test_the_message_of_one_with_a_full_log_stays_for_the_person_whom_it_needs(
    fixture: RedriveFixture,
) -> None:
    attempts = tuple(samples.attempt(number) for number in range(1, MAX_ATTEMPTS + 1))
    full = fixture.put(replace(EXHAUSTED, attempts=attempts))
    fixture.send(fixture.stack.dead_letter_queue_url, dead_letter(full))
    assert fixture.run() == {"log full": 1}
    assert fixture.left(fixture.stack.dead_letter_queue_url) == [json.dumps(dead_letter(full))]


def test_an_exhausted_delivery_whose_execution_is_just_ending_is_redriven(
    fixture: RedriveFixture,
) -> None:
    """It sent the message and then ends: the message is its last, so it must not be dropped."""
    fixture.put(EXHAUSTED)
    fixture.scheduler.start(EXHAUSTED, delay_seconds=5)
    assert fixture.redriver.redrive(EXHAUSTED.key) is Redriven.STARTED
    assert fixture.stored(EXHAUSTED).generation == 1


class LongQueue:
    """A queue whose messages return while a redrive is still at work."""

    def __init__(self, *answers: str) -> None:
        self.answers = list(answers)
        self.shown_again: dict[str, str] = {}

    def receive_message(self, **_: Any) -> dict[str, Any]:
        names = self.answers.pop(0) if self.answers else ""
        attributes = {"SentTimestamp": "0"}
        return {
            "Messages": [
                {
                    "MessageId": name,
                    "ReceiptHandle": f"{name}{len(self.answers)}",
                    "Body": "not json",
                    "Attributes": attributes,
                }
                for name in names
            ]
        }

    def delete_message_batch(self, **_: Any) -> dict[str, Any]:
        raise AssertionError("nothing is done")

    def change_message_visibility_batch(self, *, Entries: Any, **_: Any) -> None:
        handles = [entry["ReceiptHandle"] for entry in Entries]
        self.shown_again |= {handle[0]: handle for handle in handles}


@pytest.mark.parametrize("threads", [1, 4])
def test_what_comes_again_during_a_long_redrive_is_not_its_end(
    fixture: RedriveFixture, threads: int
) -> None:
    answers = ["ab", "a", "ba", "c"] + [""] * threads
    queue = LongQueue(*answers)
    counts = redrive.redrive_deliveries(
        queue,
        fixture.stack,
        fixture.redriver,
        redrive.Wanted(),
        fixture.told.append,
        threads=threads,
    )
    assert counts == {"unknown": 3}
    # By the handle of its last receive, the only valid one.
    assert queue.shown_again.keys() == {"a", "b", "c"}
    if threads == 1:
        assert queue.shown_again == {"a": "a2", "b": "b2", "c": "c1"}


def test_a_queue_that_holds_only_what_is_left_comes_to_an_end(fixture: RedriveFixture) -> None:
    queue = LongQueue(*["ab"] * 1000)
    counts = redrive.redrive_deliveries(
        queue, fixture.stack, fixture.redriver, redrive.Wanted(), fixture.told.append
    )
    assert counts == {"unknown": 2}
    assert queue.answers


def test_an_interrupted_delivery_is_restarted_only_where_no_execution_goes_on(
    fixture: RedriveFixture,
) -> None:
    retrying = fixture.put(samples.delivery())
    fixture.scheduler.start(retrying, delay_seconds=5)
    assert fixture.redriver.redrive(retrying.key) is Redriven.IN_PROGRESS
    fixture.scheduler.stop(retrying)
    assert fixture.redriver.redrive(retrying.key) is Redriven.STARTED
    assert fixture.redriver.redrive(retrying.key) is Redriven.IN_PROGRESS


def test_a_delivery_that_changes_meanwhile_stays_in_the_queue(
    fixture: RedriveFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    fixture.put(EXHAUSTED)
    fixture.send(fixture.stack.dead_letter_queue_url, dead_letter(EXHAUSTED))
    monkeypatch.setattr(fixture.deliveries, "update", lambda *_, **__: False)
    assert fixture.run() == {"busy": 1}
    assert fixture.left(fixture.stack.dead_letter_queue_url) == [json.dumps(dead_letter(EXHAUSTED))]


def test_only_the_wanted_accounts_deliveries_are_redriven_and_garbage_stays(
    fixture: RedriveFixture,
) -> None:
    fixture.put(EXHAUSTED)
    url = fixture.stack.dead_letter_queue_url
    fixture.send(url, dead_letter(EXHAUSTED))
    fixture.send(url, "not json")
    assert fixture.run(account_id="acc_2") == {"left": 1, "unknown": 1}
    assert fixture.run(webhook_id=EXHAUSTED.webhook_id) == {"started": 1, "unknown": 1}
    assert fixture.left(url) == ["not json"]


def test_events_that_failed_through_our_fault_go_back_and_rejected_ones_stay(
    fixture: RedriveFixture,
) -> None:
    dead = fixture.stack.events_dead_letter_queue_url
    fixture.send(dead, "failed")
    fixture.send(dead, "poison", reason="not_json")
    counts = redrive.redrive_events(
        fixture.sqs, fixture.stack, redrive.Wanted(), fixture.told.append
    )
    assert dict(counts) == {"sent again": 1, "left: not_json": 1}
    assert fixture.left(fixture.stack.events_queue_url) == ["failed"]


@pytest.mark.parametrize("wanted", [{"reason": "not_json"}, {"rejected_too": True}])
def test_rejected_events_go_back_when_asked_for(
    fixture: RedriveFixture, wanted: dict[str, Any]
) -> None:
    dead = fixture.stack.events_dead_letter_queue_url
    fixture.send(dead, "poison", reason="not_json")
    redrive.redrive_events(
        fixture.sqs, fixture.stack, redrive.Wanted(**wanted), fixture.told.append
    )
    assert fixture.left(fixture.stack.events_queue_url) == ["poison"]
    assert fixture.left(dead) == []


def test_an_event_goes_back_with_its_first_arrival_and_its_group(fixture: RedriveFixture) -> None:
    """If SQS moved the message, SentTimestamp; if the dispatcher sent it, its attribute."""
    dead = fixture.stack.events_dead_letter_queue_url
    before_ms = int(time.time() * 1000)
    fixture.sqs.send_message(QueueUrl=dead, MessageBody="moved", MessageGroupId="acc_1")
    attributes: Any = {
        ARRIVED_AT: {"DataType": "Number", "StringValue": "1766313000000"},
        TRIES: {"DataType": "Number", "StringValue": "400"},
        "reason": {"DataType": "String", "StringValue": "gave_up"},
    }
    fixture.sqs.send_message(QueueUrl=dead, MessageBody="given up", MessageAttributes=attributes)
    redrive.redrive_events(fixture.sqs, fixture.stack, redrive.Wanted(), fixture.told.append)
    received = {one["Body"]: one for one in fixture.receive(fixture.stack.events_queue_url)}
    moved, given_up = received["moved"], received["given up"]
    assert moved["Attributes"]["MessageGroupId"] == "acc_1"
    arrived_ms = int(texts_of(moved)[ARRIVED_AT])
    assert before_ms <= arrived_ms <= int(moved["Attributes"]["SentTimestamp"])
    # As many tries as at first.
    assert texts_of(given_up) == {ARRIVED_AT: "1766313000000"}


def test_what_killed_its_dispatchers_goes_back_by_its_reason_only(fixture: RedriveFixture) -> None:
    dead = fixture.stack.events_dead_letter_queue_url
    fixture.send(dead, "killer", reason="killed")
    counts = redrive.redrive_events(
        fixture.sqs, fixture.stack, redrive.Wanted(), fixture.told.append
    )
    assert dict(counts) == {"left: killed": 1}
    wanted = redrive.Wanted(reason="killed")
    redrive.redrive_events(fixture.sqs, fixture.stack, wanted, fixture.told.append)
    assert fixture.left(fixture.stack.events_queue_url) == ["killer"]


class PartlyTaking:
    """A queue that refuses the messages a test names, and may not delete the accepted ones."""

    def __init__(self, sqs: Any, not_taken: str, not_deleted: int = 0) -> None:
        self._sqs = sqs
        self.not_taken = not_taken
        self.not_deleted = not_deleted
        self.calls: list[str] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sqs, name)

    def send_message_batch(self, *, QueueUrl: str, Entries: Any) -> Any:
        self.calls.append("send")
        kept = [entry for entry in Entries if self.not_taken not in entry["MessageBody"]]
        answer: Any = {"Successful": []}
        if kept:
            answer = self._sqs.send_message_batch(QueueUrl=QueueUrl, Entries=kept)
        left = [{"Id": one["Id"], "Code": "InternalError"} for one in Entries if one not in kept]
        return {**answer, "Failed": left}

    def delete_message_batch(self, *, QueueUrl: str, Entries: Any) -> Any:
        self.calls.append("delete")
        if self.not_deleted:
            self.not_deleted -= 1
            failed = [{"Id": one["Id"], "Code": "InternalError"} for one in Entries]
            return {"Successful": [], "Failed": failed}
        return self._sqs.delete_message_batch(QueueUrl=QueueUrl, Entries=Entries)


def test_what_the_queue_does_not_take_stays_and_nothing_is_deleted_before_it_is_sent(
    fixture: RedriveFixture,
) -> None:
    dead = fixture.stack.events_dead_letter_queue_url
    for body in ("one", "two", "three"):
        fixture.send(dead, body)
    sqs = PartlyTaking(fixture.sqs, "two", not_deleted=1)
    counts = redrive.redrive_events(
        sqs, fixture.stack, redrive.Wanted(), fixture.told.append, threads=1
    )
    assert dict(counts) == {"sent again": 2, "not sent": 1}
    assert sqs.calls == ["send"] * 3 + ["delete"] * 2
    assert fixture.left(dead) == ["two"]
    assert sorted(fixture.left(fixture.stack.events_queue_url)) == ["one", "three"]


def test_a_queue_that_takes_nothing_stops_the_redrive_and_all_stays(
    fixture: RedriveFixture,
) -> None:
    dead = fixture.stack.events_dead_letter_queue_url
    fixture.send(dead, "one")
    sqs = PartlyTaking(fixture.sqs, "one")
    with pytest.raises(UnavailableError, match="accepts no messages"):
        redrive.redrive_events(sqs, fixture.stack, redrive.Wanted(), fixture.told.append)
    assert fixture.left(dead) == ["one"]


def test_the_messages_of_receivers_that_are_gone_are_discarded(fixture: RedriveFixture) -> None:
    before = fixture.put(EXHAUSTED)
    other = replace(EXHAUSTED, account_id="acc_2")
    url = fixture.stack.dead_letter_queue_url
    for delivery in (EXHAUSTED, other):
        fixture.send(url, dead_letter(delivery))
    assert fixture.run(account_id="acc_1", discard=True) == {"discarded": 1, "left": 1}
    assert fixture.stored(EXHAUSTED) == before
    assert fixture.scheduler.executions == {}
    assert fixture.left(url) == [json.dumps(dead_letter(other))]


@pytest.mark.parametrize(
    "arguments",
    [
        ["deliveries", "--discard"],
        ["events", "--discard", "--account", "acc_1"],
        ["deliveries", "--move"],
    ],
)
def test_what_would_do_more_than_it_says_is_refused(arguments: list[str]) -> None:
    with pytest.raises(SystemExit):
        redrive.main(arguments)


def test_a_long_redrive_says_how_far_it_is_and_how_fast() -> None:
    told: list[str] = []
    times = iter([0.0, 0.5, 10.0, 20.0])
    counts = OutcomeCounts(told.append, lambda: next(times))
    counts.add(["sent again"] * 10)
    counts.add(["sent again"] * 2990)
    assert told == ["3,000 messages, 300 per second: 3,000 sent again"]
    assert counts.end() == {"sent again": 3000}
    assert told[1].startswith("3,000 messages, 150 per second")


def test_without_a_stack_the_command_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def absent() -> dict[str, str]:
        raise NoStackError("start it with `make run`")

    monkeypatch.setattr(redrive, "of_local", absent)
    assert redrive.main(["deliveries"]) == 1
    assert "make run" in capsys.readouterr().err


def test_outputs_of_another_stack_are_refused() -> None:
    with pytest.raises(NoStackError, match="RetryStateMachineArn"):
        redrive.stack_of({"DeliveriesTable": "d"})
