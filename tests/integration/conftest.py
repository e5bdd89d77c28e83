"""The API on fakes with a customer, and the stores on every engine."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from support.engines import SQS_ENGINES, open_sqs
from support.http_api import AccountClient, ApiOnFakes
from support.stores import (
    BACKENDS,
    DYNAMODBS,
    Clock,
    Stores,
    on_dynamodb,
    open_dynamodb,
    open_stores,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_sqs import SQSClient


@pytest.fixture
def on_fakes() -> ApiOnFakes:
    return ApiOnFakes()


@pytest.fixture
def acme(on_fakes: ApiOnFakes) -> AccountClient:
    return on_fakes.acme


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=BACKENDS)
def stores(request: pytest.FixtureRequest, clock: Clock) -> Iterator[Stores]:
    """All stores on each engine, for the contract that all of them share."""
    with open_stores(request.param, clock) as stores:
        yield stores


@pytest.fixture(params=DYNAMODBS)
def dynamodb(request: pytest.FixtureRequest) -> Iterator[DynamoDBClient]:
    with open_dynamodb(request.param) as client:
        yield client


@pytest.fixture
def dynamodb_stores(dynamodb: DynamoDBClient, clock: Clock) -> Stores:
    """All stores on DynamoDB, for features without a fake: a time to live, the cost of a page."""
    return on_dynamodb(dynamodb, clock)


@pytest.fixture(params=SQS_ENGINES)
def sqs(request: pytest.FixtureRequest) -> Iterator[SQSClient]:
    """SQS on each engine, for the contract of its queues' adapters and of the redrive."""
    with open_sqs(request.param) as client:
        yield client
