"""The deliveries, as the services need them.

Every method may raise `UnavailableError`: our own side did not answer, and the work is to be tried
again. No method raises anything else of its backend's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from webhooks.domain.delivery import Claim, Delivery, DeliveryKey, Status
    from webhooks.domain.event import Event, EventClaim, Holder
    from webhooks.domain.selection import Selection
    from webhooks.ports.pages import Page


class DeliveryQuery(NamedTuple):
    """Which of a webhook's deliveries; times are the events', in Unix milliseconds, inclusive."""

    account_id: str
    webhook_id: str
    status: Status | None = None
    event_type: str | None = None
    since_ms: int | None = None
    until_ms: int | None = None


class DeliveryStore(Protocol):
    """The deliveries.

    A method that reads a single one raises UnreadableRecordError where its record is broken, or of
    a newer version of ours.
    """

    def claim(self, event: Event, holder: Holder) -> EventClaim:
        """Settle the time of an event whose id does not fix it, and hold the event for a while.

        Returns the `occurred_at_ms` of the first copy of the event that was ever claimed: this
        one's own where it is the first, or is read again.
        """

    def get(self, key: DeliveryKey) -> Delivery | None:
        """Return one delivery, read consistently; None also past its time to live."""

    def get_many(self, keys: Iterable[DeliveryKey]) -> Mapping[DeliveryKey, Delivery | None]:
        """Return those of the deliveries that exist, read consistently.

        None stands for one that is there and cannot be read: no other is to suffer from it.
        """

    def put_settled(self, deliveries: Sequence[Delivery]) -> Sequence[DeliveryKey]:
        """Write deliveries that succeeded, over whatever is there, in batches.

        Returns the keys that could not be written after several tries, instead of raising.
        """

    def create(self, delivery: Delivery) -> Delivery:
        """Write a delivery that did not succeed, unless one is there; returns the one stored."""

    def update(self, delivery: Delivery, *, before: Delivery) -> bool:
        """Write an attempt's result or a new status over what `before` was read as.

        False, with nothing written, where the stored one has another status, generation, claim or
        number of attempts by now: another writer was faster. The body changes only where the
        delivery is erased with this.
        """

    def claim_attempt(
        self, delivery: Delivery, claim: Claim, *, attempt_number: int, now_ms: int
    ) -> Delivery | None:
        """Claim attempt `attempt_number` of the schedule for one invocation.

        Only where the delivery is retrying, of the generation that `delivery` was read with, its
        next attempt has this number, and no claim's lease goes on at `now_ms`. Returns the delivery
        as it is then stored, None where it is absent: the claim is taken where it is there. One
        whose answer was lost is recognised by its invocation.
        """

    def mark_unstarted(self, delivery: Delivery) -> bool:
        """Note that no execution could be started for the delivery, so that the sweep takes it.

        False, with nothing written, where its generation or the time of its next attempt is another
        by now: an execution works on it.
        """

    def note_expiring(self, delivery: Delivery) -> bool:
        """Note that the owner of a waiting delivery is notified of the end of its retention.

        True only for the one call that did it, and only while the delivery is as it was read.
        """


class OverdueDelivery(NamedTuple):
    """A delivery that is overdue, and since when: a partition is in the order of time."""

    due_ms: int
    key: DeliveryKey


class OverdueDeliveries(Protocol):
    """The deliveries that an execution should have worked on by now, in partitions."""

    @property
    def partitions(self) -> Sequence[str]:
        """Every partition."""

    def page(
        self,
        partition: str,
        since_ms: int,
        before_ms: int,
        limit: int,
        after: OverdueDelivery | None = None,
    ) -> Page[OverdueDelivery]:
        """Return up to `limit` that were due from a time on and before another.

        The longest overdue first, of those behind `after`, which lies in that time too: the last
        one of the page before.
        """


class DeliveryLog(Protocol):
    """The deliveries, for their owners to look through."""

    def page(self, query: DeliveryQuery, limit: int, before: str | None = None) -> Page[Delivery]:
        """Return up to `limit` deliveries that match, newest first, older than id `before`.

        A page may be short, even empty, and still have a next one: what a filter passes over is
        bounded, so that a page's cost is.
        """


class DeliveryReader(Protocol):
    """The deliveries of a webhook from the oldest on, for what sends them again."""

    def oldest_first(
        self,
        account_id: str,
        webhook_id: str,
        selection: Selection,
        limit: int,
        after: str | None = None,
    ) -> Page[Delivery]:
        """Return up to `limit` selected deliveries, oldest first, newer than id `after`.

        A batch may be short, even empty, and still have a next one: what it costs is bounded.
        """


class RetryScheduler(Protocol):
    """Starts the state machines that make a delivery's later attempts."""

    def start(self, delivery: Delivery, *, delay_seconds: float) -> None:
        """See that the delivery's generation has its one execution; having it already is success.

        The time of its creation counts too: one made anew after its retention is another. So do the
        restarts of an exhausted one, whose dead letter is sent again. Where the delivery is
        `short`, its next attempt has an execution of its own, at least one.
        """

    def running(self, delivery: Delivery) -> bool:
        """Tell whether the execution of the delivery's generation goes on.

        Not for a `short` one: nothing tells of its executions.
        """

    def resend(
        self, key: DeliveryKey, *, attempt: int, request_id: str, delay_seconds: float = 0
    ) -> None:
        """Have one attempt made besides the schedule; the same `request_id` again is success.

        `attempt` is the number that it is expected to have.
        """
