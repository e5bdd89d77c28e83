"""The forms in which people see the API's resources; a script gets their JSON unchanged."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cli.webhook_options import COLUMNS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cli.client import ApiResult
    from cli.screen import Screen

Thing = dict[str, Any]


def webhooks(screen: Screen, found: Sequence[Thing]) -> None:
    """Show webhooks, one per line."""
    if screen.as_json:
        screen.json(found)
        return
    screen.table(
        (
            *("ID", "STATE", "FAILING SINCE", "URL", "EVENTS", "CREATED"),
            *(heading for heading, _ in COLUMNS),
        ),
        [
            (
                webhook["id"],
                webhook["health"]["state"] if webhook["active"] else "disabled",
                webhook["health"].get("failing_since"),
                webhook["url"],
                webhook["events"],
                webhook["created_at"],
                *(webhook.get(name) for _, name in COLUMNS),
            )
            for webhook in found
        ],
    )


def thing(screen: Screen, found: Thing) -> None:
    """Show one resource, one field per line."""
    if screen.as_json:
        screen.json(found)
        return
    screen.fields(found)


def secret(screen: Screen, returned: ApiResult) -> None:
    """Show a resource with its secret, and the advice to save the secret."""
    warnings = {"warnings": returned.warnings} if returned.warnings else {}
    thing(screen, returned.data | warnings)
    if not screen.as_json:
        screen.line("Save the secret: it is shown only this once.")


def deliveries(screen: Screen, found: Sequence[Thing]) -> None:
    """Show deliveries, one per line."""
    if screen.as_json:
        screen.json(found)
        return
    screen.table(
        ("ID", "STATUS", "EVENT", "TRANSACTION", "ATTEMPTS", "LAST", "CREATED"),
        [
            (
                delivery["id"],
                delivery["status"],
                delivery["event"] + (" (test)" if delivery["test"] else ""),
                delivery.get("transaction_id"),
                delivery["attempt_count"],
                _outcome(delivery.get("last_attempt")),
                delivery["created_at"],
            )
            for delivery in found
        ],
    )


def delivery(screen: Screen, found: Thing) -> None:
    """Show a delivery, with its body and attempts if they are included."""
    if screen.as_json:
        screen.json(found)
        return
    apart = {"last_attempt", "payload", "attempts", "attempt_count"}
    screen.fields({name: value for name, value in found.items() if name not in apart})
    attempts = found.get("attempts")
    if attempts is None:
        return
    screen.line()
    screen.table(
        ("ATTEMPT", "STARTED", "RESULT", "MS", "MANUAL", "RESPONSE"),
        [
            (
                attempt["number"],
                attempt["started_at"],
                _outcome(attempt),
                attempt["duration_ms"],
                attempt["manual"],
                attempt["response_body"],
            )
            for attempt in attempts
        ],
    )


def check(screen: Screen, found: Thing) -> None:
    """Show a check and the verdict of each of its requests."""
    if screen.as_json:
        screen.json(found)
        return
    screen.fields({name: value for name, value in found.items() if name != "requests"})
    if "requests" not in found:
        return
    screen.line()
    screen.table(
        ("REQUEST", "EXPECTED", "RESPONSE", "MS", "VERDICT", "MEANS"),
        [
            (
                each["request"],
                each["expected"],
                _outcome(each),
                each["duration_ms"],
                each["verdict"],
                each["message"],
            )
            for each in found["requests"]
        ],
    )


def replays(screen: Screen, found: Sequence[Thing]) -> None:
    """Show replays, one per line."""
    if screen.as_json:
        screen.json(found)
        return
    screen.table(
        ("ID", "STATUS", "SENT", "ARRIVED", "FAILED", "SINCE", "UNTIL", "CREATED"),
        [
            (
                replay["id"],
                replay["status"],
                replay["sent"],
                replay["succeeded"],
                replay["failed"],
                replay["since"],
                replay["until"],
                replay["created_at"],
            )
            for replay in found
        ],
    )


def event_types(screen: Screen, found: Sequence[Thing]) -> None:
    """Show event types, one per line; their schemas and samples are for scripts."""
    if screen.as_json:
        screen.json(found)
        return
    screen.table(("EVENT", "DESCRIPTION"), [(each["type"], each["description"]) for each in found])


def _outcome(attempt: Thing | None) -> object:
    """Return the receiver's status, or the reason why there is none."""
    if attempt is None:
        return None
    status = attempt.get("status_code")
    return attempt.get("error") if status is None else status
