"""Entry point of the state machines and the sweep: the state in, the next state out."""

from __future__ import annotations

import math
from functools import cache
from typing import TYPE_CHECKING, Any

from webhooks.domain.delivery import DeliveryKey
from webhooks.domain.jobs import Action
from webhooks.domain.timestamps import MILLISECONDS, to_text
from webhooks.services.retrier import Decision, Machine, RetryDecision
from webhooks.wiring.worker import WorkerServices
from worker import jobs

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext

    from webhooks.domain.delivery import Delivery


VERSION = 1
"""The version of the state that this function understands."""

_UNKNOWN_VERSION = {
    "event_id": None,
    "event_type": None,
    "reason": "unknown_version",
    "attempts": None,
    "last_error": None,
    "last_status_code": None,
    "exhausted_at": None,
    "generation": None,
}

_MACHINES = {
    None: Machine.FORMER,
    Action.ATTEMPT: Machine.STANDARD,
    Action.SHORT_ATTEMPT: Machine.SHORT,
}
"""The kind of state machine that requests a scheduled attempt, by its action."""

_WRAPPED = {Action.ATTEMPT, Action.SHORT_ATTEMPT, Action.NOTE_DEAD_LETTER}
"""Actions that carry their state in a field of its own."""


def lambda_handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Make a scheduled attempt of a delivery, a step of a job, or a sweep."""
    return handle(event, context, deployed_services())


@cache
def deployed_services() -> WorkerServices:
    """Return the services of the deployed function, built at its first invocation."""
    return WorkerServices.deployed()


def handle(
    event: dict[str, Any], context: LambdaContext, services: WorkerServices
) -> dict[str, Any]:
    """Do the action that the state asks for; return the state machine's next state.

    The retry state machines keep their own state in `state`, next to the action: a scheduled
    attempt, or a dead letter to record. Executions of the former release have no action, or
    `resend` for one manual attempt, which ends the execution. The job state machine's actions are
    steps of jobs (see `jobs`). The action `sweep` comes from a schedule and restarts abandoned
    work.

    A state of an unknown version goes to the dead-letter queue as it is, because it would fail at
    every retry.
    """
    action = event.get("action")
    state = event["state"] if action in _WRAPPED else event
    about = {name: str(value) for name, value in jobs.ids(state).items()}
    with services.telemetry.invocation(context, **about):
        if action == Action.ABANDON or services.jobs.knows(action):
            return jobs.handle(event, context, services)
        if action == Action.SWEEP:
            return _sweep(context, services)
        if action == Action.NOTE_DEAD_LETTER:
            return _note_dead_letter(state, services)
        return _attempt(state, services, _MACHINES.get(action, Machine.FORMER), context)


def _sweep(context: LambdaContext, services: WorkerServices) -> dict[str, Any]:
    swept = services.sweep_job.sweep(lambda: context.get_remaining_time_in_millis() / MILLISECONDS)
    return swept._asdict()


def _note_dead_letter(state: dict[str, Any], services: WorkerServices) -> dict[str, Any]:
    if state.get("version") == VERSION:
        names = _names(state)
        services.retrier.note_dead_letter(DeliveryKey(**names), int(state.get("generation", 0)))
    return {}


def _names(state: dict[str, Any]) -> dict[str, str]:
    return {name: str(state.get(name)) for name in DeliveryKey._fields}


def _attempt(
    event: dict[str, Any], services: WorkerServices, machine: Machine, context: LambdaContext
) -> dict[str, Any]:
    names = _names(event)
    if event.get("version") != VERSION:
        services.telemetry.log("error", "unknown_version", **names, version=event.get("version"))
        return {**event, **names, "decision": Decision.DEAD_LETTER, "dead_letter": _UNKNOWN_VERSION}
    attempt_number = int(event["attempt"])
    generation = int(event.get("generation", 0))
    key = DeliveryKey(**names)
    if event.get("action") == Action.RESEND:
        return _resend(key, attempt_number, services)
    decided = services.retrier.retry(
        key, attempt_number, generation, invocation=context.aws_request_id, machine=machine
    )
    state = {"version": VERSION, **names, "generation": generation}
    return {**state, **_next(decided, attempt_number)}


def _resend(key: DeliveryKey, attempt_number: int, services: WorkerServices) -> dict[str, Any]:
    """Make a manual attempt, or return the wait until the end of the receiver's pause."""
    seconds = services.retrier.resend(key).wait_seconds
    state = {"version": VERSION, **key._asdict(), "attempt": attempt_number}
    if not seconds:
        return {**state, "decision": Decision.DONE}
    again = {"action": Action.RESEND, "seconds": math.ceil(seconds)}
    return {**state, **again, "decision": Decision.WAIT}


def _next(decided: RetryDecision, attempt_number: int) -> dict[str, Any]:
    state: dict[str, Any] = {"attempt": attempt_number, "decision": decided.decision}
    if decided.decision is Decision.WAIT and decided.delivery:
        state["attempt"] = decided.delivery.next_attempt
        state["seconds"] = math.ceil(decided.seconds)
    if decided.decision is Decision.DEAD_LETTER and decided.delivery:
        state["dead_letter"] = _facts(decided.delivery)
    return state


def _facts(delivery: Delivery) -> dict[str, Any]:
    """Return the facts that an operator needs first; the payload stays in the table."""
    last = delivery.attempts[-1] if delivery.attempts else None
    return {
        "event_id": delivery.event_id,
        "event_type": delivery.event_type,
        "reason": "exhausted",
        "attempts": len(delivery.attempts),
        "last_error": last.error if last else None,
        "last_status_code": last.status_code if last else None,
        "exhausted_at": to_text(last.started_at_ms + last.duration_ms) if last else None,
        "generation": delivery.generation,
    }
