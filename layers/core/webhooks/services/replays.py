"""The replays of a webhook, as its owner starts, follows and cancels them."""

from __future__ import annotations

import secrets
import time
from typing import TYPE_CHECKING, NamedTuple

from webhooks.domain import cursor as cursors
from webhooks.domain.errors import ReplayRunningError, TooManyReplaysError, UnavailableError
from webhooks.domain.ids import is_uuid
from webhooks.domain.replay import Replay, ReplayKey, ReplayStatus, replay_id, select

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from webhooks.domain.webhook import Webhook
    from webhooks.ports import ReplayScheduler, ReplayStore

_DAY_MS = 86_400_000
_CANCEL_TRIES = 5


class Page(NamedTuple):
    """Part of a list of replays, newest first; `next_cursor` is None at its end."""

    replays: Sequence[Replay]
    next_cursor: str | None


class Replays:
    """Starts, shows and cancels replays, each account its own.

    Sends nothing: it writes a record and starts the state machine that carries it out.
    """

    def __init__(
        self,
        *,
        store: ReplayStore,
        scheduler: ReplayScheduler,
        max_replays_per_day: int,
        cursor_key: bytes,
        now_ns: Callable[[], int] = time.time_ns,
        random_bytes: Callable[[int], bytes] = secrets.token_bytes,
    ) -> None:
        """Allow each webhook `max_replays_per_day`; `cursor_key` seals the lists' cursors."""
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
    ) -> Replay:
        """Have a webhook's deliveries sent again: those that `domain.replay.select` says.

        Raises InvalidInputError, WebhookDisabledError, ReplayRunningError, TooManyReplaysError,
        UnavailableError.
        """
        now_ns = self._now_ns()
        now_ms = now_ns // 1_000_000
        selection = select(since, until, status, now_ms)
        webhook.require_active()
        today = self._store.count_since(webhook.account_id, webhook.id, now_ms - _DAY_MS)
        if today >= self._max_replays_per_day:
            msg = f"the webhook had {today} replays within a day"
            raise TooManyReplaysError(msg)
        replay = Replay(
            account_id=webhook.account_id,
            webhook_id=webhook.id,
            id=replay_id(now_ns, self._random_bytes(8)),
            selection=selection,
            created_at_ms=now_ms,
            updated_at_ms=now_ms,
        )
        if not self._store.create(replay):
            msg = "the webhook has a replay that is running"
            raise ReplayRunningError(msg)
        self._schedule(replay)
        return replay

    def get(self, webhook: Webhook, replay_id: str) -> Replay | None:
        """Return one replay of a webhook, None where it has none of that id."""
        if not is_uuid(replay_id):
            return None
        return self._store.get(ReplayKey(webhook.account_id, webhook.id, replay_id))

    def page(self, webhook: Webhook, limit: int, cursor: str | None = None) -> Page:
        """Return up to `limit` of a webhook's replays, newest first.

        `cursor` is the `next_cursor` of the page before; InvalidInputError for one of another list.
        """
        scope = ("replays", webhook.account_id, webhook.id)
        before = cursors.unseal(self._cursor_key, scope, cursor)
        replays, next_before = self._store.page(webhook.account_id, webhook.id, limit, before)
        return Page(replays, cursors.seal(self._cursor_key, scope, next_before))

    def cancel(self, webhook: Webhook, replay_id: str) -> Replay | None:
        """End a replay and return it; one that has ended stays as it is. None: no such replay.

        What is on its way at this moment still arrives.
        """
        for _ in range(_CANCEL_TRIES):
            replay = self.get(webhook, replay_id)
            if replay is None or not replay.running:
                return replay
            cancelled = replay.ended(ReplayStatus.CANCELLED, self._now_ms())
            if self._store.save(replay, cancelled):
                return cancelled
        msg = "a replay could not be cancelled: it keeps making steps"
        raise UnavailableError(msg)

    def _schedule(self, replay: Replay) -> None:
        try:
            self._scheduler.start(replay.key)
        except UnavailableError:
            # Without an execution it would run for ever, and be in the way of the next one.
            ended = replay.ended(ReplayStatus.FAILED, self._now_ms(), "not_started")
            self._store.save(replay, ended)
            raise

    def _now_ms(self) -> int:
        return self._now_ns() // 1_000_000
