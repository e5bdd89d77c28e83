"""The one description of a webhook: its fields, their rules, and who reads and writes them.

The items of the table of webhooks, the API's schemas, and the options and columns of the command
line and the dashboard derive from this table; a test compares the lists of attributes in the
template with it. docs/changes.md says how to add a field.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum, Flag, auto
from typing import TYPE_CHECKING, Any

from webhooks.domain.headers import header_problems
from webhooks.domain.webhook_rules import (
    MAX_DESCRIPTION_LENGTH,
    CheckUrl,
    event_problems,
    external_id_problems,
    metadata_problems,
    secret_problems,
    text_problems,
    url_problems,
)

if TYPE_CHECKING:
    from webhooks.domain.errors import InvalidInputError


class FieldKind(Enum):
    """The type of a field's value; `adapters.dynamodb.webhook_items` has a codec for each."""

    URL = "url"
    TEXT = "text"
    NAMES = "names"
    """A tuple of texts."""

    FLAG = "flag"
    TIME = "time"
    """Unix milliseconds; the `Webhook`'s attribute ends in `_ms`."""

    HEADERS = "headers"
    """Texts by name; owners can read the names again, but not the values."""

    PAIRS = "pairs"
    """Texts by name, shown as they were given and in that order."""

    SECRET = "secret"  # noqa: S105  a kind
    """Written and never read: not part of a `Webhook`."""

    HEALTH = "health"


class May(Flag):
    """The operations that a webhook's owner may use on a field."""

    READ = auto()
    REGISTER = auto()
    """Give it at registration."""

    CHANGE = auto()
    CLEAR = auto()
    """Give null instead of a value, at registration and as a change."""


class Written(Flag):
    """When the API writes a field whose value its owner does not give."""

    NEVER = 0
    AT_CREATION = auto()
    AT_CHANGE = auto()


_OWNERS = May.READ | May.REGISTER | May.CHANGE


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a webhook.

    - `name` is the API's.
    - `filled`: if a text is given, it is not empty; only null clears it.
    - `rule` yields the problems of a value; without a rule, a text must be one line of at most
      `max_length` characters.
    - `meaning` is a sentence for owners.
    - `required`: every webhook has it; any other field is left out of items and responses if empty.
    - `listed`: it has a column in lists of webhooks.
    - `stored_as` names its attributes in the table; without it, the attribute is `name`.
    """

    name: str
    kind: FieldKind
    may: May
    meaning: str = ""
    rule: Callable[[Any], Iterable[InvalidInputError]] | None = None
    max_length: int = 0
    required: bool = False
    filled: bool = False
    listed: bool = False
    written: Written = Written.NEVER
    stored_as: tuple[str, ...] = ()

    @property
    def attributes(self) -> tuple[str, ...]:
        """The attributes of the table that hold the field."""
        return self.stored_as or (self.name,)

    @property
    def python_name(self) -> str:
        """The attribute of a `Webhook` that holds the field."""
        return f"{self.name}_ms" if self.kind is FieldKind.TIME else self.name

    @property
    def shown_as(self) -> str:
        """The API's name of the field in responses."""
        return "header_names" if self.kind is FieldKind.HEADERS else self.name

    @property
    def is_created(self) -> bool:
        """Whether a new webhook's item may have it."""
        return May.REGISTER in self.may or Written.AT_CREATION in self.written

    @property
    def is_changed(self) -> bool:
        """Whether the update for an owner's change may include it."""
        return May.CHANGE in self.may or Written.AT_CHANGE in self.written

    @property
    def empty(self) -> Any:
        """The value that clears the field."""
        return {} if self.kind in {FieldKind.HEADERS, FieldKind.PAIRS} else ""

    def problems(self, value: Any, check_url: CheckUrl) -> Iterable[InvalidInputError]:
        """Return the problems of a value that an owner gave."""
        if self.kind is FieldKind.URL:
            return url_problems(value, check_url)
        if self.rule is not None:
            return self.rule(value)
        return text_problems(self.name, value, self.max_length) if self.max_length else ()


FIELDS = (
    Field(
        "id",
        FieldKind.TEXT,
        May.READ,
        required=True,
        written=Written.AT_CREATION | Written.AT_CHANGE,
        stored_as=("webhook_id",),
    ),
    Field(
        "url",
        FieldKind.URL,
        _OWNERS,
        "The target of events: https, a public host, no user information or fragment.",
        required=True,
    ),
    Field(
        "events",
        FieldKind.NAMES,
        _OWNERS,
        'The event types to send, or ["*"] for all of mail, future types included.',
        rule=event_problems,
        required=True,
    ),
    Field(
        "secret",
        FieldKind.SECRET,
        May.REGISTER,
        "The key that signs the deliveries; generated if it is left out. Never shown again.",
        rule=secret_problems,
        required=True,
    ),
    Field(
        "active",
        FieldKind.FLAG,
        May.READ | May.CHANGE,
        "Whether events are sent.",
        required=True,
        written=Written.AT_CREATION,
    ),
    Field("created_at", FieldKind.TIME, May.READ, required=True, written=Written.AT_CREATION),
    Field(
        "updated_at",
        FieldKind.TIME,
        May.READ,
        required=True,
        written=Written.AT_CREATION | Written.AT_CHANGE,
    ),
    Field(
        "description",
        FieldKind.TEXT,
        _OWNERS | May.CLEAR,
        "A line for your own use.",
        max_length=MAX_DESCRIPTION_LENGTH,
    ),
    Field(
        "headers",
        FieldKind.HEADERS,
        _OWNERS | May.CLEAR,
        "Headers to add to each delivery, by name. Values are sent, and never shown again. Refused "
        "are the delivery's own headers, HTTP's, and headers for a request's sender or client "
        "address, its original url or method, early data, a trace, a condition or a range.",
        rule=header_problems,
    ),
    Field(
        "external_id",
        FieldKind.TEXT,
        _OWNERS | May.CLEAR,
        "Your own id of the webhook, unique in the account and not a UUID.",
        rule=external_id_problems,
        filled=True,
        listed=True,
    ),
    Field(
        "metadata",
        FieldKind.PAIRS,
        _OWNERS | May.CLEAR,
        "Your own texts by key, for your own use. They are shown to you and never sent.",
        rule=metadata_problems,
    ),
    Field("disabled_reason", FieldKind.TEXT, May.READ, written=Written.AT_CHANGE),
    Field(
        "health",
        FieldKind.HEALTH,
        May.READ,
        required=True,
        written=Written.AT_CHANGE,
        stored_as=("failures", "failing_since", "circuit", "comeback", "not_before"),
    ),
)

CHANGEABLE = tuple(field for field in FIELDS if May.CHANGE in field.may)
REGISTERED = tuple(field for field in FIELDS if May.REGISTER in field.may)
READABLE = tuple(field for field in FIELDS if May.READ in field.may)


def problems(values: Mapping[str, Any], check_url: CheckUrl) -> Iterator[InvalidInputError]:
    """Yield the problems of fields' values, by name; None and a cleared field have none.

    `check_url` raises InvalidTargetError for a url that no webhook may have.
    """
    for field in FIELDS:
        value = values.get(field.name)
        if value is None or (not value and May.CLEAR in field.may):
            continue
        yield from field.problems(value, check_url)
