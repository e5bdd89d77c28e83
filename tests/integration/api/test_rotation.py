"""A secret's rotation from the API to a real receiver that swaps its secret in the middle."""

from __future__ import annotations

import hmac
from typing import TYPE_CHECKING

import pytest

import dispatcher.handler
from api.app import Api
from support import samples
from support.backend import Backend, backend, lambda_context, sqs_event
from support.http_api import AccountClient
from support.receiver import Answer, Receiver
from webhooks.domain.signing import sendcomms_signature
from webhooks.wiring.api import ApiServices
from webhooks.wiring.dispatcher import DispatcherServices

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.receiver import Request

WEBHOOKS = "/api/v1/webhooks"


class Swapping:
    """A receiver's code: the contract's own check, with its one secret."""

    def __init__(self) -> None:
        self.secret = ""
        self.refused = 0

    def __call__(self, request: Request) -> Answer:
        expected = sendcomms_signature(self.secret, request.body)
        if hmac.compare_digest(expected, request.headers["x-sendcomms-signature"]):
            return Answer(200)
        self.refused += 1
        return Answer(401)


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[Backend]:
    with backend(monkeypatch) as aws_backend:
        yield aws_backend


def deliver(aws: Backend, number: int) -> None:
    """Deliver an event of its own; AssertionError if it was not accepted at once."""
    event = sqs_event(samples.event_text(transaction_id=f"txn_{number}"))
    answer = dispatcher.handler.handle(event, lambda_context(), aws.services(DispatcherServices))
    assert answer["batchItemFailures"] == []


def test_a_receiver_swaps_its_secret_mid_way_and_misses_nothing(aws: Backend) -> None:
    services = aws.services(ApiServices)
    acme = AccountClient(Api(services), services.api_key_service.issue("acc_1").text)
    code = Swapping()
    with Receiver(code) as receiver:
        webhook = acme.call("POST", json={"url": receiver.url, "events": ["*"]}).data
        path = f"{WEBHOOKS}/{webhook['id']}"
        code.secret = webhook["secret"]
        deliver(aws, 1)

        rotated = acme.call("POST", f"{path}/rotate-secret", json={"overlap_seconds": 600})
        assert rotated.status == 200
        deliver(aws, 2)
        code.secret = rotated.data["secret"]
        deliver(aws, 3)
        deliver(aws, 4)

    log = acme.call("GET", f"{path}/deliveries").data
    assert [(one["status"], one["attempt_count"]) for one in log] == [("succeeded", 1)] * 4
    requests = receiver.requests
    transactions = [request.json["transaction_id"] for request in requests]
    assert transactions == ["txn_1", "txn_2", "txn_3", "txn_3", "txn_4"]
    assert code.refused == 1
    signatures = [len(one.headers["webhook-signature"].split()) for one in requests]
    assert signatures == [1, 2, 2, 1, 1]


def test_without_an_overlap_the_old_secret_ends_at_once(aws: Backend) -> None:
    services = aws.services(ApiServices)
    acme = AccountClient(Api(services), services.api_key_service.issue("acc_1").text)
    code = Swapping()
    with Receiver(code) as receiver:
        webhook = acme.call("POST", json={"url": receiver.url, "events": ["*"]}).data
        path = f"{WEBHOOKS}/{webhook['id']}"
        code.secret = webhook["secret"]
        acme.call("POST", f"{path}/rotate-secret", json={"overlap_seconds": 0})
        deliver(aws, 1)
    [delivery] = acme.call("GET", f"{path}/deliveries").data
    assert delivery["status"] == "retrying"
    assert delivery["last_attempt"]["status_code"] == 401
    assert len(receiver.requests) == 1
