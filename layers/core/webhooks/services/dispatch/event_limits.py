"""The limit of an account's events a minute, which all dispatchers share.

Events above it go back to the queue as messages of their account's group, with a delay by their
place in line. This holds for events, arrays and records of Amazon SES alike. They are counted again
when they come back. The other events of their batch are not affected.
"""

from __future__ import annotations

from collections import defaultdict
from math import inf
from typing import TYPE_CHECKING, NamedTuple

from webhooks.domain.ingest import RejectedMessage
from webhooks.domain.lots import Lot, share
from webhooks.domain.rate_limit import ACCOUNT, RateLimit, RateLimitWindow, window_at
from webhooks.domain.resending import FEWEST_TRIES
from webhooks.domain.shard import ALL, Part, to_message
from webhooks.domain.timestamps import MILLISECONDS
from webhooks.services.concurrency import NoTimeLeftError, submit_all
from webhooks.services.failures import log_failure
from webhooks.services.turns import in_turns

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from webhooks.ports import RateLimitStore, Telemetry
    from webhooks.services.dispatch.batch import Batch
    from webhooks.services.dispatch.messages import ReceivedEvent

OVER_LIMIT = "over_limit"
"""The reason of an event that was above its account's limit for as long as SQS keeps a message."""

OVER_LIMIT_ENDS_AFTER_MS = 14 * 24 * 60 * 60 * MILLISECONDS
"""How long after its first arrival an event above its account's limit is delayed again.

It is delayed at least `domain.resending.FEWEST_TRIES` times: a redriven event must not end at
once."""

LONGEST_DELAY_SECONDS = 540
"""The longest delay by a limit. SQS allows 900 seconds; this stays under the ten minutes of the
alarm on waiting events."""


class _Wanted(NamedTuple):
    """The events of an account in a batch that the shared count must still include."""

    window: RateLimitWindow
    missing: int
    amount: int


class EventLimits:
    """Counts the events of accounts; kept between invocations, with this process's lots.

    Each account may have `limit` events a minute; 0 means any number. `clock` gives Unix seconds,
    `random` a number from 0 to 1.
    """

    def __init__(
        self,
        store: RateLimitStore,
        *,
        limit: int,
        telemetry: Telemetry,
        clock: Callable[[], float],
        random: Callable[[], float],
    ) -> None:
        self._store = store
        self.limit = limit
        self._telemetry = telemetry
        self._clock = clock
        self._random = random
        self._minute = 0
        self._lots: dict[str, Lot] = {}
        self._in_line: dict[str, int] = {}
        self._logged: set[str] = set()

    def admitted(
        self,
        events: Sequence[ReceivedEvent],
        batch: Batch,
    ) -> list[ReceivedEvent]:
        """Return the events that their accounts may have delivered now; delay the others.

        Events that cannot be counted, or that there is no time to count, are delivered, unless this
        process knows that their account has reached its limit in this minute: a flood may be more
        writes than DynamoDB takes of one item.
        """
        counted: defaultdict[str, list[ReceivedEvent]] = defaultdict(list)
        for received in events:
            if not received.admitted:
                counted[received.event.account_id].append(received)
        over: dict[int, int] = {}
        for account_id, (room, place) in self._rooms(counted, batch).items():
            for further, received in enumerate(counted[account_id][room:]):
                over[id(received)] = place + further
        if not over:
            return list(events)
        self._hold_back([one for one in events if id(one) in over], over, batch)
        return [one for one in events if id(one) not in over]

    def _rooms(
        self, counted: Mapping[str, Sequence[ReceivedEvent]], batch: Batch
    ) -> dict[str, tuple[int, int]]:
        """Return, for accounts above their limit, how many events go on and the next one's place.

        The place is the number of events of this minute that were above the limit before it.
        """
        now = self._clock()
        wanted: dict[str, _Wanted] = {}
        for account_id, events in counted.items():
            window = window_at(account_id, ACCOUNT, RateLimit.EVENTS, now)
            if window.number != self._minute:
                self._minute = window.number
                self._lots.clear()
                self._in_line.clear()
                self._logged.clear()
            lot = self._lots.setdefault(account_id, Lot(share(self.limit)))
            missing = lot.use(len(events))
            if missing:
                # Above the limit, the sum is the length of the line, so it must be exact.
                full = lot.refused < inf
                amount = missing if full else max(missing, share(self.limit))
                wanted[account_id] = _Wanted(window, missing, amount)
        rooms: dict[str, tuple[int, int]] = {}
        sums = self._counted(wanted, batch)
        for account_id, one in wanted.items():
            lot, used = self._lots[account_id], sums.get(account_id)
            further = len(counted[account_id]) - one.missing
            if used is None:
                if account_id in self._in_line:
                    rooms[account_id] = further, self._in_line[account_id]
                    self._in_line[account_id] += one.missing
                continue
            before = used - one.amount
            granted = min(max(0, self.limit - before), one.amount)
            if granted < one.amount:
                lot.refused = one.amount - granted
                self._in_line[account_id] = used - self.limit
            lot.left += max(0, granted - one.missing)
            if granted < one.missing:
                rooms[account_id] = further + granted, max(0, before - self.limit)
        return rooms

    def _counted(self, wanted: Mapping[str, _Wanted], batch: Batch) -> dict[str, int]:
        """Add to the shared counts; return the sums of the counts that succeeded."""

        def add(account_id: str) -> int:
            one = wanted[account_id]
            return self._store.add(one.window, one.amount)

        sums: dict[str, int] = {}
        accounts = list(wanted)
        counted = submit_all(batch.threads.attempts, batch.deadline.in_time(add), accounts)
        for account_id, added in zip(accounts, counted, strict=True):
            error = added.exception()
            if error is None:
                sums[account_id] = added.result()
            elif not isinstance(error, NoTimeLeftError):
                log_failure(self._telemetry, "events_not_counted", error, account_id=account_id)
        return sums

    def _hold_back(
        self,
        events: Sequence[ReceivedEvent],
        places: Mapping[int, int],
        batch: Batch,
    ) -> None:
        """Delay events, those of one message together; dead-letter events delayed for days."""
        self._telemetry.count("OverLimitEvents", len(events))
        self._log_once_a_minute(events)
        delays: dict[tuple[str, str], int] = {}
        ended: list[RejectedMessage] = []
        for received in in_turns(events, lambda received: received.event.account_id):
            if self._ends(received):
                ended.append(_rejected(received))
                continue
            owner = received.message.id, received.event.account_id
            if owner not in delays:
                delays[owner] = self._delay_seconds(places[id(received)])
            batch.leftovers.add_over_limit(received, delays[owner])
        if ended:
            batch.reject(ended)

    def _delay_seconds(self, place: int) -> int:
        """Return an event's delay: a minute for each whole limit of events before it.

        The delays are spread over that minute, so that the events do not all come at its beginning.
        """
        seconds = 60 - self._clock() % 60 + 60 * (place // self.limit) + 60 * self._random()
        if seconds > LONGEST_DELAY_SECONDS:
            # Its turn is too far away: it comes back earlier and asks again.
            seconds = LONGEST_DELAY_SECONDS * (1 - self._random() / 2)
        return int(seconds)

    def _ends(self, received: ReceivedEvent) -> bool:
        age_ms = self._clock() * MILLISECONDS - received.arrived_at_ms
        return age_ms > OVER_LIMIT_ENDS_AFTER_MS and received.message.delays >= FEWEST_TRIES

    def _log_once_a_minute(self, events: Iterable[ReceivedEvent]) -> None:
        """Log each account, once a minute in each process."""
        for account_id in dict.fromkeys(received.event.account_id for received in events):
            if account_id not in self._logged:
                self._logged.add(account_id)
                self._telemetry.log(
                    "warning", "events_over_limit", account_id=account_id, limit=self.limit
                )


def _rejected(received: ReceivedEvent) -> RejectedMessage:
    """Return an event for the events dead-letter queue, as a message that a redrive can send."""
    event, message = received.event, received.message
    part = Part(event, received.shard or ALL, received.arrived_at_ms, received.webhook_ids)
    return RejectedMessage(
        message.id,
        to_message(part),
        OVER_LIMIT,
        "was above its account's limit of events a minute for 14 days",
        event.account_id,
        received.arrived_at_ms,
    )
