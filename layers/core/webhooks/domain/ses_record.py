"""One record of SES: its email, its recipients, and the event that it is for each of them."""

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
from webhooks.domain.ses_kinds import Kind, particulars

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

MAX_RECIPIENTS = 100
"""Recipients of a record, each of whom gets an event with all of its tags: SES mails 50 at most."""

_LONG_TEXT = 65_536
"""Characters of recipients in one text that are parted at each comma, not by the rules for names
in quotes: reading by these takes seconds, and a hundred recipients take half."""

_ROOM_FOR_ONE = 8192
"""What tags and headers that are cut leave, of an event's bytes, for what is of its recipient."""

_ROUTING_TAGS = frozenset({"account_id", "transaction_id"})
_PASSED_TAGS = ("ses:tenant-name", "ses:feedback-id")
"""The beginnings of those of SES's own tags that go through."""

# Of a text without spaces around it. Each takes a time that grows with the text, not its square.
_IN_BRACKETS = re.compile(r"<([^<>]*)>(?:\s*\([^()]*\))?\Z")
_COMMENT = re.compile(r"\([^()]*\)\Z")


class _Recipient(NamedTuple):
    """Whom an event is about: as receivers are told, as the record has it, and its entry there.

    Lists are of those whom SES does not tell apart.
    """

    to: str | list[str]
    as_given: str | list[str]
    entry: Mapping[str, object]


class Made(NamedTuple):
    """A record's events, and why some of its recipients have none."""

    events: list[Event]
    refusals: Sequence[InvalidEventError] = ()


@dataclass(frozen=True, slots=True)
class Reading:
    """A record whose shape has been checked as far as its events depend on it."""

    kind: Kind
    mail: Mapping[str, object]
    detail: Mapping[str, object]
    tags: Mapping[str, list[str]]
    message_id: str
    email_transaction_id: str
    timestamp: str
    occurred_at_ms: int
    headers: Sequence[str]

    @classmethod
    def of(cls, record: Mapping[str, object], kind: Kind, headers: Sequence[str]) -> Reading:
        """Check a record out of its envelopes; InvalidEventError says what it lacks."""
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
            # The email's own time, not the event's: what happens to one email shares its `data.id`.
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
        """Return an account's events of this record, at least one, and why others are none.

        Raises InvalidEventError where it names no recipient, or too many, or where none of them
        can have an event.
        """
        recipients = self._recipients()
        mailed = list(islice(_distinct(_listed(self.mail.get("destination"))), 2))
        # With several, it might be any of them that forwards.
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
        """Return each recipient once, with what the record says of that one alone."""
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
        """Return whom the email went to: by its envelope, else by its headers."""
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
        """Return what the data of each recipient's event has of the email, as far as it fits."""
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
            # Once, and not for each recipient.
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
    """Return the tags of a record's email, without those of no use as text."""
    tags = _object_or_empty(_object_or_empty(record.get("mail")).get("tags"))
    texts = {name: [one for one in _texts(values) if one] for name, values in tags.items()}
    return {name: values for name, values in texts.items() if values}


def bare_address(text: object) -> str | None:
    """Return the address in a recipient as SES gives it, without its display name.

    None for what holds no address. `Ada <a@example.com> (home)` is a@example.com.
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
    """Return the recipients in a text, as they are given: several only where commas part them.

    One text at a time, for `getaddresses` gives nothing of a list in which one is malformed.
    """
    if len(text) > _LONG_TEXT:
        return text.split(",", MAX_RECIPIENTS + 1)
    is_group = text.rstrip().endswith(";")
    if "," not in text and not is_group:
        return [text]
    try:
        found = [address for _, address in getaddresses([text]) if bare_address(address)]
    except RecursionError:  # of parentheses in parentheses, which no address has
        return [text]
    return found if len(found) > 1 or is_group else [text]


def _distinct(listed: Iterable[object]) -> Iterator[_Recipient]:
    """Yield each address of a list once, the first entry of each; those without are left out."""
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
    """Return recipients; InvalidEventError for too many, before the rest of them is read."""
    found = list(islice(recipients, MAX_RECIPIENTS + 1))
    if len(found) > MAX_RECIPIENTS:
        message = (
            f"has over {MAX_RECIPIENTS} recipients; publish a record for each {MAX_RECIPIENTS}"
        )
        raise InvalidEventError("too_many_recipients", path, message)
    return found


def _listed(value: object) -> list[object]:
    """Return a list; what stands alone where one is usual is a list of it."""
    if isinstance(value, list):
        return value
    return [] if value is None else [value]


def _texts(value: object) -> list[str]:
    return [one for one in _listed(value) if isinstance(one, str)]


def _headers(listed: object) -> dict[str, str]:
    """Return the email's headers by their names in small letters, the first one of each."""
    found: dict[str, str] = {}
    for header in _listed(listed):
        if isinstance(header, dict):
            name, value = header.get("name"), header.get("value")
            if isinstance(name, str) and isinstance(value, str):
                found.setdefault(name.lower(), value)
    return found


def _message_id(*values: object) -> str | None:
    """Return the first that is a Message-ID; SES's own id, which may stand there, is none."""
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
