"""The retry state machine, really run: each of its paths, with a task that does as it is told."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from local import resources, template
from local.aws import aws_client, aws_server, invoking
from local.functions import LocalFunction
from local.serving import listen
from support.stack import eventually
from webhooks.domain.errors import Unavailable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from local.functions import Context
    from local.resources import Resources

IDS = {"version": 1, "account_id": "acc_1", "webhook_id": "w", "delivery_id": "d"}
FACTS = {
    "event_id": "evt_1",
    "event_type": "email.sent",
    "attempts": 3,
    "last_error": "http_status",
    "last_status_code": 500,
    "reason": "exhausted",
    "exhausted_at": "2025-12-21T10:30:00.000Z",
}


class Retrier:
    """The state machine's task: gives the answers it was told to, one an invocation."""

    def __init__(self) -> None:
        self.answers: list[dict[str, Any] | Exception] = []
        self.states: list[dict[str, Any]] = []

    def __call__(self, state: dict[str, Any], context: Context) -> dict[str, Any]:
        self.states.append(state)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return IDS | answer


class Machine:
    """The template's retry state machine in moto, and the queue that it gives up to."""

    def __init__(self, endpoint: str, made: Resources) -> None:
        self._sqs = aws_client("sqs", endpoint)
        self._states = aws_client("stepfunctions", endpoint)
        self._queue_url = made.queues["DeadLetterQueue"]
        self._arn = made.state_machines["RetryStateMachine"]

    def run(self) -> tuple[str, list[str]]:
        """Run one execution from attempt 2; returns its status and the states it entered."""
        state = json.dumps(IDS | {"attempt": 2, "seconds": 0})
        arn = self._states.start_execution(stateMachineArn=self._arn, input=state)["executionArn"]

        def ended() -> str | None:
            status = str(self._states.describe_execution(executionArn=arn)["status"])
            return None if status == "RUNNING" else status

        status = eventually(ended, "the execution ends")
        history = self._states.get_execution_history(executionArn=arn, maxResults=1000)
        entered = [
            event["stateEnteredEventDetails"]["name"]
            for event in history["events"]
            if "stateEnteredEventDetails" in event
        ]
        return status, entered

    def dead_letters(self) -> list[dict[str, Any]]:
        answer = self._sqs.receive_message(
            QueueUrl=self._queue_url, MaxNumberOfMessages=10, WaitTimeSeconds=0
        )
        return [json.loads(message["Body"]) for message in answer.get("Messages", [])]


def hurried(translated: dict[str, Any]) -> dict[str, Any]:
    """Cut the definition's own retries to one, a second later: the paths stay the same."""
    properties = translated["Resources"]["RetryStateMachine"]["Properties"]
    definition = json.loads(properties["DefinitionString"])
    for state in definition["States"].values():
        for rule in state.get("Retry", []):
            rule |= {"IntervalSeconds": 1, "MaxAttempts": 1, "BackoffRate": 1}
            rule.pop("MaxDelaySeconds", None)
    properties["DefinitionString"] = json.dumps(definition)
    return translated


@pytest.fixture
def retrier() -> Retrier:
    return Retrier()


@pytest.fixture
def machine(retrier: Retrier) -> Iterator[Machine]:
    with aws_server([listen("127.0.0.1", 0, "AWS_PORT")]) as endpoint:
        made = resources.create(hurried(template.load()), endpoint)
        name = made.functions["RetrierFunction"].name
        with invoking([LocalFunction(name=name, handler=retrier)]):
            yield Machine(endpoint, made)


def test_a_delivery_that_arrives_at_once_takes_three_transitions(
    machine: Machine, retrier: Retrier
) -> None:
    retrier.answers = [{"attempt": 2, "decision": "done"}]

    assert machine.run() == ("SUCCEEDED", ["Wait", "Attempt", "Decide", "Done"])
    assert retrier.states == [IDS | {"attempt": 2, "seconds": 0}]
    assert machine.dead_letters() == []


def test_a_failed_attempt_waits_again_with_what_the_retrier_decided(
    machine: Machine, retrier: Retrier
) -> None:
    retrier.answers = [
        {"attempt": 3, "seconds": 1, "decision": "wait"},
        {"attempt": 4, "seconds": 0, "decision": "wait"},
        {"attempt": 4, "decision": "done"},
    ]

    status, entered = machine.run()

    assert status == "SUCCEEDED"
    assert entered == [*["Wait", "Attempt", "Decide"] * 3, "Done"]
    assert [(state["attempt"], state["seconds"]) for state in retrier.states] == [
        (2, 0),
        (3, 1),
        (4, 0),
    ]


def test_an_exhausted_delivery_becomes_one_message_with_what_an_operator_needs(
    machine: Machine, retrier: Retrier
) -> None:
    retrier.answers = [{"attempt": 2, "decision": "dead_letter", "dead_letter": FACTS}]

    assert machine.run() == ("SUCCEEDED", ["Wait", "Attempt", "Decide", "DeadLetter", "Done"])
    assert machine.dead_letters() == [{"type": "delivery.exhausted", **IDS, **FACTS}]


def test_facts_that_nobody_knows_are_null_in_the_message(
    machine: Machine, retrier: Retrier
) -> None:
    unknown = dict.fromkeys(FACTS) | {"reason": "unknown_version"}
    retrier.answers = [{"attempt": 2, "decision": "dead_letter", "dead_letter": unknown}]

    assert machine.run()[0] == "SUCCEEDED"
    assert machine.dead_letters() == [{"type": "delivery.exhausted", **IDS, **unknown}]


def test_our_own_side_being_unavailable_is_tried_again_and_is_no_attempt(
    machine: Machine, retrier: Retrier
) -> None:
    retrier.answers = [Unavailable("reading a delivery"), {"attempt": 2, "decision": "done"}]

    assert machine.run() == ("SUCCEEDED", ["Wait", "Attempt", "Decide", "Done"])
    assert [state["attempt"] for state in retrier.states] == [2, 2]


def test_a_bug_is_tried_again_then_dead_lettered_by_name_and_fails_in_sight(
    machine: Machine, retrier: Retrier
) -> None:
    retrier.answers = [KeyError("a secret"), KeyError("a secret")]

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


def test_a_decision_that_the_machine_does_not_know_is_dead_lettered_too(
    machine: Machine, retrier: Retrier
) -> None:
    retrier.answers = [{"attempt": 2, "decision": "ponder"}]

    status, entered = machine.run()

    assert status == "FAILED"
    assert entered[3:] == ["UnknownDecision", "DeadLetterInterrupted", "Interrupted"]
    assert [letter["error"] for letter in machine.dead_letters()] == ["UnknownDecision"]


def test_each_task_outlives_hours_of_our_own_trouble() -> None:
    resource = template.load()["Resources"]["RetryStateMachine"]
    states = json.loads(template.definition(resource, {}))["States"]

    for name in ("Attempt", "DeadLetter", "DeadLetterInterrupted"):
        first = states[name]["Retry"][0]
        delays = [
            min(first["IntervalSeconds"] * first["BackoffRate"] ** number, first["MaxDelaySeconds"])
            for number in range(first["MaxAttempts"])
        ]
        # Full jitter halves a delay on average.
        assert sum(delays) / 2 > 6 * 3600, name
        assert first["JitterStrategy"] == "FULL", name
