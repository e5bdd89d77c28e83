"""One SES record: its email, its recipients, and the event for each of them."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from email.utils import getaddresses
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

from webhooks.domain.errors import InvalidEventError
from webhooks.domain.event import (
    MAX_BODY_BYTES,
    Event,
    EventType,
    checked_transaction_id,
    compose,
    derived_transaction_id,
    parse_timestamp,
)
from webhooks.domain.fitting import fitting
from webhooks.domain.payload import is_longer, serialize
from webhooks.domain.ses_kinds import SesKind, particulars

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

MAX_RECIPIENTS = 100
"""Recipients of a record, each of whom gets an event with all of its tags: SES mails 50 at most."""

_LONG_TEXT = 65_536
"""A text of recipients with more characters than this is split at each comma, not by the rules for
quoted names: parsing by these rules takes seconds, and half a second for a hundred recipients."""

_ROOM_FOR_ONE = 8192
"""Bytes that shortened tags and headers leave in an event for its recipient's own fields."""

_ROUTING_TAGS = frozenset({"account_id", "transaction_id"})
_PASSED_TAGS = ("ses:tenant-name", "ses:feedback-id")
"""The prefixes of SES's own tags that are copied."""

# For text without spaces around it. Matching time grows with the text, not with its square.
_IN_BRACKETS = re.compile(r"<([^<>]*)>(?:\s*\([^()]*\))?\Z")
_COMMENT = re.compile(r"\([^()]*\)\Z")


class _Recipient(NamedTuple):
    """An event's recipient: the address sent to receivers, the record's text, and its entry.

    Both are lists if SES does not say which of several recipients it was.
    """

    to: str | list[str]
    as_given: str | list[str]
    entry: Mapping[str, object]


class Made(NamedTuple):
    """A record's events, and the reasons why some of its recipients have none."""

    events: list[Event]
    refusals: Sequence[InvalidEventError] = ()


@dataclass(frozen=True, slots=True)
class Reading:
    """A record whose shape has been checked as far as its events depend on it."""

    kind: SesKind
    mail: Mapping[str, object]
    detail: Mapping[str, object]
    tags: Mapping[str, list[str]]
    message_id: str
    email_transaction_id: str
    timestamp: str
    occurred_at_ms: int
    headers: Sequence[str]

    @classmethod
    def of(cls, record: Mapping[str, object], kind: SesKind, headers: Sequence[str]) -> Reading:
        """Check a record out of its envelopes; InvalidEventError names the missing field."""
        mail = _object(record.get("mail"), "mail")
        tags = tags_of(record)
        message_id = _text(mail.get("messageId"), "mail.messageId")
        timestamp = mail.get("timestamp")
        occurred_at_ms = sent_at_ms = parse_timestamp(timestamp, "mail.timestamp")
        detail = record.get(kind.detail)
        if kind.timed:
            detail = _object(detail, kind.detail)
            timestamp = detail.get("timestamp")
            occurred_at_ms = parse_timestamp(timestamp, f"{kind.detail}.timestamp")
        if "transaction_id" in tags:
            tag = tags["transaction_id"][0]
            email_transaction_id = checked_transaction_id(tag, "mail.tags.transaction_id")
        else:
            # From the email's time, not the event's: all events of one email share `data.id`.
            email_transaction_id = derived_transaction_id(sent_at_ms, _hash(message_id)[:12])
        return cls(
            kind=kind,
            mail=mail,
            detail=detail if isinstance(detail, dict) else {},
            tags=tags,
            message_id=message_id,
            email_transaction_id=email_transaction_id,
            timestamp=str(timestamp),
            occurred_at_ms=occurred_at_ms,
            headers=headers,
        )

    def events(self, account_id: str) -> Made:
        """Return an account's events of this record, at least one, and the refusals of others.

        Raises InvalidEventError if the record names no recipient, or too many, or if none of them
        can have an event.
        """
        recipients = self._recipients()
        mailed = list(islice(_distinct(_listed(self.mail.get("destination"))), 2))
        # With several recipients, any of them might be the forwarding one.
        forwarding = str(mailed[0].to) if len(mailed) == 1 else None
        shared = self._shared_data()
        made: list[Event] = []
        refusals: list[InvalidEventError] = []
        for recipient in recipients:
            try:
                made.append(self._event(account_id, recipient, shared, forwarding))
            except InvalidEventError as error:
                refusals.append(error)
        if not made:
            raise refusals[0]
        return Made(made, refusals)

    def _recipients(self) -> list[_Recipient]:
        """Return each recipient once, with its own entry in the record."""
        list_name = self.kind.recipients
        path = f"{self.kind.detail}.{list_name}" if list_name else "mail.destination"
        if list_name is not None:
            found = _limited(_distinct(_listed(self.detail.get(list_name))), path)
            if found:
                return found
        mailed = self._mailed()
        if not mailed:
            message = "must be a list of at least one recipient with an address"
            raise InvalidEventError("invalid_field", path, message)
        if self.kind.to_all or len(mailed) == 1:
            return mailed
        addresses = [str(one.to) for one in mailed]
        return [_Recipient(addresses, [str(one.as_given) for one in mailed], {})]

    def _mailed(self) -> list[_Recipient]:
        """Return the email's recipients: from its envelope, else from its headers."""
        found = _limited(_distinct(_listed(self.mail.get("destination"))), "mail.destination")
        if found:
            return found
        common = _object_or_empty(self.mail.get("commonHeaders"))
        listed = (text for name in ("to", "cc", "bcc") for text in _texts(common.get(name)))
        addresses = (bare_address(one) for text in listed for one in _each(text))
        return _limited(_distinct(addresses), "mail.commonHeaders")

    def _event(
        self,
        account_id: str,
        recipient: _Recipient,
        shared: Mapping[str, object],
        forwarding: str | None,
    ) -> Event:
        identity: tuple[object, ...] = (
            self.message_id,
            self.kind.event_type.value,
            self.occurred_at_ms,
            self.detail.get("feedbackId"),
            self.detail.get("link"),
            recipient.as_given,
        )
        if self.kind.event_type in {EventType.OPENED, EventType.CLICKED}:
            client = self.detail.get("ipAddress"), self.detail.get("userAgent")
            identity += client if any(client) else ()
        digest = _hash(identity)

        def composed(data: Mapping[str, object]) -> Event:
            return compose(
                account_id=account_id,
                event_id=f"evt_{digest[:32]}",
                event_type=self.kind.event_type,
                transaction_id=derived_transaction_id(self.occurred_at_ms, digest[-12:]),
                timestamp=self.timestamp,
                occurred_at_ms=self.occurred_at_ms,
                data=data,
            )

        required: dict[str, object] = {
            "id": self.email_transaction_id,
            "email_id": self.message_id,
            "to": recipient.to,
        }
        data = {**required, **shared, self.kind.name: self._particulars(recipient, forwarding)}
        if "tags" in data:
            data["tags"] = data.pop("tags")
        if not data[self.kind.name]:
            del data[self.kind.name]
        if not is_longer(data, MAX_BODY_BYTES):
            try:
                return composed(data)
            except InvalidEventError:
                pass
        around = len(composed(required).body) - len(serialize(required))
        return composed(fitting(data, required, MAX_BODY_BYTES - around))

    def _shared_data(self) -> dict[str, object]:
        """Return the email's fields, the same in each recipient's event, as far as they fit."""
        common = _object_or_empty(self.mail.get("commonHeaders"))
        senders = [*_texts(common.get("from")), *_texts(self.mail.get("source"))]
        sent = _headers(self.mail.get("headers"))
        optional = {
            "subject": next(iter(_texts(common.get("subject"))), None),
            "from": next(iter(senders), None),
            "message_id": _message_id(sent.get("message-id"), common.get("messageId")),
            "headers": {name: sent[name.lower()] for name in self.headers if name.lower() in sent},
            "tags": self._own_tags(),
        }
        found: dict[str, object] = {
            name: value for name, value in optional.items() if value not in (None, {})
        }
        if is_longer(found, MAX_BODY_BYTES):
            # Shorten once, rather than for each recipient.
            return fitting(found, (), MAX_BODY_BYTES - _ROOM_FOR_ONE)
        return found

    def _particulars(self, recipient: _Recipient, forwarding: str | None) -> dict[str, object]:
        found = particulars(self.kind, self.detail, recipient.entry)
        if (
            self.kind.event_type is EventType.BOUNCED
            and forwarding is not None
            and isinstance(recipient.to, str)
            and forwarding.lower() != recipient.to.lower()
        ):
            found["original_recipient"] = forwarding
        return found

    def _own_tags(self) -> dict[str, list[str]]:
        return {
            name: values
            for name, values in self.tags.items()
            if name not in _ROUTING_TAGS
            and (not name.startswith("ses:") or name.startswith(_PASSED_TAGS))
        }


def tags_of(record: Mapping[str, object]) -> dict[str, list[str]]:
    """Return the tags of a record's email, without values that are not text or are empty."""
    tags = _object_or_empty(_object_or_empty(record.get("mail")).get("tags"))
    texts = {name: [one for one in _texts(values) if one] for name, values in tags.items()}
    return {name: values for name, values in texts.items() if values}


def bare_address(text: object) -> str | None:
    """Return the address in a recipient as SES gives it, without its display name.

    `Ada <a@example.com> (home)` is a@example.com. None if the text holds no address.
    """
    if not isinstance(text, str):
        return None
    text = text.strip()
    bracketed = _IN_BRACKETS.search(text)
    found = bracketed[1] if bracketed and "@" in bracketed[1] else _COMMENT.sub("", text)
    address = found.strip()
    local, _, host = address.rpartition("@")
    return address if local and host else None


def _each(text: str) -> list[str]:
    """Return the recipients in a text, as written; several only if commas separate them.

    Each text is parsed by itself: `getaddresses` returns nothing for a list with a malformed one.
    """
    if len(text) > _LONG_TEXT:
        return text.split(",", MAX_RECIPIENTS + 1)
    is_group = text.rstrip().endswith(";")
    if "," not in text and not is_group:
        return [text]
    try:
        found = [address for _, address in getaddresses([text]) if bare_address(address)]
    except RecursionError:  # nested parentheses, which no address has
        return [text]
    return found if len(found) > 1 or is_group else [text]


def _distinct(listed: Iterable[object]) -> Iterator[_Recipient]:
    """Yield each address of a list once, with its first entry; items without one are left out."""
    seen: set[str] = set()
    for listed_one in listed:
        for item in _each(listed_one) if isinstance(listed_one, str) else (listed_one,):
            entry = item if isinstance(item, dict) else {"emailAddress": item}
            given = entry.get("emailAddress")
            address = bare_address(given)
            if address is not None and address not in seen:
                seen.add(address)
                yield _Recipient(address, str(given), entry)


def _limited(recipients: Iterator[_Recipient], path: str) -> list[_Recipient]:
    """Return recipients; InvalidEventError if there are too many, before the rest is read."""
    found = list(islice(recipients, MAX_RECIPIENTS + 1))
    if len(found) > MAX_RECIPIENTS:
        message = (
            f"has over {MAX_RECIPIENTS} recipients; publish a record for each {MAX_RECIPIENTS}"
        )
        raise InvalidEventError("too_many_recipients", path, message)
    return found


def _listed(value: object) -> list[object]:
    """Return a list; a single value becomes a list of it, and None an empty list."""
    if isinstance(value, list):
        return value
    return [] if value is None else [value]


def _texts(value: object) -> list[str]:
    return [one for one in _listed(value) if isinstance(one, str)]


def _headers(listed: object) -> dict[str, str]:
    """Return the email's headers by their lower-case names, the first value of each."""
    found: dict[str, str] = {}
    for header in _listed(listed):
        if isinstance(header, dict):
            name, value = header.get("name"), header.get("value")
            if isinstance(name, str) and isinstance(value, str):
                found.setdefault(name.lower(), value)
    return found


def _message_id(*values: object) -> str | None:
    """Return the first value that is a Message-ID; SES's own id, which may occur there, is not."""
    return next((one for one in values if isinstance(one, str) and "@" in one), None)


def _object(value: object, path: str) -> dict[str, object]:
    if not isinstance(value, dict):
        raise InvalidEventError("invalid_field", path, "must be an object")
    return value


def _object_or_empty(value: object) -> dict[str, object]:
    return value if isinstance(value, dict) else {}


def _text(value: object, path: str) -> str:
    if not isinstance(value, str) or not value:
        raise InvalidEventError("invalid_field", path, "must be a text")
    return value


def _hash(identity: object) -> str:
    return hashlib.sha256(json.dumps(identity).encode()).hexdigest()
