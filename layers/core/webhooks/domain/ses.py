"""Amazon SES's records, as SNS or EventBridge bring them, turned into events (contract 2.4).

The records' fields: https://docs.aws.amazon.com/ses/latest/dg/event-publishing-retrieving-sns-contents.html
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from webhooks.domain.errors import InvalidEventError
from webhooks.domain.event import (
    Event,
    EventType,
    checked_account_id,
    checked_transaction_id,
    compose,
    derived_transaction_id,
    load,
    parse_timestamp,
)

_TOPIC_VALIDATION = "Successfully validated SNS topic for Amazon SES event publishing."
_TOPIC_SUBSCRIBED = "AmazonSnsSubscriptionSucceeded"


@dataclass(frozen=True, slots=True)
class SesAccounts:
    """Whose an SES record is where no message tag `account_id` says so.

    `configuration_sets` gives the account of a configuration set, `default` that of all others.
    """

    configuration_sets: Mapping[str, str] = field(default_factory=dict)
    default: str = "default"


class _Kind(NamedTuple):
    """Where a record of one type tells what happened, and to whom.

    `recipients` is None where SES does not tell the email's recipients apart.
    """

    event_type: EventType
    detail: str
    recipients: str | None


_KINDS = {
    "Send": _Kind(EventType.SENT, "send", "recipients"),
    "Delivery": _Kind(EventType.DELIVERED, "delivery", "recipients"),
    "Bounce": _Kind(EventType.BOUNCED, "bounce", "bouncedRecipients"),
    "Complaint": _Kind(EventType.COMPLAINED, "complaint", "complainedRecipients"),
    "Open": _Kind(EventType.OPENED, "open", None),
    "Click": _Kind(EventType.CLICKED, "click", None),
}
_PASSED_ON = {
    "bounceType": "ses_type",
    "bounceSubType": "ses_subtype",
    "diagnosticCode": "diagnostic",
    "status": "status",
    "action": "action",
    "complaintFeedbackType": "type",
    "complaintSubType": "ses_subtype",
    "arrivalDate": "arrival_date",
    "feedbackId": "feedback_id",
    "smtpResponse": "smtp_response",
    "processingTimeMillis": "processing_time_ms",
    "reportingMTA": "reporting_mta",
    "remoteMtaIp": "remote_mta_ip",
    "link": "link",
    "linkTags": "link_tags",
    "ipAddress": "ip",
    "userAgent": "user_agent",
}
"""What is passed on of a record's detail and of its recipients, and under which of our names."""

_DISCRIMINATORS = frozenset({"eventType", "notificationType", "detail-type"})
_ROUTING_TAGS = frozenset({"account_id", "transaction_id"})


def is_topic_validation(text: str) -> bool:
    """Tell whether a text is SES's notice that it may publish to a topic, which tells no event."""
    return text.strip() == _TOPIC_VALIDATION


def is_record(document: Mapping[str, object]) -> bool:
    """Tell whether a document claims to be a record of SES, bare or in EventBridge's envelope."""
    return "event" not in document and not _DISCRIMINATORS.isdisjoint(document)


def sns_text(document: Mapping[str, object]) -> str | None:
    """Return the text inside SNS's envelope, None where the document is no such envelope."""
    text = document.get("Message")
    return text if isinstance(text, str) and document.get("Type") == "Notification" else None


def type_of(record: Mapping[str, object]) -> str:
    """Return SES's word for what a record tells, as `Bounce` or `DeliveryDelay`.

    EventBridge's bus also carries what SES says of the sending account, which has no such word:
    then it is the `detail-type`. Raises InvalidEventError for a record that is not of SES.
    """
    bare, fallback = record, None
    if "detail-type" in record:
        if record.get("source") != "aws.ses":
            raise InvalidEventError("invalid_field", "source", "must be aws.ses")
        fallback = record["detail-type"]
        of_an_email = isinstance(fallback, str) and fallback.startswith("Email ")
        detail = record.get("detail")
        bare = _object(detail, "detail") if of_an_email or isinstance(detail, dict) else {}
    name = bare.get("eventType", bare.get("notificationType", fallback))
    if not isinstance(name, str) or not name:
        raise InvalidEventError("invalid_field", "eventType", "must be the type of an SES record")
    return name


def to_events(
    record: Mapping[str, object],
    *,
    accounts: SesAccounts | None = None,
    account_id: str | None = None,
) -> list[Event]:
    """Return the events of a record, in any of its three envelopes; none for other types.

    One event a recipient where SES tells them apart. An open or a click does not say who it was:
    it is one event, whose `to` is the list of recipients where the email had several. The same
    record twice, in whatever envelopes, gives events of the same ids. `account_id`, where given,
    owns the events whatever the record says. Raises InvalidEventError for what only looks like SES.
    """
    text = sns_text(record)
    if text is not None:
        if is_topic_validation(text):
            return []
        record = load(text)
    name = type_of(record)
    kind = _KINDS.get(name)
    if kind is None:
        # Dropping is for what SES says; anything else without an email is somebody's mistake.
        if "detail-type" not in record and name != _TOPIC_SUBSCRIBED:
            _object(record.get("mail"), "mail")
        return []
    configuration_set = None
    if "detail-type" in record:
        configuration_set = _configuration_set(record.get("resources"))
        record = _object(record.get("detail"), "detail")
    reading = _Reading.of(record, kind)
    if account_id is None:
        account_id = _account(reading.tags, configuration_set, accounts or SesAccounts())
    return [
        reading.event(account_id, recipient, particulars)
        for recipient, particulars in reading.recipients()
    ]


@dataclass(frozen=True, slots=True)
class _Reading:
    """A record whose shape has been checked as far as its events depend on it."""

    kind: _Kind
    mail: Mapping[str, object]
    detail: Mapping[str, object]
    tags: Mapping[str, list[str]]
    message_id: str
    transaction_id: str
    timestamp: str
    occurred_at_ms: int

    @classmethod
    def of(cls, record: Mapping[str, object], kind: _Kind) -> _Reading:
        mail = _object(record.get("mail"), "mail")
        tags = _tags(mail.get("tags"))
        message_id = _text(mail.get("messageId"), "mail.messageId")
        timestamp = mail.get("timestamp")
        occurred_at_ms = sent_at_ms = parse_timestamp(timestamp, "mail.timestamp")
        detail: dict[str, object] = {}
        if kind.event_type is not EventType.SENT:
            detail = _object(record.get(kind.detail), kind.detail)
            timestamp = detail.get("timestamp")
            occurred_at_ms = parse_timestamp(timestamp, f"{kind.detail}.timestamp")
        if "transaction_id" in tags:
            tag = tags["transaction_id"][0]
            transaction_id = checked_transaction_id(tag, "mail.tags.transaction_id")
        else:
            # The email's own time, not the event's: what happens to one email shares its id.
            transaction_id = derived_transaction_id(sent_at_ms, _hash(message_id)[:12])
        return cls(
            kind, mail, detail, tags, message_id, transaction_id, str(timestamp), occurred_at_ms
        )

    def recipients(self) -> Iterator[tuple[str | list[str], dict[str, object]]]:
        """Give each recipient once, with what the record says of that one alone."""
        destination = _addresses(self.mail.get("destination"), "mail.destination")
        if self.kind.recipients is None:
            everyone = list(destination)
            yield everyone[0] if len(everyone) == 1 else everyone, {}
            return
        listed = self.detail.get(self.kind.recipients)
        path = f"{self.kind.detail}.{self.kind.recipients}"
        found = _addresses(listed, path) if listed else destination
        for address, entry in found.items():
            yield address, _picked(entry)

    def event(
        self, account_id: str, recipient: str | list[str], particulars: Mapping[str, object]
    ) -> Event:
        identity = (
            self.message_id,
            self.kind.event_type.value,
            self.occurred_at_ms,
            self.detail.get("feedbackId"),
            self.detail.get("link"),
            recipient,
        )
        return compose(
            account_id=account_id,
            event_id=f"evt_{_hash(identity)[:32]}",
            event_type=self.kind.event_type,
            transaction_id=self.transaction_id,
            timestamp=self.timestamp,
            occurred_at_ms=self.occurred_at_ms,
            data=self._data(recipient, particulars),
        )

    def _data(
        self, recipient: str | list[str], particulars: Mapping[str, object]
    ) -> dict[str, object]:
        headers = self.mail.get("commonHeaders")
        common = headers if isinstance(headers, dict) else {}
        senders = common.get("from")
        sender = senders[0] if isinstance(senders, list) and senders else self.mail.get("source")
        data: dict[str, object] = {"email_id": self.message_id, "to": recipient}
        for name, value in (("subject", common.get("subject")), ("from", sender)):
            if value is not None:
                data[name] = value
        detail = {**_picked(self.detail), **particulars}
        if self.kind.event_type is EventType.BOUNCED:
            # Permanent is what SES will not try again; it is as sure of nothing else.
            hard = self.detail.get("bounceType") == "Permanent"
            detail = {"type": "hard" if hard else "soft", **detail}
        if detail:
            data[self.kind.detail] = detail
        own_tags = {
            name: values
            for name, values in self.tags.items()
            if not name.startswith("ses:") and name not in _ROUTING_TAGS
        }
        if own_tags:
            data["tags"] = own_tags
        return data


def _account(
    tags: Mapping[str, list[str]], configuration_set: str | None, accounts: SesAccounts
) -> str:
    if "account_id" in tags:
        return checked_account_id(tags["account_id"][0], "mail.tags.account_id")
    for name in (*tags.get("ses:configuration-set", ()), configuration_set):
        if name in accounts.configuration_sets:
            return accounts.configuration_sets[name]
    return accounts.default


def _configuration_set(resources: object) -> str | None:
    """Read the name off an EventBridge resource, `arn:aws:ses:…:configuration-set/NAME`."""
    for resource in resources if isinstance(resources, list) else []:
        _, separator, name = str(resource).partition(":configuration-set/")
        if separator:
            return name
    return None


def _addresses(listed: object, path: str) -> dict[str, dict[str, object]]:
    """Return each address of a list once, with its entry where the list holds objects."""
    if not isinstance(listed, list) or not listed:
        raise InvalidEventError("invalid_field", path, "must be a list of at least one recipient")
    addresses: dict[str, dict[str, object]] = {}
    for index, item in enumerate(listed):
        entry = item if isinstance(item, dict) else {"emailAddress": item}
        address = _text(entry.get("emailAddress"), f"{path}[{index}]")
        addresses.setdefault(address, entry)
    return addresses


def _tags(value: object) -> dict[str, list[str]]:
    """Return the message's tags, without those of no use as text."""
    if not isinstance(value, dict):
        return {}
    texts = {
        name: [one for one in values if isinstance(one, str) and one]
        for name, values in value.items()
        if isinstance(values, list)
    }
    return {name: values for name, values in texts.items() if values}


def _object(value: object, path: str) -> dict[str, object]:
    if not isinstance(value, dict):
        raise InvalidEventError("invalid_field", path, "must be an object")
    return value


def _text(value: object, path: str) -> str:
    if not isinstance(value, str) or not value:
        raise InvalidEventError("invalid_field", path, "must be a text")
    return value


def _picked(source: Mapping[str, object]) -> dict[str, object]:
    names = _PASSED_ON.items()
    return {ours: source[theirs] for theirs, ours in names if source.get(theirs) is not None}


def _hash(identity: object) -> str:
    return hashlib.sha256(json.dumps(identity).encode()).hexdigest()
