"""The state machine's task: the state in, the next state out."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from retrier import recovery
from webhooks import wiring
from webhooks.domain.delivery import DeliveryKey
from webhooks.domain.timestamps import to_text
from webhooks.services.retrier import Decision, Verdict

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext

    from webhooks.domain.delivery import Delivery

_MILLISECONDS = 1000

VERSION = 1
"""The version of the state that this function understands."""

_IDS = ("account_id", "webhook_id", "delivery_id", *recovery.WORKS)

_UNKNOWN_VERSION = {
    "event_id": None,
    "event_type": None,
    "reason": "unknown_version",
    "attempts": None,
    "last_error": None,
    "last_status_code": None,
    "exhausted_at": None,
}


def lambda_handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Make a later attempt of a delivery (`RetryStateMachine`'s state)."""
    return handle(event, context, wiring.services("retrier"))


def handle(
    event: dict[str, Any], context: LambdaContext, services: wiring.Services
) -> dict[str, Any]:
    """Make the attempt that the state asks for; the answer is the state machine's next state.

    With the action `resend` that is one besides the schedule, after which the execution is done;
    the recovery state machine's actions are steps of that one (see `recovery`), and `sweep` is a
    schedule's, for what nobody works on any more.

    A state of a version that this function does not know goes to the dead-letter queue as it is,
    instead of failing again and again.
    """
    with services.observer.invocation(context, **_ids(event)):
        action = event.get("action")
        if action in recovery.ACTIONS:
            return recovery.handle(event, context, services)
        if action == "sweep":
            return _sweep(context, services)
        return _attempt(event, services)


def _ids(event: dict[str, Any]) -> dict[str, str]:
    """Return what the invocation is about: its execution is named after the last of these ids."""
    return {name: str(event[name]) for name in _IDS if name in event}


def _sweep(context: LambdaContext, services: wiring.Services) -> dict[str, Any]:
    deliveries, recoveries = services.sweeper.sweep(
        lambda: context.get_remaining_time_in_millis() / _MILLISECONDS
    )
    return {"overdue_deliveries": deliveries, "overdue_recoveries": recoveries}


def _attempt(event: dict[str, Any], services: wiring.Services) -> dict[str, Any]:
    names = {name: str(event.get(name)) for name in ("account_id", "webhook_id", "delivery_id")}
    if event.get("version") != VERSION:
        services.observer.log("error", "unknown_version", **names, version=event.get("version"))
        return {**event, **names, "decision": Decision.DEAD_LETTER, "dead_letter": _UNKNOWN_VERSION}
    attempt_number = int(event["attempt"])
    generation = int(event.get("generation", 0))
    key = DeliveryKey(**names)
    if event.get("action") == "resend":
        services.retrier.resend(key)
        verdict = Verdict(Decision.DONE)
    else:
        verdict = services.retrier.retry(key, attempt_number, generation)
    state = {"version": VERSION, **names, "generation": generation}
    return {**state, **_next(verdict, attempt_number)}


def _next(verdict: Verdict, attempt_number: int) -> dict[str, Any]:
    state: dict[str, Any] = {"attempt": attempt_number, "decision": verdict.decision}
    if verdict.decision is Decision.WAIT and verdict.delivery:
        state["attempt"] = verdict.delivery.scheduled_attempts + 1
        state["seconds"] = math.ceil(verdict.seconds)
    if verdict.decision is Decision.DEAD_LETTER and verdict.delivery:
        state["dead_letter"] = _facts(verdict.delivery)
    return state


def _facts(delivery: Delivery) -> dict[str, Any]:
    """Say what an operator reads first; the payload stays in the table, under its ids."""
    last = delivery.attempts[-1] if delivery.attempts else None
    return {
        "event_id": delivery.event_id,
        "event_type": delivery.event_type,
        "reason": "exhausted",
        "attempts": len(delivery.attempts),
        "last_error": last.error if last else None,
        "last_status_code": last.status_code if last else None,
        "exhausted_at": to_text(last.started_at_ms + last.duration_ms) if last else None,
    }
