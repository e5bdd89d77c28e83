"""What the services need from outside, as protocols. Adapters and the tests' fakes implement them.

Every method may raise `UnavailableError`: our own side did not answer, and the work is to be tried
again. No method raises anything else of its backend's.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from webhooks.domain.webhook_fields import CHANGEABLE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from webhooks.domain.api_key import ApiKey
    from webhooks.domain.check import Check, CheckKey
    from webhooks.domain.delivery import Delivery, DeliveryKey, Outcome, Status
    from webhooks.domain.erasure import Erasure, ErasureKey
    from webhooks.domain.event import Event
    from webhooks.domain.health import Health, RecoveryKey
    from webhooks.domain.intake import RejectedMessage
    from webhooks.domain.operational_event import OperationalEvent
    from webhooks.domain.rate_limit import RateLimitWindow
    from webhooks.domain.replay import Replay, ReplayKey, Selection
    from webhooks.domain.shard import Shard
    from webhooks.domain.webhook import Destination, Webhook


class WebhookPage(NamedTuple):
    """Part of a list of webhooks; `next_before` is the id to go on before, None at the end."""

    webhooks: list[Webhook]
    next_before: str | None


class WebhookChanges(Mapping[str, Any]):
    """The values that an owner changes of a webhook, by their fields' names.

    None leaves a value as it is, as if it were not given. An empty value clears its field.
    """

    __slots__ = ("_values",)
    _fields = tuple(field.name for field in CHANGEABLE)

    def __init__(self, **values: Any) -> None:
        """Take values by name; TypeError for a field that no owner may change."""
        unknown = values.keys() - {*self._fields}
        if unknown:
            msg = f"no owner may change {', '.join(sorted(unknown))} of a webhook"
            raise TypeError(msg)
        given = {name: values.get(name) for name in self._fields}
        self._values = {name: value for name, value in given.items() if value is not None}

    def __getitem__(self, name: str) -> Any:
        """Return a value; KeyError where it is left as it is."""
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        """Return the names of what changes, in the order of `FIELDS`."""
        return iter(self._values)

    def __len__(self) -> int:
        """Return how many values change."""
        return len(self._values)


class DeliveryQuery(NamedTuple):
    """Which of a webhook's deliveries; times are the events', in Unix milliseconds, inclusive."""

    account_id: str
    webhook_id: str
    status: Status | None = None
    event_type: str | None = None
    since_ms: int | None = None
    until_ms: int | None = None


class DeliveryPage(NamedTuple):
    """Part of a list of deliveries; `next_before` is the id to go on before, None at the end.

    `unreadable` are those that it has to leave out, since their records cannot be read.
    """

    deliveries: list[Delivery]
    next_before: str | None
    unreadable: Sequence[DeliveryKey] = ()


class DeliveryBatch(NamedTuple):
    """Part of a walk; `next_after` is the id to go on after, None at the end.

    `unreadable` are those that it goes past, since their records cannot be read.
    """

    deliveries: list[Delivery]
    next_after: str | None
    unreadable: Sequence[DeliveryKey] = ()


class ReplayPage(NamedTuple):
    """Part of a list of replays; `next_before` is the id to go on before, None at the end."""

    replays: list[Replay]
    next_before: str | None


class ApiKeyPage(NamedTuple):
    """Part of a list of API keys; `next_before` is the id to go on before, None at the end."""

    keys: list[ApiKey]
    next_before: str | None


class WebhookStore(Protocol):
    """The webhooks, for their owners: no method of it reads a secret."""

    def create(self, webhook: Webhook, secret: str, *, limit: int) -> None:
        """Add a webhook; LimitReachedError if its account has `limit`, however parallel.

        ExternalIdTakenError where another webhook has its external id, however parallel. One that
        is there already is left as it is: an earlier try has made it.
        """

    def get(self, account_id: str, webhook_id: str) -> Webhook | None:
        """Return one webhook, None where this account has none of that id."""

    def find(self, account_id: str, external_id: str) -> Webhook | None:
        """Return the account's webhook with this external id, None where none has it."""

    def page(self, account_id: str, limit: int, before: str | None = None) -> WebhookPage:
        """Return up to `limit` webhooks, newest first, from those older than id `before`."""

    def update(
        self,
        account_id: str,
        webhook_id: str,
        changes: WebhookChanges,
        now_ms: int,
        recovery_id: str | None = None,
    ) -> Webhook | None:
        """Change what `changes` names; returns the webhook as it then is, None where absent.

        With a `recovery_id` its health begins anew, draining: that recovery is to send what waits.
        ExternalIdTakenError where another webhook has the external id, however parallel.
        """

    def rotate_secret(
        self, account_id: str, webhook_id: str, secret: str, *, previous_until_ms: int, now_ms: int
    ) -> bool:
        """Make `secret` the current one and keep the old one to the time given.

        A `previous_until_ms` that is not after `now_ms` keeps nothing. False where the webhook is
        absent, or has no secret that could be rotated.
        """

    def restore_secret(self, account_id: str, webhook_id: str, secret: str) -> bool:
        """Give a webhook without a secret this one; False where it is absent, or has one."""

    def delete(self, account_id: str, webhook_id: str) -> bool:
        """Remove a webhook; False where there was none."""


class DestinationStore(Protocol):
    """The webhooks, for the senders: with their secrets."""

    def destinations(self, account_id: str, shard: Shard | None = None) -> Sequence[Destination]:
        """Return every webhook of an account, read consistently, disabled ones too.

        In the order of their ids; of a `shard`, where given, and no others.
        """

    def destination(self, account_id: str, webhook_id: str) -> Destination | None:
        """Return one webhook, None where it was deleted."""

    def end_overlap(self, account_id: str, webhook_id: str, secret: str) -> None:
        """Forget the previous secret, if `secret` is still the current one."""


class HealthStore(Protocol):
    """The webhooks' health. Of any number of calls at once, one is told that it made a change."""

    def failed(
        self,
        account_id: str,
        webhook_id: str,
        count: int,
        now_ms: int,
        *,
        updated_at_ms: int | None = None,
    ) -> Health | None:
        """Count failures in a row; returns the health as it then is, None where absent.

        With `updated_at_ms` only where nobody has changed the webhook since, else None too.
        """

    def succeeded(self, account_id: str, webhook_id: str, now_ms: int) -> bool:
        """Begin to count anew, and take the circuit from open.

        True only for the first call since the webhook was opened, whatever its owner did meanwhile.
        """

    def open(self, key: RecoveryKey, due_ms: int, now_ms: int) -> str | None:
        """Open the circuit of an active webhook that failed often enough in a row.

        Returns the id of its recovery where this call opened it: the given one, unless the webhook
        was draining and so has one already.
        """

    def warn(self, account_id: str, webhook_id: str, failing_since_ms: int, now_ms: int) -> bool:
        """Note that the owner is warned; True only for the one call that did it.

        `failing_since_ms` is the latest time from which on it must have failed.
        """

    def disable(
        self,
        account_id: str,
        webhook_id: str,
        reason: str,
        now_ms: int,
        *,
        failing_since_ms: int | None = None,
        updated_at_ms: int | None = None,
    ) -> bool:
        """Disable a webhook; True only for the one call that did it.

        With `failing_since_ms` only where it has failed from that time on, or an earlier one. With
        `updated_at_ms` only where nobody has changed it since.
        """

    def keep(self, key: RecoveryKey, due_ms: int) -> None:
        """Note when the next step of a recovery is due, unless another has taken its place."""

    def end(self, key: RecoveryKey, draining_since_ms: int) -> bool:
        """End a recovery that drains since this very time, or whose webhook is disabled.

        False where it is not so: one that was open again in between has others deferred again.
        """

    def replace(self, key: RecoveryKey, new_id: str, due_ms: int) -> bool:
        """Have another recovery take a recovery's place; True only for the one call that did it."""

    def overdue(self, before_ms: int, limit: int) -> Sequence[RecoveryKey]:
        """Return recoveries whose next step was due before a time, the longest overdue first."""


class DeliveryStore(Protocol):
    """The deliveries.

    A method that reads a single one raises UnreadableRecordError where its record is broken, or of
    a newer version of ours.
    """

    def claim(self, event: Event) -> int:
        """Settle the time of an event whose id does not fix it.

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

        False, with nothing written, where the stored one has another status, generation or number
        of attempts by now: somebody else was faster. The body changes only where the delivery is
        erased with this.
        """


class OverduePlace(NamedTuple):
    """Where in a partition of the overdue deliveries one lies: they are in the order of time."""

    due_ms: int
    key: DeliveryKey


class OverduePage(NamedTuple):
    """Part of a partition of the overdue deliveries; `next_after` is None at the end."""

    keys: Sequence[DeliveryKey]
    next_after: OverduePlace | None


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
        after: OverduePlace | None = None,
    ) -> OverduePage:
        """Return up to `limit` that were due from a time on and before another.

        The longest overdue first, of those behind `after`, which lies in that time too.
        """


class DeliveryLog(Protocol):
    """The deliveries, for their owners to look through."""

    def page(self, query: DeliveryQuery, limit: int, before: str | None = None) -> DeliveryPage:
        """Return up to `limit` deliveries that match, newest first, older than id `before`.

        A page may be short, even empty, and still have a next one: what a filter passes over is
        bounded, so that a page's cost is.
        """


class DeliveryWalk(Protocol):
    """The deliveries of a webhook from the oldest on, for what sends them again."""

    def batch(
        self,
        account_id: str,
        webhook_id: str,
        selection: Selection,
        limit: int,
        after: str | None = None,
    ) -> DeliveryBatch:
        """Return up to `limit` selected deliveries, oldest first, newer than id `after`.

        A batch may be short, even empty, and still have a next one: what it costs is bounded.
        """


class ReplayStore(Protocol):
    """The replays, of which a webhook has at most one that is running."""

    def create(self, replay: Replay) -> bool:
        """Add a running replay; False where the webhook has a running one already."""

    def get(self, key: ReplayKey) -> Replay | None:
        """Return one replay, read consistently, None where there is none."""

    def page(
        self, account_id: str, webhook_id: str, limit: int, before: str | None = None
    ) -> ReplayPage:
        """Return up to `limit` replays, newest first, from those older than id `before`."""

    def count_since(self, account_id: str, webhook_id: str, since_ms: int) -> int:
        """Return how many replays of a webhook were created at a time or later."""

    def save(self, before: Replay, after: Replay) -> bool:
        """Write a replay's progress or end over `before`.

        False, with nothing written, where the stored one is not running any more or has made
        other steps: somebody else was faster.
        """


class ErasureStore(Protocol):
    """The erasures."""

    def create(self, erasure: Erasure) -> None:
        """Add an erasure; adding it again, after a lost answer, is success."""

    def get(self, key: ErasureKey) -> Erasure | None:
        """Return one erasure, read consistently, None where there is none."""

    def running(self, account_id: str, since_ms: int) -> Sequence[Erasure]:
        """Return an account's erasures that are running and were created at a time or later."""

    def save(self, before: Erasure, after: Erasure) -> bool:
        """Write an erasure's progress or end over `before`.

        False, with nothing written, where the stored one is not running any more or has made
        other steps: somebody else was faster.
        """


class CheckStore(Protocol):
    """The checks of receivers."""

    def create(self, check: Check) -> None:
        """Add a check; adding it again, after a lost answer, is success."""

    def get(self, key: CheckKey) -> Check | None:
        """Return one check, read consistently, None where there is none."""

    def end(self, check: Check) -> bool:
        """Write a check's end over the running one.

        False, with nothing written, where the stored one is not running any more.
        """


class WebhookTrail(Protocol):
    """The webhooks that an account may have deliveries of, deleted ones too."""

    def next(self, account_id: str, after: str | None) -> str | None:
        """Return the first webhook's id after another, None at the end; one at a time.

        One that is deleted meanwhile is found all the same.
        """


class RateLimitStore(Protocol):
    """The counts of rate limits, one for each window."""

    def consume(self, window: RateLimitWindow, *, limit: int, count: int = 1) -> bool:
        """Add `count` to a window; False, with nothing added, where that exceeds the limit.

        Holds for parallel calls too; where a response is lost, some are counted twice.
        """


class ApiKeyStore(Protocol):
    """API keys, by hash."""

    def create(self, key: ApiKey) -> None:
        """Add a key."""

    def get(self, key_hash: str) -> ApiKey | None:
        """Return the key of that hash, None where there is none."""

    def find(self, account_id: str, key_id: str) -> ApiKey | None:
        """Return one key of an account by its id; one just made may not be found for a second."""

    def page(self, account_id: str, limit: int, before: str | None = None) -> ApiKeyPage:
        """Return up to `limit` keys, revoked ones too, newest first, from those before an id.

        The newest, or how they last changed, may be missing for a second.
        """

    def revoke(self, key_hash: str, now_ms: int, *, while_active: str | None = None) -> bool:
        """Revoke a key if it is active and so is the one of hash `while_active`, where given.

        False, with nothing changed, where either is not, at that very moment.
        """

    def touch(self, key_hash: str, now_ms: int) -> None:
        """Note when a key was last used."""


class Sender(Protocol):
    """The HTTP client with the address guard inside: no caller can forget it."""

    def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> Outcome:
        """Send one request and return what it came to, within 5 seconds, never an exception.

        UnavailableError is raised only where our own side failed before a byte was sent.
        """


class Observer(Protocol):
    """Where the services say what happened. Safe to call from many threads.

    Fields hold ids, counts, codes and times: never a secret, a payload, a url or an address.
    """

    def log(self, level: str, event: str, **fields: object) -> None:
        """Write one structured line; `level` is `info`, `warning` or `error`."""

    def count(self, metric: str, value: int = 1) -> None:
        """Add to one of the invocation's counters."""

    def measure(self, metric: str, milliseconds: int) -> None:
        """Add a time to those of one of the invocation's metrics."""

    def trace(self, field: str, name: str) -> None:
        """Have the invocation's one line name what it was about, as `event_ids` and an id."""


class RetryScheduler(Protocol):
    """Starts the state machine that makes a delivery's later attempts."""

    def start(self, delivery: Delivery, *, delay_seconds: float) -> None:
        """See that the delivery's generation has its one execution; having it already is success.

        The time of its creation counts too: one made anew after its retention is another.
        """

    def running(self, delivery: Delivery) -> bool:
        """Tell whether the execution of the delivery's generation goes on."""

    def resend(self, key: DeliveryKey, *, attempt: int, request_id: str) -> None:
        """Have one attempt made besides the schedule; the same `request_id` again is success.

        `attempt` is the number that it is expected to have.
        """


class ReplayScheduler(Protocol):
    """Starts the state machine that carries a replay out."""

    def start(self, key: ReplayKey) -> None:
        """See that the replay has its one execution; having one already is success."""


class ErasureScheduler(Protocol):
    """Starts the state machine that carries an erasure out."""

    def start(self, key: ErasureKey) -> None:
        """See that the erasure has its one execution; having one already is success."""


class CheckScheduler(Protocol):
    """Starts the state machine that carries a check out."""

    def start(self, key: CheckKey) -> None:
        """See that the check has its one execution; having one already is success."""


class RecoveryScheduler(Protocol):
    """Starts the state machine that brings a webhook back."""

    def start(self, key: RecoveryKey, *, delay_seconds: float) -> None:
        """See that the recovery has its one execution; having one already is success."""


class OperationalEvents(Protocol):
    """Where operational events go."""

    def publish(self, event: OperationalEvent) -> None:
        """Publish an event. Raises UnavailableError."""


class RejectedMessages(Protocol):
    """The events dead-letter queue."""

    def put(self, messages: Sequence[RejectedMessage]) -> Sequence[str]:
        """Put messages by; returns the ids of those that could not be."""


class EventQueue(Protocol):
    """The events queue, as a producer uses it."""

    def put(self, account_id: str, messages: Sequence[str]) -> Sequence[int]:
        """Put an account's messages on the queue; returns the places of those that could not be.

        What failed was tried several times, and nothing is raised for it.
        """


class KeptAnswer(NamedTuple):
    """An answer to an idempotent request: made just now, or kept from the first time.

    One that is not `final` asks for another try of a part, so it is not kept.
    """

    status: int
    body: str
    replayed: bool = False
    final: bool = True


class KeptAnswers(Protocol):
    """The answers to requests that carry an idempotency key, for 24 hours."""

    def once(
        self,
        key: Sequence[str],
        fingerprint: str,
        answer: Callable[[], KeptAnswer],
        *,
        remaining_ms: Callable[[], int],
    ) -> KeptAnswer:
        """Return the answer kept under `key`, else make one with `answer` and keep it.

        Where `answer` raises, nothing is kept. `fingerprint` stands for what was asked: another one
        under the same key raises IdempotencyConflictError. A key whose answer is being made raises
        IdempotencyInProgressError, for as long as the milliseconds that its maker had left.
        """
