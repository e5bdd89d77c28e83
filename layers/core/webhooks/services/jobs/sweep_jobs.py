"""The sweeps of jobs: owners' jobs without progress, and recoveries of webhooks."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from webhooks.domain.errors import UnavailableError
from webhooks.domain.health import RecoveryKey
from webhooks.domain.overdue import GRACE_SECONDS
from webhooks.domain.timestamps import to_ms

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from webhooks.domain.jobs import Action
    from webhooks.ports import HealthStore, JobKey, JobScheduler, JobStore, OverdueJobs, Telemetry
    from webhooks.services.jobs.runner import JobRunner
    from webhooks.services.jobs.turn import Turn

SWEPT_AT_ONCE = 500
"""The most recoveries that one sweep restarts, and the most jobs."""


class JobSweep:
    """Gives replays, erasures and checks without progress another execution.

    Their first execution was not started, or died. A new run's number is in the execution's name
    and input, so an old execution that is still alive ends at its next step.

    Each store, and `jobs`, is built on first use.
    """

    def __init__(
        self,
        *,
        overdue: OverdueJobs,
        stores: Mapping[Action, Callable[[], JobStore[Any]]],
        jobs: Callable[[], JobRunner],
        scheduler: JobScheduler,
        telemetry: Telemetry,
        clock: Callable[[], float],
    ) -> None:
        self._overdue = overdue
        self._stores = stores
        self._jobs = jobs
        self._scheduler = scheduler
        self._telemetry = telemetry
        self._clock = clock

    def sweep(self, turn: Turn, now_ms: int, until_spare_seconds: float) -> int:
        """Restart jobs due before a time, while this much time is left; return their number."""
        found = turn.attempt(self._overdue.overdue, now_ms, SWEPT_AT_ONCE) or ()
        swept = 0
        for key in found:
            if turn.spare_seconds() < max(until_spare_seconds, 0):
                break
            swept += turn.attempt(self._see_to, key, now_ms) or 0
        return swept

    def _see_to(self, key: JobKey, before_ms: int) -> bool:
        store = self._stores[key.action]()
        job = store.get(key)
        if job is None or not job.running or job.run.due_at_ms >= before_ms:
            return False
        ids = key._asdict()
        if job.run.in_vain:
            self._telemetry.log("error", "job_abandoned", action=key.action, **ids)
            self._jobs().abandon(key, {"run": job.run.number})
            return True
        again = replace(job, run=job.run.restarted(to_ms(self._clock())))
        if not store.save(job, again):
            return False
        self._telemetry.log("error", "job_overdue", action=key.action, **ids)
        try:
            self._scheduler.start(key, delay_seconds=job.run.restart_delay, run=again.run.number)
        except UnavailableError:
            store.save(again, replace(again, run=again.run.unstarted(to_ms(self._clock()))))
            raise
        return True


class RecoverySweep:
    """Replaces recoveries of webhooks that make no progress. `clock` gives Unix seconds."""

    def __init__(
        self,
        *,
        health: HealthStore,
        scheduler: JobScheduler,
        telemetry: Telemetry,
        clock: Callable[[], float],
        new_id: Callable[[], str],
    ) -> None:
        self._health = health
        self._scheduler = scheduler
        self._telemetry = telemetry
        self._clock = clock
        self._new_id = new_id

    def sweep(self, turn: Turn, now_ms: int, until_spare_seconds: float) -> int:
        """Replace overdue recoveries while this much time is left; return the number replaced."""
        before_ms = now_ms - to_ms(GRACE_SECONDS)
        found = turn.attempt(self._health.overdue, before_ms, SWEPT_AT_ONCE) or ()
        replaced = 0
        for key in found:
            if turn.spare_seconds() < max(until_spare_seconds, 0):
                break
            replaced += turn.attempt(self._replace, key) or 0
        return replaced

    def _replace(self, key: RecoveryKey) -> bool:
        new = RecoveryKey(key.account_id, key.webhook_id, self._new_id())
        if not self._health.replace(key, new.recovery_id, to_ms(self._clock())):
            return False
        self._telemetry.log("error", "recovery_overdue", **key._asdict())
        self._scheduler.start(new, delay_seconds=0)
        return True
