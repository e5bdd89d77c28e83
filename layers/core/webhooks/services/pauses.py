"""The pauses that receivers ask for: kept on their webhooks, and ended by a later success."""

from __future__ import annotations

from concurrent.futures import Future
from dataclasses import dataclass, field
from threading import Lock
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from webhooks.domain.errors import UnavailableError
from webhooks.domain.health import RecoveryKey
from webhooks.domain.overdue import GRACE_SECONDS
from webhooks.domain.pauses import LEAST_MOVE_MS, asked, is_notified, moves, retry_seconds
from webhooks.domain.timestamps import MILLISECONDS, to_ms

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from webhooks.domain.delivery import Attempt
    from webhooks.domain.webhook import Webhook
    from webhooks.ports import HealthStore, JobScheduler, Telemetry
    from webhooks.ports.pauses import PauseStore
    from webhooks.services.health import WebhookHealthService

Result = TypeVar("Result")


class Pauses:
    """Records when each webhook's pause ends.

    Costs nothing if no response asks for a pause and the webhook has none. `clock` gives Unix
    seconds, `random` a number from 0 to 1.
    """

    def __init__(
        self,
        *,
        store: PauseStore,
        recoveries: HealthStore,
        health: WebhookHealthService,
        scheduler: JobScheduler,
        telemetry: Telemetry,
        clock: Callable[[], float],
        random: Callable[[], float],
        new_id: Callable[[], str],
    ) -> None:
        self._store = store
        self._recoveries = recoveries
        self._health = health
        self._scheduler = scheduler
        self._telemetry = telemetry
        self._clock = clock
        self._random = random
        self._new_id = new_id

    def until_ms(self, webhook: Webhook) -> int | None:
        """Return when the webhook's pause ends, in Unix milliseconds; None if it has none."""
        return webhook.health.paused_until_ms(to_ms(self._clock()))

    def seconds_left(self, webhook: Webhook) -> float:
        """Return the seconds until the webhook's pause ends, 0 if it has none."""
        until_ms = self.until_ms(webhook)
        return 0.0 if until_ms is None else (until_ms - to_ms(self._clock())) / MILLISECONDS

    def retry_at_ms(self, webhook: Webhook) -> int | None:
        """Return when to make a retry that is due now: after the pause, or None for now."""
        until_ms = self.until_ms(webhook)
        if until_ms is None:
            return None
        now_ms = to_ms(self._clock())
        seconds = retry_seconds(until_ms, now_ms, self._random())
        return max(until_ms, now_ms + to_ms(seconds))

    def heard(self, webhook: Webhook, attempts: Sequence[Attempt]) -> None:
        """Record a pause that the attempts' responses ask for, or the end of one.

        `webhook` is as it was read before the attempts. A success ends the pause that was known
        when it was sent; a pause that was asked for since stays. If our own side fails, the next
        response counts instead.
        """
        until_ms = asked(attempts)
        known_ms = webhook.health.not_before_ms
        if until_ms is not None:
            self.pause(webhook, until_ms)
        elif known_ms is not None and any(attempt.error is None for attempt in attempts):
            try:
                self._store.clear(webhook.account_id, webhook.id, known_ms)
            except UnavailableError as error:
                self._report_unrecorded(webhook, error)

    def pause(self, webhook: Webhook, until_ms: int) -> bool:
        """Pause a webhook until a time, if that is later than the known one.

        False if that time is over, if the webhook leads elsewhere by now, or if our own side
        failed: then no delivery waits.
        """
        now_ms = to_ms(self._clock())
        if not moves(webhook.health.not_before_ms, until_ms, now_ms):
            return until_ms > now_ms
        try:
            paused = self._store.pause(
                webhook.account_id, webhook.id, until_ms, updated_at_ms=webhook.updated_at_ms
            )
        except UnavailableError as error:
            self._report_unrecorded(webhook, error)
            return False
        if paused is None:
            return False
        if paused.written and is_notified(paused.before.not_before_ms, until_ms, now_ms):
            self._health.paused(webhook, until_ms)
        return True

    def ensure_recovery(self, webhook: Webhook, until_ms: int) -> None:
        """Give a webhook a recovery, which sends the waiting deliveries after the pause.

        If Step Functions refuses the start, the sweep makes it after the pause, because the
        recovery is recorded first. Raises UnavailableError if it could not be recorded: then no
        delivery may wait for it.
        """
        now_ms = to_ms(self._clock())
        key = RecoveryKey(webhook.account_id, webhook.id, self._new_id())
        if not self._store.begin(key, until_ms, now_ms):
            return
        try:
            self._scheduler.start(key, delay_seconds=max(0, until_ms - now_ms) / MILLISECONDS)
        except UnavailableError as error:
            self._telemetry.log(
                "warning", "recovery_not_started", **key._asdict(), error=str(error)
            )
            self._recoveries.keep(key, until_ms - to_ms(GRACE_SECONDS))

    def is_ahead(self, until_ms: int) -> bool:
        """Whether a time is still to come."""
        return until_ms > to_ms(self._clock())

    def _report_unrecorded(self, webhook: Webhook, error: UnavailableError) -> None:
        self._telemetry.count("UnrecordedHealth")
        self._telemetry.log(
            "warning",
            "pause_not_recorded",
            account_id=webhook.account_id,
            webhook_id=webhook.id,
            error=str(error),
        )


class _FoundPause(NamedTuple):
    """A pause that an attempt of this batch found, and whether deliveries wait for it."""

    until_ms: int
    holds: Future[bool]


@dataclass
class BatchPauses:
    """The pauses of one batch: the webhooks' own, and `found`, which its own attempts find.

    Called from many threads. If many responses ask for a pause at once, one is written.
    """

    pauses: Pauses
    found: dict[tuple[str, str], _FoundPause] = field(default_factory=dict)
    _recoveries: dict[tuple[str, str], Future[None]] = field(default_factory=dict)
    _cleared: set[tuple[str, str]] = field(default_factory=set)
    _lock: Lock = field(default_factory=Lock)

    def defers(self, webhook: Webhook) -> bool:
        """Return whether a webhook's first attempts wait; ensure the recovery that sends them.

        The recovery that the webhook was read with outlives the pause that it was read with, but
        perhaps not a pause that was found since. Raises UnavailableError.
        """
        found = self.found.get(_owner(webhook))
        if found is None and webhook.health.not_before_ms is None:
            return False
        if found is not None and self.pauses.is_ahead(found.until_ms) and found.holds.result():
            self._ensure_recovery(webhook, found.until_ms)
            return True
        until_ms = self.pauses.until_ms(webhook)
        if until_ms is None:
            return False
        if webhook.health.recovery_id is None:
            self._ensure_recovery(webhook, until_ms)
        return True

    def heard(self, webhook: Webhook, attempts: Sequence[Attempt]) -> None:
        """Record the pause of an attempt's response, in the same way as `Pauses.heard`."""
        owner = _owner(webhook)
        until_ms = asked(attempts)
        if until_ms is None:
            taken = any(attempt.error is None for attempt in attempts)
            known_ms = webhook.health.not_before_ms
            if taken and known_ms is not None and owner not in self._cleared:
                self._cleared.add(owner)
                self.pauses.heard(webhook, attempts)
            return
        with self._lock:
            known = self.found.get(owner)
            if known is not None and until_ms - known.until_ms < LEAST_MOVE_MS:
                return
            found = _FoundPause(until_ms, Future())
            self.found[owner] = found
        _settle(found.holds, lambda: self.pauses.pause(webhook, until_ms))

    def _ensure_recovery(self, webhook: Webhook, until_ms: int) -> None:
        with self._lock:
            ensured = self._recoveries.get(_owner(webhook))
            mine: Future[None] | None = None
            if ensured is None:
                ensured = mine = self._recoveries[_owner(webhook)] = Future()
        if mine is not None:
            _settle(mine, lambda: self.pauses.ensure_recovery(webhook, until_ms))
        ensured.result()


def _settle(future: Future[Result], call: Callable[[], Result]) -> None:
    """Make a call and settle its future with the result or the error, so that its waiters go on."""
    try:
        future.set_result(call())
    except BaseException as error:
        future.set_exception(error)
        raise


def _owner(webhook: Webhook) -> tuple[str, str]:
    return webhook.account_id, webhook.id
