"""Reads before the attempts: bounded by the time left, each account in its turn."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from support import samples
from support.dispatching import TimedWorld, assert_each_got_each_event_once, event
from webhooks.domain.errors import UnavailableError
from webhooks.domain.ses import SesAccounts
from webhooks.services.dispatch.leftovers import UNREAD_DELAY_SECONDS

if TYPE_CHECKING:
    from webhooks.domain.event import Event, EventClaim, Holder


@pytest.fixture
def world() -> TimedWorld:
    made = TimedWorld()
    made.one_thread()
    return made


def test_claims_begin_for_five_seconds_and_the_rest_comes_again_as_it_came(
    world: TimedWorld,
) -> None:
    world.add()
    world.slow(world.deliveries, "claim", 2.0)
    documents = [event(n, id=f"own-{n}", data={"to": "a", "n": 1}) for n in range(10)]
    # In a form that no writer of JSON produces: it must not be read anew.
    documents[9] = documents[9].replace('"n": 1', f'"n": 1{"0" * 5_000},\n "m": "\\ud800"')
    text = " [ " + " ,\n".join(documents) + " ] "
    [message] = world.messages(text)
    message = message._replace(group="g", tries=2)
    assert world.invoke([message]) == []
    assert len(world.sender.posts) == 3
    [left] = world.queue.sent
    assert left.body == f"[{','.join(documents[3:])}]"
    assert (left.group, left.tries, left.arrived_at_ms) == ("acc_1", 2, message.arrived_at_ms)
    assert left.delay_seconds == UNREAD_DELAY_SECONDS
    while waiting := world.taken():
        assert world.invoke(waiting) == []
    assert_each_got_each_event_once(world, 1, 10)
    assert world.rejected.messages == []


def test_an_event_that_has_no_time_for_its_claim_gets_the_time_of_its_first_copy(
    world: TimedWorld,
) -> None:
    world.add()
    first, *_ = world.messages(event(1, id="own", timestamp=None))
    assert world.invoke([first]) == []
    world.now_ms += 60_000
    world.slow(world.deliveries, "claim", 6.0)
    texts = [event(n, account_id="acc_2", id=f"x{n}", timestamp=None) for n in (2, 3)]
    again = world.messages(*texts, event(1, id="own", timestamp=None))
    assert world.invoke(again) == []
    assert len(world.queue.sent) == 2
    for one in world.taken():
        assert world.invoke([one]) == []
    assert_each_got_each_event_once(world, 1, 1)


def test_an_array_in_an_envelope_comes_again_whole(world: TimedWorld) -> None:
    world.add()
    world.slow(world.deliveries, "claim", 2.0)
    array = f"[{','.join(event(n, id=f'own-{n}') for n in range(5))}]"
    text = json.dumps({"Type": "Notification", "MessageId": "1", "Message": array})
    assert world.invoke(world.messages(text)) == []
    assert [one.body for one in world.queue.sent] == [text]
    world.deliveries.__dict__.pop("claim")
    assert world.invoke(world.taken()) == []
    assert_each_got_each_event_once(world, 1, 5)


def test_webhooks_are_read_for_five_seconds_and_other_accounts_events_come_again(
    world: TimedWorld,
) -> None:
    for number in range(10):
        world.add(number, account_id=f"acc_{number}")
    world.slow(world.store, "destinations", 2.0)
    texts = [event(n, account_id=f"acc_{n}", timestamp=None) for n in range(10)]
    assert world.invoke(world.messages(*texts)) == []
    assert len(world.sender.posts) == 3
    assert len(world.queue.sent) == 7
    assert {one.delay_seconds for one in world.queue.sent} == {UNREAD_DELAY_SECONDS}
    assert [one.group for one in world.queue.sent] == [f"acc_{n}" for n in range(3, 10)]
    assert world.telemetry.counts["PostponedEvents"] == 7
    claims = len(world.deliveries.claims)
    world.now_ms += 60_000
    while waiting := world.taken():
        assert world.invoke(waiting) == []
    assert len(world.sender.posts) == len({body for _, body, _ in world.sender.posts}) == 10
    assert len(world.deliveries.claims) == claims


def test_records_are_read_for_five_seconds_and_the_quiet_accounts_among_the_first(
    world: TimedWorld,
) -> None:
    world.add(*range(1, 51))
    world.add(99, account_id="quiet")
    world.slow(world.deliveries, "get_many", 6.0)
    texts = [*map(event, range(9)), event(9, account_id="quiet")]
    assert world.invoke(world.messages(*texts)) == []
    assert len(world.sender.posts) == 100
    assert samples.webhook(99).url in [url for url, _, _ in world.sender.posts[:2]]
    assert world.telemetry.counts["PostponedDeliveries"] == 351
    while waiting := world.taken():
        assert world.invoke(waiting) == []
    assert len(world.sender.posts) == 451


def test_slow_reads_of_every_kind_leave_time_for_the_attempts_of_who_was_first(
    world: TimedWorld,
) -> None:
    world.add()
    for owner, name in (
        (world.deliveries, "claim"),
        (world.store, "destinations"),
        (world.deliveries, "get_many"),
    ):
        world.slow(owner, name, 8.9)
    texts = [event(n, id=f"own-{n}") for n in range(10)]
    assert world.invoke(world.messages(*texts)) == []
    assert len(world.sender.posts) == 1
    assert len(world.queue.sent) == 9


def test_no_read_begins_where_no_attempt_could_follow() -> None:
    """The case after messages whose accounts were slow to be found."""
    world: TimedWorld
    calls: list[str] = []

    class Slow(SesAccounts):
        def choose(self, *_: Any) -> str:
            world.remaining -= 12.0
            calls.append("read")
            return "acc_1"

    world = TimedWorld(ses_accounts=Slow())
    world.one_thread()
    world.add()
    texts = [ses_record(n) for n in range(4)]
    messages = world.messages(*texts)
    messages[2] = messages[2]._replace(group=None, arrived_at_ms=world.now_ms - 9)
    assert world.invoke(messages) == []
    assert len(calls) == 2
    back = {one.body: one for one in world.queue.sent}
    assert back[texts[2]].arrived_at_ms == world.now_ms - 9
    assert back[texts[2]].group is None
    assert texts[3] in back


def ses_record(number: int) -> str:
    mail = {
        "timestamp": "2025-12-21T10:30:00.000Z",
        "messageId": f"m-{number}",
        "source": "a@b.example",
        "destination": ["r@example.com"],
    }
    return json.dumps({"eventType": "Send", "mail": mail, "send": {}})


def test_a_failed_read_is_a_failure_and_a_late_one_is_none(world: TimedWorld) -> None:
    for number in range(10):
        world.add(number, account_id=f"acc_{number}")
    world.slow(world.store, "destinations", 2.0)
    world.store.failures.plan("destinations", True)
    messages = world.messages(*(event(n, account_id=f"acc_{n}") for n in range(10)))
    assert world.invoke(messages) == [messages[0].id]
    assert len(world.sender.posts) == 2
    assert len(world.queue.sent) == 7


def test_an_envelope_of_several_accounts_in_an_array_comes_again_once(world: TimedWorld) -> None:
    """Otherwise it would be as many messages the next time, and so on."""
    world.add(1)
    world.add(2, account_id="acc_2")
    world.slow(world.deliveries, "claim", 6.0)
    events = [event(n, account_id=f"acc_{n}", id=f"own-{n}") for n in (1, 2)]
    envelope = json.dumps({"Type": "Notification", "Message": f"[{','.join(events)}]"})
    first = event(3, account_id="acc_3", id="own-3")
    assert world.invoke(world.messages(f"[{first},{envelope}]")) == []
    assert [one.body for one in world.queue.sent] == [f"[{envelope}]"]
    assert world.telemetry.counts["PostponedEvents"] == 2
    world.deliveries.__dict__.pop("claim")
    assert world.invoke(world.taken()) == []
    assert len(world.sender.posts) == 2


def test_what_is_not_found_again_in_its_array_comes_again_with_all_of_it() -> None:
    answers = [True]

    class Accounts(SesAccounts):
        def choose(self, *_: Any) -> str:
            if not answers:
                raise UnavailableError("no answer")
            answers.pop()
            return "acc_1"

    world = TimedWorld(ses_accounts=Accounts())
    world.one_thread()
    world.add()
    world.slow(world.deliveries, "claim", 6.0)
    held = [json.loads(ses_record(1)), json.loads(event(2, id="own-2"))]
    envelope = json.dumps({"Type": "Notification", "Message": json.dumps(held)})
    text = f"[{event(1, id='own-1')},{envelope}]"
    assert world.invoke(world.messages(text)) == []
    assert [one.body for one in world.queue.sent] == [text]


def test_a_claim_that_cannot_be_read_is_its_own_messages_trouble(
    world: TimedWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.add()
    claim = world.deliveries.claim

    def unreadable(one: Event, holder: Holder) -> EventClaim:
        if one.id == "own-1":
            raise KeyError("occurred_at")
        return claim(one, holder)

    monkeypatch.setattr(world.deliveries, "claim", unreadable)
    messages = world.messages(event(1, id="own-1"), event(2, id="own-2"))
    assert world.invoke(messages) == [messages[0].id]
    assert len(world.sender.posts) == 1
