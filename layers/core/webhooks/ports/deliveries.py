"""Protocols for deliveries and their executions.

Every method may raise `UnavailableError`: a resource of ours failed, and the caller should retry.
No method raises any other error of its backend.
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
    """A selection of a webhook's deliveries.

    Times are the events', in Unix milliseconds, inclusive.
    """

    account_id: str
    webhook_id: str
    status: Status | None = None
    event_type: str | None = None
    since_ms: int | None = None
    until_ms: int | None = None


class DeliveryStore(Protocol):
    """The table of deliveries.

    A method that reads a single delivery raises UnreadableRecordError if its record is broken, or
    of a newer version of ours.
    """

    def claim(self, event: Event, holder: Holder) -> EventClaim:
        """Settle the time of an event whose id does not fix it, and hold the event for a while.

        Returns the `occurred_at_ms` of the first copy of the event that was ever claimed; that is
        this copy's own time if it is the first, or is read again.
        """

    def get(self, key: DeliveryKey) -> Delivery | None:
        """Return one delivery, read consistently; None also past its time to live."""

    def get_many(self, keys: Iterable[DeliveryKey]) -> Mapping[DeliveryKey, Delivery | None]:
        """Return the deliveries that exist, read consistently.

        A delivery that exists but cannot be read is None; the others are returned all the same.
        """

    def put_settled(self, deliveries: Sequence[Delivery]) -> Sequence[DeliveryKey]:
        """Write succeeded deliveries in batches, over any earlier records of them.

        Returns the keys that could not be written after several tries, instead of raising.
        """

    def create(self, delivery: Delivery) -> Delivery:
        """Write a delivery that did not succeed, unless it exists; returns the stored one."""

    def update(self, delivery: Delivery, *, before: Delivery) -> bool:
        """Write an attempt's result or a new status over the state `before`.

        False, with nothing written, if the stored delivery now has another status, generation,
        claim or number of attempts: another writer was faster. The body changes only if the
        delivery becomes erased.
        """

    def claim_attempt(
        self, delivery: Delivery, claim: Claim, *, attempt_number: int, now_ms: int
    ) -> Delivery | None:
        """Claim attempt `attempt_number` of the schedule for one invocation.

        The claim succeeds only if the delivery is retrying, has the same generation as `delivery`,
        its next attempt has this number, and no other claim's lease is running at `now_ms`. Returns
        the delivery as it is then stored, None if it is absent; the claim succeeded if the result
        has it. After a lost response, a claim is recognised by its invocation.
        """

    def mark_unstarted(self, delivery: Delivery) -> bool:
        """Record that no execution could be started for the delivery; the sweep will start one.

        False, with nothing written, if its generation or the time of its next attempt has changed:
        an execution works on it.
        """

    def note_expiring(self, delivery: Delivery) -> bool:
        """Record that a waiting delivery's owner is notified of the end of its retention.

        True only for the one call that wrote it, and only if the delivery has not changed since.
        """


class OverdueDelivery(NamedTuple):
    """An overdue delivery and its due time, by which its partition is sorted."""

    due_ms: int
    key: DeliveryKey


class OverdueDeliveries(Protocol):
    """The deliveries that an execution should have worked on by now, in partitions."""

    @property
    def partitions(self) -> Sequence[str]:
        """All partitions: each overdue delivery is in one of them."""

    def page(
        self,
        partition: str,
        since_ms: int,
        before_ms: int,
        limit: int,
        after: OverdueDelivery | None = None,
    ) -> Page[OverdueDelivery]:
        """Return up to `limit` deliveries due from `since_ms` and before `before_ms`.

        The longest overdue come first. `after` is the last one of the page before; it was due
        within this time too.
        """


class DeliveryLog(Protocol):
    """The deliveries of a webhook, for their owners to browse."""

    def page(self, query: DeliveryQuery, limit: int, before: str | None = None) -> Page[Delivery]:
        """Return up to `limit` deliveries that match, newest first, older than id `before`.

        A page may be short, even empty, and still have a next one: the number of deliveries that a
        filter skips is bounded, and with it a page's cost.
        """


class DeliveryReader(Protocol):
    """The deliveries of a webhook from the oldest on, for the jobs that send them again."""

    def oldest_first(
        self,
        account_id: str,
        webhook_id: str,
        selection: Selection,
        limit: int,
        after: str | None = None,
    ) -> Page[Delivery]:
        """Return up to `limit` selected deliveries, oldest first, newer than id `after`.

        A batch may be short, even empty, and still have a next one: its cost is bounded.
        """


class RetryScheduler(Protocol):
    """Starts the state machines that make a delivery's later attempts."""

    def start(self, delivery: Delivery, *, delay_seconds: float) -> None:
        """Ensure that the delivery's generation has one execution; it may already have it.

        An execution's name includes the delivery's time of creation, because a delivery made again
        after its retention is another one; and the restarts of an exhausted delivery, whose dead
        letter is sent again. The next attempt of a `short` delivery has at least one execution of
        its own.
        """

    def running(self, delivery: Delivery) -> bool:
        """Whether the execution of the delivery's generation is running.

        Not for a `short` delivery, because its executions cannot be looked up.
        """

    def resend(
        self, key: DeliveryKey, *, attempt: int, request_id: str, delay_seconds: float = 0
    ) -> None:
        """Start one attempt outside the schedule; a repeat with the same `request_id` succeeds.

        `attempt` is the number that it is expected to have.
        """
