"""An unreadable record loses its own delivery alone: in the stores, and in the functions.

Such records exist after a rollback, if they have a status or an error that the older version does
not know.
"""

from __future__ import annotations

import json
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest

import dispatcher.handler
import worker.handler
from api.app import Api
from integration.stores.corrupt_records import NEWER, WAYS, break_item, break_record
from support import samples
from support.backend import Backend, backend, lambda_context, sqs_event
from support.http_api import AccountClient
from support.receiver import Receiver
from support.stores import on_dynamodb
from webhooks.adapters.dynamodb import webhook_items
from webhooks.domain.delivery import Delivery, DeliveryKey, Status, delivery_id
from webhooks.domain.errors import UnreadableRecordError
from webhooks.domain.health import Circuit
from webhooks.domain.selection import Selection
from webhooks.observability import PowertoolsTelemetry
from webhooks.ports import DeliveryQuery, Page
from webhooks.services.jobs.sweep import Swept
from webhooks.wiring.api import ApiServices
from webhooks.wiring.dispatcher import DispatcherServices
from webhooks.wiring.worker import WorkerServices

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.backend import Made
    from support.stores import Stores

NOW_MS = int(time.time() * 1000)
"""The real time: these handlers' items expire by the real clock."""

EVER = (0, (1 << 48) - 1)


def numbered(number: int, **changes: Any) -> Delivery:
    """Return the delivery of an event, each a millisecond later than the one before."""
    event_id = f"evt_{number}"
    values = {"webhook_id": samples.WEBHOOK_ID, **changes}
    return samples.delivery(
        id=delivery_id(event_id, samples.NOW_MS + number, values["webhook_id"]),
        event_id=event_id,
        **values,
    )


@pytest.mark.parametrize("way", WAYS)
def test_a_record_that_cannot_be_read_is_told_from_one_that_is_absent(
    stores: Stores, way: str
) -> None:
    broken, whole = numbered(1), numbered(2)
    for delivery in (broken, whole):
        stores.deliveries.create(delivery)
    break_record(stores.deliveries, broken.key, WAYS[way])
    absent = DeliveryKey("acc_1", samples.WEBHOOK_ID, "00000000-0000-7000-8000-000000000000")
    found = stores.deliveries.get_many([broken.key, whole.key, absent])
    assert found == {broken.key: None, whole.key: whole}
    for read in (
        lambda: stores.deliveries.get(broken.key),
        lambda: stores.deliveries.create(broken),
        lambda: stores.deliveries.update(broken, before=replace(broken, generation=9)),
    ):
        with pytest.raises(UnreadableRecordError, match=broken.id) as raised:
            read()
        assert raised.value.key == broken.key
        # The text of the original error may quote the record.
        assert raised.value.__cause__ is None
        assert "quota" not in str(raised.value)


def test_a_success_is_written_over_a_record_that_cannot_be_read(stores: Stores) -> None:
    broken = numbered(1)
    stores.deliveries.create(broken)
    break_record(stores.deliveries, broken.key, NEWER)
    success = replace(broken, status=Status.SUCCEEDED, next_attempt_at_ms=None)
    assert stores.deliveries.put_settled([success]) == []
    assert stores.deliveries.get(broken.key) == success


def test_a_record_past_its_time_is_gone_whether_or_not_it_can_be_read(
    dynamodb_stores: Stores, clock: Any
) -> None:
    store = dynamodb_stores.deliveries
    store.create(numbered(1))
    break_record(store, numbered(1).key, NEWER)
    clock.seconds += 31 * 86_400
    assert store.get_many([numbered(1).key]) == {}
    assert store.get(numbered(1).key) is None


@pytest.mark.parametrize("limit", [1, 2, 10])
@pytest.mark.parametrize("status", [Status.EXHAUSTED, None])
def test_the_log_leaves_out_what_cannot_be_read_and_goes_on(
    stores: Stores, limit: int, status: Status | None
) -> None:
    deliveries = [
        numbered(number, status=Status.EXHAUSTED, next_attempt_at_ms=None) for number in range(5)
    ]
    for delivery in deliveries:
        stores.deliveries.create(delivery)
    for place in (1, 4):
        break_record(stores.deliveries, deliveries[place].key, NEWER)
    shown: list[Delivery] = []
    unreadable: set[DeliveryKey] = set()
    before, more = None, True
    while more:
        query = DeliveryQuery("acc_1", samples.WEBHOOK_ID, status=status)
        page = stores.log.page(query, limit, before)
        shown += page.items
        unreadable.update(page.unreadable)
        before, more = page.next, page.next is not None
    assert shown == [deliveries[3], deliveries[2], deliveries[0]]
    assert unreadable == {deliveries[1].key, deliveries[4].key}


@pytest.mark.parametrize("limit", [1, 2, 10])
@pytest.mark.parametrize(
    "statuses", [(Status.WAITING,), (Status.WAITING, Status.SUCCEEDED), tuple(Status)]
)
def test_a_walk_goes_past_what_cannot_be_read_and_says_so(
    stores: Stores, limit: int, statuses: tuple[Status, ...]
) -> None:
    deliveries = [
        numbered(number, status=Status.WAITING, next_attempt_at_ms=None, attempts=())
        for number in range(4)
    ]
    for delivery in deliveries:
        stores.deliveries.create(delivery)
    for place in (0, 2):
        break_record(stores.deliveries, deliveries[place].key, NEWER)
    batches: list[Page[Delivery]] = []
    after, more = None, True
    while more:
        selection = Selection(*EVER, statuses)
        batches.append(
            stores.reader.oldest_first("acc_1", samples.WEBHOOK_ID, selection, limit, after)
        )
        after, more = batches[-1].next, batches[-1].next is not None
    walked = [one for batch in batches for one in batch.items]
    assert walked == [deliveries[1], deliveries[3]]
    assert [key for batch in batches for key in batch.unreadable] == [
        deliveries[0].key,
        deliveries[2].key,
    ]


def test_a_walk_of_all_statuses_finds_those_that_this_version_does_not_know(
    stores: Stores,
) -> None:
    """An erasure would otherwise leave them out, and then say that it erased everything."""
    stores.deliveries.create(numbered(1))
    newer = WAYS["a status of a newer version"]
    break_record(stores.deliveries, numbered(1).key, newer)
    selection = Selection(*EVER, tuple(Status))
    batch = stores.reader.oldest_first("acc_1", samples.WEBHOOK_ID, selection, 10)
    assert batch == ([], None, [numbered(1).key])


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[Backend]:
    with backend(monkeypatch) as aws_backend:
        yield aws_backend


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as receiver:
        yield receiver


def services_of(aws: Backend, kind: type[Made]) -> Made:
    """Return a function's services, with telemetry of their own: a logger keeps its stream."""
    services = aws.services(kind)
    services.telemetry = PowertoolsTelemetry(f"recorded-{uuid4()}")
    return services


def register(aws: Backend, receiver: Receiver, account: str) -> None:
    webhook = samples.webhook(1, url=receiver.url, account_id=account)
    item = webhook_items.webhook_item(webhook, samples.SECRET)
    aws.clients["dynamodb"].put_item(TableName="WebhooksTable", Item=item)


def put(aws: Backend, number: int, **changes: Any) -> Delivery:
    """Store a delivery; `breaks` breaks its record."""
    breaks = changes.pop("breaks", False)
    delivery = numbered(number, **{"created_at_ms": NOW_MS, **changes})
    on_dynamodb(aws.clients["dynamodb"], time.time).deliveries.create(delivery)
    if breaks:
        break_item(aws.clients["dynamodb"], delivery.key, NEWER)
    return delivery


def told(capsys: pytest.CaptureFixture[str]) -> tuple[list[str], float]:
    """Return the ids that the log names as unreadable, and their count."""
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    named = [line for line in lines if line.get("message") == "record_unreadable"]
    assert {line["level"] for line in named} <= {"ERROR"}
    counted = [line["UnreadableRecords"] for line in lines if "UnreadableRecords" in line]
    return [line["delivery_id"] for line in named], sum(sum(each) for each in counted)


def test_an_event_that_comes_again_for_one_fails_its_own_message_alone(
    aws: Backend, receiver: Receiver, capsys: pytest.CaptureFixture[str]
) -> None:
    for account in ("acc_odd", "acc_good"):
        register(aws, receiver, account)
    services = services_of(aws, DispatcherServices)
    odd = samples.event_text(account_id="acc_odd")
    good = samples.event_text(account_id="acc_good")
    assert dispatcher.handler.handle(sqs_event(odd), lambda_context(), services) == {
        "batchItemFailures": []
    }
    key = DeliveryKey("acc_odd", samples.WEBHOOK_ID, receiver.requests[0].headers["webhook-id"])
    key = key._replace(delivery_id=receiver.requests[0].headers["x-sendcomms-delivery"])
    break_item(aws.clients["dynamodb"], key, NEWER)
    capsys.readouterr()

    answer = dispatcher.handler.handle(sqs_event(odd, good), lambda_context(), services)
    assert answer == {"batchItemFailures": []}
    queue = aws.clients["sqs"].get_queue_attributes(
        QueueUrl=aws.settings.events_queue_url,
        AttributeNames=["ApproximateNumberOfMessagesDelayed"],
    )
    assert queue["Attributes"] == {"ApproximateNumberOfMessagesDelayed": "1"}
    assert len(receiver.requests) == 2
    assert told(capsys) == ([key.delivery_id], 1)


def test_a_recovery_sends_what_waits_behind_one(
    aws: Backend, receiver: Receiver, capsys: pytest.CaptureFixture[str]
) -> None:
    register(aws, receiver, "acc_1")
    waiting = {"status": Status.WAITING, "next_attempt_at_ms": None, "attempts": ()}
    broken = put(aws, 0, breaks=True, **waiting)
    others = [put(aws, number, **waiting) for number in (1, 2)]
    client = aws.clients["dynamodb"]
    item = (
        webhook_items.webhook_item(samples.webhook(1, url=receiver.url), samples.SECRET)
        | webhook_items.recovering("r0", NOW_MS)
        | {"circuit": {"S": Circuit.DRAINING.value}, "draining_since": {"N": str(NOW_MS)}}
    )
    client.put_item(TableName="WebhooksTable", Item=item)
    state = {
        "version": 1,
        "action": "recover",
        "account_id": "acc_1",
        "webhook_id": samples.WEBHOOK_ID,
        "recovery_id": "r0",
    }
    services = services_of(aws, WorkerServices)
    assert worker.handler.handle(state, lambda_context(45), services)["decision"] == "wait"
    sent = {request.headers["x-sendcomms-delivery"] for request in receiver.requests}
    assert sent == {delivery.id for delivery in others}
    assert told(capsys) == ([broken.id], 1)

    client.put_item(TableName="WebhooksTable", Item=item | {"circuit": {"S": Circuit.OPEN.value}})
    probed = put(aws, 3, **waiting)
    assert worker.handler.handle(state, lambda_context(45), services)["decision"] == "wait"
    assert receiver.requests[-1].headers["x-sendcomms-delivery"] == probed.id


def test_a_sweep_starts_the_others_again_and_a_recovery_too(
    aws: Backend, receiver: Receiver, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = put(aws, 0, breaks=True, account_id="acc_odd", next_attempt_at_ms=1)
    lost = [put(aws, number, next_attempt_at_ms=NOW_MS - 3_600_000) for number in range(1, 30)]
    item = webhook_items.webhook_item(samples.webhook(1, url=receiver.url), samples.SECRET)
    recovering = webhook_items.recovering("dead", 5) | {"circuit": {"S": Circuit.OPEN.value}}
    aws.clients["dynamodb"].put_item(TableName="WebhooksTable", Item=item | recovering)
    services = services_of(aws, WorkerServices)
    sweep = {"version": 1, "action": "sweep"}
    capsys.readouterr()
    assert (
        worker.handler.handle(sweep, lambda_context(45), services)
        == Swept(overdue_deliveries=len(lost), overdue_recoveries=1)._asdict()
    )
    assert {state["delivery_id"] for state in aws.executions()} == {one.id for one in lost}
    assert told(capsys) == ([broken.id], 1)


def test_a_sweep_that_finds_nothing_asks_nineteen_times(aws: Backend) -> None:
    """For recoveries, jobs, operational events, and each partition of deliveries that are due."""
    services = services_of(aws, WorkerServices)
    put(aws, 1, next_attempt_at_ms=NOW_MS + 3_600_000)
    aws.calls.clear()
    sweep = {"version": 1, "action": "sweep"}
    assert worker.handler.handle(sweep, lambda_context(45), services) == Swept()._asdict()
    assert aws.calls == {"Query": 19}


def test_its_own_execution_fails_and_names_it(aws: Backend, receiver: Receiver) -> None:
    """Not as UnavailableError, which is tried for hours: after half an hour it is a dead letter."""
    register(aws, receiver, "acc_1")
    broken = put(aws, 1, breaks=True)
    state = {"version": 1, **broken.key._asdict(), "attempt": 2}
    for action in ({}, {"action": "resend"}):
        with pytest.raises(UnreadableRecordError, match=broken.id):
            worker.handler.handle(
                state | action, lambda_context(45), services_of(aws, WorkerServices)
            )
    assert receiver.requests == []


def test_its_owner_sees_the_others_and_an_error_for_it_alone(
    aws: Backend, receiver: Receiver, capsys: pytest.CaptureFixture[str]
) -> None:
    register(aws, receiver, "acc_1")
    broken, whole = put(aws, 1, breaks=True), put(aws, 2)
    services = services_of(aws, ApiServices)
    acme = AccountClient(Api(services), services.api_key_service.issue("acc_1").text)
    path = f"/api/v1/webhooks/{samples.WEBHOOK_ID}/deliveries"
    capsys.readouterr()
    listed = acme.call("GET", path)
    assert [one["id"] for one in listed.data] == [whole.id]
    assert told(capsys)[0] == [broken.id]
    assert acme.call("GET", f"{path}/{whole.id}").status == 200
    refused = acme.call("GET", f"{path}/{broken.id}")
    assert (refused.status, refused.json["error"]["code"]) == (500, "internal_error")
    assert acme.call("POST", f"{path}/{broken.id}/resend").status == 500
