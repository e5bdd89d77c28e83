"""An event (something that happened to an email, once), and how to read one from a message."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import NamedTuple

from webhooks.domain.account import ACCOUNT_ID_RULE, is_account_id
from webhooks.domain.errors import InvalidEventError
from webhooks.domain.payload import (
    MAX_DEPTH,
    TooDeepError,
    check_depth,
    is_longer,
    parse,
    serialize,
)
from webhooks.domain.timestamps import LATEST_MS, to_text

MAX_BODY_BYTES = 65_536
"""The largest body an event may have, once serialised (contract 2.4)."""

_FIELDS = frozenset({"account_id", "event", "id", "transaction_id", "timestamp", "data"})
_FIRST_DATA_FIELDS = ("id", "email_id", "type", "status")

_EVENT_ID = re.compile(r"[!-~]{1,128}")
_RFC_3339 = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2})[Tt]((?:[01][0-9]|2[0-3]):[0-5][0-9]:)([0-5][0-9]|60)"
    r"(?:\.([0-9]{1,30}))?(?:[Zz]|([+-])([01][0-9]|2[0-3]):([0-5][0-9]))"
)
_CANONICAL = json.JSONEncoder(sort_keys=True, separators=(",", ":"))
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)


class EventType(StrEnum):
    """The kinds of event: the six of the contract's part 1, then those added by part 2."""

    SENT = "email.sent"
    DELIVERED = "email.delivered"
    BOUNCED = "email.bounced"
    COMPLAINED = "email.complained"
    OPENED = "email.opened"
    CLICKED = "email.clicked"
    DELIVERY_DELAYED = "email.delivery_delayed"
    FAILED = "email.failed"
    UNSUBSCRIBED = "email.unsubscribed"

    @property
    def status(self) -> str:
        """The email's status after the event: the word after `email.`."""
        return self.value.removeprefix("email.")


_TYPES = {event_type.value: event_type for event_type in EventType}


@dataclass(frozen=True, slots=True)
class Event:
    """One occurrence, ready to be delivered.

    `body` is the exact bytes that every attempt of every delivery sends and signs; `timestamp` is
    the text inside it and `occurred_at_ms` the same instant in Unix milliseconds. If the event is
    `ahead`, `occurred_at_ms` is the time of its acceptance instead (see `filing`). `id_fixes_time`
    is false if two copies of the event, with one id, may carry two times: the producer chose the id
    itself, left the timestamp to us, or set it ahead.
    """

    account_id: str
    id: str
    type: EventType
    transaction_id: str
    timestamp: str
    occurred_at_ms: int
    body: bytes = field(repr=False)
    id_fixes_time: bool = True
    ahead: bool = False


HOLD_SECONDS = 60
"""How long a dispatcher holds an event that it claimed: as long as a dispatcher runs."""


class Holder(NamedTuple):
    """The batch that claims an event, at a time in Unix milliseconds.

    With `take_over` the claim succeeds although another batch holds the event: that batch may have
    failed with this very message.
    """

    batch: str
    now_ms: int
    take_over: bool = False


class EventClaim(NamedTuple):
    """The result of claiming an event.

    `occurred_at_ms` is the time of the event's first copy, which holds for all copies, in Unix
    milliseconds. `held` is true if another dispatcher claimed the event less than `HOLD_SECONDS`
    ago and may be delivering it.
    """

    occurred_at_ms: int
    held: bool = False


def accept(
    document: object,
    *,
    sent_at_ms: int,
    account_id: str | None = None,
    may_be_large: bool = True,
) -> Event:
    """Make an event from one message's parsed document (see `payload.parse`; contract 2.4).

    `sent_at_ms` is when SQS took the message, in Unix milliseconds; it fills in a missing
    timestamp. `account_id` is the account of an HTTP request's API key: the document then need not
    name an account, and may not name another. An optional field that is null counts as absent.
    `may_be_large` is false for a document whose body cannot be over the limit.
    Raises InvalidEventError; its reason is why no number of retries will help.
    """
    if not isinstance(document, dict):
        raise InvalidEventError("not_an_object", "body", "must be a JSON object")
    given = {name: value for name, value in document.items() if value is not None}
    event_type = checked_event_type(given.get("event"))
    account = _account(given.get("account_id"), account_id)
    for name in document:
        if name not in _FIELDS:
            raise InvalidEventError(
                "invalid_field", _printable(name), "is not a field of an event; remove it"
            )
    data = checked_data(given.get("data"))
    if may_be_large and is_longer(data, MAX_BODY_BYTES):
        # Check before hashing and serialising, which may take many times the data's memory.
        message = f"is over {MAX_BODY_BYTES} bytes once serialised; send at most that many"
        raise InvalidEventError("too_large", "body", message)

    timestamp = given.get("timestamp")
    occurred_at_ms = sent_at_ms if timestamp is None else parse_timestamp(timestamp)
    digest = _digest({**given, "account_id": account})
    transaction_id = given.get("transaction_id")
    if transaction_id is None:
        transaction_id = derived_transaction_id(occurred_at_ms, digest[-12:])
    return compose(
        account_id=account,
        event_id=checked_event_id(given["id"]) if "id" in given else f"evt_{digest[:32]}",
        event_type=event_type,
        transaction_id=checked_transaction_id(transaction_id, "transaction_id"),
        timestamp=to_text(sent_at_ms) if timestamp is None else str(timestamp),
        occurred_at_ms=occurred_at_ms,
        data=data,
        id_fixes_time=timestamp is not None and "id" not in given,
    )


def compose(
    *,
    account_id: str,
    event_id: str,
    event_type: EventType,
    transaction_id: str,
    timestamp: str,
    occurred_at_ms: int,
    data: Mapping[str, object],
    id_fixes_time: bool = True,
) -> Event:
    """Make an event of checked values: fill in its data, and serialise its body once and for all.

    Raises InvalidEventError if the body is over 64 KiB, holds a value that is not JSON, or nests
    too deep to be parsed again: some fields of an SES record become a level deeper here.
    """
    filled: dict[str, object] = {"id": transaction_id, "type": "email", "status": event_type.status}
    filled |= {
        name: value for name, value in data.items() if value is not None or name not in filled
    }
    first = {name: filled.pop(name) for name in _FIRST_DATA_FIELDS if name in filled}
    document = {
        "event": event_type.value,
        "transaction_id": transaction_id,
        "timestamp": timestamp,
        "data": first | filled,
    }
    try:
        body = serialize(document)
        if body.count(b"[") + body.count(b"{") > MAX_DEPTH:
            check_depth(document)
    except TooDeepError as error:
        raise InvalidEventError("too_deep", "body", str(error)) from error
    except (TypeError, ValueError) as error:
        raise InvalidEventError(
            "invalid_field", "data", "holds a value that is not JSON"
        ) from error
    if len(body) > MAX_BODY_BYTES:
        message = f"is {len(body)} bytes once serialised; send at most {MAX_BODY_BYTES}"
        raise InvalidEventError("too_large", "body", message)
    return Event(
        account_id=account_id,
        id=event_id,
        type=event_type,
        transaction_id=transaction_id,
        timestamp=timestamp,
        occurred_at_ms=occurred_at_ms,
        body=body,
        id_fixes_time=id_fixes_time,
    )


def read_json(text: str) -> object:
    """Parse a message's text as JSON; InvalidEventError if it is not JSON or nests too deep."""
    try:
        return parse(text)
    except ValueError as error:
        raise not_json(error) from error


def not_json(error: ValueError) -> InvalidEventError:
    """Return the rejection of a text that `payload.parse` refused."""
    if isinstance(error, TooDeepError):
        return InvalidEventError("too_deep", "body", str(error))
    return InvalidEventError("not_json", "body", "must be JSON")


def parse_timestamp(value: object, field_name: str = "timestamp") -> int:
    """Return the Unix milliseconds of an RFC 3339 text from 1970 to 9999.

    Digits past the millisecond are dropped; a leap second counts as the second before it. Raises
    InvalidEventError, which names the field.
    """
    match = _RFC_3339.fullmatch(value) if isinstance(value, str) else None
    if match is not None:
        date, hour_and_minute, second, fraction, sign, hours, minutes = match.groups()
        try:
            instant = datetime.fromisoformat(f"{date}T{hour_and_minute}{min(second, '59')}+00:00")
        except ValueError:
            instant = _EPOCH - _MILLISECOND
        offset_ms = (int(hours) * 60 + int(minutes)) * 60_000 if sign else 0
        unix_ms = (instant - _EPOCH) // _MILLISECOND + int((fraction or "0").ljust(3, "0")[:3])
        unix_ms += offset_ms if sign == "-" else -offset_ms
        # In UTC too: `9999-12-31T23:59:59-01:00` is in the year 10000, which cannot be written.
        if 0 <= unix_ms <= LATEST_MS:
            return unix_ms
    message = "must be an RFC 3339 time from 1970 to 9999, such as 2025-12-21T10:30:00Z"
    raise InvalidEventError("invalid_field", field_name, message)


def derived_transaction_id(milliseconds: int, hex_digits: str) -> str:
    """Return `txn_`, the time in base-36 milliseconds, `_`, and the digits (contract 2.4)."""
    return f"txn_{_base36(milliseconds)}_{hex_digits}"


def checked_transaction_id(value: object, field_name: str) -> str:
    """Return a producer's transaction id; InvalidEventError unless it is valid text."""
    if isinstance(value, str) and 1 <= len(value) <= 256 and value.isprintable():
        return value
    raise InvalidEventError("invalid_field", field_name, "must be 1 to 256 printable characters")


def checked_account_id(value: object, field_name: str = "account_id") -> str:
    """Return an account's id; InvalidEventError unless it follows `ACCOUNT_ID_RULE`."""
    if isinstance(value, str) and is_account_id(value):
        return value
    raise InvalidEventError("invalid_field", field_name, ACCOUNT_ID_RULE)


def checked_event_type(value: object) -> EventType:
    """Return the type with this name; InvalidEventError if there is none."""
    event_type = _TYPES.get(value) if isinstance(value, str) else None
    if event_type is None:
        raise InvalidEventError("unknown_event", "event", f"must be one of {', '.join(_TYPES)}")
    return event_type


def checked_event_id(value: object) -> str:
    """Return an event's id; InvalidEventError unless it is 1 to 128 visible ASCII characters."""
    if isinstance(value, str) and _EVENT_ID.fullmatch(value):
        return value
    message = "must be 1 to 128 visible ASCII characters, without spaces"
    raise InvalidEventError("invalid_field", "id", message)


def _account(named: object, authenticated: str | None) -> str:
    if named is None:
        named = authenticated
    if named is None:
        raise InvalidEventError("no_account", "account_id", "is required")
    account_id = checked_account_id(named)
    if authenticated is not None and account_id != authenticated:
        message = "must be left out, or be the account that the API key belongs to"
        raise InvalidEventError("invalid_field", "account_id", message)
    return account_id


def checked_data(value: object) -> dict[str, object]:
    """Return an event's data; InvalidEventError unless it is an object that names a recipient."""
    if not isinstance(value, dict):
        raise InvalidEventError("invalid_field", "data", "must be an object with at least `to`")
    recipients = value.get("to")
    if not isinstance(recipients, list):
        recipients = [recipients]
    if not recipients or not all(isinstance(one, str) and one for one in recipients):
        message = "must be a recipient, or a list of at least one"
        raise InvalidEventError("invalid_field", "data.to", message)
    return value


def _digest(given: Mapping[str, object]) -> str:
    """Hash the producer's fields, independent of the order of their keys; 64 hex digits."""
    try:
        content = _CANONICAL.encode(given)
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidEventError(
            "invalid_field", "data", "holds a value that is not JSON"
        ) from error
    return hashlib.sha256(content.encode()).hexdigest()


def _base36(number: int) -> str:
    digits = ""
    while number:
        number, remainder = divmod(number, 36)
        digits = "0123456789abcdefghijklmnopqrstuvwxyz"[remainder] + digits
    return digits or "0"


def _printable(name: object) -> str:
    return ascii(name)[1:-1][:64] or "(empty)"
