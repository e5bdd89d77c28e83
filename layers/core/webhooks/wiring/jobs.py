"""Jobs: of each kind its records, its owner's side and its steps."""

from __future__ import annotations

import random
from functools import cached_property
from typing import TYPE_CHECKING

from webhooks.domain.jobs import Action
from webhooks.wiring.base import new_id
from webhooks.wiring.owners import OwnersServices
from webhooks.wiring.senders import SendingServices

if TYPE_CHECKING:
    from webhooks.adapters.dynamodb.job_items import JobCodec
    from webhooks.domain.jobs.check import Check
    from webhooks.domain.jobs.erasure import Erasure
    from webhooks.domain.jobs.replay import Replay
    from webhooks.ports import DeliveryReader, JobStore, Record
    from webhooks.services.jobs.check import CheckJob, CheckService
    from webhooks.services.jobs.erasure import ErasureJob, ErasureService
    from webhooks.services.jobs.recovery import RecoveryJob
    from webhooks.services.jobs.replay import ReplayJob, ReplayService
    from webhooks.services.jobs.runner import JobRunner
    from webhooks.services.jobs.sweep import SweepJob
    from webhooks.services.jobs.sweep_deliveries import DeliverySweep
    from webhooks.services.jobs.sweep_events import OperationalEventSweep
    from webhooks.services.jobs.sweep_jobs import JobSweep, RecoverySweep

_DAY_SECONDS = 86_400


class JobServices(OwnersServices, SendingServices):
    """The services of jobs: their owners' in the api, their steps in the worker."""

    @cached_property
    def jobs(self) -> JobRunner:
        """The steps of all kinds of jobs."""
        from webhooks.services.jobs.runner import JobRunner

        return JobRunner(
            {
                Action.RECOVER: lambda: self.recovery_job,
                Action.REPLAY: lambda: self.replay_job,
                Action.ERASE: lambda: self.erasure_job,
                Action.CHECK: lambda: self.check_job,
            }
        )

    @cached_property
    def replays(self) -> ReplayService:
        """What starts and shows replays. ValueError without a key to seal its cursors with."""
        from webhooks.services.jobs.replay import ReplayService

        return ReplayService(
            store=self._replay_store,
            scheduler=self._job_scheduler,
            max_replays_per_day=self.settings.max_replays_per_day,
            cursor_key=self._cursor_key,
        )

    @cached_property
    def replay_job(self) -> ReplayJob:
        """What carries replays out."""
        from webhooks.services.jobs.replay import ReplayJob

        return ReplayJob(
            store=self._replay_store,
            walk=self._walk,
            destinations=self._destinations,
            retrier=self.retrier,
            pauses=self._pauses,
            telemetry=self.telemetry,
            clock=self._clock,
            deliveries_per_second=self.settings.replay_rate,
            host_limits=self.host_limits,
        )

    @cached_property
    def erasures(self) -> ErasureService:
        """What starts and shows erasures."""
        from webhooks.services.jobs.erasure import ErasureService

        return ErasureService(
            store=self._erasure_store,
            scheduler=self._job_scheduler,
            rate_limits=self.rate_limits,
        )

    @cached_property
    def erasure_job(self) -> ErasureJob:
        """What carries erasures out."""
        from webhooks.adapters.dynamodb.delivery_log import DynamoDBDeliveryLog
        from webhooks.adapters.dynamodb.webhook_ids import DynamoDBWebhookIds
        from webhooks.services.jobs.erasure import SETTLE_SECONDS, ErasureJob

        settings = self.settings
        return ErasureJob(
            store=self._erasure_store,
            trail=DynamoDBWebhookIds(
                self._dynamodb, settings.webhooks_table, settings.deliveries_table
            ),
            walk=self._walk,
            log=DynamoDBDeliveryLog(self._dynamodb, settings.deliveries_table, self._deliveries),
            deliveries=self._deliveries,
            telemetry=self.telemetry,
            clock=self._clock,
            settle_seconds=SETTLE_SECONDS,
        )

    @cached_property
    def checks(self) -> CheckService:
        """What starts and shows checks of receivers."""
        from webhooks.services.jobs.check import CheckService

        return CheckService(
            store=self._check_store,
            scheduler=self._job_scheduler,
            rate_limits=self.rate_limits,
        )

    @cached_property
    def check_job(self) -> CheckJob:
        """What carries checks out."""
        from webhooks.services.jobs.check import CheckJob

        return CheckJob(
            store=self._check_store,
            destinations=self._destinations,
            sender=self._sender,
            pauses=self._pauses,
            telemetry=self.telemetry,
            clock=self._clock,
        )

    @cached_property
    def recovery_job(self) -> RecoveryJob:
        """What brings back webhooks that were down or disabled."""
        from webhooks.services.jobs.recovery import RecoveryJob

        return RecoveryJob(
            store=self._health_store,
            health=self._health,
            walk=self._walk,
            deliveries=self._deliveries,
            destinations=self._destinations,
            retrier=self.retrier,
            pauses=self._pauses,
            telemetry=self.telemetry,
            clock=self._clock,
            random=random.random,
            schedule=self.settings.recovery_schedule,
            deliveries_per_second=self.settings.recovery_rate,
            host_limits=self.host_limits,
        )

    @cached_property
    def sweep_job(self) -> SweepJob:
        """What starts again what nobody works on any more."""
        from webhooks.services.jobs.sweep import SweepJob

        return SweepJob(
            recoveries=self._recovery_sweep,
            jobs=self._job_sweep,
            deliveries=self._delivery_sweep,
            operational_events=self._operational_event_sweep,
            telemetry=self.telemetry,
            clock=self._clock,
        )

    @cached_property
    def _recovery_sweep(self) -> RecoverySweep:
        from webhooks.services.jobs.sweep_jobs import RecoverySweep

        return RecoverySweep(
            health=self._health_store,
            scheduler=self._job_scheduler,
            telemetry=self.telemetry,
            clock=self._clock,
            new_id=new_id,
        )

    @cached_property
    def _job_sweep(self) -> JobSweep:
        from webhooks.adapters.dynamodb.job_items import CHECKS, ERASURES, REPLAYS
        from webhooks.adapters.dynamodb.overdue import DynamoDBOverdueJobs
        from webhooks.services.jobs.sweep_jobs import JobSweep

        codecs = (REPLAYS, ERASURES, CHECKS)
        return JobSweep(
            overdue=DynamoDBOverdueJobs(self._dynamodb, self.settings.deliveries_table, codecs),
            stores={
                Action.REPLAY: lambda: self._replay_store,
                Action.ERASE: lambda: self._erasure_store,
                Action.CHECK: lambda: self._check_store,
            },
            jobs=lambda: self.jobs,
            scheduler=self._job_scheduler,
            telemetry=self.telemetry,
            clock=self._clock,
        )

    @cached_property
    def _delivery_sweep(self) -> DeliverySweep:
        from webhooks.adapters.dynamodb.overdue import DynamoDBOverdueDeliveries
        from webhooks.services.jobs import quota
        from webhooks.services.jobs.sweep_deliveries import DeliverySweep

        return DeliverySweep(
            overdue=DynamoDBOverdueDeliveries(self._dynamodb, self.settings.deliveries_table),
            deliveries=self._deliveries,
            scheduler=self._scheduler,
            notify_expiring=self._health.expiring,
            telemetry=self.telemetry,
            looks=quota.Quota(quota.LOOKS_PER_SECOND, quota.LOOKS_AT_ONCE),
            starts=quota.Quota(quota.STARTS_PER_SECOND, quota.STARTS_AT_ONCE),
            retention_seconds=self.settings.retention_days * _DAY_SECONDS,
            clock=self._clock,
            random=random.random,
        )

    @cached_property
    def _operational_event_sweep(self) -> OperationalEventSweep:
        from webhooks.services.jobs.sweep_events import OperationalEventSweep

        return OperationalEventSweep(
            bus=self._operational_event_bus,
            kept=self._kept_operational_events,
            telemetry=self.telemetry,
        )

    @cached_property
    def _replay_store(self) -> JobStore[Replay]:
        from webhooks.adapters.dynamodb.job_items import REPLAYS

        return self._job_store(REPLAYS)

    @cached_property
    def _erasure_store(self) -> JobStore[Erasure]:
        from webhooks.adapters.dynamodb.job_items import ERASURES

        return self._job_store(ERASURES)

    @cached_property
    def _check_store(self) -> JobStore[Check]:
        from webhooks.adapters.dynamodb.job_items import CHECKS

        return self._job_store(CHECKS)

    def _job_store(self, codec: JobCodec[Record]) -> JobStore[Record]:
        from webhooks.adapters.dynamodb.jobs import DynamoDBJobStore

        return DynamoDBJobStore(
            self._dynamodb,
            self.settings.deliveries_table,
            codec,
            retention_days=self.settings.retention_days,
        )

    @cached_property
    def _walk(self) -> DeliveryReader:
        from webhooks.adapters.dynamodb.delivery_reader import DynamoDBDeliveryReader

        return DynamoDBDeliveryReader(
            self._dynamodb, self.settings.deliveries_table, self._deliveries
        )
