"""An event to more than a hundred webhooks goes back on the queue in shards; no other does."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from support import samples
from support.service_fixture import ServiceFixture
from webhooks.domain import shard
from webhooks.domain.delivery import Outcome, Status
from webhooks.domain.shard import MOST_AT_ONCE, SHARD_WEBHOOKS, Part, to_message
from webhooks.services.dispatch.messages import QueueMessage

WIDE = 3 * SHARD_WEBHOOKS + MOST_AT_ONCE + 1


@pytest.fixture
def services() -> ServiceFixture:
    made = ServiceFixture()
    made.add(*range(1, WIDE + 1))
    return made


def shards(services: ServiceFixture) -> list[str]:
    """Take the messages off the queue."""
    taken = [text for account, text in services.queue.messages if account == "acc_1"]
    assert len(taken) == len(services.queue.messages)
    services.queue.sent.clear()
    return taken


def in_batches(services: ServiceFixture, texts: list[str]) -> list[str]:
    return [one for at in range(0, len(texts), 10) for one in services.send(*texts[at : at + 10])]


def test_the_default_of_fifty_webhooks_and_up_to_a_hundred_need_no_queue() -> None:
    services = ServiceFixture()
    services.add(*range(1, MOST_AT_ONCE + 1))
    services.add(MOST_AT_ONCE + 1, events=("email.opened",))
    assert services.send(samples.event_text()) == []
    assert services.queue.messages == []
    assert len(services.sender.posts) == MOST_AT_ONCE


def test_a_wide_event_is_sent_by_its_shards_once_to_each_webhook(services: ServiceFixture) -> None:
    assert services.send(samples.event_text()) == []
    assert services.sender.posts == []
    texts = shards(services)
    assert len(texts) == -(-WIDE // SHARD_WEBHOOKS)
    assert in_batches(services, texts) == []
    assert {url for url, _, _ in services.sender.posts} == {
        samples.webhook(number).url for number in range(1, WIDE + 1)
    }
    assert len(services.sender.posts) == WIDE
    assert {one.status for one in services.deliveries.deliveries.values()} == {Status.SUCCEEDED}
    assert services.queue.messages == []
    assert services.telemetry.counts["Shards"] == len(texts)


def test_ten_shards_in_a_batch_are_a_hundred_deliveries_at_most(services: ServiceFixture) -> None:
    services.send(samples.event_text())
    assert services.send(*shards(services)[:10]) == []
    assert len(services.sender.posts) == MOST_AT_ONCE


def test_the_bytes_are_those_of_an_event_that_is_not_wide(services: ServiceFixture) -> None:
    narrow = ServiceFixture()
    narrow.add(1)
    text = samples.event_text(data={"to": "é\uffff", "z": 1, "7": 2}, timestamp=None)
    narrow.send(text)
    services.send(text)
    in_batches(services, shards(services))
    [(_, body, headers)] = narrow.sender.posts
    assert {sent for _, sent, _ in services.sender.posts} == {body}
    assert {sent["webhook-id"] for _, _, sent in services.sender.posts} == {headers["webhook-id"]}
    url = samples.webhook(1).url
    [same] = [sent for to, _, sent in services.sender.posts if to == url]
    assert same["X-SendComms-Delivery"] == headers["X-SendComms-Delivery"]


def test_the_shards_of_an_event_without_a_time_have_the_time_of_its_first_copy(
    services: ServiceFixture,
) -> None:
    text = samples.event_text(timestamp=None)
    services.send(text)
    first = shards(services)
    services.now_ms += 60_000
    services.send(text)
    assert [replace_arrival(one) for one in shards(services)] == [
        replace_arrival(one) for one in first
    ]


def replace_arrival(text: str) -> dict[str, object]:
    return {**json.loads(text), "arrived_at_ms": 0}


def test_the_message_again_sends_nothing_twice(services: ServiceFixture) -> None:
    services.send(samples.event_text())
    first = shards(services)
    in_batches(services, first[:5])
    services.send(samples.event_text())
    in_batches(services, shards(services))
    in_batches(services, first)
    assert len(services.sender.posts) == WIDE


def test_webhooks_that_come_or_go_between_two_divisions_are_sent_once_or_not_at_all(
    services: ServiceFixture,
) -> None:
    services.send(samples.event_text())
    first = shards(services)
    gone = [services.webhook(number) for number in (1, 50, WIDE)]
    for webhook in gone:
        services.store.delete(webhook.account_id, webhook.id)
    services.add(WIDE + 1, WIDE + 2)
    services.send(samples.event_text())
    in_batches(services, [*first, *shards(services)])
    expected = {samples.webhook(number).url for number in range(1, WIDE + 3)}
    urls = [url for url, _, _ in services.sender.posts]
    assert len(urls) == len(set(urls))
    assert set(urls) == expected - {webhook.url for webhook in gone}


def test_a_shard_that_is_wide_by_now_is_divided_within_its_range(services: ServiceFixture) -> None:
    services.send(samples.event_text())
    *first, last = shards(services)
    services.add(*range(WIDE + 1, WIDE + MOST_AT_ONCE + 5))
    assert services.send(last) == []
    assert services.sender.posts == []
    again = shards(services)
    assert min(json.loads(one)["shard"][0] for one in again) == json.loads(last)["shard"][0]
    in_batches(services, [*first, *again])
    assert services.queue.messages == []
    assert len(services.sender.posts) == WIDE + MOST_AT_ONCE + 4


@pytest.mark.parametrize("place", [0, 9])
def test_a_shard_that_the_queue_did_not_take_has_the_message_received_again(
    services: ServiceFixture, place: int
) -> None:
    services.queue.refuse = {place}
    services.add(1, account_id="acc_2")
    other = samples.event_text(account_id="acc_2")
    assert services.send(samples.event_text(), other) == ["m0"]
    assert [url for url, _, _ in services.sender.posts] == [samples.webhook(1).url]
    [logged] = services.telemetry.logged("message_failed")
    assert logged["error"] == "the events queue did not take every part of a message"

    services.queue.refuse = set()
    some = shards(services)
    assert services.send(samples.event_text()) == []
    in_batches(services, [*some, *shards(services)])
    assert len(services.sender.posts) == 1 + WIDE


def test_a_bug_while_queueing_has_the_message_received_again(
    services: ServiceFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> list[int]:
        raise KeyError("x")

    monkeypatch.setattr(services.queue, "put", broken)
    assert services.send(samples.event_text()) == ["m0"]
    [logged] = services.telemetry.logged("message_failed")
    assert logged["error"] == "KeyError"


def test_messages_are_made_as_they_are_sent(
    services: ServiceFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All those of a batch of wide and large events would not fit in a dispatcher's memory."""
    made: list[Part] = []
    made_by_then: list[int] = []

    def counted(part: Part) -> str:
        made.append(part)
        return to_message(part)

    def put(*_: object) -> list[int]:
        made_by_then.append(len(made))
        return []

    monkeypatch.setattr(shard, "to_message", counted)
    monkeypatch.setattr(services.queue, "put", put)
    with ThreadPoolExecutor(1) as one_by_one:
        monkeypatch.setattr(services.dispatcher.threads, "senders", one_by_one)
        assert services.send(samples.event_text()) == []
    # One message and one request ahead.
    assert made_by_then == [12, -(-WIDE // SHARD_WEBHOOKS)]


def test_two_copies_in_a_batch_are_divided_once_and_done_together(services: ServiceFixture) -> None:
    assert services.send(samples.event_text(), samples.event_text()) == []
    assert len(shards(services)) == -(-WIDE // SHARD_WEBHOOKS)
    services.queue.refuse = {0}
    assert services.send(samples.event_text(), samples.event_text()) == ["m0", "m1"]


def test_another_body_under_a_wide_events_id_is_logged_and_the_first_wins(
    services: ServiceFixture,
) -> None:
    texts = [samples.event_text(id="evt-1", data={"to": to}) for to in ("a", "b")]
    assert services.send(*texts) == []
    assert services.telemetry.counts["Conflicts"] == 1
    [logged] = services.telemetry.logged("event_conflict")
    assert logged["event_id"] == "evt-1"
    in_batches(services, shards(services))
    assert {json.loads(body)["data"]["to"] for _, body, _ in services.sender.posts} == {"a"}


def test_the_latency_of_a_shard_is_from_the_events_own_arrival(services: ServiceFixture) -> None:
    services.send(samples.event_text())
    [first, *_] = shards(services)
    services.sender.answer = lambda *_: Outcome(status_code=200, duration_ms=40)
    message = QueueMessage("m0", first, services.now_ms + 900)
    services.now_ms += 1_000
    assert services.dispatcher.dispatch([message], lambda: 60.0) == []
    assert services.telemetry.times == {"DeliveryLatency": [1_040] * SHARD_WEBHOOKS}


def test_an_invocation_names_the_event_of_its_shards_once(services: ServiceFixture) -> None:
    services.send(samples.event_text(id="evt-1"))
    texts = shards(services)[:10]
    services.telemetry.traced.clear()
    services.send(*texts)
    assert services.telemetry.traced["event_ids"] == ["evt-1"]


def test_a_shard_for_another_accounts_webhooks_finds_none(services: ServiceFixture) -> None:
    services.send(samples.event_text())
    forged = {**json.loads(shards(services)[0]), "account_id": "acc_2"}
    assert services.send(json.dumps(forged)) == []
    assert services.sender.posts == []


def test_a_shards_deliveries_fail_and_are_scheduled_as_any(services: ServiceFixture) -> None:
    services.store.webhooks = {
        key: (replace(webhook, active=webhook.id != samples.webhook(2).id), secrets)
        for key, (webhook, secrets) in services.store.webhooks.items()
    }
    services.send(samples.event_text())
    services.send(shards(services)[0])
    statuses = sorted(one.status for one in services.deliveries.deliveries.values())
    assert statuses == ["succeeded"] * (SHARD_WEBHOOKS - 1) + ["waiting"]
