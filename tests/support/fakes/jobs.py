"""Replays, erasures and checks in memory: the records of what runs for an owner."""

from __future__ import annotations

from typing import TYPE_CHECKING

from support.fakes.failures import Failures
from webhooks.ports import ReplayPage

if TYPE_CHECKING:
    from collections.abc import Sequence

    from webhooks.domain.check import Check, CheckKey
    from webhooks.domain.erasure import Erasure, ErasureKey
    from webhooks.domain.replay import Replay, ReplayKey


class FakeReplayStore:
    """`ReplayStore` in a dictionary."""

    def __init__(self) -> None:
        self.replays: dict[ReplayKey, Replay] = {}
        self.failures = Failures()

    def create(self, replay: Replay) -> bool:
        self.failures.check("create")
        of_webhook = self._of(replay.account_id, replay.webhook_id)
        if any(other.running and other != replay for other in of_webhook):
            return False
        self.replays[replay.key] = replay
        return True

    def get(self, key: ReplayKey) -> Replay | None:
        self.failures.check("get")
        return self.replays.get(key)

    def page(
        self, account_id: str, webhook_id: str, limit: int, before: str | None = None
    ) -> ReplayPage:
        self.failures.check("page")
        found = [
            replay
            for replay in self._of(account_id, webhook_id)
            if before is None or replay.id < before
        ]
        return ReplayPage(found[:limit], found[limit - 1].id if len(found) > limit else None)

    def count_since(self, account_id: str, webhook_id: str, since_ms: int) -> int:
        self.failures.check("count_since")
        of_webhook = self._of(account_id, webhook_id)
        return sum(replay.created_at_ms >= since_ms for replay in of_webhook)

    def save(self, before: Replay, after: Replay) -> bool:
        self.failures.check("save")
        stored = self.replays.get(after.key)
        if stored == after:
            return True
        if stored is None or not stored.running or stored.steps != before.steps:
            return False
        self.replays[after.key] = after
        return True

    def _of(self, account_id: str, webhook_id: str) -> list[Replay]:
        """The replays of a webhook, newest first."""
        mine = [r for k, r in self.replays.items() if k[:2] == (account_id, webhook_id)]
        return sorted(mine, key=lambda replay: replay.id, reverse=True)


class FakeErasureStore:
    """`ErasureStore` in a dictionary."""

    def __init__(self) -> None:
        self.erasures: dict[ErasureKey, Erasure] = {}
        self.failures = Failures()

    def create(self, erasure: Erasure) -> None:
        self.failures.check("create")
        self.erasures[erasure.key] = erasure

    def get(self, key: ErasureKey) -> Erasure | None:
        self.failures.check("get")
        return self.erasures.get(key)

    def running(self, account_id: str, since_ms: int) -> Sequence[Erasure]:
        self.failures.check("running")
        return [
            erasure
            for key, erasure in sorted(self.erasures.items())
            if key.account_id == account_id
            and erasure.running
            and erasure.created_at_ms >= since_ms
        ]

    def save(self, before: Erasure, after: Erasure) -> bool:
        self.failures.check("save")
        stored = self.erasures.get(after.key)
        if stored == after:
            return True
        if stored is None or not stored.running or stored.steps != before.steps:
            return False
        self.erasures[after.key] = after
        return True


class FakeCheckStore:
    """`CheckStore` in a dictionary."""

    def __init__(self) -> None:
        self.checks: dict[CheckKey, Check] = {}
        self.failures = Failures()

    def create(self, check: Check) -> None:
        self.failures.check("create")
        self.checks[check.key] = check

    def get(self, key: CheckKey) -> Check | None:
        self.failures.check("get")
        return self.checks.get(key)

    def end(self, check: Check) -> bool:
        self.failures.check("end")
        stored = self.checks.get(check.key)
        if stored == check:
            return True
        if stored is None or not stored.running:
            return False
        self.checks[check.key] = check
        return True
