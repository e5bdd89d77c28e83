"""The webhooks and their health, as the services need them.

Every method may raise `UnavailableError`: our own side did not answer, and the work is to be tried
again. No method raises anything else of its backend's.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from webhooks.domain.webhook_fields import CHANGEABLE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from webhooks.domain.health import Health, RecoveryKey, Tally, Window
    from webhooks.domain.rotation import Rotation
    from webhooks.domain.shard import Shard
    from webhooks.domain.webhook import Destination, Secrets, Webhook
    from webhooks.ports.pages import Page


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


class UnstartedRecovery(NamedTuple):
    """A recovery that Step Functions refused to start, and when it is due."""

    recovery_id: str
    due_ms: int


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

    def page(self, account_id: str, limit: int, before: str | None = None) -> Page[Webhook]:
        """Return up to `limit` webhooks, newest first, from those older than id `before`."""

    def newest_urls(self, account_id: str, *, consistent: bool = True) -> Mapping[str, str]:
        """Return the urls of an account's webhooks by their ids: the newest that take a megabyte.

        That is 80 of the largest, and over a thousand of the usual ones.
        """

    def update(
        self,
        account_id: str,
        webhook_id: str,
        changes: WebhookChanges,
        now_ms: int,
        recovery_id: str | None = None,
    ) -> Webhook | None:
        """Change what `changes` names; returns the webhook as it then is, None where absent.

        With a `recovery_id` its health begins anew, and events wait: that recovery is to probe it,
        and to send what waits. ExternalIdTakenError where another webhook has the external id,
        however parallel.
        """

    def ask(
        self, account_id: str, webhook_id: str, recovery_id: str, now_ms: int, *, before_ms: int
    ) -> bool:
        """Have another recovery probe an active webhook that is down; its failures begin anew.

        Or one that has a pause, which ends. False where it is neither, or was asked for or enabled
        after `before_ms`.
        """

    def rotate_secret(
        self,
        account_id: str,
        webhook_id: str,
        secret: str,
        *,
        previous_until_ms: int,
        now_ms: int,
        force: bool = False,
        since_ms: int | None = None,
    ) -> Rotation | None:
        """Make `secret` the current one and keep the old one to the time given.

        A `previous_until_ms` that is not after `now_ms` keeps nothing. Made again with the same
        secret it changes nothing and returns the same, by whichever process. None where the webhook
        is absent, or has no secret that could be rotated. Raises OverlapRunningError while the
        overlap of an earlier rotation runs, RotationConflictError where another rotation came
        first; with `force` neither: then the older of two secrets ends.

        `since_ms` is given where the call is made again: the Unix milliseconds of its first try.
        Where the webhook's last rotation is not earlier, it is that try's, and is returned as it is
        by now, or another's, and RotationConflictError is raised, with `force` too.
        """

    def restore_secret(self, account_id: str, webhook_id: str, secret: str) -> bool:
        """Give a webhook without a secret this one; False where it is absent, or has one."""

    def delete(
        self, account_id: str, webhook_id: str, *, unstarted: UnstartedRecovery | None = None
    ) -> bool:
        """Remove a webhook; False where there was none.

        An `unstarted` recovery, which cancels what waits for it, is overdue at its time.
        """


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

    def refused_both(self, account_id: str, webhook_id: str, secrets: Secrets, now_ms: int) -> None:
        """Count one more refusal of both secrets, unless they or the count changed since."""


class HealthStore(Protocol):
    """The webhooks' health. Of any number of calls at once, one is told that it made a change.

    It is told so also where the answer to its write was lost, and the write was sent again. Then,
    and only then, another call of the same millisecond may be told so too.
    """

    def failed(
        self,
        account_id: str,
        webhook_id: str,
        count: int,
        now_ms: int,
        *,
        updated_at_ms: int | None = None,
        window: bool = False,
    ) -> Health | None:
        """Count failures in a row; returns the health as it then is, None where absent.

        With `window` in the webhook's window too, which begins now where none is live. With
        `updated_at_ms` only where nobody has changed what a request depends on since the webhook
        was read with this time, else None too: its url, its headers, or whether it is
        enabled.
        """

    def count(
        self,
        account_id: str,
        webhook_id: str,
        tally: Tally,
        now_ms: int,
        *,
        updated_at_ms: int | None = None,
    ) -> Health | None:
        """Count attempts in the webhook's window alone, as `failed` does."""

    def succeeded(
        self, account_id: str, webhook_id: str, now_ms: int, *, told_down: bool = False
    ) -> bool:
        """Begin to count failures anew, and take the circuit from open, but not from a trial.

        A webhook that was open is on probation from then on: its window begins, with nothing in it.

        True only for the first call since the webhook was opened, whatever its owner did meanwhile.
        `told_down` is whether the caller read that its owner was notified that it is down: that
        decides where the answer to the write that clears this was lost.
        """

    def count_on_probation(
        self, account_id: str, webhook_id: str, tally: Tally, since_ms: int
    ) -> Health | None:
        """Count attempts in the window of the probation that began at a time, while it goes on.

        Returns the health as it then is, None where that probation is over.
        """

    def end_probation(self, account_id: str, webhook_id: str, since_ms: int) -> None:
        """Remove the window of the probation that began at a time, unless that is over."""

    def passed(
        self, key: RecoveryKey, now_ms: int, *, proven: bool, told_down: bool = False
    ) -> bool:
        """Have a webhook that is down drain, by its recovery's judgement.

        True where it is the first success to notify of since the webhook was opened: only where
        it is `proven` by one. `told_down` as in `succeeded`.
        """

    def open(
        self,
        key: RecoveryKey,
        due_ms: int,
        now_ms: int,
        *,
        window: Window | None = None,
        trial: bool = False,
    ) -> str | None:
        """Open the circuit of an active webhook that failed often enough in a row.

        Or, with a `window`, of one of whose attempts in that window more than half failed. A
        `trial` is how it comes back; otherwise that stays as it is.

        Returns the id of its recovery where this call opened it: the given one, unless the webhook
        was draining and so has one already.
        """

    def put_on_trial(self, key: RecoveryKey) -> None:
        """Have a webhook that is down by this recovery come back by a trial.

        Not where its owner asked for a probe, or enabled it.
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
        `updated_at_ms` only where nobody has changed what a request depends on since, as `failed`.
        """

    def keep(self, key: RecoveryKey, due_ms: int) -> None:
        """Note when the next step of a recovery is due, unless another has taken its place."""

    def end(
        self, key: RecoveryKey, draining_since_ms: int, *, not_before_ms: int | None = None
    ) -> bool:
        """End a recovery that drains since this very time, or whose webhook is disabled.

        False where it is not so: one that was open again in between has others deferred again. So
        has a pause that ends later than `not_before_ms`, the one that the recovery knows.
        """

    def replace(self, key: RecoveryKey, new_id: str, due_ms: int) -> bool:
        """Have another recovery take a recovery's place; True only for the one call that did it."""

    def forget(self, key: RecoveryKey) -> None:
        """Note that the recovery of a deleted webhook is over, where it was noted at all."""

    def overdue(self, before_ms: int, limit: int) -> Sequence[RecoveryKey]:
        """Return recoveries whose next step was due before a time, the longest overdue first."""


class WebhookIds(Protocol):
    """The webhooks that an account may have deliveries of, deleted ones too."""

    def next(self, account_id: str, after: str | None) -> str | None:
        """Return the first webhook's id after another, None at the end; one at a time.

        One that is deleted meanwhile is found all the same.
        """


class Subscriptions(Protocol):
    """The event types that webhooks are subscribed to, for producers: without any secret."""

    def subscriptions(self, account_id: str) -> Sequence[Sequence[str]] | None:
        """Return the types of each webhook of an account, disabled ones too, read consistently.

        None where the account has so many webhooks that reading them costs too much.
        """
