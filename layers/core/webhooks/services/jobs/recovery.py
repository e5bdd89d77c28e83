"""Recoveries: bring a webhook that was down or disabled back into service, step by step."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING

from webhooks.domain.drain_rate import (
    FIRST_WAVE,
    MAX_RATE,
    PATIENCE,
    PAUSE_SECONDS,
    STARTING_RATE,
    batch_size,
    halved,
    is_overloaded,
    next_drain_rate,
    on_trial,
    pause,
)
from webhooks.domain.errors import UnavailableError
from webhooks.domain.health import SETTLE_SECONDS, Circuit, Comeback, RecoveryKey
from webhooks.domain.jobs.recovery import RecoveryState
from webhooks.domain.pauses import asks
from webhooks.domain.retry import JITTER, probe_delay
from webhooks.domain.timestamps import MILLISECONDS, to_ms
from webhooks.services.concurrency import run_all
from webhooks.services.host_limits import turns_of
from webhooks.services.jobs.runner import NextStep
from webhooks.services.jobs.waiting import WaitingDeliveries

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

    from webhooks.domain.delivery import Attempt, Delivery
    from webhooks.domain.webhook import Destination, Webhook
    from webhooks.ports import (
        DeliveryReader,
        DeliveryStore,
        DestinationStore,
        HealthStore,
        Page,
        Telemetry,
    )
    from webhooks.services.health import WebhookHealthService
    from webhooks.services.host_limits import HostLimits
    from webhooks.services.pauses import Pauses
    from webhooks.services.retrier import Retrier

SECONDS_FOR_A_STEP = 2 * 5.0 + 3 * 9.0
"""Time for two requests of 5 seconds, the second during a secret's rotation, and for the calls
around them, each at its slowest (see `adapters.aws`).
"""

_KEEP_SECONDS = 300.0
"""How far ahead a recovery's due time is written, so that most steps need not write it."""

_CANCELLED_AT_ONCE = 50


class RecoveryJob:
    """Probes a webhook that is down, and sends its waiting deliveries once it is back.

    They are sent oldest first. Every step reads the webhook again. An interrupted step is repeated
    and sends nothing that is already recorded. A step sends no more than `host_limits` allow.

    `schedule` holds the waits between probes, in seconds. `clock` gives Unix seconds, `random` a
    number from 0 to 1.
    """

    key_type = RecoveryKey

    def __init__(
        self,
        *,
        store: HealthStore,
        health: WebhookHealthService,
        reader: DeliveryReader,
        deliveries: DeliveryStore,
        destinations: DestinationStore,
        retrier: Retrier,
        pauses: Pauses,
        telemetry: Telemetry,
        clock: Callable[[], float],
        random: Callable[[], float],
        schedule: Sequence[float],
        deliveries_per_second: int,
        host_limits: HostLimits | None = None,
    ) -> None:
        self._host_limits = host_limits
        self._store = store
        self._health = health
        self._deliveries = deliveries
        self._destinations = destinations
        self._retrier = retrier
        self._pauses = pauses
        self._telemetry = telemetry
        self._clock = clock
        self._random = random
        self._schedule = schedule
        self._rate = deliveries_per_second
        self._threads = ThreadPoolExecutor(MAX_RATE, thread_name_prefix="recover")
        self._waiting_deliveries = WaitingDeliveries(
            reader=reader,
            retrier=retrier,
            telemetry=telemetry,
            threads=self._threads,
            page_size=deliveries_per_second,
        )

    def step(
        self, key: RecoveryKey, remaining_seconds: Callable[[], float], state: Mapping[str, Any], /
    ) -> NextStep | None:
        """Make the next step, from the state that the previous step left; see `advance`."""
        after = self.advance(key, RecoveryState.read(state), remaining_seconds)
        return None if after is None else NextStep(after.seconds, after.written())

    def abandon(self, key: RecoveryKey, state: Mapping[str, Any], /) -> None:
        """Do nothing: an abandoned recovery soon is overdue, and the sweep starts a new one."""

    def advance(
        self, key: RecoveryKey, probe: RecoveryState, remaining_seconds: Callable[[], float]
    ) -> RecoveryState | None:
        """Make a recovery's next step from the previous step's result; None if it is over.

        Raises UnavailableError if one of our own services failed, or the invocation's time is too
        short.
        """
        destination = self._destinations.destination(key.account_id, key.webhook_id)
        if destination is None:
            return self._cancel(key, probe.past, remaining_seconds)
        webhook = destination.webhook
        if webhook.health.recovery_id != key.recovery_id:
            # The owner disabled and enabled the webhook, which began another recovery.
            return None
        if not webhook.active:
            if self._store.end(key, webhook.health.draining_since_ms):
                return None
            # The owner has enabled the webhook, or another recovery has replaced this one.
            return RecoveryState(PAUSE_SECONDS)
        if remaining_seconds() < SECONDS_FOR_A_STEP:
            msg = f"a recovery's step: {remaining_seconds():.0f} seconds are too few for it"
            raise UnavailableError(msg)
        if not destination.secrets.live(to_ms(self._clock())):
            self._telemetry.count("SecretMissing")
            self._telemetry.log("error", "secret_missing", **key._asdict())
            step: RecoveryState | None = probe._replace(seconds=self._schedule[-1])
        else:
            step = self._go_on(key, destination, probe, remaining_seconds)
        if step is not None:
            # A schedule may end in 0, but a receiver always gets a pause between two probes.
            step = step._replace(seconds=max(step.seconds, PAUSE_SECONDS))
            self._keep(key, webhook.health.recovery_due_at_ms, step.seconds)
        return step

    def _go_on(
        self,
        key: RecoveryKey,
        destination: Destination,
        before: RecoveryState,
        remaining_seconds: Callable[[], float],
    ) -> RecoveryState | None:
        """Probe or drain, or wait for the end of a pause that the receiver asked for."""
        webhook = destination.webhook
        pause_seconds = self._pauses.seconds_left(webhook)
        if pause_seconds:
            return before._replace(seconds=pause_seconds)
        if webhook.health.circuit is not Circuit.OPEN:
            return self._drain(key, destination, before, remaining_seconds)
        if before.probe:
            return self._probe(key, destination, before, remaining_seconds)
        return self._leave_alone(webhook, before)

    def _probe(
        self,
        key: RecoveryKey,
        destination: Destination,
        probe: RecoveryState,
        remaining_seconds: Callable[[], float],
    ) -> RecoveryState:
        """Try the oldest waiting delivery, and another one each time: a delivery that the receiver
        cannot take must not block all others.
        """
        webhook = destination.webhook
        if self._health.review(webhook):
            # The webhook is now disabled, so the next step ends the recovery.
            return RecoveryState(PAUSE_SECONDS)
        found = self._waiting(key, 1, remaining_seconds, probe.after, webhook)
        if probe.after is not None and not found.items:
            found = self._waiting(key, 1, remaining_seconds, webhook=webhook)
        if not found.items and self._needs_no_probe(webhook, probe):
            self._health.passed(webhook, key.recovery_id, proven=webhook.health.on_trial)
            return self._drain_next(webhook, RecoveryState(0))
        taken = bool(found.items) and self._retrier.probe(destination, found.items[0])
        after = found.items[0].id if found.items else None
        if webhook.health.on_trial:
            return self._judge(webhook, probe, taken=taken, after=after)
        if taken:
            return self._drain_next(webhook, probe)
        number = probe.probe + 1
        seconds = probe_delay(self._schedule, number, self._random)
        return RecoveryState(seconds, number, after, pace=probe.pace)

    def _needs_no_probe(self, webhook: Webhook, probe: RecoveryState) -> bool:
        """Return whether a webhook without waiting deliveries gets new events at once.

        True after its owner enabled it, and after it accepted the last delivery of its trial.
        """
        if webhook.health.on_trial:
            return probe.probe == 1 and probe.pace is not None
        return webhook.health.awaits_probe

    def _judge(
        self, webhook: Webhook, before: RecoveryState, *, taken: bool, after: str | None
    ) -> RecoveryState:
        """Continue a trial: at double speed after an accepted delivery, otherwise at half speed.

        A receiver that accepts most deliveries thus reaches the speed at which it passes. A
        receiver that accepts few gets them at the lowest speed.
        """
        first, slowest = self._trial_paces()
        # A higher speed is left from a draining before this trial.
        fresh = before.pace is None or before.pace >= STARTING_RATE
        rate = first if fresh or before.pace is None else before.pace
        rate = on_trial(rate, taken=taken, slowest=slowest)
        if rate >= STARTING_RATE and taken:
            recovery_id = webhook.health.recovery_id or ""
            self._health.passed(webhook, recovery_id, proven=True)
            return self._drain_next(webhook, RecoveryState(0))
        number = 1 if taken else before.probe + 1
        if number > PATIENCE:
            seconds = probe_delay(self._schedule, number - PATIENCE + 1, self._random)
        else:
            seconds = pause(rate) * (1 + JITTER * self._random())
        return RecoveryState(seconds, number, after, pace=rate)

    def _trial_paces(self) -> tuple[float, float]:
        """Return the deliveries per second at which a trial begins, and the lowest speed."""
        first, second = (max(PAUSE_SECONDS, probe_delay(self._schedule, n, 0.0)) for n in (1, 2))
        return 1 / first, 1 / max(first, second)

    def _drain_next(self, webhook: Webhook, before: RecoveryState) -> RecoveryState:
        """Return the first step of draining."""
        state = RecoveryState(PAUSE_SECONDS, probe=0)
        return self._at_rate(webhook, state, self._rate_of(webhook, before))

    def _leave_alone(self, webhook: Webhook, before: RecoveryState) -> RecoveryState:
        """Wait for the first probe of a webhook that went down again while it was drained.

        The draining or other traffic was too much for the receiver, so the next draining is slower.
        """
        seconds = probe_delay(self._schedule, 1, self._random)
        if webhook.health.on_trial:
            return RecoveryState(seconds)
        return RecoveryState(seconds, pace=halved(self._rate_of(webhook, before)))

    def _drain(
        self,
        key: RecoveryKey,
        destination: Destination,
        before: RecoveryState,
        remaining_seconds: Callable[[], float],
    ) -> RecoveryState | None:
        """Send the next second's deliveries; end if none is left and none can follow."""
        again = before._replace(seconds=PAUSE_SECONDS, probe=0, after=None)
        webhook = destination.webhook
        rate = self._rate_of(webhook, before)
        count = batch_size(rate)
        found = self._waiting(key, count, remaining_seconds, before.past, webhook)
        if found.items:
            turns = turns_of(self._host_limits, webhook, len(found.items[:count]))
            batch = found.items[: turns.now]
            if batch:
                attempts = self._send(key, destination, batch, remaining_seconds)
                rate = next_drain_rate(rate, attempts, self._rate)
            after = self._at_rate(webhook, again, rate)
            return after._replace(seconds=max(after.seconds, turns.wait_seconds))
        if found.next is not None:
            return again._replace(past=found.next)
        if before.past is not None:
            # Older deliveries may have been deferred meanwhile, so the index is read from its start
            # again. Not at once: the expired items that lengthen the read take their time to
            # disappear.
            return again._replace(seconds=self._schedule[-1], past=None)
        health = webhook.health
        if before.settled != health.deferring_since_ms:
            return again._replace(seconds=SETTLE_SECONDS, settled=health.deferring_since_ms)
        if self._store.end(key, health.draining_since_ms, not_before_ms=health.not_before_ms):
            self._telemetry.log("info", "recovery_ended", **key._asdict())
            return None
        return again

    def _send(
        self,
        key: RecoveryKey,
        destination: Destination,
        deliveries: Sequence[Delivery],
        remaining_seconds: Callable[[], float],
    ) -> list[Attempt]:
        """Attempt one delivery per thread at a time; stop at overload or when all fail.

        A response that asks for a pause stops it too, and the remaining deliveries wait for the
        pause's end.

        The attempts are reported together. If each batch were reported alone, a receiver that
        accepts a part of them would go down with a refused batch and come back with the next one.
        """
        attempts: list[Attempt] = []
        failed: list[Delivery] = []
        left, size, drain = deliveries, MAX_RATE, partial(self._retrier.drain, destination)
        if destination.webhook.health.on_probation:
            # A first small wave shows whether the single success meant health; if not, the rest
            # waits.
            size, drain = FIRST_WAVE, partial(drain, failed=failed)
        try:
            while left:
                if attempts and remaining_seconds() < SECONDS_FOR_A_STEP:
                    break
                if any(map(_slow, attempts)) and self._is_over(key):
                    break
                batch, left = left[:size], left[size:]
                size = min(2 * size, MAX_RATE)
                made = run_all(self._threads, drain, batch)
                latest = [attempt for attempt in made if attempt is not None]
                attempts += latest
                if is_overloaded(attempts) or any(map(asks, latest)):
                    break
                if all(attempt.error is not None for attempt in latest):
                    break
        finally:
            # After a fault of our own services, the attempts made before it still count.
            waits = self._health.report(destination.webhook, attempts)
            self._pauses.heard(destination.webhook, attempts)
            for delivery in failed:
                self._retrier.leave(delivery, waits=waits)
        return attempts

    def _is_over(self, key: RecoveryKey) -> bool:
        """Return whether another recovery replaced this one, or the webhook was disabled.

        A slow receiver leaves time for that, and two recoveries would send the same deliveries.
        """
        destination = self._destinations.destination(key.account_id, key.webhook_id)
        if destination is None or not destination.webhook.active:
            return True
        return destination.webhook.health.recovery_id != key.recovery_id

    def _rate_of(self, webhook: Webhook, step: RecoveryState) -> float:
        if step.pace is not None:
            return min(step.pace, self._rate)
        return self._rate if webhook.health.comeback is Comeback.FULL else STARTING_RATE

    def _at_rate(self, webhook: Webhook, step: RecoveryState, rate: float) -> RecoveryState:
        """Return the next step's state at this speed."""
        full = rate >= self._rate and webhook.health.comeback is Comeback.FULL
        return step._replace(seconds=pause(rate), pace=None if full else rate)

    def _cancel(
        self, key: RecoveryKey, past: str | None, remaining_seconds: Callable[[], float]
    ) -> RecoveryState | None:
        """Cancel the waiting deliveries of a deleted webhook."""
        found = self._waiting(key, _CANCELLED_AT_ONCE, remaining_seconds, past)
        for delivery in found.items:
            self._deliveries.update(delivery.cancel("webhook_deleted"), before=delivery)
        if not found.items and found.next is None:
            self._store.forget(key)
            return None
        self._keep(key, 0, PAUSE_SECONDS)
        return RecoveryState(PAUSE_SECONDS, past=past if found.items else found.next)

    def _waiting(
        self,
        key: RecoveryKey,
        limit: int,
        remaining_seconds: Callable[[], float],
        after: str | None = None,
        webhook: Webhook | None = None,
    ) -> Page[Delivery]:
        def has_time() -> bool:
            return remaining_seconds() >= SECONDS_FOR_A_STEP

        return self._waiting_deliveries.oldest(key, limit, has_time, after, webhook)

    def _keep(self, key: RecoveryKey, known_due_ms: int, seconds: float) -> None:
        due_ms = to_ms(self._clock()) + to_ms(seconds)
        if known_due_ms < due_ms:
            self._store.keep(key, due_ms + to_ms(_KEEP_SECONDS))


def _slow(attempt: Attempt) -> bool:
    """Return whether an attempt took long enough for another recovery to begin."""
    return attempt.duration_ms >= PAUSE_SECONDS * MILLISECONDS
