"""Replays: started, followed and cancelled by their owner, carried out step by step."""

from __future__ import annotations

import secrets
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING

from webhooks.domain import cursor as cursors
from webhooks.domain.delivery import Status
from webhooks.domain.drain_rate import MAX_RATE, batch_size, next_drain_rate, pause
from webhooks.domain.errors import ReplayRunningError, TooManyReplaysError, UnavailableError
from webhooks.domain.ids import is_uuid
from webhooks.domain.jobs.refusals import ReplayRefusals, settle
from webhooks.domain.jobs.replay import Replay, ReplayKey, ReplayStatus, replay_id, select
from webhooks.domain.seed import Seed, fresh
from webhooks.domain.timestamps import ns_to_ms, to_ms
from webhooks.ports import JobOwner, Page
from webhooks.services.concurrency import run_all
from webhooks.services.failures import log_unreadable
from webhooks.services.host_limits import turns_of
from webhooks.services.jobs.runner import NextStep
from webhooks.services.jobs.running import NO_STATE, current, kept
from webhooks.services.jobs.starting import ensure_started, start, was_started

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from webhooks.domain.webhook import Destination, Webhook
    from webhooks.ports import DeliveryReader, DestinationStore, JobScheduler, JobStore, Telemetry
    from webhooks.services.host_limits import HostLimits
    from webhooks.services.pauses import Pauses
    from webhooks.services.retrier import Retrier

SECONDS_FOR_A_STEP = 2 * 5.0 + 3 * 9.0
"""Time for two requests of 5 seconds, the second during a secret's rotation, and for the calls
around them, each at its slowest (see `adapters.aws`).
"""

_DAY_MS = 86_400_000
_CANCEL_TRIES = 5


class ReplayService:
    """Starts, shows and cancels replays of an account's webhooks.

    The service sends nothing: it writes a record and starts the state machine, which does the work.
    Each webhook may have `max_replays_per_day`. `cursor_key` seals the cursors of lists.
    """

    def __init__(
        self,
        *,
        store: JobStore[Replay],
        scheduler: JobScheduler,
        max_replays_per_day: int,
        cursor_key: bytes,
        now_ns: Callable[[], int] = time.time_ns,
        random_bytes: Callable[[int], bytes] = secrets.token_bytes,
    ) -> None:
        self._store = store
        self._scheduler = scheduler
        self._max_replays_per_day = max_replays_per_day
        self._cursor_key = cursor_key
        self._now_ns = now_ns
        self._random_bytes = random_bytes

    def start(
        self,
        webhook: Webhook,
        *,
        since: str,
        until: str | None = None,
        status: str | None = None,
        seed: Seed | None = None,
    ) -> Replay:
        """Start a replay of the deliveries that `domain.replay.select` selects.

        A repeated `seed` returns the replay of the first call.

        Raises InvalidInputError, WebhookDisabledError, ReplayRunningError, TooManyReplaysError,
        UnavailableError.
        """
        repeatable, seed = seed is not None, seed or fresh(self._now_ns, self._random_bytes)
        now_ms = seed.now_ms
        replay = Replay(
            account_id=webhook.account_id,
            webhook_id=webhook.id,
            id=replay_id(seed.now_ns, seed.draw("replay id", 8)),
            selection=select(since, until, status, now_ms),
            created_at_ms=now_ms,
            updated_at_ms=now_ms,
        )
        if seed.repeated and was_started(self._store, self._scheduler, replay):
            return replay
        webhook.require_active()
        today = self._store.count_since(JobOwner(webhook.account_id, webhook.id), now_ms - _DAY_MS)
        if today >= self._max_replays_per_day:
            msg = f"the webhook had {today} replays within a day"
            raise TooManyReplaysError(msg)
        failed = replay.ended(ReplayStatus.FAILED, now_ms, "not_started")
        if not start(
            self._store, self._scheduler, replay, not_started=None if repeatable else failed
        ):
            running = self._store.running_one(JobOwner(webhook.account_id, webhook.id))
            if running is not None:
                ensure_started(self._scheduler, running)
            msg = "the webhook has a replay that is running"
            raise ReplayRunningError(msg)
        return replay

    def get(self, webhook: Webhook, replay_id: str) -> Replay | None:
        """Return a replay of the webhook; None if it has none of this id."""
        if not is_uuid(replay_id):
            return None
        return self._store.get(ReplayKey(webhook.account_id, webhook.id, replay_id))

    def page(self, webhook: Webhook, limit: int, cursor: str | None = None) -> Page[Replay]:
        """Return up to `limit` of a webhook's replays, newest first.

        `cursor` is the `next` of the previous page; InvalidInputError if it belongs to another
        list.
        """
        scope = ("replays", webhook.account_id, webhook.id)
        before = cursors.unseal(self._cursor_key, scope, cursor)
        found = self._store.page(JobOwner(webhook.account_id, webhook.id), limit, before)
        return Page(found.items, cursors.seal(self._cursor_key, scope, found.next))

    def cancel(self, webhook: Webhook, replay_id: str) -> Replay | None:
        """End a replay and return it; None if it does not exist.

        A replay that has ended stays as it is. Requests under way still arrive.
        """
        for _ in range(_CANCEL_TRIES):
            replay = self.get(webhook, replay_id)
            if replay is None or not replay.running:
                return replay
            cancelled = replay.ended(ReplayStatus.CANCELLED, ns_to_ms(self._now_ns()))
            if self._store.save(replay, cancelled):
                return cancelled
        msg = "a replay could not be cancelled: it keeps making steps"
        raise UnavailableError(msg)


class ReplayJob:
    """Sends a replay's deliveries again, oldest first, at the speed of its receiver.

    A delivery that is refused with 429, or whose response asks for a pause, is sent again later,
    before those after it.

    An interrupted step is repeated from the end of the previous step. A receiver may therefore see
    some deliveries twice, with the same ids and bytes as always.

    The speed is at most `deliveries_per_second` and MAX_RATE, and lower for an overloaded receiver
    (see `domain.drain_rate`). No step sends more than `host_limits` allow. `clock` gives Unix
    seconds.
    """

    key_type = ReplayKey

    def __init__(
        self,
        *,
        store: JobStore[Replay],
        reader: DeliveryReader,
        destinations: DestinationStore,
        retrier: Retrier,
        pauses: Pauses,
        telemetry: Telemetry,
        clock: Callable[[], float],
        deliveries_per_second: int,
        host_limits: HostLimits | None = None,
    ) -> None:
        self._host_limits = host_limits
        self._store = store
        self._reader = reader
        self._destinations = destinations
        self._retrier = retrier
        self._pauses = pauses
        self._telemetry = telemetry
        self._clock = clock
        self._batch_size = min(deliveries_per_second, MAX_RATE)
        self._threads = ThreadPoolExecutor(self._batch_size, thread_name_prefix="replay")

    def step(
        self,
        key: ReplayKey,
        remaining_seconds: Callable[[], float],
        state: Mapping[str, Any] = NO_STATE,
        /,
    ) -> NextStep | None:
        """Send the next second's deliveries; None when none is left.

        Raises UnavailableError if one of our own services failed, or the invocation's time is too
        short. Everything sent until then is recorded.
        """
        replay = current(self._store, key, state)
        if replay is None:
            return None
        destination = self._destinations.destination(key.account_id, key.webhook_id)
        if destination is None or not destination.webhook.active:
            reason = "webhook_deleted" if destination is None else "webhook_disabled"
            self._end(replay, ReplayStatus.FAILED, reason)
            return None
        pause_seconds = self._pauses.seconds_left(destination.webhook)
        if pause_seconds:
            waiting = replay.advanced(replay.position, (), to_ms(self._clock()), replay.pace)
            self._store.save(replay, kept(waiting, to_ms(self._clock()), pause_seconds))
            return NextStep(pause_seconds, ReplayRefusals.read(state).written())
        if remaining_seconds() < SECONDS_FOR_A_STEP:
            msg = f"a replay's step: {remaining_seconds():.0f} seconds are too few for it"
            raise UnavailableError(msg)
        return self._send(replay, destination, ReplayRefusals.read(state))

    def _send(
        self, replay: Replay, destination: Destination, before: ReplayRefusals
    ) -> NextStep | None:
        """Send as many deliveries as the receiver and its host may get now."""
        rate = min(replay.pace or self._batch_size, self._batch_size)
        turns = turns_of(self._host_limits, destination.webhook, batch_size(rate))
        if not turns.now:
            self._store.save(replay, kept(replay, to_ms(self._clock()), turns.wait_seconds))
            return NextStep(turns.wait_seconds, before.written())
        found = self._reader.oldest_first(
            replay.account_id, replay.webhook_id, replay.reach, turns.now, replay.position
        )
        log_unreadable(self._telemetry, found.unreadable)
        sendable = [each for each in found.items if replay.takes(each)]
        wanted = [
            each
            for each in sendable
            if destination.webhook.takes(each) and each.id not in before.passed
        ]
        for unwanted in sendable:
            if unwanted.status is Status.WAITING and not destination.webhook.takes(unwanted):
                self._retrier.unsubscribed(unwanted)
        attempts = run_all(
            self._threads,
            partial(self._retrier.attempt_by_hand, destination),
            wanted,
        )
        settled = settle(
            [each.id for each in found.items], [each.id for each in wanted], attempts, before
        )
        position = found.next if settled.whole else settled.up_to or replay.position
        rate = next_drain_rate(rate, [made for made in attempts if made], self._batch_size)
        after = replay.advanced(
            position,
            settled.results,
            to_ms(self._clock()),
            pace=None if rate >= self._batch_size else rate,
        )
        if settled.whole and found.next is None:
            self._end(replay, ReplayStatus.COMPLETED, None, after)
            return None
        seconds = pause(rate)
        self._store.save(replay, kept(after, to_ms(self._clock()), seconds))
        # If the write was refused, another call changed the record, and the next step reads it
        # again.
        return NextStep(seconds, settled.refusals.written())

    def abandon(self, key: ReplayKey, state: Mapping[str, Any] = NO_STATE, /) -> None:
        """Mark a replay as failed after the state machine gave it up, through a fault of ours."""
        replay = current(self._store, key, state)
        if replay is not None:
            self._end(replay, ReplayStatus.FAILED, "internal_error")

    def _end(
        self, replay: Replay, status: ReplayStatus, reason: str | None, after: Replay | None = None
    ) -> None:
        ended = (after or replay).ended(status, to_ms(self._clock()), reason)
        if self._store.save(replay, ended):
            self._telemetry.log(
                "info",
                "replay_ended",
                **replay.key._asdict(),
                status=status,
                reason=reason,
                sent=ended.sent,
                succeeded=ended.succeeded,
            )
