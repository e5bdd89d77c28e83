"""The ports in memory: the stores' conformance suite holds for them as for the real ones."""

from support.fakes.accounts import (
    FakeApiKeyStore,
    FakeHostTurns,
    FakeIdempotencyStore,
    FakeRateLimitStore,
)
from support.fakes.deliveries import (
    RETENTION_SECONDS,
    FakeDeliveryReader,
    FakeDeliveryStore,
    FakeOverdueDeliveries,
)
from support.fakes.failures import Failures
from support.fakes.health import FakeHealthStore
from support.fakes.jobs import FakeJobStore, FakeOverdueJobs
from support.fakes.outside import (
    FakeEventQueue,
    FakeKeptOperationalEvents,
    FakeOperationalEvents,
    FakeReceivedMessages,
    FakeRejectedMessages,
    FakeSender,
    FakeTelemetry,
)
from support.fakes.pauses import FakePauseStore
from support.fakes.schedulers import FakeJobScheduler, FakeScheduler
from support.fakes.webhooks import FakeWebhookIds, FakeWebhookStore

__all__ = [
    "RETENTION_SECONDS",
    "Failures",
    "FakeApiKeyStore",
    "FakeDeliveryReader",
    "FakeDeliveryStore",
    "FakeEventQueue",
    "FakeHealthStore",
    "FakeHostTurns",
    "FakeIdempotencyStore",
    "FakeJobScheduler",
    "FakeJobStore",
    "FakeKeptOperationalEvents",
    "FakeOperationalEvents",
    "FakeOverdueDeliveries",
    "FakeOverdueJobs",
    "FakePauseStore",
    "FakeRateLimitStore",
    "FakeReceivedMessages",
    "FakeRejectedMessages",
    "FakeScheduler",
    "FakeSender",
    "FakeTelemetry",
    "FakeWebhookIds",
    "FakeWebhookStore",
]
