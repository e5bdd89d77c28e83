"""The redrive of both dead-letter queues, as an operator's command does it."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from moto import mock_aws

from local import redrive, rejected
from local.outputs import NoStackError
from support import samples
from support.fakes import FakeDeliveryStore, FakeScheduler
from webhooks.domain.delivery import MAX_ATTEMPTS, Delivery, Status
from webhooks.services.redriver import Redriven, Redriver

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NOW_MS = samples.NOW_MS + 1_000_000
EXHAUSTED = samples.delivery(
    status=Status.EXHAUSTED,
    reason="http_status",
    next_attempt_at_ms=None,
    attempts=tuple(samples.attempt(number) for number in (1, 2, 3)),
)


class World:
    """Both queues of a stack on moto, deliveries in memory."""

    def __init__(self) -> None:
        self.sqs = boto3.client("sqs", region_name="us-east-1")
        names = ("dead", "events-dead", "events")
        dead, events_dead, events = (
            self.sqs.create_queue(QueueName=name)["QueueUrl"] for name in names
        )
        self.stack = redrive.Stack("d", "arn", dead, events_dead, events)
        self.deliveries = FakeDeliveryStore()
        self.scheduler = FakeScheduler()
        self.redriver = Redriver(self.deliveries, self.scheduler, lambda: NOW_MS / 1000)
        self.told: list[str] = []

    def put(self, delivery: Delivery) -> Delivery:
        self.deliveries.deliveries[delivery.key] = delivery
        return delivery

    def stored(self, delivery: Delivery) -> Delivery:
        return self.deliveries.deliveries[delivery.key]

    def send(self, queue_url: str, body: Any, **attributes: str) -> None:
        text = body if isinstance(body, str) else json.dumps(body)
        values: Any = {k: {"DataType": "String", "StringValue": v} for k, v in attributes.items()}
        self.sqs.send_message(QueueUrl=queue_url, MessageBody=text, MessageAttributes=values)

    def left(self, queue_url: str) -> list[str]:
        answer = self.sqs.receive_message(QueueUrl=queue_url, MaxNumberOfMessages=10)
        return [message["Body"] for message in answer.get("Messages", [])]

    def run(self, **wanted: Any) -> dict[str, int]:
        return dict(
            redrive.redrive_deliveries(
                self.sqs, self.stack, self.redriver, redrive.Wanted(**wanted), self.told.append
            )
        )


@pytest.fixture
def world() -> Iterator[World]:
    with mock_aws():
        yield World()


def dead_letter(delivery: Delivery, **fields: Any) -> dict[str, Any]:
    return {"type": "delivery.exhausted", **delivery.key._asdict(), **fields}


def test_two_messages_of_one_generation_are_one_redrive(world: World) -> None:
    delivery = world.put(EXHAUSTED)
    for _ in range(2):
        world.send(world.stack.dead_letter_queue_url, dead_letter(delivery, generation=0))
    assert world.run() == {"started": 1, "redriven before": 1}
    assert world.left(world.stack.dead_letter_queue_url) == []
    assert world.stored(delivery).generation == 1

    # Exhausted again, it has a message that names another generation.
    world.put(replace(world.stored(delivery), status=Status.EXHAUSTED, next_attempt_at_ms=None))
    world.send(world.stack.dead_letter_queue_url, dead_letter(delivery, generation=0))
    world.send(world.stack.dead_letter_queue_url, dead_letter(delivery, generation=1))
    assert world.run() == {"redriven before": 1, "started": 1}


def test_a_redrive_that_step_functions_refuses_is_left_to_the_sweep(world: World) -> None:
    delivery = world.put(EXHAUSTED)
    world.send(world.stack.dead_letter_queue_url, dead_letter(delivery))
    world.scheduler.failures.plan("start", True)
    assert world.run() == {"left to the sweep": 1}
    assert world.left(world.stack.dead_letter_queue_url) == []
    stored = world.stored(delivery)
    assert (stored.status, stored.unstarted) == (Status.RETRYING, True)


@pytest.mark.parametrize(("late_seconds", "outcome"), [(59, "under way"), (61, "started")])
def test_a_short_retry_is_under_way_until_the_sweep_would_take_it(
    world: World, late_seconds: int, outcome: str
) -> None:
    due_ms = NOW_MS - late_seconds * 1000
    delivery = world.put(samples.delivery(short=True, next_attempt_at_ms=due_ms))
    world.send(world.stack.dead_letter_queue_url, dead_letter(delivery, generation=0))
    assert world.run() == {outcome: 1}


def test_an_exhausted_delivery_begins_its_schedule_anew_as_another_generation(
    world: World,
) -> None:
    world.put(EXHAUSTED)
    world.send(world.stack.dead_letter_queue_url, dead_letter(EXHAUSTED))
    assert world.run() == {"started": 1}
    after = world.stored(EXHAUSTED)
    assert (after.status, after.generation, after.scheduled_attempts) == (Status.RETRYING, 1, 0)
    assert after.attempts == EXHAUSTED.attempts
    assert after.next_attempt_at_ms == NOW_MS
    assert world.scheduler.executions == {EXHAUSTED.key: (1, 0)}
    assert world.left(world.stack.dead_letter_queue_url) == []


@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        (Status.WAITING, Redriven.WAITING),
        (Status.SUCCEEDED, Redriven.SETTLED),
        (Status.CANCELLED, Redriven.SETTLED),
    ],
)
def test_a_delivery_that_needs_no_redrive_is_left_as_it_is(
    world: World, status: Status, outcome: Redriven
) -> None:
    before = world.put(replace(EXHAUSTED, status=status))
    assert world.redriver.redrive(before.key) is outcome
    assert world.stored(before) == before
    assert world.scheduler.executions == {}


def test_one_that_expired_or_has_a_full_log_is_told(world: World) -> None:
    assert world.redriver.redrive(EXHAUSTED.key) is Redriven.EXPIRED
    attempts = tuple(samples.attempt(number) for number in range(1, MAX_ATTEMPTS + 1))
    full = world.put(replace(EXHAUSTED, attempts=attempts))
    assert world.redriver.redrive(full.key) is Redriven.LOG_FULL


def test_the_message_of_one_with_a_full_log_stays_for_the_person_whom_it_needs(
    world: World,
) -> None:
    attempts = tuple(samples.attempt(number) for number in range(1, MAX_ATTEMPTS + 1))
    full = world.put(replace(EXHAUSTED, attempts=attempts))
    world.send(world.stack.dead_letter_queue_url, dead_letter(full))
    assert world.run() == {"log full": 1}
    assert world.left(world.stack.dead_letter_queue_url) == [json.dumps(dead_letter(full))]


def test_an_exhausted_delivery_whose_execution_is_just_ending_is_redriven(world: World) -> None:
    """It sent the message and then ends: the message is its last, so it must not be dropped."""
    world.put(EXHAUSTED)
    world.scheduler.start(EXHAUSTED, delay_seconds=5)
    assert world.redriver.redrive(EXHAUSTED.key) is Redriven.STARTED
    assert world.stored(EXHAUSTED).generation == 1


class LongQueue:
    """A queue whose messages are received again while a redrive is still at work."""

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

    def change_message_visibility(self, *, ReceiptHandle: str, **_: Any) -> None:
        self.shown_again[ReceiptHandle[0]] = ReceiptHandle


def test_what_comes_again_during_a_long_redrive_is_not_its_end(world: World) -> None:
    queue = LongQueue("ab", "a", "ba", "c", "")
    counts = redrive.redrive_deliveries(
        queue, world.stack, world.redriver, redrive.Wanted(), world.told.append
    )
    assert counts == {"unknown": 3}
    # By the handle of the last time that it was received, the only one that counts.
    assert queue.shown_again == {"a": "a2", "b": "b2", "c": "c1"}


def test_a_queue_that_holds_only_what_is_left_comes_to_an_end(world: World) -> None:
    queue = LongQueue(*["ab"] * 1000)
    counts = redrive.redrive_deliveries(
        queue, world.stack, world.redriver, redrive.Wanted(), world.told.append
    )
    assert counts == {"unknown": 2}
    assert queue.answers


def test_an_interrupted_delivery_is_restarted_only_where_no_execution_goes_on(
    world: World,
) -> None:
    retrying = world.put(samples.delivery())
    world.scheduler.start(retrying, delay_seconds=5)
    assert world.redriver.redrive(retrying.key) is Redriven.UNDER_WAY
    world.scheduler.stop(retrying)
    assert world.redriver.redrive(retrying.key) is Redriven.STARTED
    assert world.redriver.redrive(retrying.key) is Redriven.UNDER_WAY


def test_a_delivery_that_changes_meanwhile_stays_in_the_queue(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.put(EXHAUSTED)
    world.send(world.stack.dead_letter_queue_url, dead_letter(EXHAUSTED))
    monkeypatch.setattr(world.deliveries, "update", lambda *_, **__: False)
    assert world.run() == {"busy": 1}
    assert world.left(world.stack.dead_letter_queue_url) == [json.dumps(dead_letter(EXHAUSTED))]


def test_only_the_wanted_accounts_deliveries_are_redriven_and_garbage_stays(world: World) -> None:
    world.put(EXHAUSTED)
    url = world.stack.dead_letter_queue_url
    world.send(url, dead_letter(EXHAUSTED))
    world.send(url, "not json")
    assert world.run(account_id="acc_2") == {"left": 1, "unknown": 1}
    assert world.run(webhook_id=EXHAUSTED.webhook_id) == {"started": 1, "unknown": 1}
    assert world.left(url) == ["not json"]


def test_events_that_failed_through_our_fault_go_back_and_rejected_ones_stay(world: World) -> None:
    dead = world.stack.events_dead_letter_queue_url
    world.send(dead, "failed")
    world.send(dead, "poison", reason="not_json")
    counts = redrive.redrive_events(world.sqs, world.stack, redrive.Wanted(), world.told.append)
    assert dict(counts) == {"sent again": 1, "left: not_json": 1}
    assert world.left(world.stack.events_queue_url) == ["failed"]


@pytest.mark.parametrize("wanted", [{"reason": "not_json"}, {"rejected_too": True}])
def test_rejected_events_go_back_when_asked_for(world: World, wanted: dict[str, Any]) -> None:
    dead = world.stack.events_dead_letter_queue_url
    world.send(dead, "poison", reason="not_json")
    redrive.redrive_events(world.sqs, world.stack, redrive.Wanted(**wanted), world.told.append)
    assert world.left(world.stack.events_queue_url) == ["poison"]
    assert world.left(dead) == []


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


REJECTED = json.dumps({"event": "email.sent", "account_id": "acc_1", "data": {"to": ""}})


def of_dead_letters(world: World) -> list[rejected.Rejected]:
    return list(rejected.rejected(world.sqs, world.stack))


def test_a_rejected_message_is_saved_corrected_and_sent_again(world: World, tmp_path: Path) -> None:
    dead = world.stack.events_dead_letter_queue_url
    world.send(dead, REJECTED, reason="invalid_field", detail="data.to: must be a recipient")
    world.send(dead, "hello", reason="not_json", detail="body: must be JSON")
    world.send(dead, "failed through our fault")
    folder = tmp_path / "rejected"
    counts = rejected.save(world.sqs, world.stack, folder, "invalid_field", world.told.append)
    assert counts == {"saved": 1}
    [file] = folder.iterdir()
    assert file.read_text(encoding="utf-8") == REJECTED
    assert file.stat().st_mode & 0o777 == 0o600
    assert world.told == [f"{file}  data.to: must be a recipient"]

    # As it is, it would come straight back.
    counts = rejected.send(world.sqs, world.stack, folder, world.told.append)
    assert counts == {"still rejected": 1, "left": 1}
    assert world.told[1].startswith(f"{file}  data.to: must be a recipient")
    assert world.left(world.stack.events_queue_url) == []

    corrected = REJECTED.replace('""', '"a@example.com"')
    file.write_text(corrected, encoding="utf-8")
    again = rejected.save(world.sqs, world.stack, folder, "invalid_field", world.told.append)
    assert again == {"there already": 1}
    counts = rejected.send(world.sqs, world.stack, folder, world.told.append)
    assert counts == {"sent again": 1, "left": 1}
    assert world.left(world.stack.events_queue_url) == [corrected]
    assert [one.reason for one in of_dead_letters(world)] == ["not_json"]
    assert rejected.send(world.sqs, world.stack, folder, world.told.append) == {"left": 1}
    assert sorted(world.left(dead)) == ["failed through our fault", "hello"]


def test_a_message_whose_file_is_emptied_is_given_up(world: World, tmp_path: Path) -> None:
    dead = world.stack.events_dead_letter_queue_url
    world.send(dead, '{"Type": "SubscriptionConfirmation"}', reason="confirmation")
    rejected.save(world.sqs, world.stack, tmp_path, None, world.told.append)
    [file] = tmp_path.iterdir()
    file.write_text("\n", encoding="utf-8")
    counts = rejected.send(world.sqs, world.stack, tmp_path, world.told.append)
    assert counts == {"given up": 1}
    assert world.left(dead) == world.left(world.stack.events_queue_url) == []


def test_an_array_of_which_one_would_be_rejected_is_not_sent(world: World, tmp_path: Path) -> None:
    world.send(world.stack.events_dead_letter_queue_url, "x", reason="not_json")
    [one] = of_dead_letters(world)
    good = REJECTED.replace('""', '"a@example.com"')
    (tmp_path / f"{one.id}.json").write_text(f"[{good},{REJECTED}]", encoding="utf-8")
    counts = rejected.send(world.sqs, world.stack, tmp_path, world.told.append)
    assert counts == {"still rejected": 1}


def test_without_a_stack_the_rejected_cannot_be_listed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def absent() -> dict[str, str]:
        raise NoStackError("start it with `make run`")

    monkeypatch.setattr(rejected, "of_local", absent)
    assert rejected.main([]) == 1
    assert "make run" in capsys.readouterr().err
