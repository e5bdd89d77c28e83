"""What the tables' items look like: keys, and the domain's values as DynamoDB attributes.

The one module that makes keys. Attributes are marshalled by hand: the low-level form costs a
fraction of boto3's resource layer, and nothing turns numbers into `Decimal` on the way.
"""

from __future__ import annotations

import json
import zlib
from typing import TYPE_CHECKING, Any

from webhooks.domain.delivery import Attempt, AttemptError, Delivery, DeliveryKey, Status
from webhooks.domain.health import Circuit, Health
from webhooks.domain.webhook import Secrets, Webhook

if TYPE_CHECKING:
    from collections.abc import Mapping

    from webhooks.domain.allowance import Allowance
    from webhooks.ports import WebhookChanges

Item = dict[str, dict[str, Any]]

QUOTA = "quota"
"""The sort key of the item that counts an account's webhooks. Ids are hex, so it sorts last."""

AFTER_ALL_WEBHOOKS = "g"
"""Sorts after every webhook's id and before `QUOTA`."""

REPLAYS = "#replay"
"""The end of the partition of a webhook's replays; the api's role may delete from no other."""

ERASURES = "#erasure"
"""The end of the partition of an account's erasures."""

CHECKS = "#check"
"""The end of the partition of a webhook's checks."""

ALLOWANCES = "#allowance"
"""The end of the partitions of what an account and its webhooks may still ask for; the api's role
may update no other."""

RUNNING = "running"
"""The sort key of the item that names a webhook's running replay. It sorts after every id."""

RECOVERING = "yes"
"""The one partition of the sparse index of webhooks that have a recovery: they are few."""

FAILURE_ATTRIBUTES = ("failures", "failing_since", "warned_at")
"""What a success clears of a webhook's health, and so does an owner who switches it on."""

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

AFTER_ALL_KEYS = "l"
"""Sorts after every API key's id, which begins with `key_`."""

DUE_KEYS = "0123456789abcdef"
"""The partitions of the sparse index of deliveries that are due some time."""

_ENCODER = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))

WRITE_UNIT_BYTES = 1024
_MILLISECONDS = 1000

ATTENTION = frozenset({Status.RETRYING, Status.WAITING, Status.EXHAUSTED})
"""The statuses that the sparse index holds."""


def webhook_key(account_id: str, webhook_id: str) -> Item:
    """Return the key of a webhook, or of its account's quota."""
    return {"account_id": {"S": account_id}, "webhook_id": {"S": webhook_id}}


def owner(account_id: str, webhook_id: str) -> str:
    """Return the partition of a webhook's deliveries. Account ids hold no `#`."""
    return f"{account_id}#{webhook_id}"


def delivery_key(key: DeliveryKey) -> Item:
    """Return the key of a delivery."""
    return {
        "owner": {"S": owner(key.account_id, key.webhook_id)},
        "delivery_id": {"S": key.delivery_id},
    }


def claim_key(account_id: str, event_id: str) -> Item:
    """Return the key of the record that settles the time of an event published without one.

    It lives beside the deliveries; no webhook's id is `event`.
    """
    return {"owner": {"S": owner(account_id, "event")}, "delivery_id": {"S": event_id}}


def replay_key(account_id: str, webhook_id: str, replay_id: str) -> Item:
    """Return the key of a replay.

    Replays live beside the deliveries, in a partition that none of them has: no id holds a `#`.
    """
    return {
        "owner": {"S": f"{owner(account_id, webhook_id)}{REPLAYS}"},
        "delivery_id": {"S": replay_id},
    }


def erasure_key(account_id: str, erasure_id: str) -> Item:
    """Return the key of an erasure, which lives beside the deliveries too."""
    return {"owner": {"S": f"{account_id}{ERASURES}"}, "delivery_id": {"S": erasure_id}}


def check_key(account_id: str, webhook_id: str, check_id: str) -> Item:
    """Return the key of a check, which lives beside the deliveries too."""
    return {
        "owner": {"S": f"{owner(account_id, webhook_id)}{CHECKS}"},
        "delivery_id": {"S": check_id},
    }


def allowance_key(allowance: Allowance) -> Item:
    """Return the key of an allowance's count, which lives beside the deliveries too."""
    return {
        "owner": {"S": f"{owner(allowance.account_id, allowance.scope)}{ALLOWANCES}"},
        "delivery_id": {"S": f"{allowance.kind.value}#{allowance.number}"},
    }


def deleted_webhook_key(account_id: str, webhook_id: str) -> Item:
    """Return the key of what is left of a webhook that was deleted: that there was one.

    It lives beside the deliveries; no webhook's id is `deleted`.
    """
    return {"owner": {"S": owner(account_id, "deleted")}, "delivery_id": {"S": webhook_id}}


def read_delivery_key(item: Mapping[str, Any]) -> DeliveryKey:
    """Return whose delivery an item is."""
    account_id, _, webhook_id = item["owner"]["S"].rpartition("#")
    return DeliveryKey(account_id, webhook_id, item["delivery_id"]["S"])


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


def delivery_item(delivery: Delivery, retention_seconds: int) -> Item:
    """Return a delivery as an item.

    The body is stored as the text it is. Where compressing it saves a write unit (one is worth
    27 ms of a small function's time), it is stored deflated, as a binary.
    """
    item: Item = {
        **delivery_key(delivery.key),
        "event_id": {"S": delivery.event_id},
        "event_type": {"S": delivery.event_type},
        "status": {"S": delivery.status.value},
        "created_at": number(delivery.created_at_ms),
        "expires_at": number(_last_activity_seconds(delivery) + retention_seconds),
        "attempts": {"L": [attempt_value(attempt) for attempt in delivery.attempts]},
    }
    if delivery.next_attempt_at_ms is not None:
        item["next_attempt_at"] = number(delivery.next_attempt_at_ms)
    if delivery.reason:
        item["reason"] = {"S": delivery.reason}
    if delivery.test:
        item["test"] = {"BOOL": True}
    if delivery.generation:
        item["generation"] = number(delivery.generation)
    if delivery.earlier_attempts:
        item["earlier_attempts"] = number(delivery.earlier_attempts)
    if delivery.erased:
        item["erased"] = {"BOOL": True}
    if delivery.next_attempt_at_ms is not None:
        item["due"] = {"S": due_key(delivery.id)}
    attention = attention_value(delivery)
    if attention:
        item["attention"] = {"S": attention}
    item["body"] = _body_value(delivery.body, item_size(item) + len("body"))
    return item


def attention_value(delivery: Delivery) -> str | None:
    """Return the key of the sparse index, None for a delivery that needs nobody's attention."""
    if delivery.status not in ATTENTION:
        return None
    return attention_key(owner(delivery.account_id, delivery.webhook_id), delivery.status)


def attention_key(owner: str, status: Status) -> str:
    """Return the sparse index's partition of an owner's deliveries with this status."""
    return f"{owner}#{status.value}"


def due_key(delivery_id: str) -> str:
    """Return the sparse index's partition of a delivery that is due some time.

    One of `DUE_KEYS`: an id's last digit is of a hash, so that they fill alike.
    """
    return delivery_id[-1]


def attempt_value(attempt: Attempt) -> dict[str, Any]:
    """Return an attempt as one short string: a JSON list with empty ends cut off."""
    fields: list[object] = [
        attempt.number,
        attempt.started_at_ms,
        attempt.duration_ms,
        attempt.status_code,
        attempt.error.value if attempt.error else None,
        attempt.answer or None,
        attempt.manual or None,
        attempt.probe or None,
    ]
    while fields[-1] is None:
        fields.pop()
    return {"S": _ENCODER.encode(fields)}


def read_delivery(item: Mapping[str, Any]) -> Delivery:
    """Return the delivery of an item."""
    key = read_delivery_key(item)
    next_attempt_at = item.get("next_attempt_at")
    return Delivery(
        account_id=key.account_id,
        webhook_id=key.webhook_id,
        id=key.delivery_id,
        event_id=item["event_id"]["S"],
        event_type=item["event_type"]["S"],
        body=_read_body(item["body"]),
        status=Status(item["status"]["S"]),
        created_at_ms=int(item["created_at"]["N"]),
        attempts=tuple(_read_attempt(value["S"]) for value in item["attempts"]["L"]),
        next_attempt_at_ms=int(next_attempt_at["N"]) if next_attempt_at else None,
        reason=item.get("reason", {}).get("S"),
        test=item.get("test", {}).get("BOOL", False),
        generation=int(item.get("generation", {}).get("N", 0)),
        earlier_attempts=int(item.get("earlier_attempts", {}).get("N", 0)),
        erased=item.get("erased", {}).get("BOOL", False),
    )


def api_key_key(key_hash: str) -> Item:
    """Return the key of an API key's item."""
    return {"key_hash": {"S": key_hash}}


def item_size(item: Item) -> int:
    """Return the bytes that DynamoDB bills an item for, to within a few.

    Names and strings count as UTF-8; a number about half its digits and one; a list or map three
    and one an element ("DynamoDB item sizes and formats" in AWS's developer guide).
    """
    return sum(len(name) + _value_size(value) for name, value in item.items())


def _time(item: Mapping[str, Any], name: str) -> int | None:
    return int(item[name]["N"]) if name in item else None


def _value_size(value: Mapping[str, Any]) -> int:
    [(kind, content)] = value.items()
    if kind == "S":
        return len(content.encode())
    if kind == "N":
        return len(content) // 2 + 2
    if kind == "B":
        return len(content)
    if kind == "L":
        return 3 + sum(1 + _value_size(element) for element in content)
    if kind == "M":
        return 3 + sum(1 + len(name) + _value_size(part) for name, part in content.items())
    return 1


def _last_activity_seconds(delivery: Delivery) -> int:
    """Return the latest time that a delivery has to do with: it is kept from then on.

    So one that waits for its next attempt is there then, and an exhausted one outlives the
    dead-letter message that names it.
    """
    times_ms = [delivery.created_at_ms, delivery.next_attempt_at_ms or 0]
    times_ms += [attempt.started_at_ms for attempt in delivery.attempts[-1:]]
    return max(times_ms) // _MILLISECONDS


def number(value: int) -> dict[str, Any]:
    """Return a whole number as an attribute."""
    return {"N": str(value)}


def _body_value(body: bytes, other_bytes: int) -> dict[str, Any]:
    units = _units(other_bytes + len(body))
    if units > 1:
        deflated = zlib.compress(body, level=6)
        if _units(other_bytes + len(deflated)) < units:
            return {"B": deflated}
    return {"S": body.decode()}


def _units(size: int) -> int:
    return -(-size // WRITE_UNIT_BYTES)


def _read_body(value: Mapping[str, Any]) -> bytes:
    if "B" in value:
        return zlib.decompress(value["B"])
    return str(value["S"]).encode()


def _read_attempt(text: str) -> Attempt:
    fields = json.loads(text)
    fields += [None] * (8 - len(fields))
    number, started_at_ms, duration_ms, status_code, error, answer, manual, probe = fields
    return Attempt(
        number=number,
        started_at_ms=started_at_ms,
        duration_ms=duration_ms,
        status_code=status_code,
        error=AttemptError(error) if error else None,
        answer=answer or "",
        manual=bool(manual),
        probe=bool(probe),
    )
