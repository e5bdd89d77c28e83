"""Values for tests: a webhook, an event, a delivery, with defaults for the rest."""

from __future__ import annotations

import json
from typing import Any

from webhooks.domain.delivery import Attempt, Delivery, FailureReason, Status, delivery_id
from webhooks.domain.webhook import Destination, Secrets, Webhook

NOW_MS = 1_766_313_000_000
"""2025-12-21T10:30:00Z, the contract's example."""

SECRET = "whsec_" + "ab" * 32
WEBHOOK_ID = "019b4069-0000-7000-8000-000000000001"
EVENT_ID = "evt_0123456789abcdef0123456789abcdef"


def event_document(**changes: Any) -> dict[str, Any]:
    """Return the contract's example of an event, changed; a value of None removes a field."""
    document = {
        "account_id": "acc_1",
        "event": "email.delivered",
        "transaction_id": "txn_mjgc0ejr_3ca715bfb7a0",
        "timestamp": "2025-12-21T10:30:00Z",
        "data": {
            "id": "txn_mjgc0ejr_3ca715bfb7a0",
            "email_id": "abc123-def456-789",
            "to": "recipient@example.com",
            "subject": "Welcome to our platform!",
            "from": "hello@yourdomain.com",
        },
        **changes,
    }
    return {name: value for name, value in document.items() if value is not None}


def event_text(**changes: Any) -> str:
    """Return the contract's example of an event as a queue's message."""
    return json.dumps(event_document(**changes))


def webhook(number: int = 1, **changes: Any) -> Webhook:
    """Return a webhook; `number` makes its id."""
    values: dict[str, Any] = {
        "account_id": "acc_1",
        "id": f"019b4069-0000-7000-8000-{number:012d}",
        "url": f"https://hook{number}.example.com/events",
        "events": ("email.delivered", "email.bounced"),
        "active": True,
        "created_at_ms": NOW_MS,
        "updated_at_ms": NOW_MS,
        **changes,
    }
    return Webhook(**values)


def destination(number: int = 1, **changes: Any) -> Destination:
    """Return a webhook with its secrets."""
    return Destination(webhook(number, **changes), Secrets(SECRET))


def attempt(number: int = 1, **changes: Any) -> Attempt:
    """Return a failed attempt."""
    values: dict[str, Any] = {
        "number": number,
        "started_at_ms": NOW_MS,
        "duration_ms": 35,
        "status_code": 500,
        "error": FailureReason.HTTP_STATUS,
        "response_body": "no",
        **changes,
    }
    return Attempt(**values)


def delivery(number: int = 1, **changes: Any) -> Delivery:
    """Return a delivery that failed once; `number` makes its webhook's id."""
    webhook_id = f"019b4069-0000-7000-8000-{number:012d}"
    values: dict[str, Any] = {
        "account_id": "acc_1",
        "webhook_id": webhook_id,
        "id": delivery_id(EVENT_ID, NOW_MS, webhook_id),
        "event_id": EVENT_ID,
        "event_type": "email.delivered",
        "body": b'{"event":"email.delivered"}',
        "status": Status.RETRYING,
        "created_at_ms": NOW_MS,
        "attempts": (attempt(),),
        "next_attempt_at_ms": NOW_MS + 5_000,
        **changes,
    }
    return Delivery(**values)
