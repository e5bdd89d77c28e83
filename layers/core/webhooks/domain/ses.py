"""Turns Amazon SES's records, which SNS or EventBridge deliver, into events (contract 2.4).

The records' fields: https://docs.aws.amazon.com/ses/latest/dg/event-publishing-retrieving-sns-contents.html
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple, Protocol

from webhooks.domain.errors import InvalidEventError
from webhooks.domain.event import Event, read_json
from webhooks.domain.ses_kinds import KINDS, dropped_as
from webhooks.domain.ses_record import Made, Reading, tags_of
from webhooks.domain.ses_tags import tagged_account_id

_TOPIC_VALIDATION = "Successfully validated SNS topic for Amazon SES event publishing."
_TOPIC_SUBSCRIBED = "AmazonSnsSubscriptionSucceeded"
DISCRIMINATORS = frozenset({"eventType", "notificationType", "detail-type"})
"""Each record of SES has one of these fields."""

_OPENING = ("{", "[")
_CONFIRMATIONS = frozenset({"SubscriptionConfirmation", "UnsubscribeConfirmation"})


class SourceKind(StrEnum):
    """A thing in SES that can assign a mail to an account."""

    CONFIGURATION_SET = "set"
    TENANT = "tenant"


class AccountChooser(Protocol):
    """Finds the account of an SES record without a message tag `account_id`."""

    def choose(self, tenants: Sequence[str], configuration_sets: Sequence[str]) -> str:
        """Return the account of mail of these tenants, sent through these configuration sets.

        Raises UnavailableError if that cannot be looked up now.
        """


@dataclass(frozen=True, slots=True)
class SesAccounts:
    """The accounts of SES records without a message tag `account_id`.

    `tenants` maps an SES tenant to its account and goes first; `configuration_sets` maps a
    configuration set; `default` is the account of all other records.
    """

    configuration_sets: Mapping[str, str] = field(default_factory=dict)
    default: str = "default"
    tenants: Mapping[str, str] = field(default_factory=dict)

    def choose(self, tenants: Sequence[str], configuration_sets: Sequence[str]) -> str:
        """Return the account of the first tenant that has one, else the first set, or default."""
        for names, accounts in (
            (tenants, self.tenants),
            (configuration_sets, self.configuration_sets),
        ):
            for name in names:
                if name in accounts:
                    return accounts[name]
        return self.default


def is_topic_validation(text: object) -> bool:
    """Whether a text is SES's notice that it may publish to a topic; it contains no event."""
    return isinstance(text, str) and text.strip() == _TOPIC_VALIDATION


def is_record(document: Mapping[str, object]) -> bool:
    """Whether a document claims to be a record of SES, bare or in EventBridge's envelope."""
    return "event" not in document and not DISCRIMINATORS.isdisjoint(document)


def unwrap(document: object) -> object:
    """Return the content of SNS's envelopes, however many there are, or any other document as is.

    The content is a JSON value, or the text of which `is_topic_validation` is true. A text that is
    itself the JSON of an object or an array counts as an envelope. Raises InvalidEventError for an
    envelope around a text that is not JSON, and for a message in which SNS asks for a confirmation;
    its message then says how an operator confirms it.
    """
    while True:
        if isinstance(document, str) and document.lstrip()[:1] in _OPENING:
            document = read_json(document)
        if not isinstance(document, dict) or "event" in document:
            break
        kind, inner = document.get("Type"), document.get("Message")
        if isinstance(kind, str) and kind in _CONFIRMATIONS and "Token" in document:
            raise InvalidEventError(
                "confirmation",
                "Type",
                f"is SNS's {kind}, which is never confirmed here: confirm it yourself with "
                "`aws sns confirm-subscription`, its TopicArn and its Token",
            )
        if kind != "Notification" or not isinstance(inner, str | dict | list):
            break
        if is_topic_validation(inner):
            return inner
        document = read_json(inner) if isinstance(inner, str) else inner
    return document


def type_of(record: Mapping[str, object]) -> str:
    """Return SES's word for a record's type, such as `Bounce` or `DeliveryDelay`.

    EventBridge also delivers SES's notices about the sending account, which have no such word; then
    it is the `detail-type`. Raises InvalidEventError for a record that is not from SES.
    """
    bare, fallback = record, None
    if "detail-type" in record:
        if record.get("source") != "aws.ses":
            raise InvalidEventError("invalid_field", "source", "must be aws.ses")
        fallback = record["detail-type"]
        of_an_email = isinstance(fallback, str) and fallback.startswith("Email ")
        detail = record.get("detail")
        bare = _object(detail, "detail") if of_an_email or isinstance(detail, dict) else {}
        fallback = None if of_an_email else fallback
    name = bare.get("eventType") or bare.get("notificationType") or fallback
    if not isinstance(name, str) or not name:
        raise InvalidEventError("invalid_field", "eventType", "must be the type of an SES record")
    return name


def ignored_type(record: Mapping[str, object]) -> str:
    """Return the name under which a record without events (see `to_events`) is counted.

    It is SES's word for it; for a complaint its feedback type, such as `not-spam`.
    """
    name = type_of(record)
    kind = KINDS.get(name)
    return name if kind is None else dropped_as(kind, _bare(record)) or name


def to_events(
    record: object,
    *,
    accounts: AccountChooser | None = None,
    account_id: str | None = None,
    headers: Sequence[str] = (),
) -> list[Event]:
    """Return the events of a record, in any of its envelopes, or of an array of records.

    - One event for each recipient if SES names them. An open or a click does not say who it was: it
      is one event, whose `to` is the list of recipients if the email had several.
    - The same record twice, even in different envelopes, gives events with the same ids.
    - The list is empty for types that concern no email of ours, or that are no event.
    - `account_id`, if given, owns the events, even if the record names another.
    - `headers` are the names of the email's headers that go into `data`.

    Raises InvalidEventError for a document that only looks like SES; for an array, only if no
    record in it has an event.
    """
    record = unwrap(record)
    if record == []:
        return []
    events: list[Event] = []
    refusals: list[InvalidEventError] = []
    for one in documents(record):
        try:
            made = of_record(one.bare(), accounts=accounts, account_id=account_id, headers=headers)
        except InvalidEventError as error:
            refusals.append(error)
        else:
            events += made.events
            refusals += made.refusals
    if refusals and not events:
        raise refusals[0]
    return events


class Document(NamedTuple):
    """A document of a message: as it came, and either its content or why that cannot be read."""

    given: object
    inner: object
    error: InvalidEventError | None = None

    def bare(self) -> object:
        """Return the document out of its envelopes. Raises InvalidEventError as `unwrap` does."""
        if self.error is not None:
            raise self.error
        return self.inner


def documents(document: object) -> Iterator[Document]:
    """Yield each document of an array out of its envelopes, or the single document.

    An envelope in an array may hold another array. A bare array in an array is a document, and an
    invalid one. Raises InvalidEventError as `unwrap` does, for the outermost envelopes only.
    """
    inner = unwrap(document)
    if isinstance(inner, list) and inner:
        for one in inner:
            yield from _documents(one)
    else:
        yield Document(document, inner)


def _documents(given: object) -> Iterator[Document]:
    if not isinstance(given, dict | str):
        yield Document(given, given)
        return
    try:
        inner = unwrap(given)
    except InvalidEventError as error:
        yield Document(given, None, error)
        return
    if isinstance(inner, list) and inner:
        for one in inner:
            yield from _documents(one)
    else:
        yield Document(given, inner)


def of_record(
    record: object,
    *,
    accounts: AccountChooser | None = None,
    account_id: str | None = None,
    headers: Sequence[str] = (),
) -> Made:
    """Return the events of one record out of SNS's envelopes, as `to_events` does.

    If one recipient cannot have an event, the others still have theirs; the refusals say why.
    """
    if is_topic_validation(record):
        return Made([])
    record = _object(record, "body")
    name = type_of(record)
    kind = KINDS.get(name)
    if kind is None:
        # Only SES's own notices are ignored; any other record without an email is an error.
        if "detail-type" not in record and name != _TOPIC_SUBSCRIBED:
            _object(record.get("mail"), "mail")
        return Made([])
    bare = _bare(record)
    if dropped_as(kind, bare) is not None:
        return Made([])
    reading = Reading.of(bare, kind, headers)
    if account_id is None:
        account_id = _account(bare, record.get("resources"), accounts or SesAccounts())
    return reading.events(account_id)


def _bare(record: Mapping[str, object]) -> Mapping[str, object]:
    """Return a record out of EventBridge's envelope."""
    return _object(record.get("detail"), "detail") if "detail-type" in record else record


def _account(record: Mapping[str, object], resources: object, accounts: AccountChooser) -> str:
    tagged = tagged_account_id(record)
    if tagged is not None:
        return tagged
    tags = tags_of(record)
    configuration_sets = [*tags.get("ses:configuration-set", ()), *_configuration_sets(resources)]
    return accounts.choose(tags.get("ses:tenant-name", ()), configuration_sets)


def _configuration_sets(resources: object) -> list[str]:
    """Read names from EventBridge's resources, such as `arn:aws:ses:…:configuration-set/NAME`."""
    listed = resources if isinstance(resources, list) else [resources]
    parted = [str(resource).partition(":configuration-set/") for resource in listed]
    return [name for _, separator, name in parted if separator]


def _object(value: object, path: str) -> Mapping[str, object]:
    if not isinstance(value, dict):
        raise InvalidEventError("invalid_field", path, "must be an object")
    return value
