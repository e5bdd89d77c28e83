"""A webhook (a customer's registration): its values and the rules that they keep."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

ALL_EVENTS = "*"
"""The subscription to every type, those to come included."""

NO_HEADERS: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Webhook:
    """A registration, without its secrets: what its owner may see again.

    Times are Unix milliseconds. `disabled_reason` is set only while `active` is false and it was
    not its owner who switched it off: `gone` (a 410 answer), `failing`.
    """

    account_id: str
    id: str
    url: str
    events: tuple[str, ...]
    active: bool
    created_at_ms: int
    updated_at_ms: int
    description: str = ""
    headers: Mapping[str, str] = field(default=NO_HEADERS, repr=False)
    disabled_reason: str | None = None

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
