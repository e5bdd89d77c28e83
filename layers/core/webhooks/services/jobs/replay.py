"""The steps of a replay: a task of the recovery state machine."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING

from webhooks.domain.errors import UnavailableError
from webhooks.domain.replay import MAX_RATE, PAUSE_SECONDS, ReplayStatus
from webhooks.services.together import together
from webhooks.services.trouble import tell_unreadable

if TYPE_CHECKING:
    from collections.abc import Callable

    from webhooks.domain.replay import Replay, ReplayKey
    from webhooks.ports import DeliveryWalk, DestinationStore, Observer, ReplayStore
    from webhooks.services.retrier import Retrier

SECONDS_FOR_A_STEP = 2 * 5.0 + 3 * 9.0
"""Two requests of 5 seconds, the second during a secret's rotation, and the calls around them, each
at its slowest (see `adapters.aws`)."""

_MILLISECONDS = 1000


class Replayer:
    """Sends again what a replay selects, oldest first, a bounded number a second.

    A step that was interrupted is made again from where the one before it ended. So a receiver may
    see some deliveries once more, as always with the same ids and bytes.
    """

    def __init__(
        self,
        *,
        store: ReplayStore,
        walk: DeliveryWalk,
        destinations: DestinationStore,
        retrier: Retrier,
        observer: Observer,
        clock: Callable[[], float],
        deliveries_per_second: int,
    ) -> None:
        """Send no more than `deliveries_per_second`, nor than MAX_RATE; `clock` gives seconds."""
        self._store = store
        self._walk = walk
        self._destinations = destinations
        self._retrier = retrier
        self._observer = observer
        self._clock = clock
        self._batch_size = min(deliveries_per_second, MAX_RATE)
        self._threads = ThreadPoolExecutor(self._batch_size, thread_name_prefix="replay")

    def step(self, key: ReplayKey, remaining_seconds: float) -> float | None:
        """Send the next second's deliveries; returns the seconds to the next step, None: no more.

        Raises UnavailableError where our own side failed, or the invocation's time is too short,
        before anything more was sent and recorded.
        """
        replay = self._store.get(key)
        if replay is None or not replay.running:
            return None
        destination = self._destinations.destination(key.account_id, key.webhook_id)
        if destination is None:
            self._end(replay, ReplayStatus.FAILED, "webhook_deleted")
            return None
        if not destination.webhook.active:
            self._end(replay, ReplayStatus.FAILED, "webhook_disabled")
            return None
        if remaining_seconds < SECONDS_FOR_A_STEP:
            msg = f"a replay's step: {remaining_seconds:.0f} seconds are too few for it"
            raise UnavailableError(msg)
        deliveries, next_after, unreadable = self._walk.batch(
            *key[:2], replay.selection, self._batch_size, replay.position
        )
        tell_unreadable(self._observer, unreadable)
        # A test is of no real event, and of an erased one there is nothing left to send.
        wanted = [each for each in deliveries if not (each.test or each.erased)]
        results = together(
            self._threads,
            partial(self._retrier.attempt_by_hand, destination),
            wanted,
        )
        complete = len(results) == len(wanted)
        position = next_after if complete else wanted[len(results) - 1].id
        after = replay.advanced(position, results, self._now_ms())
        if complete and next_after is None:
            self._end(replay, ReplayStatus.COMPLETED, None, after)
            return None
        self._store.save(replay, after)
        # Where that was refused, the next step finds what the replay has become.
        return PAUSE_SECONDS

    def abandon(self, key: ReplayKey) -> None:
        """Mark a replay as failed that the state machine gives up, through a fault of ours."""
        replay = self._store.get(key)
        if replay is not None and replay.running:
            self._end(replay, ReplayStatus.FAILED, "internal_error")

    def _end(
        self, replay: Replay, status: ReplayStatus, reason: str | None, after: Replay | None = None
    ) -> None:
        ended = (after or replay).ended(status, self._now_ms(), reason)
        if self._store.save(replay, ended):
            self._observer.log(
                "info",
                "replay_ended",
                **replay.key._asdict(),
                status=status,
                reason=reason,
                sent=ended.sent,
                succeeded=ended.succeeded,
            )

    def _now_ms(self) -> int:
        return int(self._clock() * _MILLISECONDS)
