"""A delivery as an item of its table, with its attempts and its body."""

from __future__ import annotations

import json
import zlib
from typing import TYPE_CHECKING, Any
from uuid import UUID

from webhooks.adapters.dynamodb.item_keys import (
    delivery_key,
    item_size,
    number,
    owner,
    read_delivery_key,
)
from webhooks.domain.delivery import (
    Attempt,
    Claim,
    Delivery,
    FailureReason,
    SignedWith,
    Status,
)
from webhooks.domain.errors import UnreadableRecordError
from webhooks.domain.timestamps import MILLISECONDS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from webhooks.adapters.dynamodb.item_keys import Item
    from webhooks.domain.delivery import DeliveryKey

DUE_KEYS = "0123456789abcdef"
"""The partitions of the sparse index of deliveries that have a due time."""

_ENCODER = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))

_STORED_REASONS = {FailureReason.RESPONSE_TOO_LARGE: "answer_too_large"}
"""Stored words that differ from the API's: the previous release reads only these."""

WRITE_UNIT_BYTES = 1024


_ATTEMPT_FIELDS = 8
"""The previous release reads attempts of up to this many fields; others are stored apart."""

ATTENTION = frozenset({Status.RETRYING, Status.WAITING, Status.EXHAUSTED})
"""The statuses in the sparse index of deliveries that need attention."""


def delivery_item(delivery: Delivery, retention_seconds: int) -> Item:
    """Return a delivery as an item.

    The body is stored as text. If compression saves a write unit (worth 27 ms of a small function's
    time), it is stored deflated, as a binary.
    """
    item: Item = {
        **delivery_key(delivery.key),
        "event_id": {"S": delivery.event_id},
        "event_type": {"S": delivery.event_type},
        "status": {"S": delivery.status.value},
        "created_at": number(delivery.created_at_ms),
        "expires_at": number(delivery.last_active_at_ms // MILLISECONDS + retention_seconds),
        "attempts": {"L": [attempt_value(attempt) for attempt in delivery.attempts]},
    }
    due_ms = due_at_ms(delivery, retention_seconds)
    if due_ms is not None:
        item["next_attempt_at"] = number(due_ms)
        item["due"] = {"S": due_key(delivery.id)}
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
    if delivery.restarts:
        item["restarts"] = number(delivery.restarts)
    item |= _next_attempt_values(delivery)
    if delivery.expiring:
        item["expiring"] = {"BOOL": True}
    item |= _signed_values(delivery)
    attention = attention_value(delivery)
    if attention:
        item["attention"] = {"S": attention}
    item["body"] = _body_value(delivery.body, item_size(item) + len("body"))
    return item


def _next_attempt_values(delivery: Delivery) -> Item:
    """Return the fields of the next attempt: in no index, so changing them costs one write unit."""
    values: Item = {}
    if delivery.retrying:
        values["next"] = number(delivery.next_attempt)
    if delivery.short:
        values["short"] = {"BOOL": True}
    if delivery.unstarted:
        values["unstarted"] = {"BOOL": True}
    if delivery.claim is not None:
        values["claim"] = claim_value(delivery.claim)
    return values


def _signed_values(delivery: Delivery) -> Item:
    """Return how the attempts in a rotation's overlap were signed, by their numbers.

    The previous release ignores the attribute and leaves it unchanged.
    """
    signed = {
        attempt.number: [attempt.requests, attempt.signed_with]
        for attempt in delivery.attempts
        if attempt.requests > 1 or attempt.signed_with
    }
    return {"signed": {"S": _ENCODER.encode(signed)}} if signed else {}


def claim_value(claim: Claim) -> dict[str, Any]:
    """Return a claim as a map whose lease a condition can compare; short, to save a write unit."""
    value = {"by": invocation_value(claim.invocation), "to": number(claim.until_ms)}
    return {"M": value | ({"n": number(claim.count)} if claim.count > 1 else {})}


def invocation_value(invocation: str) -> dict[str, Any]:
    """Return the id of an invocation, a UUID as its 16 bytes."""
    try:
        as_uuid = UUID(invocation)
    except ValueError:
        return {"S": invocation}
    return {"B": as_uuid.bytes} if str(as_uuid) == invocation else {"S": invocation}


def due_at_ms(delivery: Delivery, retention_seconds: int) -> int | None:
    """Return a delivery's time in the sparse index of due deliveries; None if it is not in it.

    A delivery that waits for its webhook is due a day before its retention ends. That time is
    stored in `next_attempt_at` too, which is the index's sort key.
    """
    if delivery.next_attempt_at_ms is not None:
        return delivery.next_attempt_at_ms
    return delivery.expiry_notice_at_ms(retention_seconds)


def attention_value(delivery: Delivery) -> str | None:
    """Return the key of the sparse index, None for a delivery that needs no attention."""
    if delivery.status not in ATTENTION:
        return None
    return attention_key(owner(delivery.account_id, delivery.webhook_id), delivery.status)


def attention_key(owner: str, status: Status) -> str:
    """Return the sparse index's partition of an owner's deliveries with this status."""
    return f"{owner}#{status.value}"


def due_key(delivery_id: str) -> str:
    """Return the sparse index's partition of a delivery with a due time.

    One of `DUE_KEYS`: an id's last digit belongs to a hash, so that partitions fill evenly.
    """
    return delivery_id[-1]


def attempt_value(attempt: Attempt) -> dict[str, Any]:
    """Return an attempt as one short string: a JSON list with empty ends cut off."""
    fields: list[object] = [
        attempt.number,
        attempt.started_at_ms,
        attempt.duration_ms,
        attempt.status_code,
        stored_reason(attempt.error),
        attempt.response_body or None,
        attempt.manual or None,
        attempt.probe or None,
    ]
    while fields[-1] is None:
        fields.pop()
    return {"S": _ENCODER.encode(fields)}


def lives(item: Mapping[str, Any], now: float) -> bool:
    """Whether an item is within its time to live, which DynamoDB enforces days late.

    An item without such a time is never removed, so it lives.
    """
    expires_at = item.get("expires_at", {}).get("N")
    return expires_at is None or float(expires_at) > now


def read_living(
    found: Iterable[Mapping[str, Any]], now: float
) -> dict[DeliveryKey, Delivery | None]:
    """Return the deliveries of the living items; an unreadable delivery is None."""
    read: dict[DeliveryKey, Delivery | None] = {}
    for item in found:
        if lives(item, now):
            try:
                delivery = read_delivery(item)
            except UnreadableRecordError:
                read[read_delivery_key(item)] = None
            else:
                read[delivery.key] = delivery
    return read


def read_delivery(item: Mapping[str, Any]) -> Delivery:
    """Return the delivery of an item. Raises UnreadableRecordError.

    Missing attributes, and values of a newer version, such as a status after a rollback, are
    detected by the errors that reading them raises.
    """
    key = read_delivery_key(item)
    try:
        return _read_delivery(key, item)
    except (AttributeError, LookupError, TypeError, ValueError, zlib.error) as error:
        # Without the error itself, whose text may quote the record.
        raise UnreadableRecordError(key, type(error).__name__) from None


def _read_delivery(key: DeliveryKey, item: Mapping[str, Any]) -> Delivery:
    status = Status(item["status"]["S"])
    # For a waiting delivery it is not an attempt's time (see `due_at_ms`).
    next_attempt_at = None if status is Status.WAITING else item.get("next_attempt_at")
    return Delivery(
        account_id=key.account_id,
        webhook_id=key.webhook_id,
        id=key.delivery_id,
        event_id=item["event_id"]["S"],
        event_type=item["event_type"]["S"],
        body=_read_body(item["body"]),
        status=status,
        created_at_ms=int(item["created_at"]["N"]),
        attempts=_read_attempts(item),
        next_attempt_at_ms=int(next_attempt_at["N"]) if next_attempt_at else None,
        reason=item.get("reason", {}).get("S"),
        test=item.get("test", {}).get("BOOL", False),
        generation=int(item.get("generation", {}).get("N", 0)),
        earlier_attempts=int(item.get("earlier_attempts", {}).get("N", 0)),
        erased=item.get("erased", {}).get("BOOL", False),
        restarts=int(item.get("restarts", {}).get("N", 0)),
        short=item.get("short", {}).get("BOOL", False),
        unstarted=item.get("unstarted", {}).get("BOOL", False),
        claim=_read_claim(item["claim"]["M"]) if "claim" in item else None,
        expiring=item.get("expiring", {}).get("BOOL", False),
    )


def _read_claim(value: Mapping[str, Any]) -> Claim:
    by = value["by"]
    invocation = str(UUID(bytes=bytes(by["B"]))) if "B" in by else by["S"]
    return Claim(invocation, int(value["to"]["N"]), int(value.get("n", {}).get("N", 1)))


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


def stored_reason(reason: FailureReason | None) -> str | None:
    """Return the stored word for why an attempt failed."""
    return _STORED_REASONS.get(reason, reason.value) if reason else None


def read_reason(text: str | None) -> FailureReason | None:
    """Return why a stored attempt failed, None if it succeeded; ValueError for an unknown word."""
    if not text:
        return None
    for reason, word in _STORED_REASONS.items():
        if text == word:
            return reason
    return FailureReason(text)


def _read_attempts(item: Mapping[str, Any]) -> tuple[Attempt, ...]:
    signed = json.loads(item["signed"]["S"]) if "signed" in item else {}
    return tuple(_read_attempt(value["S"], signed) for value in item["attempts"]["L"])


def _read_attempt(text: str, signed: Mapping[str, Any]) -> Attempt:
    fields = json.loads(text)
    # Builds between two releases wrote how an attempt was signed as two further fields.
    fields += [None] * (_ATTEMPT_FIELDS + 2 - len(fields))
    number, started_at_ms, duration_ms, status_code, error, response_body, *more = fields
    manual, probe, requests, signed_with = more
    requests, signed_with = signed.get(str(number), (requests, signed_with))
    return Attempt(
        number=number,
        started_at_ms=started_at_ms,
        duration_ms=duration_ms,
        status_code=status_code,
        error=read_reason(error),
        response_body=response_body or "",
        manual=bool(manual),
        probe=bool(probe),
        requests=requests or 1,
        signed_with=SignedWith(signed_with) if signed_with else None,
    )
