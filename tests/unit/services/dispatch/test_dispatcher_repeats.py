"""Messages and events that the dispatcher sees again."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from support import samples
from unit.services.dispatch.dispatch_fixture import REFUSED, DispatchFixture
from webhooks.domain.event import MAX_BODY_BYTES, Holder, accept
from webhooks.domain.ingest import read_message
from webhooks.domain.timestamps import LATEST_MS
from webhooks.services.dispatch import read as read_step

if TYPE_CHECKING:
    from webhooks.domain.ingest import ParsedMessage


@pytest.fixture
def services() -> DispatchFixture:
    return DispatchFixture()


def test_the_same_message_again_sends_nothing(services: DispatchFixture) -> None:
    services.add()
    services.send(samples.event_text())
    assert services.send(samples.event_text()) == []
    assert len(services.sender.posts) == 1


def test_the_same_event_twice_in_a_batch_is_one_delivery(services: DispatchFixture) -> None:
    services.add()
    assert services.send(samples.event_text(), samples.event_text()) == []
    assert len(services.sender.posts) == 1


def test_both_copies_of_an_event_wait_for_its_one_delivery(services: DispatchFixture) -> None:
    services.add()
    services.sender.answer = lambda *_: REFUSED
    services.scheduler.failures.plan("start", True)
    services.deliveries.failures.plan("mark_unstarted", True)
    assert services.send(samples.event_text(), samples.event_text()) == ["m0", "m1"]


def test_an_event_without_a_timestamp_published_twice_is_one(services: DispatchFixture) -> None:
    services.add()
    text = samples.event_text(timestamp=None)
    assert services.send(samples.event_text(transaction_id="other"), text) == []
    assert services.send(text) == []
    assert len(services.sender.posts) == 2
    timestamps = {json.loads(body)["timestamp"] for _, body, _ in services.sender.posts}
    assert "2025-12-21T10:30:00.001Z" in timestamps


def test_an_id_of_the_producers_own_is_one_event_whatever_its_time(
    services: DispatchFixture,
) -> None:
    services.add()
    first = samples.event_text(id="evt_mine")
    again = samples.event_text(id="evt_mine", timestamp="2025-12-21T10:30:01Z")
    assert services.send(first) == []
    assert services.send(again) == []
    assert len(services.sender.posts) == 1
    assert len(services.telemetry.logged("event_conflict")) == 1


def claimed_far_ahead(services: DispatchFixture, event_id: str) -> None:
    """Settle an event's time by the former release's rule, which filed it under any stamp."""
    event = accept(samples.event_document(id=event_id), sent_at_ms=services.now_ms)
    services.deliveries.claim(replace(event, occurred_at_ms=LATEST_MS), Holder("former", 0))


def test_an_event_that_its_first_copys_time_makes_too_large_is_dead_lettered_and_its_batch_goes_on(
    services: DispatchFixture,
) -> None:
    services.add()
    services.add(1, account_id="acc_2")
    claimed_far_ahead(services, "evt_mine")
    assert services.send(samples.event_text(id="evt_mine")) == []

    data = {"to": "a", "x": ""}
    document = {"account_id": "acc_1", "event": "email.sent", "id": "evt_mine", "data": data}
    data["x"] = "x" * (MAX_BODY_BYTES - len(accept(document, sent_at_ms=services.now_ms).body))
    assert len(accept(document, sent_at_ms=services.now_ms).body) == MAX_BODY_BYTES
    assert services.send(json.dumps(document), samples.event_text(account_id="acc_2")) == []
    assert [(one.message_id, one.reason) for one in services.rejected.messages] == [
        ("m0", "too_large")
    ]
    assert len(services.sender.posts) == 2


def test_of_an_array_only_what_its_first_copys_time_makes_too_large_is_dead_lettered(
    services: DispatchFixture,
) -> None:
    services.add()
    for name in ("large", "small"):
        claimed_far_ahead(services, f"evt_{name}")
    firsts = [samples.event_text(id=f"evt_{name}") for name in ("large", "small")]
    assert services.send(*firsts) == []
    posts = len(services.sender.posts)

    document = {"account_id": "acc_1", "event": "email.delivered", "data": {"to": "a", "x": ""}}
    large = {**document, "id": "evt_large"}
    room = MAX_BODY_BYTES - len(accept(large, sent_at_ms=services.now_ms).body)
    large["data"] = {"to": "a", "x": "x" * room}
    others = [{**document, "id": f"evt_{name}"} for name in ("small", "new", "newer")]
    array = [others[0], large, 17, *others[1:]]
    assert services.send(json.dumps(array)) == []
    assert [(one.reason, json.loads(one.body)) for one in services.rejected.messages] == [
        ("not_an_object", 17),
        ("too_large", large),
    ]
    assert len(services.sender.posts) == posts + 2
    assert services.telemetry.counts["RejectedMessages"] == 2


def test_an_array_that_comes_again_is_read_again_once(
    services: DispatchFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not once for each of its events, of which there may be thousands."""
    services.add()
    document = {"account_id": "acc_1", "event": "email.delivered"}
    text = json.dumps([{**document, "data": {"to": f"{number}"}} for number in range(50)])
    read: list[str] = []

    def counting(text: str, **given: Any) -> ParsedMessage:
        read.append(text)
        return read_message(text, **given)

    monkeypatch.setattr(read_step, "read_message", counting)
    assert services.send(text) == []
    assert read == [text]
    read.clear()
    services.now_ms += 1000
    assert services.send(text) == []
    assert read == [text, text]
    assert len(services.sender.posts) == 50
    assert "Conflicts" not in services.telemetry.counts


def test_two_bodies_under_one_id_in_a_batch_are_a_logged_conflict(
    services: DispatchFixture,
) -> None:
    services.add()
    first = samples.event_text(id="evt_mine")
    assert services.send(first, samples.event_text(id="evt_mine", transaction_id="other")) == []
    assert len(services.sender.posts) == 1
    assert services.telemetry.counts["Conflicts"] == 1


def test_an_event_whose_id_is_derived_from_its_time_needs_no_claim(
    services: DispatchFixture,
) -> None:
    services.add()
    services.send(samples.event_text())
    assert services.deliveries.claims == {}


def test_a_retrying_delivery_seen_again_gets_its_execution_and_no_attempt(
    services: DispatchFixture,
) -> None:
    services.add()
    services.sender.answer = lambda *_: REFUSED
    services.scheduler.failures.plan("start", True)
    services.deliveries.failures.plan("mark_unstarted", True)
    assert services.send(samples.event_text()) == ["m0"]
    assert services.scheduler.executions == {}
    assert services.send(samples.event_text()) == []
    assert services.scheduler.executions == {services.only().key: (2, 5.0)}
    assert len(services.sender.posts) == 1


def test_a_refused_start_is_marked_for_the_sweep_and_the_message_is_done(
    services: DispatchFixture,
) -> None:
    services.add()
    services.sender.answer = lambda *_: REFUSED
    services.scheduler.failures.plan("start", True)
    assert services.send(samples.event_text()) == []
    assert services.only().unstarted
    assert services.telemetry.counts["UnstartedRetries"] == 1
    assert services.telemetry.logged("retry_unstarted")
    assert services.deliveries.writes == ["create", "mark_unstarted"]
    # Seen again, it is the sweep's: no call of Step Functions is made.
    assert services.send(samples.event_text()) == []
    assert services.scheduler.calls == 1


def test_a_first_failure_starts_no_standard_execution(services: DispatchFixture) -> None:
    services.short_delay_seconds = 60.0
    services.add()
    services.sender.answer = lambda *_: REFUSED
    assert services.send(samples.event_text()) == []
    assert services.scheduler.executions == {}
    assert services.scheduler.shorts == [(services.only().key, 2, 5.0)]
    assert services.only().short


def test_another_body_under_the_same_event_id_is_a_logged_conflict(
    services: DispatchFixture,
) -> None:
    services.add()
    services.send(samples.event_text(id="evt_mine"))
    other = samples.event_text(id="evt_mine", transaction_id="txn_other")
    assert services.send(other) == []
    assert len(services.sender.posts) == 1
    assert services.telemetry.logged("event_conflict")[0]["event_id"] == "evt_mine"
