"""Common parts of the tables' items: their keys, and numbers and sizes as DynamoDB counts them.

Only this module makes keys. Attributes are marshalled here, in `webhook_items` and in
`delivery_items`: the low-level form costs a fraction of boto3's resource layer, and does not turn
numbers into `Decimal`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from webhooks.domain.delivery import DeliveryKey

if TYPE_CHECKING:
    from collections.abc import Mapping

    from webhooks.domain.operational_event import OperationalEvent
    from webhooks.domain.rate_limit import RateLimitWindow

Item = dict[str, dict[str, Any]]

DELETED_WEBHOOKS = "gone#"
"""The prefix of the sort keys of recoveries of deleted webhooks that could not be started. It sorts
after every id and `AFTER_ALL_WEBHOOKS`, so no query for webhooks finds them."""

QUOTA = "quota"
"""The sort key of the item that counts an account's webhooks. Ids are hex, so it sorts last."""

AFTER_ALL_WEBHOOKS = "g"
"""Sorts after every webhook's id and before `QUOTA`."""

EXTERNAL_IDS = "id#"
"""The prefix of the sort keys of the items that reserve external ids. It sorts after every
webhook's id and `AFTER_ALL_WEBHOOKS`, so no query for webhooks finds them, and before `QUOTA`."""

RATE_LIMITS = "#rate_limit"
"""The suffix of the partitions that count the rate limits of an account and its webhooks; the API's
role may update no other partition."""

RUNNING = "running"
"""The sort key of the item that names a webhook's running job. It sorts after every id."""

KEPT_EVENTS = "#operational_events"
"""The partition of the operational events that could not be published, in the deliveries' table.
No account's id holds a `#`; the worker's role may write it."""

AFTER_ALL_KEYS = "l"
"""Sorts after every API key's id, which begins with `key_`."""

SES_ACCOUNTS = "#ses"
"""The partition that assigns SES's configuration sets and tenants to accounts, in the webhooks'
table. No account's id holds a `#`."""


def webhook_key(account_id: str, webhook_id: str) -> Item:
    """Return the key of a webhook, or of its account's quota."""
    return {"account_id": {"S": account_id}, "webhook_id": {"S": webhook_id}}


def external_id_key(account_id: str, external_id: str) -> Item:
    """Return the key of the item that maps an external id to its webhook."""
    return webhook_key(account_id, f"{EXTERNAL_IDS}{external_id}")


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

    It is in the deliveries' table; no webhook's id is `event`.
    """
    return {"owner": {"S": owner(account_id, "event")}, "delivery_id": {"S": event_id}}


def job_key(kind: str, *ids: str | None) -> Item:
    """Return the key of a job of this kind: its account, its webhook unless it has none, its id.

    Jobs are in the deliveries' table, in partitions without deliveries: no id holds a `#`. The
    roles' grants depend on the suffixes of partitions.
    """
    *owner_ids, job_id = [each for each in ids if each is not None]
    return {"owner": {"S": "#".join([*owner_ids, kind])}, "delivery_id": {"S": job_id}}


def job_kind(item: Mapping[str, Any]) -> str:
    """Return the kind of a job's key."""
    kind: str = item["owner"]["S"].rpartition("#")[2]
    return kind


def read_job_ids(item: Mapping[str, Any]) -> list[str]:
    """Return the ids of a job's key, its own last."""
    *owner_ids, _kind = item["owner"]["S"].split("#")
    return [*owner_ids, item["delivery_id"]["S"]]


def rate_limit_key(window: RateLimitWindow) -> Item:
    """Return the key of a rate limit's count, which is in the deliveries' table too."""
    return {
        "owner": {"S": f"{owner(window.account_id, window.scope)}{RATE_LIMITS}"},
        "delivery_id": {"S": f"{window.kind.value}#{window.number}"},
    }


def host_turns_key(account_id: str, host: str) -> Item:
    """Return the key of an account's line of turns at a host; no webhook's id is `host`."""
    return {
        "owner": {"S": f"{owner(account_id, 'host')}{RATE_LIMITS}"},
        "delivery_id": {"S": host},
    }


def deleted_webhook_key(account_id: str, webhook_id: str) -> Item:
    """Return the key of the record that a deleted webhook existed.

    It is in the deliveries' table; no webhook's id is `deleted`.
    """
    return {"owner": {"S": owner(account_id, "deleted")}, "delivery_id": {"S": webhook_id}}


def rotation_key(account_id: str, webhook_id: str) -> Item:
    """Return the key of the record of a webhook's last rotation.

    It is in the deliveries' table; no webhook's id is `rotation`.
    """
    return {"owner": {"S": owner(account_id, "rotation")}, "delivery_id": {"S": webhook_id}}


def kept_event_key(event: OperationalEvent) -> Item:
    """Return the key of a kept operational event, which sorts by the event's time.

    There is one event at a time for each type, webhook and delivery.
    """
    named = (event.type.value, event.account_id, event.webhook_id)
    parts = (f"{event.at_ms:015d}", *named, str(event.facts.get("delivery_id") or ""))
    return {"owner": {"S": KEPT_EVENTS}, "delivery_id": {"S": "#".join(parts)}}


def read_delivery_key(item: Mapping[str, Any]) -> DeliveryKey:
    """Return the primary key of an item's delivery."""
    account_id, _, webhook_id = item["owner"]["S"].rpartition("#")
    return DeliveryKey(account_id, webhook_id, item["delivery_id"]["S"])


def api_key_key(key_hash: str) -> Item:
    """Return the key of an API key's item."""
    return {"key_hash": {"S": key_hash}}


def ses_account_key(kind: str, name: str) -> Item:
    """Return the key of the account of a configuration set (`set`) or of a tenant (`tenant`)."""
    return {"account_id": {"S": SES_ACCOUNTS}, "webhook_id": {"S": f"{kind}#{name}"}}


def item_size(item: Item) -> int:
    """Return the bytes that DynamoDB bills for an item, to within a few.

    Names and strings count as UTF-8; a number about half its digits and one; a list or map three
    and one an element ("DynamoDB item sizes and formats" in AWS's developer guide).
    """
    return sum(len(name) + _value_size(value) for name, value in item.items())


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


def number(value: int) -> dict[str, Any]:
    """Return a whole number as an attribute."""
    return {"N": str(value)}
