"""A webhook (a customer's registration): its values and their rules."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any
from uuid import UUID

from webhooks.domain.errors import InvalidInputError, WebhookDisabledError
from webhooks.domain.health import CLEAN, Health
from webhooks.domain.signing import GENERATED_PREFIX
from webhooks.domain.timestamps import NANOSECONDS
from webhooks.domain.webhook_fields import REGISTERED, problems
from webhooks.domain.webhook_rules import ALL_EVENTS, CheckUrl

if TYPE_CHECKING:
    from webhooks.domain.delivery import Delivery
    from webhooks.domain.rotation import Refusals
    from webhooks.domain.seed import Seed

_MAIL = "email."
"""The prefix of the types of mail."""

_SECRET_BYTES = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookSettings:
    """The values that a webhook's owner gives at its registration; `FIELDS` has their rules."""

    url: str
    events: tuple[str, ...]
    description: str = ""
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    external_id: str = ""
    metadata: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Webhook(WebhookSettings):
    """A registration without its secrets: the part that its owner may read.

    Times are Unix milliseconds. `disabled_reason` is set only while the webhook is disabled, and
    only if it was disabled by us: `gone` (a 410 response) or `failing`.
    """

    account_id: str
    id: str
    active: bool
    created_at_ms: int
    updated_at_ms: int
    disabled_reason: str | None = None
    health: Health = CLEAN

    def require_active(self) -> None:
        """Raise WebhookDisabledError if the webhook is disabled: nothing is sent to it then."""
        if not self.active:
            msg = "nothing is sent to a disabled webhook"
            raise WebhookDisabledError(msg)

    def wants(self, event_type: str) -> bool:
        """Whether the webhook is subscribed to this type of event."""
        return subscribes(self.events, event_type)

    def takes(self, delivery: Delivery) -> bool:
        """Whether the webhook is still subscribed to a delivery's type; tests always pass."""
        return delivery.test or self.wants(delivery.event_type)


def wanting(
    destinations: Iterable[Destination], event_type: str, webhook_ids: Collection[str] | None = None
) -> list[Destination]:
    """Return the destinations that are subscribed to a type, of `webhook_ids` alone if given."""
    return [
        one
        for one in destinations
        if one.webhook.wants(event_type) and (webhook_ids is None or one.webhook.id in webhook_ids)
    ]


def subscribes(events: Sequence[str], event_type: str) -> bool:
    """Whether these subscriptions include events of this type; `*` includes all types of mail."""
    return event_type in events or (ALL_EVENTS in events and event_type.startswith(_MAIL))


@dataclass(frozen=True, slots=True)
class Secrets:
    """The signing secrets of a webhook: the current one and, during a rotation's overlap, the old.

    Only the dispatcher and the worker read them. `current` is None if the record has no secret,
    which happens only if the table was edited by hand; such a webhook is sent nothing, since no
    request is sent unsigned.
    """

    current: str | None = field(repr=False)
    previous: str | None = field(default=None, repr=False)
    previous_expires_at_ms: int = 0
    refusals: Refusals | None = None
    """How often a receiver refused both in this overlap."""

    def live(self, now_ms: int) -> tuple[str, ...]:
        """Return the secrets that sign at this moment, new first."""
        if self.current is None:
            return ()
        if self.previous is not None and now_ms < self.previous_expires_at_ms:
            return (self.current, self.previous)
        return (self.current,)


@dataclass(frozen=True, slots=True)
class Destination:
    """A webhook with its secrets, the sender's whole input apart from the delivery."""

    webhook: Webhook
    secrets: Secrets


class InvalidWebhookError(InvalidInputError):
    """A registration breaks rules; `problems` has an `InvalidInputError` for each, by field.

    There is at least one problem; the first is also this error's own field and message.
    """

    def __init__(self, problems: Sequence[InvalidInputError]) -> None:
        super().__init__(problems[0].field, problems[0].message)
        self.problems = tuple(problems)


@dataclass(frozen=True, slots=True, kw_only=True)
class Registration(WebhookSettings):
    """A customer's request to register a webhook, not yet checked."""

    url: str = field(repr=False)
    secret: str | None = field(default=None, repr=False)

    def settings(self) -> dict[str, Any]:
        """Return the new webhook's values: all except the secret."""
        return {each.name: getattr(self, each.name) for each in fields(WebhookSettings)}

    def check(self, check_url: CheckUrl) -> None:
        """Raise InvalidWebhookError with every rule of contract 2.2 that this breaks.

        `check_url` raises InvalidTargetError for a url that no webhook may have.
        """
        given = {each.name: getattr(self, each.name) for each in REGISTERED}
        refuse(problems(given, check_url))


def refuse(broken: Iterable[InvalidInputError]) -> None:
    """Raise InvalidWebhookError with every broken rule, if there is one."""
    if listed := [*broken]:
        raise InvalidWebhookError(listed)


def generated_secret(random_bytes: bytes) -> str:
    """Return `whsec_` and the 64 hex digits of 32 random bytes; ValueError for another number.

    Receivers use this whole text as the key of `X-SendComms-Signature` (contract 2.3).
    """
    if len(random_bytes) != _SECRET_BYTES:
        msg = f"a secret is made of exactly {_SECRET_BYTES} random bytes"
        raise ValueError(msg)
    return f"{GENERATED_PREFIX}{random_bytes.hex()}"


def new_webhook_id(seed: Seed) -> str:
    """Return the id of the webhook that a call with this seed registers."""
    return webhook_id(seed.now_ns, seed.draw("webhook id", 8))


def webhook_id(now_ns: int, random_bytes: bytes) -> str:
    """Return the UUIDv7 of a webhook registered at this moment, in Unix nanoseconds.

    After the milliseconds come 12 bits of the fraction of a millisecond (RFC 9562, section 6.2,
    method 3), so that ids sort in the order in which they were made; then 62 of the 8 random bytes'
    bits.
    """
    milliseconds, rest_ns = divmod(now_ns, NANOSECONDS)
    fraction = (rest_ns << 12) // NANOSECONDS
    random_bits = int.from_bytes(random_bytes[:8]) & (1 << 62) - 1
    return str(UUID(int=milliseconds << 80 | 0x7 << 76 | fraction << 64 | 0x2 << 62 | random_bits))
