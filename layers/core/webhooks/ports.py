"""What the services need from outside, as protocols. Adapters and the tests' fakes implement them.

Every method may raise `Unavailable`: our own side did not answer, and the work is to be tried
again. No method raises anything else of its backend's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from webhooks.domain.api_key import ApiKey
    from webhooks.domain.delivery import Delivery, DeliveryKey, Outcome
    from webhooks.domain.event import Event
    from webhooks.domain.webhook import Destination, Webhook


class WebhookPage(NamedTuple):
    """Part of a list of webhooks; `next_before` is the id to go on before, None at the end."""

    webhooks: list[Webhook]
    next_before: str | None


class WebhookStore(Protocol):
    """The webhooks, for their owners: no method of it reads a secret."""

    def create(self, webhook: Webhook, secret: str, *, limit: int) -> None:
        """Add a webhook; LimitReached where its account has `limit` already, however parallel."""

    def get(self, account_id: str, webhook_id: str) -> Webhook | None:
        """Return one webhook, None where this account has none of that id."""

    def page(self, account_id: str, limit: int, before: str | None = None) -> WebhookPage:
        """Return up to `limit` webhooks, newest first, from those older than id `before`."""

    def delete(self, account_id: str, webhook_id: str) -> bool:
        """Remove a webhook; False where there was none."""


class DestinationStore(Protocol):
    """The webhooks, for the senders: with their secrets."""

    def destinations(self, account_id: str) -> Sequence[Destination]:
        """Return every webhook of an account, read consistently, inactive ones too."""

    def destination(self, account_id: str, webhook_id: str) -> Destination | None:
        """Return one webhook, None where it was deleted."""

    def disable(self, account_id: str, webhook_id: str, reason: str, now_ms: int) -> bool:
        """Switch a webhook off; True only for the one call that did it."""


class DeliveryStore(Protocol):
    """The deliveries."""

    def claim(self, event: Event) -> int:
        """Settle the time of an event whose id does not fix it.

        Returns the `occurred_at_ms` of the first copy of the event that was ever claimed: this
        one's own where it is the first, or is read again.
        """

    def get(self, key: DeliveryKey) -> Delivery | None:
        """Return one delivery, read consistently; None also past its time to live."""

    def get_many(self, keys: Iterable[DeliveryKey]) -> Mapping[DeliveryKey, Delivery]:
        """Return those of the deliveries that exist, read consistently."""

    def put_settled(self, deliveries: Sequence[Delivery]) -> Sequence[DeliveryKey]:
        """Write deliveries that succeeded, over whatever is there, in batches.

        Returns the keys that could not be written after several tries, instead of raising.
        """

    def create(self, delivery: Delivery) -> Delivery:
        """Write a delivery that did not succeed, unless one is there; returns the one stored."""

    def update(self, delivery: Delivery, *, attempts_before: int) -> bool:
        """Write an attempt's result or a new status over a delivery that is under way.

        False, with nothing written, where the stored one has settled or has not exactly
        `attempts_before` attempts: somebody else was faster.
        """


class ApiKeyStore(Protocol):
    """API keys, by hash."""

    def create(self, key: ApiKey) -> None:
        """Add a key."""

    def get(self, key_hash: str) -> ApiKey | None:
        """Return the key of that hash, None where there is none."""


class Sender(Protocol):
    """The HTTP client with the address guard inside: no caller can forget it."""

    def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> Outcome:
        """Send one request and return what it came to, within 5 seconds, never an exception.

        Unavailable is raised only where our own side failed before a byte was sent.
        """


class Observer(Protocol):
    """Where the services say what happened. Safe to call from many threads.

    Fields hold ids, counts, codes and times: never a secret, a payload, a url or an address.
    """

    def log(self, level: str, event: str, **fields: object) -> None:
        """Write one structured line; `level` is `info`, `warning` or `error`."""

    def count(self, metric: str, value: int = 1) -> None:
        """Add to one of the invocation's counters."""


class RetryScheduler(Protocol):
    """Starts the state machine that makes a delivery's later attempts."""

    def start(
        self, key: DeliveryKey, *, attempt: int, delay_seconds: float, created_at_ms: int
    ) -> None:
        """See that the delivery has its one execution; having one already is success.

        `created_at_ms` is the delivery's: one made anew after its retention is another.
        """


class RejectedMessage(NamedTuple):
    """A queue message that can never be processed, for the events dead-letter queue."""

    message_id: str
    body: str
    reason: str
    detail: str


class RejectedMessages(Protocol):
    """The events dead-letter queue."""

    def put(self, messages: Sequence[RejectedMessage]) -> Sequence[str]:
        """Put messages by; returns the ids of those that could not be."""
