"""Every transition of both state machines, really made: each Next, Choice, Retry and Catch.

A walk has the answers of the machine's task, the failing calls of AWS, and the transitions that the
execution then makes. The last tests compare the walks with the definitions: a transition in no walk
fails.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest

from integration.state_machines.state_coverage import States, transitions, walked
from local import template
from local.aws import aws_client
from support.faults import Faults, refused
from support.state_machines import ScriptedTask, StateMachine, made_for
from webhooks.domain.errors import UnavailableError

if TYPE_CHECKING:
    from collections.abc import Iterator

RETRY = "RetryStateMachine"
SHORT = "ShortRetryStateMachine"
RECOVERY = "JobStateMachine"
WEBHOOK: dict[str, Any] = {"version": 1, "account_id": "acc_1", "webhook_id": "w"}
IDS = {
    RETRY: WEBHOOK | {"delivery_id": "d"},
    SHORT: WEBHOOK | {"delivery_id": "d"},
    RECOVERY: WEBHOOK | {"action": "recover", "recovery_id": "r"},
}
FACTS = {
    "event_id": "evt_1",
    "event_type": "email.sent",
    "attempts": 3,
    "last_error": "http_status",
    "last_status_code": 500,
    "reason": "exhausted",
    "exhausted_at": "2025-12-21T10:30:00.000Z",
    "generation": 0,
}


@dataclass(frozen=True)
class Walk:
    """One execution: its task's answers, its end, and its transitions.

    `refused` are the next calls of AWS that fail, by operation. With `taken`, the name under which
    the walk goes on already has an execution with another input.
    """

    machine: str
    answers: list[dict[str, Any] | Exception]
    made: list[str]
    status: str = "SUCCEEDED"
    refused: dict[str, int] = field(default_factory=dict)
    taken: bool = False


def error(name: str) -> Exception:
    """Return an error in the state machine's view: by the name of its class."""
    made: Exception = type(name, (Exception,), {})("x")
    return made


BUG = KeyError("x")
DEAD_LETTER = {"attempt": 2, "decision": "dead_letter", "dead_letter": FACTS}
PONDER = {"attempt": 2, "decision": "ponder"}
UNDECIDED = {"attempt": 2}
NEXT_NAME = "r-100"
CONTINUE: dict[str, Any] = {
    "decision": "continue",
    "name": NEXT_NAME,
    "input": IDS[RECOVERY] | {"seconds": 0, "steps": 100, "probe": 4, "after": "d"},
}
DONE = {"attempt": 2, "decision": "done"}
TO_ATTEMPT = "Wait -> Attempt"
TO_STEP = "Wait -> Step"
UNREAD = ["Attempt: catch 1 -> DeadLetterInterrupted", "DeadLetterInterrupted -> Interrupted"]
ABANDONED = ["Abandon -> Interrupted"]
NAMED = "UnknownDecision -> NameUnknownDecision"

WALKS = {
    "an attempt that ends it": Walk(
        RETRY, [DONE], [TO_ATTEMPT, "Attempt -> Decide", "Decide: done -> Done"]
    ),
    "an attempt that waits": Walk(
        RETRY,
        [{"attempt": 3, "seconds": 0, "decision": "wait"}, DONE],
        [
            *[TO_ATTEMPT, "Attempt -> Decide", "Decide: wait -> Wait"],
            *[TO_ATTEMPT, "Attempt -> Decide", "Decide: done -> Done"],
        ],
    ),
    "a delivery that is exhausted": Walk(
        RETRY,
        [DEAD_LETTER],
        [
            TO_ATTEMPT,
            "Attempt -> Decide",
            "Decide: dead_letter -> DeadLetter",
            *["DeadLetter -> NoteDeadLetter", "NoteDeadLetter -> Done"],
        ],
    ),
    "a dead letter that is refused once": Walk(
        RETRY,
        [DEAD_LETTER],
        [
            *[TO_ATTEMPT, "Attempt -> Decide", "Decide: dead_letter -> DeadLetter"],
            *["DeadLetter: retry 1", "DeadLetter -> NoteDeadLetter", "NoteDeadLetter -> Done"],
        ],
        refused={"SendMessage": 1},
    ),
    "a dead letter that is refused for ever": Walk(
        RETRY,
        [DEAD_LETTER],
        [
            *[TO_ATTEMPT, "Attempt -> Decide", "Decide: dead_letter -> DeadLetter"],
            *["DeadLetter: retry 1", "DeadLetter: fails"],
        ],
        status="FAILED",
        refused={"SendMessage": 2},
    ),
    "an attempt that our own side breaks off": Walk(
        RETRY,
        [UnavailableError("x"), DONE],
        [TO_ATTEMPT, "Attempt: retry 1", "Attempt -> Decide", "Decide: done -> Done"],
    ),
    "an attempt that Lambda has no room for": Walk(
        RETRY,
        [error("Lambda.TooManyRequestsException"), DONE],
        [TO_ATTEMPT, "Attempt: retry 1", "Attempt -> Decide", "Decide: done -> Done"],
    ),
    "an attempt that never answers": Walk(
        RETRY,
        [error("States.Timeout"), DONE],
        [TO_ATTEMPT, "Attempt: retry 1", "Attempt -> Decide", "Decide: done -> Done"],
    ),
    "an attempt that Lambda ends": Walk(
        RETRY,
        [error("Lambda.Unknown"), DONE],
        [TO_ATTEMPT, "Attempt: retry 1", "Attempt -> Decide", "Decide: done -> Done"],
    ),
    "a bug that is rolled back": Walk(
        RETRY,
        [BUG, DONE],
        [TO_ATTEMPT, "Attempt: retry 3", "Attempt -> Decide", "Decide: done -> Done"],
    ),
    "a bug that stays": Walk(
        RETRY, [BUG, BUG], [TO_ATTEMPT, "Attempt: retry 3", *UNREAD], status="FAILED"
    ),
    "our own side away for all of its tries": Walk(
        RETRY,
        [UnavailableError("x"), UnavailableError("x")],
        [TO_ATTEMPT, "Attempt: retry 1", *UNREAD],
        status="FAILED",
    ),
    "an attempt's answer without a decision": Walk(
        RETRY,
        [UNDECIDED],
        [
            *[TO_ATTEMPT, "Attempt -> Decide", "Decide: absent -> UnknownDecision"],
            *[NAMED, "NameUnknownDecision -> DeadLetterInterrupted"],
            "DeadLetterInterrupted -> Interrupted",
        ],
        status="FAILED",
    ),
    "an interrupted one whose letter is refused once": Walk(
        RETRY,
        [PONDER],
        [
            *[TO_ATTEMPT, "Attempt -> Decide", "Decide: default -> UnknownDecision"],
            *[NAMED, "NameUnknownDecision -> DeadLetterInterrupted"],
            *["DeadLetterInterrupted: retry 1", "DeadLetterInterrupted -> Interrupted"],
        ],
        status="FAILED",
        refused={"SendMessage": 1},
    ),
    "an interrupted one whose letter is refused for ever": Walk(
        RETRY,
        [PONDER],
        [
            *[TO_ATTEMPT, "Attempt -> Decide", "Decide: default -> UnknownDecision"],
            *[NAMED, "NameUnknownDecision -> DeadLetterInterrupted"],
            *["DeadLetterInterrupted: retry 1", "DeadLetterInterrupted: fails"],
        ],
        status="FAILED",
        refused={"SendMessage": 2},
    ),
    "a dead letter that is noted at the second try": Walk(
        RETRY,
        [DEAD_LETTER, UnavailableError("x"), {}],
        [
            *[TO_ATTEMPT, "Attempt -> Decide", "Decide: dead_letter -> DeadLetter"],
            *["DeadLetter -> NoteDeadLetter", "NoteDeadLetter: retry 1", "NoteDeadLetter -> Done"],
        ],
    ),
    "a dead letter that cannot be noted": Walk(
        RETRY,
        [DEAD_LETTER, UnavailableError("x"), UnavailableError("x")],
        [
            *[TO_ATTEMPT, "Attempt -> Decide", "Decide: dead_letter -> DeadLetter"],
            *["DeadLetter -> NoteDeadLetter", "NoteDeadLetter: retry 1", "NoteDeadLetter: fails"],
        ],
        status="FAILED",
    ),
    "a delivery whose claims have no result": Walk(
        RETRY, [error("DeliveryInterruptedError")], [TO_ATTEMPT, *UNREAD], status="FAILED"
    ),
    "a short one": Walk(SHORT, [DONE], [TO_ATTEMPT, "Attempt -> Done"]),
    "a short one that our own side breaks off": Walk(
        SHORT, [UnavailableError("x"), DONE], [TO_ATTEMPT, "Attempt: retry 1", "Attempt -> Done"]
    ),
    "a short one that is left to the sweep": Walk(
        SHORT,
        [error("Lambda.Unknown"), BUG],
        [TO_ATTEMPT, "Attempt: retry 1", "Attempt: fails"],
        status="FAILED",
    ),
    "a step that ends it": Walk(
        RECOVERY, [DONE], [TO_STEP, "Step -> Decide", "Decide: done -> Done"]
    ),
    "a probe, and another of the next delivery": Walk(
        RECOVERY,
        [{"decision": "wait", "seconds": 0, "steps": 1, "probe": 2, "after": "d"}, DONE],
        [
            *[TO_STEP, "Step -> Decide", "Decide: wait -> Wait"],
            *[TO_STEP, "Step -> Decide", "Decide: done -> Done"],
        ],
    ),
    "a step that our own side breaks off": Walk(
        RECOVERY,
        [UnavailableError("x"), DONE],
        [TO_STEP, "Step: retry 1", "Step -> Decide", "Decide: done -> Done"],
    ),
    "a step that never answers": Walk(
        RECOVERY,
        [error("States.Timeout"), DONE],
        [TO_STEP, "Step: retry 1", "Step -> Decide", "Decide: done -> Done"],
    ),
    "a step with a bug that is rolled back": Walk(
        RECOVERY,
        [BUG, DONE],
        [TO_STEP, "Step: retry 2", "Step -> Decide", "Decide: done -> Done"],
    ),
    "a step with a bug that stays": Walk(
        RECOVERY,
        [BUG, BUG, {}],
        [TO_STEP, "Step: retry 2", "Step: catch 1 -> Abandon", *ABANDONED],
        status="FAILED",
    ),
    "an abandonment that our own side breaks off": Walk(
        RECOVERY,
        [BUG, BUG, UnavailableError("x"), {}],
        [TO_STEP, "Step: retry 2", "Step: catch 1 -> Abandon", "Abandon: retry 1", *ABANDONED],
        status="FAILED",
    ),
    "an abandonment that never works": Walk(
        RECOVERY,
        [BUG, BUG, BUG, BUG],
        [
            *[TO_STEP, "Step: retry 2", "Step: catch 1 -> Abandon"],
            *["Abandon: retry 1", "Abandon: catch 1 -> Interrupted"],
        ],
        status="FAILED",
    ),
    "an answer without a decision": Walk(
        RECOVERY,
        [UNDECIDED, {}],
        [
            *[TO_STEP, "Step -> Decide", "Decide: absent -> UnknownDecision"],
            *[NAMED, "NameUnknownDecision -> Abandon", *ABANDONED],
        ],
        status="FAILED",
    ),
    "a decision that is none": Walk(
        RECOVERY,
        [PONDER, {}],
        [
            *[TO_STEP, "Step -> Decide", "Decide: default -> UnknownDecision"],
            *[NAMED, "NameUnknownDecision -> Abandon", *ABANDONED],
        ],
        status="FAILED",
    ),
    "a long work that goes on in a new execution": Walk(
        RECOVERY,
        [CONTINUE, DONE],
        [TO_STEP, "Step -> Decide", "Decide: continue -> Continue", "Continue -> Done"],
    ),
    "a new execution that is refused once": Walk(
        RECOVERY,
        [CONTINUE, DONE],
        [
            *[TO_STEP, "Step -> Decide", "Decide: continue -> Continue"],
            *["Continue: retry 2", "Continue -> Done"],
        ],
        refused={"StartExecution": 1},
    ),
    "a new execution that is refused for ever": Walk(
        RECOVERY,
        [CONTINUE, {}],
        [
            *[TO_STEP, "Step -> Decide", "Decide: continue -> Continue"],
            *["Continue: retry 2", "Continue: catch 2 -> Abandon", *ABANDONED],
        ],
        status="FAILED",
        refused={"StartExecution": 2},
    ),
    "a new execution that was started before": Walk(
        RECOVERY,
        [DONE, CONTINUE],
        [
            *[TO_STEP, "Step -> Decide", "Decide: continue -> Continue"],
            "Continue: catch 1 -> Done",
        ],
        taken=True,
    ),
}


class Machine(StateMachine):
    """A state machine whose task and whose calls of AWS a test scripts."""

    def __init__(self, endpoint: str, made: Any, name: str, task: ScriptedTask) -> None:
        super().__init__(endpoint, made, name)
        self._name = name
        self._task = task
        self._client = aws_client("stepfunctions", endpoint)
        self._following = NEXT_NAME
        self.faults = Faults()

    def walk(self, walk: Walk) -> tuple[str, list[str]]:
        """Return how an execution ends, and the transitions that it makes."""
        self._following = f"{NEXT_NAME}-{uuid4().hex}"
        self._task.states.clear()
        self._task.answers = [_named(answer, self._following) for answer in walk.answers]
        state = IDS[self._name] | {"attempt": 2, "seconds": 0}
        if walk.taken:
            self.execute(state | {"other": True}, name=self._following)
        for operation, times in walk.refused.items():
            about = self._following if operation == "StartExecution" else ""
            self.faults.on(operation, refused("AccessDenied"), about=about, times=times)
        started = self._client.start_execution(
            stateMachineArn=self._arn, name=uuid4().hex, input=json.dumps(state)
        )["executionArn"]
        status, _ = self.ended(started)
        self.faults.clear()
        history = self._client.get_execution_history(executionArn=started, maxResults=1000)
        return status, walked(definition(self._name), history["events"])

    def next_task_saw(self) -> dict[str, Any]:
        """Wait for the execution that continues the last walk; returns its task's input."""
        assert self.ended(self.named(self._following))[0] == "SUCCEEDED"
        return self._task.states[-1]


def _named(answer: dict[str, Any] | Exception, name: str) -> dict[str, Any] | Exception:
    return {**answer, "name": name} if isinstance(answer, dict) and "name" in answer else answer


@cache
def definition(machine: str) -> States:
    resource = template.load()["Resources"][machine]
    states: States = json.loads(template.definition(resource, {}))["States"]
    return states


@pytest.fixture(scope="module")
def machine(request: pytest.FixtureRequest) -> Iterator[Machine]:
    task = ScriptedTask(IDS[request.param])
    with made_for(task, request.param) as (endpoint, made):
        ready = Machine(endpoint, made, request.param, task)
        with ready.faults.installed():
            yield ready


@pytest.mark.parametrize(
    ("machine", "walk"),
    [pytest.param(walk.machine, walk, id=name) for name, walk in WALKS.items()],
    indirect=["machine"],
    scope="module",
)
def test_a_walk_makes_its_transitions(machine: Machine, walk: Walk) -> None:
    assert machine.walk(walk) == (walk.status, walk.made)
    if walk.answers[0] is CONTINUE and walk.status == "SUCCEEDED":
        assert machine.next_task_saw().items() >= CONTINUE["input"].items()


@pytest.mark.parametrize("name", [RETRY, SHORT, RECOVERY])
def test_no_transition_is_left_that_no_walk_makes(name: str) -> None:
    made = {one for walk in WALKS.values() if walk.machine == name for one in walk.made}
    assert made == transitions(definition(name))
