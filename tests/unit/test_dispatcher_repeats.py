"""Messages and events that the dispatcher sees again."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from support import samples
from support.dispatching import REFUSED, World
from webhooks.domain.event import MAX_BODY_BYTES, Holder, accept
from webhooks.domain.ingest import read_message
from webhooks.domain.timestamps import LATEST_MS
from webhooks.services.dispatch import read as read_step

if TYPE_CHECKING:
    from webhooks.domain.ingest import ParsedMessage


@pytest.fixture
def world() -> World:
    return World()


def test_the_same_message_again_sends_nothing(world: World) -> None:
    world.add()
    world.send(samples.event_text())
    assert world.send(samples.event_text()) == []
    assert len(world.sender.posts) == 1


def test_the_same_event_twice_in_a_batch_is_one_delivery(world: World) -> None:
    world.add()
    assert world.send(samples.event_text(), samples.event_text()) == []
    assert len(world.sender.posts) == 1


def test_both_copies_of_an_event_wait_for_its_one_delivery(world: World) -> None:
    world.add()
    world.sender.answer = lambda *_: REFUSED
    world.scheduler.failures.plan("start", True)
    world.deliveries.failures.plan("mark_unstarted", True)
    assert world.send(samples.event_text(), samples.event_text()) == ["m0", "m1"]


def test_an_event_without_a_timestamp_published_twice_is_one(world: World) -> None:
    world.add()
    text = samples.event_text(timestamp=None)
    assert world.send(samples.event_text(transaction_id="other"), text) == []
    assert world.send(text) == []
    assert len(world.sender.posts) == 2
    timestamps = {json.loads(body)["timestamp"] for _, body, _ in world.sender.posts}
    assert "2025-12-21T10:30:00.001Z" in timestamps


def test_an_id_of_the_producers_own_is_one_event_whatever_its_time(world: World) -> None:
    world.add()
    first = samples.event_text(id="evt_mine")
    again = samples.event_text(id="evt_mine", timestamp="2025-12-21T10:30:01Z")
    assert world.send(first) == []
    assert world.send(again) == []
    assert len(world.sender.posts) == 1
    assert len(world.telemetry.logged("event_conflict")) == 1


def claimed_far_ahead(world: World, event_id: str) -> None:
    """Settle an event's time by the former release's rule, which filed it under any stamp."""
    event = accept(samples.event_document(id=event_id), sent_at_ms=world.now_ms)
    world.deliveries.claim(replace(event, occurred_at_ms=LATEST_MS), Holder("former", 0))


def test_an_event_that_its_first_copys_time_makes_too_large_is_dead_lettered_and_its_batch_goes_on(
    world: World,
) -> None:
    world.add()
    world.add(1, account_id="acc_2")
    claimed_far_ahead(world, "evt_mine")
    assert world.send(samples.event_text(id="evt_mine")) == []

    data = {"to": "a", "x": ""}
    document = {"account_id": "acc_1", "event": "email.sent", "id": "evt_mine", "data": data}
    data["x"] = "x" * (MAX_BODY_BYTES - len(accept(document, sent_at_ms=world.now_ms).body))
    assert len(accept(document, sent_at_ms=world.now_ms).body) == MAX_BODY_BYTES
    assert world.send(json.dumps(document), samples.event_text(account_id="acc_2")) == []
    assert [(one.message_id, one.reason) for one in world.rejected.messages] == [
        ("m0", "too_large")
    ]
    assert len(world.sender.posts) == 2


def test_of_an_array_only_what_its_first_copys_time_makes_too_large_is_dead_lettered(
    world: World,
) -> None:
    world.add()
    for name in ("large", "small"):
        claimed_far_ahead(world, f"evt_{name}")
    firsts = [samples.event_text(id=f"evt_{name}") for name in ("large", "small")]
    assert world.send(*firsts) == []
    posts = len(world.sender.posts)

    document = {"account_id": "acc_1", "event": "email.delivered", "data": {"to": "a", "x": ""}}
    large = {**document, "id": "evt_large"}
    room = MAX_BODY_BYTES - len(accept(large, sent_at_ms=world.now_ms).body)
    large["data"] = {"to": "a", "x": "x" * room}
    others = [{**document, "id": f"evt_{name}"} for name in ("small", "new", "newer")]
    array = [others[0], large, 17, *others[1:]]
    assert world.send(json.dumps(array)) == []
    assert [(one.reason, json.loads(one.body)) for one in world.rejected.messages] == [
        ("not_an_object", 17),
        ("too_large", large),
    ]
    assert len(world.sender.posts) == posts + 2
    assert world.telemetry.counts["RejectedMessages"] == 2


def test_an_array_that_comes_again_is_read_again_once(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not once for each of its events, of which there may be thousands."""
    world.add()
    document = {"account_id": "acc_1", "event": "email.delivered"}
    text = json.dumps([{**document, "data": {"to": f"{number}"}} for number in range(50)])
    read: list[str] = []

    def counting(text: str, **given: Any) -> ParsedMessage:
        read.append(text)
        return read_message(text, **given)

    monkeypatch.setattr(read_step, "read_message", counting)
    assert world.send(text) == []
    assert read == [text]
    read.clear()
    world.now_ms += 1000
    assert world.send(text) == []
    assert read == [text, text]
    assert len(world.sender.posts) == 50
    assert "Conflicts" not in world.telemetry.counts


def test_two_bodies_under_one_id_in_a_batch_are_a_logged_conflict(world: World) -> None:
    world.add()
    first = samples.event_text(id="evt_mine")
    assert world.send(first, samples.event_text(id="evt_mine", transaction_id="other")) == []
    assert len(world.sender.posts) == 1
    assert world.telemetry.counts["Conflicts"] == 1


def test_an_event_whose_id_is_derived_from_its_time_needs_no_claim(world: World) -> None:
    world.add()
    world.send(samples.event_text())
    assert world.deliveries.claims == {}


def test_a_retrying_delivery_seen_again_gets_its_execution_and_no_attempt(world: World) -> None:
    world.add()
    world.sender.answer = lambda *_: REFUSED
    world.scheduler.failures.plan("start", True)
    world.deliveries.failures.plan("mark_unstarted", True)
    assert world.send(samples.event_text()) == ["m0"]
    assert world.scheduler.executions == {}
    assert world.send(samples.event_text()) == []
    assert world.scheduler.executions == {world.only().key: (2, 5.0)}
    assert len(world.sender.posts) == 1


def test_a_refused_start_is_marked_for_the_sweep_and_the_message_is_done(world: World) -> None:
    world.add()
    world.sender.answer = lambda *_: REFUSED
    world.scheduler.failures.plan("start", True)
    assert world.send(samples.event_text()) == []
    assert world.only().unstarted
    assert world.telemetry.counts["UnstartedRetries"] == 1
    assert world.telemetry.logged("retry_unstarted")
    assert world.deliveries.writes == ["create", "mark_unstarted"]
    # Seen again, it is the sweep's: no call of Step Functions is made.
    assert world.send(samples.event_text()) == []
    assert world.scheduler.calls == 1


def test_a_first_failure_starts_no_standard_execution(world: World) -> None:
    world.short_delay_seconds = 60.0
    world.add()
    world.sender.answer = lambda *_: REFUSED
    assert world.send(samples.event_text()) == []
    assert world.scheduler.executions == {}
    assert world.scheduler.shorts == [(world.only().key, 2, 5.0)]
    assert world.only().short


def test_another_body_under_the_same_event_id_is_a_logged_conflict(world: World) -> None:
    world.add()
    world.send(samples.event_text(id="evt_mine"))
    other = samples.event_text(id="evt_mine", transaction_id="txn_other")
    assert world.send(other) == []
    assert len(world.sender.posts) == 1
    assert world.telemetry.logged("event_conflict")[0]["event_id"] == "evt_mine"
