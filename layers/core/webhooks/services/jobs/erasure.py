"""Erasures: started and followed by their owner, carried out step by step."""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from webhooks.domain.cpu import CpuLimit
from webhooks.domain.delivery import Status
from webhooks.domain.errors import UnavailableError
from webhooks.domain.ids import is_uuid, time_of_id
from webhooks.domain.jobs.erasure import (
    SALT_BYTES,
    SEARCH_CPU_SECONDS,
    Erasure,
    ErasureKey,
    ErasureStatus,
    Mention,
    digest,
    erasure_id,
)
from webhooks.domain.recipient import parse_address
from webhooks.domain.selection import Selection
from webhooks.domain.timestamps import MILLISECONDS, ns_to_ms, to_ms
from webhooks.ports import DeliveryQuery, JobOwner
from webhooks.services.failures import log_unreadable
from webhooks.services.jobs.runner import NextStep
from webhooks.services.jobs.running import NO_STATE, current, kept
from webhooks.services.jobs.starting import ensure_started, start

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from webhooks.domain.delivery import Delivery
    from webhooks.ports import (
        DeliveryLog,
        DeliveryReader,
        DeliveryStore,
        JobScheduler,
        JobStore,
        Telemetry,
        WebhookIds,
    )
    from webhooks.services.rate_limits import RateLimits

PAUSE_SECONDS = 1.0
"""The wait between two steps, which leaves the tables' capacity to other work."""

SETTLE_SECONDS = 90.0
"""The wait after the first pass. An attempt that began before the pass may be recorded for the
dispatcher's 60 seconds; the rest is for clocks that differ.
"""

SECONDS_FOR_A_BATCH = 3 * 9.0
"""Time for a batch's calls if it changes nothing, each at its slowest (see `adapters.aws`)."""

_BATCH = 100
_EXAMINED_A_STEP = 1000
_TURNS_A_STEP = 100
"""The most batches and empty webhooks of a step."""

_ERASE_TRIES = 5
_DAY_MS = 86_400_000
_EVERYTHING = Selection.of_all_time(*Status)


class ErasureService:
    """Starts and shows an account's erasures, within the account's rate limits.

    The service erases nothing: it writes a record and starts the state machine, which does the
    work.
    """

    def __init__(
        self,
        *,
        store: JobStore[Erasure],
        scheduler: JobScheduler,
        rate_limits: RateLimits,
        now_ns: Callable[[], int] = time.time_ns,
        random_bytes: Callable[[int], bytes] = secrets.token_bytes,
    ) -> None:
        self._store = store
        self._scheduler = scheduler
        self._rate_limits = rate_limits
        self._now_ns = now_ns
        self._random_bytes = random_bytes

    def start(self, account_id: str, address: str, *, include_unsearched: bool = False) -> Erasure:
        """Start the erasure of all the account's payloads that mention the address.

        `include_unsearched` also erases payloads that take too long to search. A running erasure of
        the same address is returned instead if its second pass is still to come and it erases at
        least as much. Raises InvalidInputError, TooManyErasuresError, UnavailableError.
        """
        wanted = parse_address(address)
        now_ns = self._now_ns()
        now_ms = ns_to_ms(now_ns)
        for other in self._store.running_since(JobOwner(account_id), now_ms - _DAY_MS):
            enough = other.include_unsearched or not include_unsearched
            if enough and other.passes == 0 and other.seeks([wanted]):
                ensure_started(self._scheduler, other)
                return other
        self._rate_limits.erasure(account_id)
        salt = self._random_bytes(SALT_BYTES)
        erasure = Erasure(
            account_id=account_id,
            id=erasure_id(now_ns, self._random_bytes(8)),
            created_at_ms=now_ms,
            updated_at_ms=now_ms,
            salt=salt,
            digest=digest(salt, wanted),
            include_unsearched=include_unsearched,
        )
        failed = erasure.ended(ErasureStatus.FAILED, now_ms, "not_started")
        start(self._store, self._scheduler, erasure, not_started=failed)
        return erasure

    def get(self, account_id: str, erasure_id: str) -> Erasure | None:
        """Return an erasure of the account; None if it has none of this id."""
        if not is_uuid(erasure_id):
            return None
        return self._store.get(ErasureKey(account_id, erasure_id))


@dataclass(slots=True)
class _Progress:
    """The progress of a step, kept up to date for the case of an interruption."""

    erasure: Erasure
    examined: int = 0


class ErasureJob:
    """Goes through an account's deliveries twice and erases those with the address in them.

    An interrupted step is repeated from the last recorded position. Deliveries that it had erased
    stay erased.

    The passes are `settle_seconds` apart. `clock` gives Unix seconds, `cpu_clock` the CPU seconds
    that this thread has used.
    """

    key_type = ErasureKey

    def __init__(
        self,
        *,
        store: JobStore[Erasure],
        webhook_ids: WebhookIds,
        reader: DeliveryReader,
        log: DeliveryLog,
        deliveries: DeliveryStore,
        telemetry: Telemetry,
        clock: Callable[[], float],
        settle_seconds: float,
        cpu_clock: Callable[[], float] = time.thread_time,
    ) -> None:
        self._store = store
        self._webhook_ids = webhook_ids
        self._reader = reader
        self._log = log
        self._deliveries = deliveries
        self._telemetry = telemetry
        self._clock = clock
        self._settle_seconds = settle_seconds
        self._cpu_clock = cpu_clock

    def step(
        self,
        key: ErasureKey,
        remaining_seconds: Callable[[], float],
        state: Mapping[str, Any] = NO_STATE,
        /,
    ) -> NextStep | None:
        """Search the next deliveries; None when both passes are done.

        Raises UnavailableError if one of our own services failed, or the invocation's time is too
        short.
        """
        before = current(self._store, key, state)
        if before is None:
            return None
        left = self._seconds_to_settle(before)
        if left > 0:
            return NextStep(left)
        if remaining_seconds() < SECONDS_FOR_A_BATCH:
            msg = f"an erasure's step: {remaining_seconds():.0f} seconds are too few for it"
            raise UnavailableError(msg)
        progress = _Progress(before)
        try:
            self._go_through(progress, remaining_seconds)
        except UnavailableError:
            if progress.erasure.webhook_id is not None:
                recorded = progress.erasure.recorded(to_ms(self._clock()))
                self._store.save(before, kept(recorded, to_ms(self._clock()), PAUSE_SECONDS))
            raise
        recorded = progress.erasure.recorded(to_ms(self._clock()))
        pause = max(PAUSE_SECONDS, self._seconds_to_settle(recorded))
        if not self._store.save(before, kept(recorded, to_ms(self._clock()), pause)):
            # Another call changed the record: the next step reads it again.
            return NextStep(PAUSE_SECONDS)
        if recorded.running:
            return NextStep(pause)
        self._report(recorded)
        return None

    def abandon(self, key: ErasureKey, state: Mapping[str, Any] = NO_STATE, /) -> None:
        """Mark an erasure as failed after the state machine gave it up, through a fault of ours."""
        erasure = current(self._store, key, state)
        if erasure is None:
            return
        failed = erasure.ended(ErasureStatus.FAILED, to_ms(self._clock()), "internal_error")
        if self._store.save(erasure, failed):
            self._report(failed)

    def _go_through(self, progress: _Progress, remaining_seconds: Callable[[], float]) -> None:
        """Continue until a pass ends, the step has done its share, or its time is short."""
        before = progress.erasure
        for _ in range(_TURNS_A_STEP):
            self._batch(progress, remaining_seconds)
            ended = progress.erasure.passes > before.passes
            if ended or progress.examined >= _EXAMINED_A_STEP:
                break
            if remaining_seconds() < SECONDS_FOR_A_BATCH:
                break

    def _batch(self, progress: _Progress, remaining_seconds: Callable[[], float]) -> None:
        erasure = progress.erasure = progress.erasure.begun(to_ms(self._clock()))
        webhook_id = erasure.webhook_id
        if webhook_id is not None and erasure.floor_ms is None:
            erasure = replace(erasure, floor_ms=self._oldest_ms(erasure.account_id, webhook_id))
        if webhook_id is None or erasure.floor_ms is None:
            progress.erasure = self._turn(erasure)
            return
        query = DeliveryQuery(erasure.account_id, webhook_id, since_ms=erasure.floor_ms)
        found = self._log.page(query, _BATCH, erasure.position)
        log_unreadable(self._telemetry, found.unreadable)
        unreadable = erasure.unreadable or bool(found.unreadable)
        progress.erasure = replace(erasure, unreadable=unreadable)
        for number, delivery in enumerate(found.items):
            # The first delivery needs no check: the step made sure of time for it before the batch.
            if number and remaining_seconds() < SECONDS_FOR_A_BATCH:
                return
            if erasure.covers(delivery.created_at_ms):
                progress.erasure = self._see_to(progress.erasure, delivery)
                # New deliveries do not count: otherwise a pass could not end while they arrive
                # faster than it searches.
                progress.examined += erasure.covers(delivery.created_at_ms, clocks_differ_ms=0)
            else:
                progress.erasure = replace(progress.erasure, position=delivery.id)
        if found.next is None:
            progress.erasure = self._turn(progress.erasure)
        else:
            progress.erasure = replace(progress.erasure, position=found.next)

    def _turn(self, erasure: Erasure) -> Erasure:
        """Return the erasure at the next webhook, or at the end of the pass."""
        webhook_id = self._webhook_ids.next(erasure.account_id, erasure.webhook_id)
        if webhook_id is not None and not erasure.covers(time_of_id(webhook_id)):
            # Ids are in the order of time, so all later webhooks are too new as well.
            webhook_id = None
        return erasure.turned_to(webhook_id)

    def _oldest_ms(self, account_id: str, webhook_id: str) -> int | None:
        """Return the event's time of a webhook's oldest delivery; None if it has none."""
        found = self._reader.oldest_first(account_id, webhook_id, _EVERYTHING, 1)
        ids = [delivery.id for delivery in found.items]
        ids += [key.delivery_id for key in found.unreadable]
        # If all deliveries read are past their time, the next ones are newer.
        ids += [] if found.next is None else [found.next]
        return min(map(time_of_id, ids), default=None)

    def _see_to(self, erasure: Erasure, delivery: Delivery) -> Erasure:
        """Search one delivery, and erase it if it mentions the address."""
        found: Delivery | None = delivery
        for _ in range(_ERASE_TRIES):
            if found is None:
                return erasure.past(delivery, Mention.NOWHERE, erased=False)
            limit = CpuLimit(SEARCH_CPU_SECONDS, self._cpu_clock)
            mention = erasure.search(found, limit)
            if not erasure.concerns(mention):
                return erasure.past(delivery, mention, erased=False)
            after = erasure.erase(found, mention, limit)
            if self._deliveries.update(after, before=found):
                return erasure.past(delivery, mention, erased=after.erased)
            found = self._deliveries.get(delivery.key)
        msg = "a delivery could not be erased: it keeps changing"
        raise UnavailableError(msg)

    def _seconds_to_settle(self, erasure: Erasure) -> float:
        if not erasure.between_passes:
            return 0.0
        return erasure.updated_at_ms / MILLISECONDS + self._settle_seconds - self._clock()

    def _report(self, erasure: Erasure) -> None:
        self._telemetry.log(
            "info",
            "erasure_ended",
            **erasure.key._asdict(),
            status=erasure.status,
            reason=erasure.reason,
            examined=erasure.examined,
            erased=erasure.erased,
            unsearched=erasure.unsearched_count,
        )
