"""The ports in memory: what the stores' conformance suite says of the real ones holds here too."""

from support.fakes.accounts import (
    FakeApiKeyStore,
    FakeHostTurns,
    FakeKeptAnswers,
    FakeRateLimitStore,
)
from support.fakes.deliveries import (
    RETENTION_SECONDS,
    FakeDeliveryStore,
    FakeDeliveryWalk,
    FakeOverdueDeliveries,
)
from support.fakes.failures import Failures
from support.fakes.health import FakeHealthStore
from support.fakes.jobs import FakeJobStore, FakeOverdueJobs
from support.fakes.outside import (
    FakeEventQueue,
    FakeKeptOperationalEvents,
    FakeObserver,
    FakeOperationalEvents,
    FakeReceivedMessages,
    FakeRejectedMessages,
    FakeSender,
)
from support.fakes.pauses import FakePauseStore
from support.fakes.schedulers import FakeJobScheduler, FakeScheduler
from support.fakes.webhooks import FakeWebhookStore, FakeWebhookTrail

__all__ = [
    "RETENTION_SECONDS",
    "Failures",
    "FakeApiKeyStore",
    "FakeDeliveryStore",
    "FakeDeliveryWalk",
    "FakeEventQueue",
    "FakeHealthStore",
    "FakeHostTurns",
    "FakeJobScheduler",
    "FakeJobStore",
    "FakeKeptAnswers",
    "FakeKeptOperationalEvents",
    "FakeObserver",
    "FakeOperationalEvents",
    "FakeOverdueDeliveries",
    "FakeOverdueJobs",
    "FakePauseStore",
    "FakeRateLimitStore",
    "FakeReceivedMessages",
    "FakeRejectedMessages",
    "FakeScheduler",
    "FakeSender",
    "FakeWebhookStore",
    "FakeWebhookTrail",
]
