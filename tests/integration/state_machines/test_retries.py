"""The retry state machine, really run on each of its paths; a test scripts its task."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from local import template
from local.aws import aws_client
from support.state_machines import ScriptedTask, StateMachine, made_for
from webhooks.domain.delivery import DeliveryKey
from webhooks.domain.errors import DeliveryInterruptedError, UnavailableError
from webhooks.domain.retry import parse_schedule

if TYPE_CHECKING:
    from collections.abc import Iterator

    from local.resources import Resources

MACHINE = "RetryStateMachine"
MOST_DELAYS = 50
IDS = {"version": 1, "account_id": "acc_1", "webhook_id": "w", "delivery_id": "d"}
UNKNOWN = ["UnknownDecision", "NameUnknownDecision"]
FACTS = {
    "event_id": "evt_1",
    "event_type": "email.sent",
    "attempts": 3,
    "last_error": "http_status",
    "last_status_code": 500,
    "reason": "exhausted",
    "exhausted_at": "2025-12-21T10:30:00.000Z",
    "generation": 1,
}


class Machine(StateMachine):
    """The retry state machine, and its dead-letter queue."""

    def __init__(self, endpoint: str, made: Resources) -> None:
        super().__init__(endpoint, made, MACHINE)
        self._sqs = aws_client("sqs", endpoint)
        self._queue_url = made.queues["DeadLetterQueue"]

    def run(self) -> tuple[str, list[str]]:
        """Run one execution from attempt 2; returns its status and the states it entered."""
        return self.execute(IDS | {"attempt": 2, "seconds": 0})

    def dead_letters(self) -> list[dict[str, Any]]:
        answer = self._sqs.receive_message(
            QueueUrl=self._queue_url, MaxNumberOfMessages=10, WaitTimeSeconds=0
        )
        return [json.loads(message["Body"]) for message in answer.get("Messages", [])]


@pytest.fixture
def task() -> ScriptedTask:
    return ScriptedTask(IDS)


@pytest.fixture
def machine(task: ScriptedTask) -> Iterator[Machine]:
    with made_for(task, MACHINE) as (endpoint, made):
        yield Machine(endpoint, made)


def test_a_delivery_that_arrives_at_once_takes_three_transitions(
    machine: Machine, task: ScriptedTask
) -> None:
    task.answers = [{"attempt": 2, "decision": "done"}]

    assert machine.run() == ("SUCCEEDED", ["Wait", "Attempt", "Decide", "Done"])
    assert task.states == [IDS | {"attempt": 2, "seconds": 0}]
    assert machine.dead_letters() == []


def test_a_failed_attempt_waits_again_with_what_the_worker_decided(
    machine: Machine, task: ScriptedTask
) -> None:
    task.answers = [
        {"attempt": 3, "seconds": 1, "decision": "wait"},
        {"attempt": 4, "seconds": 0, "decision": "wait"},
        {"attempt": 4, "decision": "done"},
    ]

    status, entered = machine.run()

    assert status == "SUCCEEDED"
    assert entered == [*["Wait", "Attempt", "Decide"] * 3, "Done"]
    assert [(state["attempt"], state["seconds"]) for state in task.states] == [
        (2, 0),
        (3, 1),
        (4, 0),
    ]


def test_an_exhausted_delivery_becomes_one_message_with_what_an_operator_needs(
    machine: Machine, task: ScriptedTask
) -> None:
    task.answers = [{"attempt": 2, "decision": "dead_letter", "dead_letter": FACTS}]

    entered = ["Wait", "Attempt", "Decide", "DeadLetter", "NoteDeadLetter", "Done"]
    assert machine.run() == ("SUCCEEDED", entered)
    [noted] = task.noted
    assert noted.items() >= IDS.items()
    assert machine.dead_letters() == [{"type": "delivery.exhausted", **IDS, **FACTS}]


def test_facts_that_nobody_knows_are_null_in_the_message(
    machine: Machine, task: ScriptedTask
) -> None:
    unknown = dict.fromkeys(FACTS) | {"reason": "unknown_version"}
    task.answers = [{"attempt": 2, "decision": "dead_letter", "dead_letter": unknown}]

    assert machine.run()[0] == "SUCCEEDED"
    assert machine.dead_letters() == [{"type": "delivery.exhausted", **IDS, **unknown}]


def test_our_own_side_being_unavailable_is_tried_again_and_is_no_attempt(
    machine: Machine, task: ScriptedTask
) -> None:
    task.answers = [UnavailableError("reading a delivery"), {"attempt": 2, "decision": "done"}]

    assert machine.run() == ("SUCCEEDED", ["Wait", "Attempt", "Decide", "Done"])
    assert [state["attempt"] for state in task.states] == [2, 2]


def test_a_bug_is_tried_again_then_dead_lettered_by_name_and_fails_in_sight(
    machine: Machine, task: ScriptedTask
) -> None:
    task.answers = [KeyError("a secret"), KeyError("a secret")]

    status, entered = machine.run()

    assert status == "FAILED"
    assert entered == ["Wait", "Attempt", "DeadLetterInterrupted", "Interrupted"]
    assert machine.dead_letters() == [
        {
            "type": "delivery.interrupted",
            **IDS,
            "attempt": 2,
            "reason": "internal_error",
            "error": "KeyError",
        }
    ]


def test_a_delivery_whose_claims_have_no_result_is_dead_lettered_at_once(
    machine: Machine, task: ScriptedTask
) -> None:
    task.answers = [DeliveryInterruptedError(DeliveryKey("acc_1", "w", "d"), 6)]

    status, entered = machine.run()

    assert status == "FAILED"
    assert entered == ["Wait", "Attempt", "DeadLetterInterrupted", "Interrupted"]
    assert [letter["error"] for letter in machine.dead_letters()] == ["DeliveryInterruptedError"]


@pytest.mark.parametrize("answer", [{"decision": "ponder"}, {"decision": None}, {}])
def test_an_answer_whose_decision_is_unknown_or_absent_is_dead_lettered_too(
    machine: Machine, task: ScriptedTask, answer: dict[str, Any]
) -> None:
    task.answers = [{"attempt": 2, **answer}]

    status, entered = machine.run()

    assert status == "FAILED"
    assert entered[3:] == [*UNKNOWN, "DeadLetterInterrupted", "Interrupted"]
    assert [letter["error"] for letter in machine.dead_letters()] == ["UnknownDecision"]


@pytest.mark.parametrize("answer", [{}, {"decision": "ponder"}])
def test_an_answer_without_ids_is_dead_lettered_with_those_of_the_execution(
    answer: dict[str, Any],
) -> None:
    task = ScriptedTask({})
    task.answers = [answer]
    with made_for(task, MACHINE) as (endpoint, made):
        machine = Machine(endpoint, made)

        status, entered = machine.run()

        assert status == "FAILED"
        assert entered[3:] == [*UNKNOWN, "DeadLetterInterrupted", "Interrupted"]
        [letter] = machine.dead_letters()
    assert letter.items() >= {**IDS, "attempt": 2, "error": "UnknownDecision"}.items()


def test_a_history_never_reaches_its_limit() -> None:
    """Count the events of a history in which every attempt and the letter need every try."""
    states = definition()
    tries = {
        name: 1 + sum(rule["MaxAttempts"] for rule in states[name]["Retry"])
        for name in ("Attempt", "DeadLetter", "NoteDeadLetter", "DeadLetterInterrupted")
    }
    assert len(parse_schedule(",".join("1" * MOST_DELAYS))) == MOST_DELAYS
    with pytest.raises(ValueError, match="50"):
        parse_schedule(",".join("1" * (MOST_DELAYS + 1)))
    events_an_attempt = 2 + 2 + 2 + 3 * tries["Attempt"]  # Wait, Decide, Attempt; a try is three
    exhausted = 2 + 3 * tries["DeadLetter"] + 2 + 3 * tries["NoteDeadLetter"]
    last = max(exhausted, 2 + 3 * tries["DeadLetterInterrupted"])

    assert MOST_DELAYS * events_an_attempt + last < 25_000 - 1_000


def definition() -> dict[str, Any]:
    resource = template.load()["Resources"]["RetryStateMachine"]
    states: dict[str, Any] = json.loads(template.definition(resource, {}))["States"]
    return states


def test_each_task_outlives_hours_of_our_own_trouble() -> None:
    states = definition()

    for name in ("Attempt", "DeadLetter", "NoteDeadLetter", "DeadLetterInterrupted"):
        first = states[name]["Retry"][0]
        delays = [
            min(first["IntervalSeconds"] * first["BackoffRate"] ** number, first["MaxDelaySeconds"])
            for number in range(first["MaxAttempts"])
        ]
        # Full jitter halves a delay on average.
        assert sum(delays) / 2 > 6 * 3600, name
        assert first["JitterStrategy"] == "FULL", name
