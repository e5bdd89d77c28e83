"""The worker's services: later attempts, the steps of jobs, and the sweep."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from webhooks.domain.jobs import Action
from webhooks.services.jobs.runner import JobRunner
from webhooks.services.retrier import Retrier
from webhooks.wiring.sending import SendingServices

if TYPE_CHECKING:
    from webhooks.services.jobs.sweep import SweepJob
    from webhooks.wiring.jobs import JobServices


class WorkerServices(SendingServices):
    """The services of the state machines' function."""

    function = "worker"

    @cached_property
    def retrier(self) -> Retrier:
        """The later attempts of deliveries."""
        return Retrier(
            deliveries=self._deliveries,
            destinations=self._destinations,
            deliverer=self._deliverer,
            health=self._health,
            pauses=self._pauses,
            retries=self._retries,
            telemetry=self.telemetry,
            clock=self._clock,
        )

    @cached_property
    def jobs(self) -> JobRunner:
        """The steps of all kinds of jobs."""
        return JobRunner(
            {
                Action.RECOVER: lambda: self._job_services.recovery_job,
                Action.REPLAY: lambda: self._job_services.replay_job,
                Action.ERASE: lambda: self._job_services.erasure_job,
                Action.CHECK: lambda: self._job_services.check_job,
            }
        )

    @property
    def sweep_job(self) -> SweepJob:
        """The sweep, which starts overdue work again."""
        return self._job_services.sweep_job

    @cached_property
    def _job_services(self) -> JobServices:
        # Imported here: most invocations make an attempt, and the modules of jobs would make the
        # cold start of each slower.
        from webhooks.wiring.jobs import JobServices  # noqa: PLC0415

        return JobServices(self)
