"""The steps of jobs, and the sweep: loaded by the worker when it makes the first of them."""

from __future__ import annotations

import random
from functools import cached_property
from typing import TYPE_CHECKING

from webhooks.adapters.dynamodb.delivery_log import DynamoDBDeliveryLog
from webhooks.adapters.dynamodb.delivery_reader import DynamoDBDeliveryReader
from webhooks.adapters.dynamodb.job_items import CHECKS, ERASURES, REPLAYS
from webhooks.adapters.dynamodb.overdue import DynamoDBOverdueDeliveries, DynamoDBOverdueJobs
from webhooks.adapters.dynamodb.webhook_ids import DynamoDBWebhookIds
from webhooks.domain.jobs import Action
from webhooks.services.jobs import quota
from webhooks.services.jobs.check import CheckJob
from webhooks.services.jobs.erasure import SETTLE_SECONDS, ErasureJob
from webhooks.services.jobs.recovery import RecoveryJob
from webhooks.services.jobs.replay import ReplayJob
from webhooks.services.jobs.sweep import SweepJob
from webhooks.services.jobs.sweep_deliveries import DeliverySweep
from webhooks.services.jobs.sweep_events import OperationalEventSweep
from webhooks.services.jobs.sweep_jobs import JobSweep, RecoverySweep
from webhooks.wiring.common import new_id
from webhooks.wiring.host_limits import host_limits_of
from webhooks.wiring.job_stores import JobStores

if TYPE_CHECKING:
    from webhooks.ports import DeliveryReader
    from webhooks.services.host_limits import HostLimits
    from webhooks.wiring.worker import WorkerServices

_DAY_SECONDS = 86_400


class JobServices:
    """The worker's jobs, which share the clients, the sender and the stores of its attempts."""

    def __init__(self, worker: WorkerServices) -> None:
        self._worker = worker

    @cached_property
    def replay_job(self) -> ReplayJob:
        """The steps of a replay."""
        return ReplayJob(
            store=self._stores.replays,
            reader=self._reader,
            destinations=self._worker._destinations,
            retrier=self._worker.retrier,
            pauses=self._worker._pauses,
            telemetry=self._worker.telemetry,
            clock=self._worker._clock,
            deliveries_per_second=self._worker.settings.replay_rate,
            host_limits=self._host_limits,
        )

    @cached_property
    def erasure_job(self) -> ErasureJob:
        """The steps of an erasure."""
        settings = self._worker.settings
        return ErasureJob(
            store=self._stores.erasures,
            webhook_ids=DynamoDBWebhookIds(
                self._worker._dynamodb, settings.webhooks_table, settings.deliveries_table
            ),
            reader=self._reader,
            log=DynamoDBDeliveryLog(
                self._worker._dynamodb, settings.deliveries_table, self._worker._deliveries
            ),
            deliveries=self._worker._deliveries,
            telemetry=self._worker.telemetry,
            clock=self._worker._clock,
            settle_seconds=SETTLE_SECONDS,
        )

    @cached_property
    def check_job(self) -> CheckJob:
        """The steps of a check."""
        return CheckJob(
            store=self._stores.checks,
            destinations=self._worker._destinations,
            sender=self._worker._sender,
            pauses=self._worker._pauses,
            telemetry=self._worker.telemetry,
            clock=self._worker._clock,
        )

    @cached_property
    def recovery_job(self) -> RecoveryJob:
        """The steps of a recovery, of a webhook that was down or disabled."""
        return RecoveryJob(
            store=self._worker._health_store,
            health=self._worker._health,
            reader=self._reader,
            deliveries=self._worker._deliveries,
            destinations=self._worker._destinations,
            retrier=self._worker.retrier,
            pauses=self._worker._pauses,
            telemetry=self._worker.telemetry,
            clock=self._worker._clock,
            random=random.random,
            schedule=self._worker.settings.recovery_schedule,
            deliveries_per_second=self._worker.settings.recovery_rate,
            host_limits=self._host_limits,
        )

    @cached_property
    def sweep_job(self) -> SweepJob:
        """The sweep, which starts overdue work again."""
        return SweepJob(
            recoveries=self._recovery_sweep,
            jobs=self._job_sweep,
            deliveries=self._delivery_sweep,
            operational_events=self._operational_event_sweep,
            telemetry=self._worker.telemetry,
            clock=self._worker._clock,
        )

    @cached_property
    def _recovery_sweep(self) -> RecoverySweep:
        return RecoverySweep(
            health=self._worker._health_store,
            scheduler=self._worker._job_scheduler,
            telemetry=self._worker.telemetry,
            clock=self._worker._clock,
            new_id=new_id,
        )

    @cached_property
    def _job_sweep(self) -> JobSweep:
        codecs = (REPLAYS, ERASURES, CHECKS)
        return JobSweep(
            overdue=DynamoDBOverdueJobs(
                self._worker._dynamodb, self._worker.settings.deliveries_table, codecs
            ),
            stores={
                Action.REPLAY: lambda: self._stores.replays,
                Action.ERASE: lambda: self._stores.erasures,
                Action.CHECK: lambda: self._stores.checks,
            },
            jobs=lambda: self._worker.jobs,
            scheduler=self._worker._job_scheduler,
            telemetry=self._worker.telemetry,
            clock=self._worker._clock,
        )

    @cached_property
    def _delivery_sweep(self) -> DeliverySweep:
        return DeliverySweep(
            overdue=DynamoDBOverdueDeliveries(
                self._worker._dynamodb, self._worker.settings.deliveries_table
            ),
            deliveries=self._worker._deliveries,
            scheduler=self._worker._scheduler,
            notify_expiring=self._worker._health.expiring,
            telemetry=self._worker.telemetry,
            looks=quota.Quota(quota.LOOKS_PER_SECOND, quota.LOOKS_AT_ONCE),
            starts=quota.Quota(quota.STARTS_PER_SECOND, quota.STARTS_AT_ONCE),
            retention_seconds=self._worker.settings.retention_days * _DAY_SECONDS,
            clock=self._worker._clock,
            random=random.random,
        )

    @cached_property
    def _operational_event_sweep(self) -> OperationalEventSweep:
        return OperationalEventSweep(
            bus=self._worker._operational_event_bus,
            kept=self._worker._kept_operational_events,
            telemetry=self._worker.telemetry,
        )

    @cached_property
    def _reader(self) -> DeliveryReader:
        return DynamoDBDeliveryReader(
            self._worker._dynamodb, self._worker.settings.deliveries_table, self._worker._deliveries
        )

    @cached_property
    def _host_limits(self) -> HostLimits:
        return host_limits_of(self._worker)

    @cached_property
    def _stores(self) -> JobStores:
        return JobStores(self._worker._dynamodb, self._worker.settings)
