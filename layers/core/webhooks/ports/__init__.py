"""What the services need from outside, as protocols; adapters and the tests' fakes have them."""

from webhooks.ports.accounts import AllowanceStore, ApiKeyStore, KeptAnswer, KeptAnswers
from webhooks.ports.deliveries import (
    DeliveryLog,
    DeliveryQuery,
    DeliveryStore,
    DeliveryWalk,
    OverdueDeliveries,
    OverdueDelivery,
    RetryScheduler,
)
from webhooks.ports.jobs import JobKey, JobOwner, JobRecord, JobScheduler, JobStore, Record
from webhooks.ports.outside import Announcer, EventQueue, Observer, RejectedMessages, Sender
from webhooks.ports.pages import Page
from webhooks.ports.webhooks import (
    DestinationStore,
    HealthStore,
    WebhookChanges,
    WebhookStore,
    WebhookTrail,
)

__all__ = [
    "AllowanceStore",
    "Announcer",
    "ApiKeyStore",
    "DeliveryLog",
    "DeliveryQuery",
    "DeliveryStore",
    "DeliveryWalk",
    "DestinationStore",
    "EventQueue",
    "HealthStore",
    "JobKey",
    "JobOwner",
    "JobRecord",
    "JobScheduler",
    "JobStore",
    "KeptAnswer",
    "KeptAnswers",
    "Observer",
    "OverdueDeliveries",
    "OverdueDelivery",
    "Page",
    "Record",
    "RejectedMessages",
    "RetryScheduler",
    "Sender",
    "WebhookChanges",
    "WebhookStore",
    "WebhookTrail",
]
