"""A webhook (a customer's registration): its values and the rules that they keep."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from uuid import UUID

from webhooks.domain.errors import InvalidInputError, WebhookDisabledError
from webhooks.domain.event import EventType
from webhooks.domain.headers import header_problems
from webhooks.domain.health import CLEAN, Health
from webhooks.domain.signing import GENERATED_PREFIX

ALL_EVENTS = "*"
"""The subscription to every type, those to come included."""

MIN_SECRET_LENGTH = 16
MAX_SECRET_LENGTH = 256
MAX_DESCRIPTION_LENGTH = 256
_SECRET_BYTES = 32


@dataclass(frozen=True, slots=True)
class Webhook:
    """A registration, without its secrets: what its owner may see again.

    Times are Unix milliseconds. `disabled_reason` is set only while `active` is false and it was
    not its owner who disabled it: `gone` (a 410 response), `failing`.
    """

    account_id: str
    id: str
    url: str
    events: tuple[str, ...]
    active: bool
    created_at_ms: int
    updated_at_ms: int
    description: str = ""
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    disabled_reason: str | None = None
    health: Health = CLEAN

    def require_active(self) -> None:
        """Raise WebhookDisabledError if the webhook is disabled: nothing is sent to it then."""
        if not self.active:
            msg = "nothing is sent to a disabled webhook"
            raise WebhookDisabledError(msg)

    def wants(self, event_type: str) -> bool:
        """Tell whether the webhook is subscribed to this type of event."""
        return ALL_EVENTS in self.events or event_type in self.events


@dataclass(frozen=True, slots=True)
class Secrets:
    """The signing secrets of a webhook: the current one and, while a rotation overlaps, the old.

    Read by the dispatcher and the retrier only. `current` is None where the record has none, which
    never happens unless somebody edits the table: such a webhook is never sent an unsigned request.
    """

    current: str | None = field(repr=False)
    previous: str | None = field(default=None, repr=False)
    previous_expires_at_ms: int = 0

    def live(self, now_ms: int) -> tuple[str, ...]:
        """Return the secrets that sign at this moment, new first."""
        if self.current is None:
            return ()
        if self.previous is not None and now_ms < self.previous_expires_at_ms:
            return (self.current, self.previous)
        return (self.current,)


@dataclass(frozen=True, slots=True)
class Destination:
    """A webhook with its secrets: all that a sender needs."""

    webhook: Webhook
    secrets: Secrets


class InvalidWebhookError(InvalidInputError):
    """A registration breaks rules; `problems` has an `InvalidInputError` for each, by field."""

    def __init__(self, problems: Sequence[InvalidInputError]) -> None:
        """Take every broken rule, at least one; the first also stands for all of them."""
        super().__init__(problems[0].field, problems[0].message)
        self.problems = tuple(problems)


@dataclass(frozen=True, slots=True)
class Registration:
    """What a customer asks for when registering a webhook, not yet checked."""

    url: str = field(repr=False)
    events: tuple[str, ...]
    secret: str | None = field(default=None, repr=False)
    description: str = ""
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)

    def check(self, check_url: Callable[[str], object]) -> None:
        """Raise InvalidWebhookError with every rule of contract 2.2 that this breaks.

        `check_url` raises InvalidTargetError for a url that no webhook may have.
        """
        problems = [
            *url_problems(self.url, check_url),
            *event_problems(self.events),
            *(secret_problems(self.secret) if self.secret is not None else ()),
            *description_problems(self.description),
            *header_problems(self.headers),
        ]
        if problems:
            raise InvalidWebhookError(problems)


def url_problems(url: str, check_url: Callable[[str], object]) -> Iterator[InvalidInputError]:
    """Yield what is wrong with a url, going by the rule that is handed in."""
    try:
        check_url(url)
    except InvalidInputError as error:
        yield error


def event_problems(events: Sequence[str]) -> Iterator[InvalidInputError]:
    """Yield what is wrong with a subscription: known types without repeats, or `*` alone."""
    if not events:
        yield InvalidInputError("events", 'Name at least one event type, or ["*"] for all of them.')
    seen: set[str] = set()
    for index, event_type in enumerate(events):
        if event_type in seen:
            yield InvalidInputError(f"events[{index}]", "Name each event type only once.")
        elif event_type == ALL_EVENTS:
            if len(events) > 1:
                yield InvalidInputError(
                    f"events[{index}]", 'Use "*" alone: it stands for every type.'
                )
        elif event_type not in _KNOWN_EVENT_TYPES:
            yield InvalidInputError(f"events[{index}]", f"Use one of {_EVENT_TYPE_LIST}.")
        seen.add(event_type)


def secret_problems(secret: str) -> Iterator[InvalidInputError]:
    """Yield what is wrong with a secret that a customer brought along."""
    if not MIN_SECRET_LENGTH <= len(secret) <= MAX_SECRET_LENGTH:
        yield InvalidInputError(
            "secret",
            f"Use {MIN_SECRET_LENGTH} to {MAX_SECRET_LENGTH} characters, or leave the secret out "
            "to have one generated.",
        )
    elif not secret.isprintable():
        yield InvalidInputError("secret", "Use printable characters only.")


def description_problems(description: str) -> Iterator[InvalidInputError]:
    """Yield what is wrong with a description: one printable line of at most 256 characters."""
    if len(description) > MAX_DESCRIPTION_LENGTH:
        yield InvalidInputError("description", f"Use at most {MAX_DESCRIPTION_LENGTH} characters.")
    elif not description.isprintable():
        yield InvalidInputError("description", "Use printable characters only, on one line.")


def generated_secret(random_bytes: bytes) -> str:
    """Return `whsec_` and the 64 hex digits of 32 random bytes; ValueError for another number.

    Text and digits are what receivers key their check with, see contract 2.3.
    """
    if len(random_bytes) != _SECRET_BYTES:
        msg = f"a secret is made of exactly {_SECRET_BYTES} random bytes"
        raise ValueError(msg)
    return f"{GENERATED_PREFIX}{random_bytes.hex()}"


def webhook_id(now_ns: int, random_bytes: bytes) -> str:
    """Return the UUIDv7 of a webhook registered at this moment, in Unix nanoseconds.

    After the milliseconds come 12 bits of the fraction of a millisecond (RFC 9562, section 6.2,
    method 3), so that ids made one after the other sort in that order; then 62 of the 8 random
    bytes' bits.
    """
    milliseconds, rest_ns = divmod(now_ns, 1_000_000)
    fraction = (rest_ns << 12) // 1_000_000
    random_bits = int.from_bytes(random_bytes[:8]) & (1 << 62) - 1
    return str(UUID(int=milliseconds << 80 | 0x7 << 76 | fraction << 64 | 0x2 << 62 | random_bits))


_KNOWN_EVENT_TYPES = frozenset(EventType)
_EVENT_TYPE_LIST = ", ".join(EventType)
