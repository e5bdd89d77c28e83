"""Unreadable records of deliveries, the results of an edit by hand or a rollback."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from support.fakes import FakeDeliveryStore
from webhooks.adapters.dynamodb import item_keys

if TYPE_CHECKING:
    from webhooks.domain.delivery import DeliveryKey
    from webhooks.ports import DeliveryStore

WAYS: dict[str, dict[str, Any]] = {
    "a status of a newer version": {"status": {"S": "paused"}},
    "an error of a newer version": {"attempts": {"L": [{"S": '[1,1,1,null,"quota_exceeded"]'}]}},
    "an attempt of a newer version": {"attempts": {"L": [{"S": "[1,1,1,0,0,0,0,0,1,0,9]"}]}},
    "an attempt that is no JSON": {"attempts": {"L": [{"S": "["}]}},
    "an attempt that is no list": {"attempts": {"L": [{"S": "1"}]}},
    "attempts of another type": {"attempts": {"S": "none"}},
    "a corrupt body": {"body": {"B": b"nothing deflated"}},
    "a body of another type": {"body": {"N": "1"}},
    "no event": {"event_id": None},
    "no event and no time to live": {"event_id": None, "expires_at": None},
}
"""The changes to an item; None removes an attribute."""

NEWER = WAYS["an error of a newer version"]


def break_item(client: Any, key: DeliveryKey, changes: dict[str, Any]) -> None:
    """Change a delivery's item on DynamoDB."""
    where = {"TableName": "DeliveriesTable", "Key": item_keys.delivery_key(key)}
    item = client.get_item(**where, ConsistentRead=True)["Item"] | changes
    client.put_item(
        TableName="DeliveriesTable",
        Item={name: value for name, value in item.items() if value is not None},
    )


def break_record(store: DeliveryStore, key: DeliveryKey, changes: dict[str, Any]) -> None:
    """Break a stored delivery's record, on any engine."""
    if isinstance(store, FakeDeliveryStore):
        store.unreadable.add(key)
    else:
        break_item(store._client, key, changes)  # type: ignore[attr-defined]
