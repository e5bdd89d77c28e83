"""A webhook as an item of its table, its secrets and its health with it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from webhooks.adapters.items import number, webhook_key
from webhooks.domain.health import Circuit, Health
from webhooks.domain.webhook import Secrets, Webhook

if TYPE_CHECKING:
    from collections.abc import Mapping

    from webhooks.adapters.items import Item
    from webhooks.ports import WebhookChanges

RECOVERING = "yes"
"""The one partition of the sparse index of webhooks that have a recovery: they are few."""

FAILURE_ATTRIBUTES = ("failures", "failing_since", "warned_at")
"""What a success clears of a webhook's health, and so does an owner who enables it."""

DOWN = "down_since"
"""What only a success clears: the failures that a webhook was told to be down for."""

RECOVERY_ATTRIBUTES = (
    "circuit",
    "draining_since",
    "recovery_id",
    "recovery_due_at",
    "recovering",
)
"""What the end of a recovery clears."""


def webhook_item(webhook: Webhook, secret: str) -> Item:
    """Return a new webhook as an item."""
    item: Item = {
        **webhook_key(webhook.account_id, webhook.id),
        "url": {"S": webhook.url},
        "events": {"L": [{"S": event} for event in webhook.events]},
        "secret": {"S": secret},
        "active": {"BOOL": webhook.active},
        "created_at": number(webhook.created_at_ms),
        "updated_at": number(webhook.updated_at_ms),
    }
    if webhook.description:
        item["description"] = {"S": webhook.description}
    if webhook.headers:
        item["headers"] = {"M": {name: {"S": text} for name, text in webhook.headers.items()}}
    if webhook.disabled_reason:
        item["disabled_reason"] = {"S": webhook.disabled_reason}
    return item


def read_webhook(item: Mapping[str, Any]) -> Webhook:
    """Return the webhook of an item, whether or not the item shows its secrets."""
    return Webhook(
        account_id=item["account_id"]["S"],
        id=item["webhook_id"]["S"],
        url=item["url"]["S"],
        events=tuple(event["S"] for event in item["events"]["L"]),
        active=item["active"]["BOOL"],
        created_at_ms=int(item["created_at"]["N"]),
        updated_at_ms=int(item["updated_at"]["N"]),
        description=item.get("description", {}).get("S", ""),
        headers={name: text["S"] for name, text in item.get("headers", {}).get("M", {}).items()},
        disabled_reason=item.get("disabled_reason", {}).get("S"),
        health=read_health(item),
    )


def read_health(item: Mapping[str, Any]) -> Health:
    """Return the health of a webhook's item; one without a line of it is healthy."""
    return Health(
        failures=int(item.get("failures", {}).get("N", 0)),
        failing_since_ms=_time(item, "failing_since"),
        circuit=Circuit(item.get("circuit", {}).get("S", Circuit.CLOSED)),
        recovery_id=item.get("recovery_id", {}).get("S"),
        recovery_due_at_ms=int(item.get("recovery_due_at", {}).get("N", 0)),
        draining_since_ms=int(item.get("draining_since", {}).get("N", 0)),
        warned_at_ms=_time(item, "warned_at"),
        down_since_ms=_time(item, "down_since"),
    )


def draining(recovery_id: str, now_ms: int) -> Item:
    """Return the attributes of a webhook whose recovery begins now, with sending what waits."""
    return {
        "circuit": {"S": Circuit.DRAINING.value},
        "draining_since": number(now_ms),
        **recovering(recovery_id, now_ms),
    }


def recovering(recovery_id: str, due_ms: int) -> Item:
    """Return the attributes of a webhook that has a recovery: those of the sparse index too."""
    return {
        "recovery_id": {"S": recovery_id},
        "recovery_due_at": number(due_ms),
        "recovering": {"S": RECOVERING},
    }


def read_secrets(item: Mapping[str, Any]) -> Secrets:
    """Return the secrets of a webhook's item."""
    return Secrets(
        current=item.get("secret", {}).get("S"),
        previous=item.get("previous_secret", {}).get("S"),
        previous_expires_at_ms=int(item.get("previous_secret_expires_at", {}).get("N", 0)),
    )


def changed_attributes(changes: WebhookChanges) -> Item:
    """Return those attributes of a webhook that an owner changes."""
    values: Item = {}
    if changes.url is not None:
        values["url"] = {"S": changes.url}
    if changes.events is not None:
        values["events"] = {"L": [{"S": event} for event in changes.events]}
    if changes.active is not None:
        values["active"] = {"BOOL": changes.active}
    if changes.description is not None:
        values["description"] = {"S": changes.description}
    if changes.headers is not None:
        values["headers"] = {"M": {name: {"S": text} for name, text in changes.headers.items()}}
    return values


def _time(item: Mapping[str, Any], name: str) -> int | None:
    return int(item[name]["N"]) if name in item else None
