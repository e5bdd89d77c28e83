"""Publishing over HTTP: the queued message is its producer's, with nothing added."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support import samples
from support.drawing import event_data
from support.fakes import FakeEventQueue, FakeTelemetry
from webhooks.adapters.sqs import MAX_BATCH_BYTES
from webhooks.domain import payload
from webhooks.domain.errors import InvalidEventError, InvalidInputError, UnavailableError
from webhooks.domain.event import MAX_BODY_BYTES, accept
from webhooks.domain.ingest import read_message
from webhooks.domain.ses import SesAccounts
from webhooks.services.publisher import Publisher

TEXTS = st.text(st.characters(codec=None), max_size=20)
OPTIONAL = st.fixed_dictionaries(
    {},
    optional={
        "id": st.sampled_from(["evt_mine", None]),
        "timestamp": st.sampled_from(["2025-12-21T10:30:00Z", None]),
        "transaction_id": st.sampled_from(["txn_1", None]),
        "account_id": st.sampled_from(["acc_1", None]),
    },
)


@pytest.fixture
def queue() -> FakeEventQueue:
    return FakeEventQueue()


@pytest.fixture
def publisher(queue: FakeEventQueue) -> Publisher:
    return make_publisher(queue)


def make_publisher(queue: FakeEventQueue) -> Publisher:
    return Publisher(queue, FakeTelemetry(), clock=lambda: samples.NOW_MS / 1000)


def document(**changes: Any) -> dict[str, Any]:
    return samples.event_document(**changes)


@given(data=event_data(TEXTS), optional=OPTIONAL)
def test_an_event_is_the_same_whichever_way_it_comes(
    data: dict[str, Any], optional: dict[str, Any]
) -> None:
    """After the dispatcher's reading: from the queue at once, or by way of the API."""
    fields = {"event": "email.sent", "data": data, **optional}
    text = json.dumps(fields)
    queue = FakeEventQueue()
    [published] = make_publisher(queue).publish("acc_1", [payload.parse(text)])
    directly = accept(payload.parse(text), sent_at_ms=samples.NOW_MS + 7, account_id="acc_1")
    [(account_id, message)] = queue.messages
    [arrived] = read_message(
        message, sent_at_ms=samples.NOW_MS + 7, ses_accounts=SesAccounts()
    ).events
    assert arrived == directly
    assert (account_id, published.event_id) == ("acc_1", arrived.id)
    assert published.transaction_id in {None, arrived.transaction_id}


@given(TEXTS)
def test_a_message_holds_no_character_that_sqs_refuses(text: str) -> None:
    queue = FakeEventQueue()
    fields = document(data={"to": "a@example.com", "subject": text})
    make_publisher(queue).publish("acc_1", [fields])
    [(_, message)] = queue.messages
    assert message.isascii()
    assert message.isprintable()


def test_only_the_account_is_filled_in(publisher: Publisher, queue: FakeEventQueue) -> None:
    fields = {"event": "email.sent", "data": {"to": "a@example.com", "id": None}}
    publisher.publish("acc_1", [fields])
    [(_, message)] = queue.messages
    assert json.loads(message) == {**fields, "account_id": "acc_1"}


def test_a_transaction_id_that_depends_on_the_queues_clock_is_not_returned(
    publisher: Publisher,
) -> None:
    neither = document(transaction_id=None, timestamp=None)
    results = publisher.publish(
        "acc_1", [neither, document(transaction_id=None), document(timestamp=None)]
    )
    assert [result.transaction_id is not None for result in results] == [False, True, True]


def test_invalid_events_are_named_and_the_others_go_on(
    publisher: Publisher, queue: FakeEventQueue
) -> None:
    documents: list[object] = [
        document(id="first"),
        document(event="email.lost"),
        document(account_id="acc_2"),
        "text",
        document(data={"subject": "to nobody"}),
        document(surprise=1),
        document(data={"to": "a@example.com", "text": "x" * 65_536}),
        {"eventType": "Send", "mail": {}},
        document(id="last"),
    ]
    results = publisher.publish("acc_1", documents)
    reasons = [
        result.error.reason if isinstance(result.error, InvalidEventError) else None
        for result in results
    ]
    assert reasons == [
        None,
        "unknown_event",
        "invalid_field",
        "not_an_object",
        "invalid_field",
        "invalid_field",
        "too_large",
        "unknown_event",
        None,
    ]
    assert [json.loads(message)["id"] for _, message in queue.messages] == ["first", "last"]


def test_an_event_refused_by_the_queue_is_reported_at_its_place(
    publisher: Publisher, queue: FakeEventQueue
) -> None:
    queue.refuse = {1}
    results = publisher.publish(
        "acc_1", [document(event="email.lost"), document(id="a"), document(id="b")]
    )
    assert [result.event_id for result in results] == [None, "a", None]
    assert isinstance(results[2].error, UnavailableError)


@pytest.mark.parametrize("count", [0, 101])
def test_a_list_has_one_to_a_hundred_events(
    publisher: Publisher, queue: FakeEventQueue, count: int
) -> None:
    with pytest.raises(InvalidInputError):
        publisher.publish("acc_1", [document()] * count)
    assert queue.messages == []


def test_a_hundred_events_are_taken(publisher: Publisher, queue: FakeEventQueue) -> None:
    results = publisher.publish("acc_1", [document(id=f"evt_{at}") for at in range(100)])
    assert [result.event_id for result in results] == [f"evt_{at}" for at in range(100)]
    assert len(queue.messages) == 100


def test_the_log_counts_and_quotes_nothing(queue: FakeEventQueue) -> None:
    telemetry = FakeTelemetry()
    publisher = Publisher(queue, telemetry, clock=lambda: samples.NOW_MS / 1000)
    queue.refuse = {0}
    publisher.publish("acc_1", [document(), document(id="b"), "canary"])
    [fields] = telemetry.logged("events_published")
    assert fields == {"account_id": "acc_1", "accepted": 1, "invalid": 1, "not_taken": 1}


def shared(publisher: Publisher, *documents: dict[str, Any]) -> list[bool]:
    return [result.shared for result in publisher.publish("acc_1", documents)]


def test_two_events_of_a_call_that_share_a_transaction_id_are_marked_and_counted(
    queue: FakeEventQueue,
) -> None:
    telemetry = FakeTelemetry()
    publisher = Publisher(queue, telemetry, clock=lambda: samples.NOW_MS / 1000)
    sent, opened = document(event="email.sent"), document(event="email.opened")
    other = document(transaction_id="txn_other")
    assert shared(publisher, sent, other, opened) == [True, False, True]
    assert telemetry.counts["SharedTransactionIds"] == 2
    # Each is put on the queue in its producer's form.
    assert [json.loads(message)["transaction_id"] for _, message in queue.messages] == [
        sent["transaction_id"],
        "txn_other",
        sent["transaction_id"],
    ]


def test_events_that_share_nothing_are_not_marked(queue: FakeEventQueue) -> None:
    telemetry = FakeTelemetry()
    publisher = Publisher(queue, telemetry, clock=lambda: samples.NOW_MS / 1000)
    derived = [document(transaction_id=None, id=f"evt_{number}") for number in range(3)]
    timeless = [document(transaction_id=None, timestamp=None) for _ in range(2)]
    copies = [document(), document()]
    refused = document(event="email.lost")
    assert not any(shared(publisher, *derived, *timeless, *copies, refused))
    assert "SharedTransactionIds" not in telemetry.counts


def test_an_event_refused_by_the_queue_shares_nothing(queue: FakeEventQueue) -> None:
    queue.refuse = {1}
    publisher = make_publisher(queue)
    assert shared(publisher, document(id="a"), document(id="b")) == [False, False]


@pytest.mark.parametrize("character", ["a", "é", "\uffff", "\U0001f600", "\x01"])
def test_the_largest_message_leaves_room_for_the_attributes_of_one_sent_again(
    publisher: Publisher, queue: FakeEventQueue, character: str
) -> None:
    """At 4 KiB of SQS's 1 MiB; a non-ASCII character is escaped, and is longer than in the body."""
    in_the_body = max(len(character.encode()), len(payload.serialize(character)) - 2)
    text = character * (MAX_BODY_BYTES // in_the_body - 1_000)
    fields = payload.parse(samples.event_text(data={"to": "a@example.com", "x": text}))
    assert publisher.publish("acc_1", [fields])[0].error is None
    [message] = queue.sent
    assert len(message.body) > MAX_BODY_BYTES / 2
    assert message.size_bytes <= MAX_BATCH_BYTES - 4096
