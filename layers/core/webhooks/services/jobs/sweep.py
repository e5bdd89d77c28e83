"""The sweep: restarts overdue work that no execution works on.

It runs every minute. Most executions are started by a function that tries again until they are, and
Step Functions keeps Standard ones going. The sweep finds the rest: executions that could not be
started, that Express lost or could not finish, that an operator stopped, or whose function was
killed before their start. Restarts are counted, for alarms.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from webhooks.domain.overdue import Overdue
from webhooks.domain.timestamps import to_ms
from webhooks.services.jobs.turn import Turn

if TYPE_CHECKING:
    from collections.abc import Callable

    from webhooks.ports import Telemetry
    from webhooks.services.jobs.sweep_deliveries import DeliverySweep
    from webhooks.services.jobs.sweep_events import OperationalEventSweep
    from webhooks.services.jobs.sweep_jobs import JobSweep, RecoverySweep


class Swept(NamedTuple):
    """The number of records of each kind that a sweep handled."""

    overdue_deliveries: int = 0
    overdue_recoveries: int = 0
    overdue_jobs: int = 0
    unstarted_deliveries: int = 0
    expiring_deliveries: int = 0
    operational_events: int = 0


class SweepJob:
    """Finds overdue recoveries, jobs and deliveries, and gives them a new execution.

    It also publishes operational events that could not be published when they happened. `clock`
    gives Unix seconds.
    """

    def __init__(
        self,
        *,
        recoveries: RecoverySweep,
        jobs: JobSweep,
        deliveries: DeliverySweep,
        operational_events: OperationalEventSweep,
        telemetry: Telemetry,
        clock: Callable[[], float],
    ) -> None:
        self._recoveries = recoveries
        self._jobs = jobs
        self._deliveries = deliveries
        self._operational_events = operational_events
        self._telemetry = telemetry
        self._clock = clock

    def sweep(self, remaining_seconds: Callable[[], float]) -> Swept:
        """Restart overdue work.

        Recoveries and jobs come first: they are few, and much waits for each. Half of the time is
        left to deliveries. The next sweep does the rest. At its end, this method raises its first
        failure, except for an unreadable record, which no further sweep can repair.
        """
        turn = Turn(remaining_seconds, self._telemetry)
        now_ms = to_ms(self._clock())
        spare_seconds = turn.spare_seconds()
        recoveries = self._recoveries.sweep(turn, now_ms, spare_seconds * 3 / 4)
        jobs = self._jobs.sweep(turn, now_ms, spare_seconds / 2)
        published = self._operational_events.sweep(turn, now_ms, spare_seconds / 2)
        deliveries = self._deliveries.sweep(turn, now_ms)
        swept = Swept(
            overdue_deliveries=deliveries[Overdue.SHORT] + deliveries[Overdue.LONG],
            overdue_recoveries=recoveries,
            overdue_jobs=jobs,
            unstarted_deliveries=deliveries[Overdue.UNSTARTED],
            expiring_deliveries=deliveries[Overdue.EXPIRING],
            operational_events=published,
        )
        self._count(swept, whole=turn.failure is None)
        if turn.failure is not None:
            raise turn.failure
        return swept

    def _count(self, swept: Swept, *, whole: bool) -> None:
        """Count restarts that raise an alarm, zeros included, but zeros only after a whole sweep.

        A zero shows the alarm that a sweep took place. Deliveries that could not be started in an
        outage raise no alarm, because they were bound for the sweep. Expiring deliveries are
        counted together with their notices.
        """
        if swept.overdue_deliveries or whole:
            self._telemetry.count("OverdueDeliveries", swept.overdue_deliveries)
        if swept.overdue_recoveries or whole:
            self._telemetry.count("OverdueRecoveries", swept.overdue_recoveries)
        if swept.overdue_jobs or whole:
            self._telemetry.count("OverdueJobs", swept.overdue_jobs)
        if swept.unstarted_deliveries:
            self._telemetry.count("UnstartedDeliveries", swept.unstarted_deliveries)
