"""Protocols for webhooks, their secrets and their health.

Every method may raise `UnavailableError`: a resource of ours failed, and the caller should retry.
No method raises any other error of its backend.
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
    """The values of a webhook that an owner changes, given by name.

    None leaves a value as it is, as if it were not given. An empty value clears its field. Raises
    TypeError for a field that no owner may change.
    """

    __slots__ = ("_values",)
    _fields = tuple(field.name for field in CHANGEABLE)

    def __init__(self, **values: Any) -> None:
        unknown = values.keys() - {*self._fields}
        if unknown:
            msg = f"an owner may not change {', '.join(sorted(unknown))} of a webhook"
            raise TypeError(msg)
        given = {name: values.get(name) for name in self._fields}
        self._values = {name: value for name, value in given.items() if value is not None}

    def __getitem__(self, name: str) -> Any:
        """Return a value; KeyError if it stays as it is."""
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        """Return the names of changed fields, in the order of `FIELDS`."""
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
        """Add a webhook; LimitReachedError if its account already has `limit`.

        ExternalIdTakenError if another webhook has its external id. Both hold for parallel calls.
        If the webhook exists, an earlier try made it, and it stays as it is.
        """

    def get(self, account_id: str, webhook_id: str) -> Webhook | None:
        """Return one webhook, None if this account has none with that id."""

    def find(self, account_id: str, external_id: str) -> Webhook | None:
        """Return the account's webhook with this external id, None if there is none."""

    def page(self, account_id: str, limit: int, before: str | None = None) -> Page[Webhook]:
        """Return up to `limit` webhooks, newest first, older than id `before`."""

    def newest_urls(self, account_id: str, *, consistent: bool = True) -> Mapping[str, str]:
        """Return the urls of an account's newest webhooks by id, from one megabyte of records.

        That is 80 of the largest webhooks, or over a thousand of the usual ones.
        """

    def update(
        self,
        account_id: str,
        webhook_id: str,
        changes: WebhookChanges,
        now_ms: int,
        recovery_id: str | None = None,
    ) -> Webhook | None:
        """Apply `changes`; returns the webhook as it then is, None if absent.

        With a `recovery_id` its health begins anew, and events wait: that recovery probes it, and
        sends the waiting deliveries. ExternalIdTakenError if another webhook has the external id,
        also with parallel calls.
        """

    def ask(
        self, account_id: str, webhook_id: str, recovery_id: str, now_ms: int, *, before_ms: int
    ) -> bool:
        """Give an active webhook that is down a new recovery, which probes it.

        Its failures begin anew. A paused webhook is probed too, and its pause ends. False if the
        webhook is neither down nor paused, or if it was enabled, or a probe was requested, after
        `before_ms`.
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
        """Make `secret` the current one and keep the old one until `previous_until_ms`.

        If `previous_until_ms` is not after `now_ms`, the old one ends at once. A repeat with the
        same secret changes nothing and returns the same, in any process. None if the webhook is
        absent, or has no secret to rotate. Raises OverlapRunningError while the overlap of an
        earlier rotation runs, and RotationConflictError if another rotation came first; with
        `force` neither: then the older of two secrets ends.

        `since_ms` is given if the call is repeated: when it was first made, in Unix milliseconds.
        If the webhook's last rotation is not earlier, it is either that first try's, and its
        present state is returned; or another's, and RotationConflictError is raised, with `force`
        too.
        """

    def restore_secret(self, account_id: str, webhook_id: str, secret: str) -> bool:
        """Give a webhook without a secret this one; False if it is absent, or has one."""

    def delete(
        self, account_id: str, webhook_id: str, *, unstarted: UnstartedRecovery | None = None
    ) -> bool:
        """Remove a webhook; False if there was none.

        The sweep starts an `unstarted` recovery, which cancels waiting deliveries, at its due time.
        """


class DestinationStore(Protocol):
    """The webhooks with their secrets, for senders."""

    def destinations(self, account_id: str, shard: Shard | None = None) -> Sequence[Destination]:
        """Return every webhook of an account, or of a `shard` of it, disabled ones too.

        They are read consistently and come in the order of their ids.
        """

    def destination(self, account_id: str, webhook_id: str) -> Destination | None:
        """Return one webhook, None if it was deleted."""

    def end_overlap(self, account_id: str, webhook_id: str, secret: str) -> None:
        """Remove the previous secret, if `secret` is still the current one."""

    def refused_both(self, account_id: str, webhook_id: str, secrets: Secrets, now_ms: int) -> None:
        """Count one more refusal of both secrets, unless they or the count have changed since."""


class HealthStore(Protocol):
    """The webhooks' health. Of parallel calls, only one reports that it made a change.

    That call also reports it if the response to its write was lost and the write was sent again.
    Only in this case may another call of the same millisecond report it too.
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
        """Count failures in a row; returns the health as it then is, None if absent.

        With `window` they also count in the webhook's window, which begins now if none is live.
        With `updated_at_ms` nothing is counted, and None returned, if a field that requests depend
        on was changed after the webhook was read with this time: its url, its headers, or whether
        it is enabled.
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
        """Count attempts in the webhook's window alone; otherwise as `failed`."""

    def succeeded(
        self, account_id: str, webhook_id: str, now_ms: int, *, told_down: bool = False
    ) -> bool:
        """Reset the count of failures, and start draining an open circuit that is not on trial.

        A webhook that was open is on probation from then on: its window begins empty.

        True only for the first call since the circuit opened, even if the owner acted meanwhile.
        `told_down` is whether the caller read that the owner was notified of the webhook being
        down; it decides the result if the response to the write that clears this was lost.
        """

    def count_on_probation(
        self, account_id: str, webhook_id: str, tally: Tally, since_ms: int
    ) -> Health | None:
        """Count attempts in the window of the probation that began at `since_ms`, if it still runs.

        Returns the health as it then is, None if that probation is over.
        """

    def end_probation(self, account_id: str, webhook_id: str, since_ms: int) -> None:
        """Remove the window of the probation that began at `since_ms`, unless that is over."""

    def passed(
        self, key: RecoveryKey, now_ms: int, *, proven: bool, told_down: bool = False
    ) -> bool:
        """Start draining a webhook that is down, by its recovery's decision.

        True for the first success to notify of since the webhook was opened; `proven` means that
        there was a success. `told_down` as in `succeeded`.
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
        """Open the circuit of an active webhook after enough failures in a row.

        With a `window`, open it because more than half of the attempts in that window failed. With
        `trial` it will come back by a trial; otherwise its comeback stays as it is.

        If this call opened the circuit, returns the id of its recovery: the given one, or the
        present one if the webhook was draining.
        """

    def put_on_trial(self, key: RecoveryKey) -> None:
        """Make a webhook that is down by this recovery come back by a trial.

        Nothing changes if its owner asked for a probe, or enabled it.
        """

    def warn(self, account_id: str, webhook_id: str, failing_since_ms: int, now_ms: int) -> bool:
        """Record that the owner is warned; True only for the one call that wrote it.

        The webhook must have failed since `failing_since_ms` or earlier.
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

        With `failing_since_ms`, only if it has failed since that time or earlier. With
        `updated_at_ms`, only if no field that requests depend on has changed, as in `failed`.
        """

    def keep(self, key: RecoveryKey, due_ms: int) -> None:
        """Record when the next step of a recovery is due, unless another has replaced it."""

    def end(
        self, key: RecoveryKey, draining_since_ms: int, *, not_before_ms: int | None = None
    ) -> bool:
        """End a recovery that has drained since exactly this time, or whose webhook is disabled.

        False otherwise: a webhook that was open again in between has more deferred deliveries. So
        does a pause that ends later than `not_before_ms`, the end that the recovery knows.
        """

    def replace(self, key: RecoveryKey, new_id: str, due_ms: int) -> bool:
        """Replace a recovery by another; True only for the one call that did it."""

    def forget(self, key: RecoveryKey) -> None:
        """Remove the record of a deleted webhook's recovery, which is over, if there is one."""

    def overdue(self, before_ms: int, limit: int) -> Sequence[RecoveryKey]:
        """Return recoveries whose next step was due before a time, the longest overdue first."""


class WebhookIds(Protocol):
    """The ids of webhooks that an account may have deliveries of, deleted ones included."""

    def next(self, account_id: str, after: str | None) -> str | None:
        """Return the id of the next webhook after another, None at the end.

        Webhooks that are deleted meanwhile are still found.
        """


class Subscriptions(Protocol):
    """The event types that webhooks are subscribed to, for producers: without any secret."""

    def subscriptions(self, account_id: str) -> Sequence[Sequence[str]] | None:
        """Return the types of each webhook of an account, disabled ones too, read consistently.

        None if the account has so many webhooks that reading them costs too much.
        """
