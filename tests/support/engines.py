"""The engines that stand in for AWS in the tests, and which of them answers in this run.

`tests/engines/run.py` starts those beside moto and names their addresses in the environment:
`make test-engines` has every row of the fault matrix pass with no moto in it.
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
"""The variable with the address of each engine beside moto, where it runs."""

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
    """Return where an engine beside moto runs, None where it does not."""
    return os.environ.get(VARIABLES[engine])


def addresses() -> dict[str, str]:
    """Return the address of the second engine of each service, for those that run."""
    found = {service: address(engine) for service, engine in SECOND.items()}
    return {service: url for service, url in found.items() if url is not None}


def engine_of(service: str) -> str:
    """Return the engine that answers for a service in what `backend` sets up."""
    return SECOND[service] if service in addresses() else MOTO


@contextmanager
def open_sqs(engine: str) -> Iterator[SQSClient]:
    """Give a client of one of `SQS_ENGINES`; another's queues may be there, so `unique` names."""
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
    """Return a name of one's own: an engine may serve several processes."""
    return f"{name}-{uuid4().hex[:12]}"
