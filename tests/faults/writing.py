"""The stores on an empty DynamoDB, and the states that a write may find them in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from support import samples
from support.stores import Clock, Stores, on_dynamodb
from webhooks.adapters.dynamodb.idempotency import PowertoolsIdempotencyStore
from webhooks.adapters.dynamodb.ses_accounts import DynamoDBSesAccountStore
from webhooks.domain.api_key import ApiKey
from webhooks.domain.errors import LimitReachedError, UnavailableError
from webhooks.domain.event import Event, EventType, Holder
from webhooks.domain.health import RecoveryKey
from webhooks.domain.operational_event import OperationalEvent, OperationalEventType
from webhooks.domain.rate_limit import RateLimit, window_at
from webhooks.ports import StoredResponse, UnstartedRecovery, WebhookChanges

if TYPE_CHECKING:
    from collections.abc import Callable

    from mypy_boto3_dynamodb import DynamoDBClient

OWNER = ("acc_1", samples.WEBHOOK_ID)
NOW_MS = samples.NOW_MS
LATER_MS = NOW_MS + 5_000
DAY_MS = 86_400_000
NEW_SECRET = "whsec_" + "cd" * 32
KEY = RecoveryKey(*OWNER, "recovery-1")
NEW_KEY = RecoveryKey(*OWNER, "recovery-2")
EVENT = Event(
    "acc_1", samples.EVENT_ID, EventType("email.delivered"), "txn", "", NOW_MS, b"{}", False
)
HOLDER = Holder("batch-1", NOW_MS)
NOTICE = OperationalEvent(OperationalEventType.WEBHOOK_DOWN, *OWNER, NOW_MS, {"failures": 10})
WINDOW = window_at("acc_1", "account", RateLimit.TESTS, NOW_MS / 1000)
API_KEY = ApiKey("hash-1", "key-1", "acc_1", "billing", "abcd", NOW_MS)
ANSWER = StoredResponse(201, "{}")


class StoreFixture:
    """The stores on an empty DynamoDB, and its other writers."""

    def __init__(self, client: DynamoDBClient) -> None:
        self.client = client
        self.stores: Stores = on_dynamodb(client, Clock())
        self.ses = DynamoDBSesAccountStore(client, "WebhooksTable")
        self.answers = PowertoolsIdempotencyStore(client, "IdempotencyTable")

    def created(self, **changes: Any) -> None:
        self.stores.webhooks.create(samples.webhook(**changes), samples.SECRET, limit=5)

    def failing(self, count: int = 10) -> None:
        self.created()
        self.stores.health.failed(*OWNER, count, NOW_MS)

    def down(self) -> None:
        self.failing()
        assert self.stores.health.open(KEY, NOW_MS + 30_000, NOW_MS) == KEY.recovery_id

    def draining(self) -> None:
        self.down()
        assert self.stores.health.succeeded(*OWNER, NOW_MS)

    def enabled(self) -> None:
        """The owner has enabled it, without a notice that it was down."""
        self.created()
        self.stores.webhooks.update(*OWNER, WebhookChanges(active=True), NOW_MS, KEY.recovery_id)

    def rotated(self) -> None:
        self.created()
        self.rotate(NEW_SECRET, NOW_MS)

    def rotate(self, secret: str, now_ms: int, **options: Any) -> Any:
        until_ms = now_ms + options.pop("overlap_ms", DAY_MS)
        rotate = self.stores.webhooks.rotate_secret
        return rotate(*OWNER, secret, previous_until_ms=until_ms, now_ms=now_ms, **options)

    def without_secret(self) -> None:
        self.created()
        self.client.update_item(
            TableName="WebhooksTable",
            Key={"account_id": {"S": OWNER[0]}, "webhook_id": {"S": OWNER[1]}},
            UpdateExpression="REMOVE secret",
        )

    def deleted(self) -> None:
        self.created()
        unstarted = UnstartedRecovery(KEY.recovery_id, NOW_MS)
        assert self.stores.webhooks.delete(*OWNER, unstarted=unstarted)

    def failed_once(self, **changes: Any) -> None:
        self.stores.deliveries.create(samples.delivery(**changes))

    def once(self, error: Exception | None = None, remaining_ms: int = 15_000) -> Any:
        """Answer a call under an `Idempotency-Key`; returns the error if it raises one."""

        def answer(_: str) -> StoredResponse:
            if error is not None:
                raise error
            return ANSWER

        try:
            return self.answers.get_or_create(
                ("key",),
                "fingerprint",
                answer,
                seed="seed",
                undecided=lambda raised: isinstance(raised, UnavailableError),
                remaining_ms=lambda: remaining_ms,
            )
        except (LimitReachedError, UnavailableError) as raised:
            return raised

    def secrets(self) -> Any:
        found = self.stores.destinations.destination(*OWNER)
        assert found is not None
        return found.secrets


@dataclass(frozen=True)
class Write:
    """A call that writes, on a prepared state; `twice` if a repeat counts the same thing again."""

    act: Callable[[StoreFixture], Any]
    prepare: Callable[[StoreFixture], Any] = lambda _: None
    twice: bool = False


def all_of(*steps: Callable[[StoreFixture], Any]) -> Callable[[StoreFixture], None]:
    """Call several functions in order."""

    def run(fixture: StoreFixture) -> None:
        for step in steps:
            step(fixture)

    return run
