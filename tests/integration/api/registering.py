"""Webhooks that are registered through the API."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from support.http_api import AccountClient, Answer

WEBHOOKS = "/api/v1/webhooks"
URL = "https://hooks.acme.com/webhooks/email"


def register(client: AccountClient, **changes: Any) -> Answer:
    return client.call("POST", json={"url": URL, "events": ["email.sent"], **changes})


def registered_id(client: AccountClient, **changes: Any) -> str:
    answer = register(client, **changes)
    assert answer.status == 201, answer.text
    return str(answer.data["id"])
