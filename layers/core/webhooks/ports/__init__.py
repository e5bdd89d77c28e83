"""What the services need from outside, as protocols; adapters and the tests' fakes have them."""

from webhooks.ports.accounts import (
    ApiKeyStore,
    HostTurns,
    KeptAnswer,
    KeptAnswers,
    RateLimitStore,
    SesAccountStore,
)
from webhooks.ports.deliveries import (
    DeliveryLog,
    DeliveryQuery,
    DeliveryStore,
    DeliveryWalk,
    OverdueDeliveries,
    OverdueDelivery,
    RetryScheduler,
)
from webhooks.ports.jobs import (
    JobKey,
    JobOwner,
    JobRecord,
    JobScheduler,
    JobStore,
    OverdueJobs,
    Record,
)
from webhooks.ports.outside import (
    EventQueue,
    KeptOperationalEvents,
    Observer,
    OperationalEventBus,
    OperationalEvents,
    ReceivedMessages,
    RejectedMessages,
    Sender,
)
from webhooks.ports.pages import Page
from webhooks.ports.sealing import Sealer
from webhooks.ports.webhooks import (
    DestinationStore,
    HealthStore,
    Subscriptions,
    UnstartedRecovery,
    WebhookChanges,
    WebhookStore,
    WebhookTrail,
)

__all__ = [
    "ApiKeyStore",
    "DeliveryLog",
    "DeliveryQuery",
    "DeliveryStore",
    "DeliveryWalk",
    "DestinationStore",
    "EventQueue",
    "HealthStore",
    "HostTurns",
    "JobKey",
    "JobOwner",
    "JobRecord",
    "JobScheduler",
    "JobStore",
    "KeptAnswer",
    "KeptAnswers",
    "KeptOperationalEvents",
    "Observer",
    "OperationalEventBus",
    "OperationalEvents",
    "OverdueDeliveries",
    "OverdueDelivery",
    "OverdueJobs",
    "Page",
    "RateLimitStore",
    "ReceivedMessages",
    "Record",
    "RejectedMessages",
    "RetryScheduler",
    "Sealer",
    "Sender",
    "SesAccountStore",
    "Subscriptions",
    "UnstartedRecovery",
    "WebhookChanges",
    "WebhookStore",
    "WebhookTrail",
]
