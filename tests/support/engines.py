"""The engines that stand in for AWS in the tests, and the choice of engines for this run.

`tests/engines/run.py` starts the engines other than moto and names their addresses in the
environment: under `make test-engines` every row of the fault matrix passes with no moto in it.
"""

from __future__ import annotations

import os
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Any
from uuid import uuid4

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mypy_boto3_sqs import SQSClient

FAKE = "fake"
MOTO = "moto"
DYNAMODB_LOCAL = "dynamodb-local"
ELASTICMQ = "elasticmq"
MINISTACK = "ministack"

VARIABLES = {
    DYNAMODB_LOCAL: "DYNAMODB_ENDPOINT",
    ELASTICMQ: "SQS_ENDPOINT",
    MINISTACK: "MINISTACK_ENDPOINT",
}
"""The variable with the address of each engine other than moto, if it runs."""

SECOND = {
    "dynamodb": DYNAMODB_LOCAL,
    "sqs": ELASTICMQ,
    "stepfunctions": MINISTACK,
    "events": MINISTACK,
}
"""The second engine of each service that the functions call; the first is moto."""

SDK_VARIABLES = {
    "dynamodb": "AWS_ENDPOINT_URL_DYNAMODB",
    "sqs": "AWS_ENDPOINT_URL_SQS",
    "stepfunctions": "AWS_ENDPOINT_URL_SFN",
    "events": "AWS_ENDPOINT_URL_EVENTBRIDGE",
}
"""The SDK's own variable for the address of each service."""

SQS_ENGINES = [MOTO, ELASTICMQ] if VARIABLES[ELASTICMQ] in os.environ else [MOTO]


def address(engine: str) -> str | None:
    """Return the address of an engine other than moto, None if it does not run."""
    return os.environ.get(VARIABLES[engine])


def addresses() -> dict[str, str]:
    """Return the address of each service's second engine, if it runs."""
    found = {service: address(engine) for service, engine in SECOND.items()}
    return {service: url for service, url in found.items() if url is not None}


def engine_of(service: str) -> str:
    """Return the engine of a service for `backend`."""
    return SECOND[service] if service in addresses() else MOTO


@contextmanager
def open_sqs(engine: str) -> Iterator[SQSClient]:
    """Give a client of one of `SQS_ENGINES`; it may hold other tests' queues: use `unique`."""
    # Every run of pytest loads this module, and few of them need these.
    import boto3
    from moto import mock_aws

    with mock_aws() if engine == MOTO else nullcontext():
        client: Any = boto3.client(
            "sqs",
            endpoint_url=None if engine == MOTO else address(engine),
            region_name="us-east-1",
            aws_access_key_id="test",
            aws_secret_access_key="test",
        )
        yield client
        client.close()


def unique(name: str) -> str:
    """Return a new name: an engine may serve several processes."""
    return f"{name}-{uuid4().hex[:12]}"
