"""The soak's outages: one service at a time refuses requests, and only those of the stack."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError, EndpointConnectionError

from soak.outages import Outages, Service, ServiceException, Switch

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

NOWHERE = "http://127.0.0.1:1"


def client(service: Any) -> Any:
    return boto3.client(
        service,
        endpoint_url=NOWHERE,
        region_name="us-east-1",
        aws_access_key_id="test",
        aws_secret_access_key="test",
        config=Config(retries={"total_max_attempts": 1}),
    )


CALLS: dict[Service, Callable[[], Any]] = {
    Service.DYNAMODB: lambda: client("dynamodb").list_tables(),
    Service.KMS: lambda: client("dynamodb").list_tables(),
    Service.SQS: lambda: client("sqs").list_queues(),
    Service.STEP_FUNCTIONS: lambda: client("stepfunctions").list_state_machines(),
    Service.EVENTBRIDGE: lambda: client("events").list_event_buses(),
}


@pytest.mark.parametrize("service", CALLS)
def test_a_service_that_is_out_refuses_its_own_requests(service: Service, tmp_path: Path) -> None:
    state = tmp_path / "outage"
    state.write_text(service, encoding="utf-8")
    switch = Switch(state)
    with switch.installed():
        for called, call in CALLS.items():
            refused = called == service or {called, service} == {Service.KMS, Service.DYNAMODB}
            with pytest.raises(ClientError if refused else EndpointConnectionError):
                call()
        with switch.sparing(), pytest.raises(EndpointConnectionError):
            CALLS[service]()


def test_an_outage_ends_and_is_remembered(tmp_path: Path) -> None:
    state = tmp_path / "outage"
    outages, stopping = Outages(state), threading.Event()
    stopping.set()
    outages.begin_and_end(Service.SQS, 60.0, stopping)
    [(began, ended)] = outages.past
    assert began <= ended
    with Switch(state).installed(), pytest.raises(EndpointConnectionError):
        CALLS[Service.SQS]()


def test_invocations_fail_while_lambda_is_out(tmp_path: Path) -> None:
    state = tmp_path / "outage"
    outages = Outages(state)
    context: Any = None
    assert Switch(state).handler(lambda event, _: event)({"n": 1}, context) == {"n": 1}
    state.write_text(Service.LAMBDA, encoding="utf-8")
    with pytest.raises(ServiceException):
        Switch(state).handler(lambda event, _: event)({"n": 1}, context)
    assert outages.past == []
