"""Every store of the system on each engine of its conformance suite.

Set `DYNAMODB_ENDPOINT` to the address of a DynamoDB Local, AWS's own engine, to include it; `make
test-dynamodb` does so.
"""

from __future__ import annotations

import os
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple
from uuid import uuid4

import boto3
from moto import mock_aws

from local.moto_locks import one_at_a_time
from support import samples
from support.engines import DYNAMODB_LOCAL, FAKE, MOTO, VARIABLES
from support.fakes import (
    FakeApiKeyStore,
    FakeDeliveryReader,
    FakeDeliveryStore,
    FakeHealthStore,
    FakeHostTurns,
    FakeJobStore,
    FakeKeptOperationalEvents,
    FakeOverdueDeliveries,
    FakeOverdueJobs,
    FakePauseStore,
    FakeRateLimitStore,
    FakeWebhookIds,
    FakeWebhookStore,
)
from support.moto_in_process import quick
from support.tables import create_tables
from webhooks.adapters.dynamodb.api_keys import DynamoDBApiKeyStore
from webhooks.adapters.dynamodb.deliveries import DynamoDBDeliveryStore
from webhooks.adapters.dynamodb.delivery_log import DynamoDBDeliveryLog
from webhooks.adapters.dynamodb.delivery_reader import DynamoDBDeliveryReader
from webhooks.adapters.dynamodb.destinations import DynamoDBDestinationStore
from webhooks.adapters.dynamodb.health import DynamoDBHealthStore
from webhooks.adapters.dynamodb.host_turns import DynamoDBHostTurns
from webhooks.adapters.dynamodb.job_items import CHECKS, ERASURES, REPLAYS
from webhooks.adapters.dynamodb.jobs import DynamoDBJobStore
from webhooks.adapters.dynamodb.kept_events import DynamoDBKeptOperationalEvents
from webhooks.adapters.dynamodb.overdue import DynamoDBOverdueDeliveries, DynamoDBOverdueJobs
from webhooks.adapters.dynamodb.pauses import DynamoDBPauseStore
from webhooks.adapters.dynamodb.rate_limits import DynamoDBRateLimitStore
from webhooks.adapters.dynamodb.subscriptions import DynamoDBSubscriptions
from webhooks.adapters.dynamodb.webhook_ids import DynamoDBWebhookIds
from webhooks.adapters.dynamodb.webhooks import DynamoDBWebhookStore

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mypy_boto3_dynamodb import DynamoDBClient

    from webhooks.domain.delivery import DeliveryKey
    from webhooks.domain.jobs.check import Check
    from webhooks.domain.jobs.erasure import Erasure
    from webhooks.domain.jobs.replay import Replay
    from webhooks.ports import (
        ApiKeyStore,
        DeliveryLog,
        DeliveryReader,
        DeliveryStore,
        DestinationStore,
        HealthStore,
        HostTurns,
        JobStore,
        KeptOperationalEvents,
        OverdueDeliveries,
        OverdueJobs,
        RateLimitStore,
        Subscriptions,
        WebhookIds,
        WebhookStore,
    )
    from webhooks.ports.pauses import PauseStore

_ENDPOINT = VARIABLES[DYNAMODB_LOCAL]
DYNAMODBS = [MOTO, DYNAMODB_LOCAL] if _ENDPOINT in os.environ else [MOTO]
BACKENDS = [FAKE, *DYNAMODBS]

_DATABASE = uuid4().hex
"""DynamoDB Local keeps a database for each access key: this key is one run's own."""


class Stores(NamedTuple):
    webhooks: WebhookStore
    destinations: DestinationStore
    health: HealthStore
    deliveries: DeliveryStore
    overdue: OverdueDeliveries
    overdue_jobs: OverdueJobs
    log: DeliveryLog
    reader: DeliveryReader
    replays: JobStore[Replay]
    api_keys: ApiKeyStore
    checks: JobStore[Check]
    erasures: JobStore[Erasure]
    webhook_ids: WebhookIds
    rate_limits: RateLimitStore
    pauses: PauseStore
    subscriptions: Subscriptions
    kept_events: KeptOperationalEvents
    host_turns: HostTurns


class Clock:
    """Unix seconds, which a test moves."""

    def __init__(self) -> None:
        self.seconds = samples.NOW_MS / 1000

    def __call__(self) -> float:
        return self.seconds


@contextmanager
def open_stores(backend: str, clock: Clock) -> Iterator[Stores]:
    """Give all stores, empty, of one of `BACKENDS`."""
    if backend == FAKE:
        yield on_fakes()
    else:
        with open_dynamodb(backend) as client:
            yield on_dynamodb(client, clock)


@contextmanager
def open_dynamodb(backend: str) -> Iterator[DynamoDBClient]:
    """Give a client of one of `DYNAMODBS` with the template's tables, empty."""
    if backend == MOTO:
        with mock_aws(), one_at_a_time(), quick():
            client = _client(None)
            create_tables(client)
            yield client
        return
    client = _client(os.environ[_ENDPOINT])
    create_tables(client)
    try:
        yield client
    finally:
        for table in client.list_tables()["TableNames"]:
            client.delete_table(TableName=table)
        client.close()


def on_fakes() -> Stores:
    webhooks = FakeWebhookStore()
    deliveries = FakeDeliveryStore()
    replays: FakeJobStore[Replay] = FakeJobStore(one_at_a_time=True)
    checks: FakeJobStore[Check] = FakeJobStore()
    erasures: FakeJobStore[Erasure] = FakeJobStore()
    health = FakeHealthStore(webhooks)
    return Stores(
        webhooks=webhooks,
        destinations=webhooks,
        health=health,
        deliveries=deliveries,
        overdue=FakeOverdueDeliveries(deliveries),
        overdue_jobs=FakeOverdueJobs(replays, checks, erasures),
        log=deliveries,
        reader=FakeDeliveryReader(deliveries),
        replays=replays,
        api_keys=FakeApiKeyStore(),
        checks=checks,
        erasures=erasures,
        webhook_ids=FakeWebhookIds(webhooks),
        rate_limits=FakeRateLimitStore(),
        pauses=FakePauseStore(health),
        subscriptions=webhooks,
        kept_events=FakeKeptOperationalEvents(),
        host_turns=FakeHostTurns(),
    )


def on_dynamodb(client: DynamoDBClient, clock: Callable[[], float]) -> Stores:
    table = "DeliveriesTable"
    deliveries = DynamoDBDeliveryStore(client, table, retention_days=30, clock=clock)
    return Stores(
        webhooks=webhook_store(client, clock),
        destinations=DynamoDBDestinationStore(client, "WebhooksTable"),
        health=DynamoDBHealthStore(client, "WebhooksTable"),
        deliveries=deliveries,
        overdue=DynamoDBOverdueDeliveries(client, table),
        overdue_jobs=DynamoDBOverdueJobs(client, table, (REPLAYS, ERASURES, CHECKS)),
        log=DynamoDBDeliveryLog(client, table, deliveries, clock=clock),
        reader=DynamoDBDeliveryReader(client, table, deliveries, clock=clock),
        replays=DynamoDBJobStore(client, table, REPLAYS, retention_days=30, clock=clock),
        api_keys=DynamoDBApiKeyStore(client, "ApiKeysTable"),
        checks=DynamoDBJobStore(client, table, CHECKS, retention_days=30, clock=clock),
        erasures=DynamoDBJobStore(client, table, ERASURES, retention_days=30, clock=clock),
        webhook_ids=DynamoDBWebhookIds(client, "WebhooksTable", table, clock=clock),
        rate_limits=DynamoDBRateLimitStore(client, table),
        pauses=DynamoDBPauseStore(client, "WebhooksTable"),
        subscriptions=DynamoDBSubscriptions(client, "WebhooksTable"),
        kept_events=DynamoDBKeptOperationalEvents(client, table, clock=clock),
        host_turns=DynamoDBHostTurns(client, table),
    )


def overdue_keys(
    stores: Stores, before_ms: int, *, since_ms: int = 0, limit: int = 100
) -> list[DeliveryKey]:
    """Return all deliveries that are overdue, page by page of every partition."""
    found: list[DeliveryKey] = []
    for partition in stores.overdue.partitions:
        page = stores.overdue.page(partition, since_ms, before_ms, limit)
        found += [overdue.key for overdue in page.items]
        while page.next is not None:
            assert len(page.items) == limit
            page = stores.overdue.page(partition, since_ms, before_ms, limit, page.items[-1])
            found += [overdue.key for overdue in page.items]
    return found


def webhook_store(
    client: DynamoDBClient, clock: Callable[[], float] = time.time
) -> DynamoDBWebhookStore:
    return DynamoDBWebhookStore(
        client,
        "WebhooksTable",
        deliveries_table="DeliveriesTable",
        retention_days=30,
        clock=clock,
    )


def _client(endpoint_url: str | None) -> Any:
    return boto3.client(
        "dynamodb",
        endpoint_url=endpoint_url,
        region_name="us-east-1",
        aws_access_key_id=_DATABASE,
        aws_secret_access_key="test",
    )
