"""The record of an event whose id does not fix its time: that time, and the batch that holds it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from webhooks.adapters.dynamodb import item_keys
from webhooks.domain.event import HOLD_SECONDS, EventClaim
from webhooks.domain.timestamps import MILLISECONDS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from webhooks.domain.event import Event, Holder


_NEW = "attribute_not_exists(delivery_id)"
_SAME_TIME = "occurred_at = :mine"
_NOT_HELD = "(attribute_not_exists(#to) OR #to <= :now OR #by = :by)"


def put(event: Event, holder: Holder, *, expires_at: int) -> dict[str, Any]:
    """Return the parameters of the conditional write; `expires_at` in Unix seconds.

    The write that settles the event's time also holds the event, so the hold costs nothing extra:
    one write unit, whether the event is new or not. Records of the previous version hold nothing.
    """
    held_until_ms = holder.now_ms + HOLD_SECONDS * MILLISECONDS
    values = {":mine": item_keys.number(event.occurred_at_ms)}
    parameters: dict[str, Any] = {
        "Item": {
            **item_keys.claim_key(event.account_id, event.id),
            "occurred_at": item_keys.number(event.occurred_at_ms),
            "by": {"S": holder.batch},
            "to": item_keys.number(held_until_ms),
            "expires_at": item_keys.number(expires_at),
        },
        "ConditionExpression": f"{_NEW} OR {_SAME_TIME}",
        "ExpressionAttributeValues": values,
    }
    if not holder.take_over:
        parameters["ConditionExpression"] = f"{_NEW} OR ({_SAME_TIME} AND {_NOT_HELD})"
        parameters["ExpressionAttributeNames"] = {"#by": "by", "#to": "to"}
        values |= {":by": {"S": holder.batch}, ":now": item_keys.number(holder.now_ms)}
    return parameters


def read(stored: Mapping[str, Any], holder: Holder) -> EventClaim:
    """Return the claim from the record that failed the condition."""
    until_ms = int(stored.get("to", {}).get("N", 0))
    another = stored.get("by", {}).get("S") != holder.batch
    held = another and until_ms > holder.now_ms and not holder.take_over
    return EventClaim(int(stored["occurred_at"]["N"]), held)
