"""The services among fakes: delivery, retries, replays and recoveries."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from support import samples, sightings
from support.fakes import (
    RETENTION_SECONDS,
    FakeDeliveryReader,
    FakeDeliveryStore,
    FakeEventQueue,
    FakeHealthStore,
    FakeHostTurns,
    FakeJobScheduler,
    FakeJobStore,
    FakeKeptOperationalEvents,
    FakeOperationalEvents,
    FakeOverdueDeliveries,
    FakeOverdueJobs,
    FakePauseStore,
    FakeRateLimitStore,
    FakeReceivedMessages,
    FakeRejectedMessages,
    FakeScheduler,
    FakeSender,
    FakeTelemetry,
    FakeWebhookIds,
    FakeWebhookStore,
)
from webhooks.domain.jobs import Action
from webhooks.domain.ses import SesAccounts
from webhooks.domain.webhook import Secrets
from webhooks.services.deliverer import Deliverer
from webhooks.services.dispatch.batches import Batches
from webhooks.services.dispatch.dispatcher import Dispatcher
from webhooks.services.dispatch.event_limits import EventLimits
from webhooks.services.dispatch.messages import QueueMessage
from webhooks.services.health import WebhookHealthService
from webhooks.services.host_limits import HostLimits
from webhooks.services.jobs import quota
from webhooks.services.jobs.erasure import ErasureJob
from webhooks.services.jobs.recovery import RecoveryJob
from webhooks.services.jobs.replay import ReplayJob
from webhooks.services.jobs.runner import JobRunner
from webhooks.services.jobs.sweep import SweepJob
from webhooks.services.jobs.sweep_deliveries import DeliverySweep
from webhooks.services.jobs.sweep_events import OperationalEventSweep
from webhooks.services.jobs.sweep_jobs import JobSweep, RecoverySweep
from webhooks.services.operational_events import LastingOperationalEvents
from webhooks.services.pauses import Pauses
from webhooks.services.retrier import Machine, Retrier, RetryDecision
from webhooks.services.retries import Retries

if TYPE_CHECKING:
    from typing import Any

    from webhooks.domain.delivery import Delivery, DeliveryKey
    from webhooks.domain.jobs.check import Check
    from webhooks.domain.jobs.erasure import Erasure
    from webhooks.domain.jobs.replay import Replay
    from webhooks.domain.ses import AccountChooser
    from webhooks.domain.webhook import Destination, Webhook


@dataclass
class ServiceFixture:
    """Every fake, and every service on them. A test moves the time, `now_ms`."""

    now_ms: int = samples.NOW_MS
    schedule: tuple[float, ...] = (5.0, 300.0)
    recovery_schedule: tuple[float, ...] = (30.0, 60.0)
    recovery_rate: int = 3
    random: float = 0.0
    remaining: float = 60.0
    store: FakeWebhookStore = field(default_factory=FakeWebhookStore)
    deliveries: FakeDeliveryStore = field(default_factory=FakeDeliveryStore)
    sender: FakeSender = field(default_factory=FakeSender)
    scheduler: FakeScheduler = field(default_factory=FakeScheduler)
    recoveries: FakeJobScheduler = field(default_factory=FakeJobScheduler)
    operational_events: FakeOperationalEvents = field(default_factory=FakeOperationalEvents)
    kept_events: FakeKeptOperationalEvents = field(default_factory=FakeKeptOperationalEvents)
    queue: FakeEventQueue = field(default_factory=FakeEventQueue)
    received: FakeReceivedMessages = field(default_factory=FakeReceivedMessages)
    rejected: FakeRejectedMessages = field(default_factory=FakeRejectedMessages)
    telemetry: FakeTelemetry = field(default_factory=FakeTelemetry)
    replay_records: FakeJobStore[Replay] = field(default_factory=FakeJobStore)
    erasures: FakeJobStore[Erasure] = field(default_factory=FakeJobStore)
    check_records: FakeJobStore[Check] = field(default_factory=FakeJobStore)
    ses_accounts: AccountChooser = field(default_factory=SesAccounts)
    ses_headers: tuple[str, ...] = ()
    rate_limit_store: FakeRateLimitStore = field(default_factory=FakeRateLimitStore)
    host_turns: FakeHostTurns = field(default_factory=FakeHostTurns)
    events_per_minute: int = 0
    requests_per_host: int = 0
    """No such limit, unless a test sets one."""
    settle_seconds: float = 90.0
    short_delay_seconds: float = -1.0
    """No delay is short, unless a test sets it."""
    cpu_seconds: float = 0.0
    cpu_seconds_a_look: float = 0.0
    dispatcher_threads: int = 8
    ids: int = 0
    invocations: int = 0

    def __post_init__(self) -> None:
        sightings.note(sightings.FAKES)
        self.health_store = FakeHealthStore(self.store)
        self.pause_store = FakePauseStore(self.health_store)
        self.reader = FakeDeliveryReader(self.deliveries)

    def clock(self) -> float:
        return self.now_ms / 1000

    def cpu_clock(self) -> float:
        """Return CPU seconds; each look at this clock takes some."""
        self.cpu_seconds += self.cpu_seconds_a_look
        return self.cpu_seconds

    def new_id(self) -> str:
        self.ids += 1
        return f"recovery-{self.ids}"

    @cached_property
    def health(self) -> WebhookHealthService:
        return WebhookHealthService(
            store=self.health_store,
            destinations=self.store,
            scheduler=self.recoveries,
            operational_events=LastingOperationalEvents(
                self.operational_events, lambda: self.kept_events, self.telemetry
            ),
            telemetry=self.telemetry,
            recovery_schedule=self.recovery_schedule,
            clock=self.clock,
            random=lambda: self.random,
            new_id=self.new_id,
        )

    @cached_property
    def pauses(self) -> Pauses:
        return Pauses(
            store=self.pause_store,
            recoveries=self.health_store,
            health=self.health,
            scheduler=self.recoveries,
            telemetry=self.telemetry,
            clock=self.clock,
            random=lambda: self.random,
            new_id=self.new_id,
        )

    @cached_property
    def deliverer(self) -> Deliverer:
        return Deliverer(
            sender=self.sender,
            destinations=self.store,
            health=self.health,
            telemetry=self.telemetry,
            schedule=self.schedule,
            clock=self.clock,
            random=lambda: self.random,
            short_delay_seconds=self.short_delay_seconds,
        )

    @cached_property
    def retries(self) -> Retries:
        return Retries(
            scheduler=self.scheduler,
            deliveries=self.deliveries,
            telemetry=self.telemetry,
            clock=self.clock,
        )

    @cached_property
    def retrier(self) -> Retrier:
        return Retrier(
            deliveries=self.deliveries,
            destinations=self.store,
            deliverer=self.deliverer,
            health=self.health,
            pauses=self.pauses,
            retries=self.retries,
            telemetry=self.telemetry,
            clock=self.clock,
        )

    @cached_property
    def dispatcher(self) -> Dispatcher:
        return Dispatcher(
            destinations=self.store,
            deliveries=self.deliveries,
            deliverer=self.deliverer,
            health=self.health,
            pauses=self.pauses,
            retries=self.retries,
            queue=self.queue,
            rejected=self.rejected,
            telemetry=self.telemetry,
            ses_accounts=self.ses_accounts,
            ses_headers=self.ses_headers,
            clock=self.clock,
            max_threads=self.dispatcher_threads,
            event_limits=EventLimits(
                self.rate_limit_store,
                limit=self.events_per_minute,
                telemetry=self.telemetry,
                clock=self.clock,
                random=lambda: self.random,
            ),
            host_limits=self.host_limits,
        )

    @cached_property
    def host_limits(self) -> HostLimits:
        return HostLimits(
            self.host_turns,
            rate=self.requests_per_host,
            telemetry=self.telemetry,
            clock=self.clock,
            random=lambda: self.random,
        )

    @cached_property
    def batches(self) -> Batches:
        return Batches(
            dispatcher=self.dispatcher,
            queue=self.queue,
            received=self.received,
            rejected=self.rejected,
            telemetry=self.telemetry,
            clock=self.clock,
            random=lambda: self.random,
        )

    @cached_property
    def recovery_job(self) -> RecoveryJob:
        return RecoveryJob(
            store=self.health_store,
            health=self.health,
            reader=self.reader,
            deliveries=self.deliveries,
            destinations=self.store,
            retrier=self.retrier,
            pauses=self.pauses,
            telemetry=self.telemetry,
            clock=self.clock,
            random=lambda: self.random,
            schedule=self.recovery_schedule,
            deliveries_per_second=self.recovery_rate,
            host_limits=self.host_limits,
        )

    @cached_property
    def erasure_job(self) -> ErasureJob:
        return ErasureJob(
            store=self.erasures,
            webhook_ids=FakeWebhookIds(self.store),
            reader=self.reader,
            log=self.deliveries,
            deliveries=self.deliveries,
            telemetry=self.telemetry,
            clock=self.clock,
            cpu_clock=self.cpu_clock,
            settle_seconds=self.settle_seconds,
        )

    @cached_property
    def overdue_deliveries(self) -> FakeOverdueDeliveries:
        return FakeOverdueDeliveries(self.deliveries)

    @cached_property
    def delivery_sweep(self) -> DeliverySweep:
        return DeliverySweep(
            overdue=self.overdue_deliveries,
            deliveries=self.deliveries,
            scheduler=self.scheduler,
            notify_expiring=self.health.expiring,
            telemetry=self.telemetry,
            looks=self.looks,
            starts=self.standard_starts,
            retention_seconds=RETENTION_SECONDS,
            clock=self.clock,
            random=lambda: self.random,
            threads=1,
        )

    @cached_property
    def looks(self) -> quota.Quota:
        return self.quota(quota.LOOKS_PER_SECOND, quota.LOOKS_AT_ONCE)

    @cached_property
    def standard_starts(self) -> quota.Quota:
        return self.quota(quota.STARTS_PER_SECOND, quota.STARTS_AT_ONCE)

    def quota(self, per_second: float, at_once: int) -> quota.Quota:
        """Make a quota on this world's clock."""
        return quota.Quota(per_second, at_once, clock=self.clock, sleep=lambda _: None)

    @cached_property
    def job_sweep(self) -> JobSweep:
        return JobSweep(
            overdue=self.overdue_jobs,
            stores={
                Action.REPLAY: lambda: self.replay_records,
                Action.ERASE: lambda: self.erasures,
                Action.CHECK: lambda: self.check_records,
            },
            jobs=lambda: JobRunner({Action.ERASE: lambda: self.erasure_job}),
            scheduler=self.recoveries,
            telemetry=self.telemetry,
            clock=self.clock,
        )

    @cached_property
    def overdue_jobs(self) -> FakeOverdueJobs:
        return FakeOverdueJobs(self.replay_records, self.erasures, self.check_records)

    @cached_property
    def sweep_job(self) -> SweepJob:
        return SweepJob(
            recoveries=RecoverySweep(
                health=self.health_store,
                scheduler=self.recoveries,
                telemetry=self.telemetry,
                clock=self.clock,
                new_id=self.new_id,
            ),
            jobs=self.job_sweep,
            deliveries=self.delivery_sweep,
            operational_events=OperationalEventSweep(
                bus=self.operational_events, kept=self.kept_events, telemetry=self.telemetry
            ),
            telemetry=self.telemetry,
            clock=self.clock,
        )

    def make_replay_job(self, records: FakeJobStore[Replay], *, per_second: int) -> ReplayJob:
        """Make the job of these replays, with so many deliveries a second."""
        return ReplayJob(
            store=records,
            reader=self.reader,
            destinations=self.store,
            retrier=self.retrier,
            pauses=self.pauses,
            telemetry=self.telemetry,
            clock=self.clock,
            deliveries_per_second=per_second,
        )

    def add(self, *numbers: int, **changes: Any) -> None:
        """Register webhooks."""
        for number in numbers or (1,):
            self.store.add(samples.webhook(number, **changes), Secrets(samples.SECRET))

    def put(self, delivery: Delivery) -> Delivery:
        """Store a delivery unchanged."""
        self.deliveries.deliveries[delivery.key] = delivery
        return delivery

    def retry(
        self,
        key: DeliveryKey,
        attempt_number: int,
        generation: int = 0,
        *,
        machine: Machine = Machine.STANDARD,
    ) -> RetryDecision:
        """Make a later attempt, in its own invocation."""
        self.invocations += 1
        return self.retrier.retry(
            key,
            attempt_number,
            generation,
            invocation=f"invocation-{self.invocations}",
            machine=machine,
        )

    def send(self, *texts: str, group: str | None = None) -> list[str]:
        """Dispatch a batch of messages m0, m1 ... of a group; returns the failed ones."""
        messages = [
            QueueMessage(f"m{index}", text, self.now_ms + index, group)
            for index, text in enumerate(texts)
        ]
        return self.dispatcher.dispatch(messages, lambda: self.remaining)

    def webhook(self, number: int = 1) -> Webhook:
        """The webhook of that number, as stored now."""
        return self.destination(number).webhook

    def destination(self, number: int = 1) -> Destination:
        """The webhook of that number with its secrets, as stored now."""
        found = self.store.destination("acc_1", samples.webhook(number).id)
        assert found is not None
        return found
