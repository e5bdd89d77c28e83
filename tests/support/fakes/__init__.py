"""The ports in memory: what the stores' conformance suite says of the real ones holds here too."""

from support.fakes.accounts import FakeAllowanceStore, FakeApiKeyStore, FakeKeptAnswers
from support.fakes.deliveries import FakeDeliveryStore, FakeDeliveryWalk, FakeOverdueDeliveries
from support.fakes.failures import Failures
from support.fakes.health import FakeHealthStore
from support.fakes.jobs import FakeCheckStore, FakeErasureStore, FakeReplayStore
from support.fakes.outside import (
    FakeAnnouncer,
    FakeEventQueue,
    FakeObserver,
    FakeRejectedMessages,
    FakeSender,
)
from support.fakes.schedulers import (
    FakeCheckScheduler,
    FakeErasureScheduler,
    FakeRecoveryScheduler,
    FakeReplayScheduler,
    FakeScheduler,
)
from support.fakes.webhooks import FakeWebhookStore, FakeWebhookTrail

__all__ = [
    "Failures",
    "FakeAllowanceStore",
    "FakeAnnouncer",
    "FakeApiKeyStore",
    "FakeCheckScheduler",
    "FakeCheckStore",
    "FakeDeliveryStore",
    "FakeDeliveryWalk",
    "FakeErasureScheduler",
    "FakeErasureStore",
    "FakeEventQueue",
    "FakeHealthStore",
    "FakeKeptAnswers",
    "FakeObserver",
    "FakeOverdueDeliveries",
    "FakeRecoveryScheduler",
    "FakeRejectedMessages",
    "FakeReplayScheduler",
    "FakeReplayStore",
    "FakeScheduler",
    "FakeSender",
    "FakeWebhookStore",
    "FakeWebhookTrail",
]
