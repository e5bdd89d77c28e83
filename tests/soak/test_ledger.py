"""The soak's account can fail: a lost, missing or changed delivery does not pass as delivered."""

from __future__ import annotations

import hashlib
import http.client
import json
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from soak.ledger import Ledger, draw_up
from soak.plan import SHORT, Kind, Plan
from soak.receivers import Receipt, ReceiptKey, Receivers
from support import samples
from support.engines import MOTO
from support.slowness import seconds
from support.stores import open_dynamodb
from webhooks.adapters.dynamodb.deliveries import DynamoDBDeliveryStore
from webhooks.domain import signing
from webhooks.domain.delivery import Status

if TYPE_CHECKING:
    from webhooks.domain.delivery import Delivery

BODY = b'{"event":"email.sent","transaction_id":"txn_soak_000000"}'
DIGEST = hashlib.sha256(BODY).digest()


def plan_of(kind: Kind) -> Plan:
    """One webhook that is to get one event."""
    shape = replace(SHORT, events=1, accounts=1, webhooks={kind: 1})
    seeds = (Plan(shape, seed) for seed in range(100))
    return next(plan for plan in seeds if len(plan.due[0]) == 1)


def account(kind: Kind, logged: Status | None, receipt: Receipt | None) -> Ledger:
    plan = plan_of(kind)
    key = ReceiptKey(0, plan.events[0].transaction_ids[0])
    receipts = {} if receipt is None else {key: receipt}
    with open_dynamodb(MOTO) as client:
        if logged is not None:
            store = DynamoDBDeliveryStore(client, "DeliveriesTable", retention_days=30)
            store.create(delivery(plan, logged))
        return draw_up(plan, {0: samples.WEBHOOK_ID}, receipts, client, "DeliveriesTable")


def delivery(plan: Plan, status: Status) -> Delivery:
    due_ms = samples.NOW_MS if status is Status.RETRYING else None
    return replace(
        samples.delivery(),
        account_id=plan.hooks[0].account_id,
        webhook_id=samples.WEBHOOK_ID,
        body=BODY,
        status=status,
        next_attempt_at_ms=due_ms,
    )


@pytest.mark.parametrize("logged", [None, Status.SUCCEEDED, Status.PENDING, Status.CANCELLED])
def test_what_did_not_come_and_does_not_wait_is_lost(logged: Status | None) -> None:
    ledger = account(Kind.DEAD, logged, None)
    assert ledger.lost == 1
    assert not ledger.accounted


@pytest.mark.parametrize("logged", [Status.WAITING, Status.EXHAUSTED, Status.RETRYING])
def test_what_did_not_come_is_missing_where_the_receiver_takes_everything(logged: Status) -> None:
    dead, healthy = (account(kind, logged, None) for kind in (Kind.DEAD, Kind.HEALTHY))
    assert (dead.lost, dead.missing, dead.accounted) == (0, 0, True)
    assert (healthy.lost, healthy.missing, healthy.accounted) == (0, 1, False)
    assert dead.counts[Kind.DEAD][logged.value] == 1


def test_what_came_more_than_once_is_delivered_and_counted() -> None:
    ledger = account(Kind.HEALTHY, Status.SUCCEEDED, Receipt("evt", DIGEST, times=3))
    assert ledger.accounted
    assert ledger.counts[Kind.HEALTHY]["delivered"] == 1
    assert ledger.counts[Kind.HEALTHY]["duplicates"] == 2
    figures = json.loads(json.dumps(ledger.figures()))
    assert figures["receivers"] == {
        "healthy": {"webhooks": 1, "deliveries": 1, "delivered": 1, "duplicates": 2}
    }
    assert (figures["lost"], figures["missing"], figures["problems"]) == (0, 0, [])


@pytest.mark.parametrize(
    ("logged", "digest"), [(None, DIGEST), (Status.SUCCEEDED, hashlib.sha256(b"{}").digest())]
)
def test_what_came_and_is_not_in_the_log_as_it_came_is_a_problem(
    logged: Status | None, digest: bytes
) -> None:
    ledger = account(Kind.HEALTHY, logged, Receipt("evt", digest, times=1))
    assert not ledger.accounted


def post(receivers: Receivers, body: bytes, secret: str) -> int:
    headers = signing.delivery_headers(
        replace(samples.delivery(), body=body),
        attempt_number=1,
        unix_seconds=int(time.time()),
        secrets=[secret],
        sendcomms_secret=secret,
    )
    connection = http.client.HTTPConnection("127.0.0.1", receivers.port, timeout=seconds(10))
    connection.request("POST", "/0", body, headers)
    status = connection.getresponse().status
    connection.close()
    return status


def test_a_receiver_tells_of_other_bytes_and_of_wrong_signatures() -> None:
    plan = plan_of(Kind.HEALTHY)
    with Receivers(plan.hooks, seed=1) as receivers:
        receivers.expect(plan.hooks[0], samples.SECRET)
        assert post(receivers, BODY, samples.SECRET) == 200
        assert post(receivers, BODY, samples.SECRET) == 200
        assert receivers.problems == []
        post(receivers, BODY[:-1] + b',"data":{}}', samples.SECRET)
        assert len(receivers.problems) == 1
        assert post(receivers, BODY, "whsec_" + "00" * 32) == 401
        assert len(receivers.problems) == 2
    [receipt] = receivers.receipts.values()
    assert receipt.times == 3
