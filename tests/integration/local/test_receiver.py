"""The demo's receiver: its verification, and its planned failures."""

from __future__ import annotations

import time

import pytest
from werkzeug.test import Client

from local.receiver import Received, Receiver
from webhooks.domain import signing
from webhooks.domain.delivery import Delivery, Status

SECRET = f"whsec_{'0f' * 32}"
PLAIN_SECRET = "a secret that is no base64!"
BODY = b'{"event":"email.sent","transaction_id":"txn_1","data":{"to":"someone@example.com"}}'


def headers(
    secret: str, attempt_number: int = 1, delivery_id: str = "delivery-1"
) -> dict[str, str]:
    delivery = Delivery(
        account_id="acc_1",
        webhook_id="webhook-1",
        id=delivery_id,
        event_id="event-1",
        event_type="email.sent",
        body=BODY,
        status=Status.PENDING,
        created_at_ms=0,
    )
    return signing.delivery_headers(
        delivery,
        attempt_number=attempt_number,
        unix_seconds=int(time.time()),
        secrets=[secret],
        sendcomms_secret=secret,
    )


@pytest.fixture
def reports() -> list[Received]:
    return []


@pytest.fixture
def receiver(reports: list[Received]) -> Receiver:
    return Receiver(SECRET, reports.append, lambda: [PLAIN_SECRET])


@pytest.mark.parametrize("secret", [SECRET, PLAIN_SECRET])
def test_a_delivery_signed_with_a_known_secret_is_verified(
    receiver: Receiver, reports: list[Received], secret: str
) -> None:
    answer = Client(receiver).post("/ok", data=BODY, headers=headers(secret))
    assert answer.status_code == 200
    assert (
        reports
        == receiver.received
        == [
            Received(
                path="/ok",
                verified=True,
                status=200,
                event="email.sent",
                to="someone@example.com",
                delivery_id="delivery-1",
                attempt=1,
                event_id="event-1",
            )
        ]
    )


@pytest.mark.parametrize(
    "changed",
    [
        {"X-SendComms-Signature": "sha256=" + "0" * 64},
        {"X-SendComms-Signature": ""},
        {"webhook-signature": "v1,AAAA"},
        {"webhook-timestamp": "1"},
        {"webhook-id": "another"},
    ],
)
def test_a_delivery_with_one_wrong_header_is_refused(
    receiver: Receiver, reports: list[Received], changed: dict[str, str]
) -> None:
    answer = Client(receiver).post("/ok", data=BODY, headers=headers(SECRET) | changed)
    assert answer.status_code == 401
    assert [(report.verified, report.to) for report in reports] == [(False, "?")]
    assert "NOT VERIFIED" in str(reports[0])


def test_a_changed_body_or_an_unknown_secret_is_refused(receiver: Receiver) -> None:
    client = Client(receiver)
    changed = client.post("/ok", data=BODY + b" ", headers=headers(SECRET))
    foreign = client.post("/ok", data=BODY, headers=headers(f"whsec_{'aa' * 32}"))
    assert [changed.status_code, foreign.status_code] == [401, 401]


@pytest.mark.parametrize(("path", "status"), [("/fail", 500), ("/gone", 410), ("/other", 404)])
def test_a_path_misbehaves_as_it_says(receiver: Receiver, path: str, status: int) -> None:
    answer = Client(receiver).post(path, data=BODY, headers=headers(SECRET))
    assert answer.status_code == status


def test_the_flaky_path_fails_twice_for_each_delivery(receiver: Receiver) -> None:
    client = Client(receiver)
    statuses = {
        delivery_id: [
            client.post(
                "/flaky", data=BODY, headers=headers(SECRET, number, delivery_id)
            ).status_code
            for number in (1, 2, 3, 4)
        ]
        for delivery_id in ("delivery-1", "delivery-2")
    }
    assert list(statuses.values()) == [[503, 503, 200, 200]] * 2


def test_waiting_ends_when_the_condition_is_met_and_says_so(receiver: Receiver) -> None:
    Client(receiver).post("/ok", data=BODY, headers=headers(SECRET))
    assert receiver.wait(lambda received: len(received) == 1, timeout_seconds=5)
    assert not receiver.wait(lambda received: len(received) == 2, timeout_seconds=0.01)
