"""Reads before the attempts: bounded by the time left, each account in its turn."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from support import samples
from unit.services.dispatch.dispatch_fixture import (
    TimedDispatchFixture,
    assert_each_got_each_event_once,
    event,
)
from webhooks.domain.errors import UnavailableError
from webhooks.domain.ses import SesAccounts
from webhooks.services.dispatch.leftovers import UNREAD_DELAY_SECONDS

if TYPE_CHECKING:
    from webhooks.domain.event import Event, EventClaim, Holder


@pytest.fixture
def services() -> TimedDispatchFixture:
    made = TimedDispatchFixture()
    made.one_thread()
    return made


def test_claims_begin_for_five_seconds_and_the_rest_comes_again_as_it_came(
    services: TimedDispatchFixture,
) -> None:
    services.add()
    services.slow(services.deliveries, "claim", 2.0)
    documents = [event(n, id=f"own-{n}", data={"to": "a", "n": 1}) for n in range(10)]
    # In a form that no writer of JSON produces: it must not be read anew.
    documents[9] = documents[9].replace('"n": 1', f'"n": 1{"0" * 5_000},\n "m": "\\ud800"')
    text = " [ " + " ,\n".join(documents) + " ] "
    [message] = services.messages(text)
    message = message._replace(group="g", tries=2)
    assert services.invoke([message]) == []
    assert len(services.sender.posts) == 3
    [left] = services.queue.sent
    assert left.body == f"[{','.join(documents[3:])}]"
    assert (left.group, left.tries, left.arrived_at_ms) == ("acc_1", 2, message.arrived_at_ms)
    assert left.delay_seconds == UNREAD_DELAY_SECONDS
    while waiting := services.taken():
        assert services.invoke(waiting) == []
    assert_each_got_each_event_once(services, 1, 10)
    assert services.rejected.messages == []


def test_an_event_that_has_no_time_for_its_claim_gets_the_time_of_its_first_copy(
    services: TimedDispatchFixture,
) -> None:
    services.add()
    first, *_ = services.messages(event(1, id="own", timestamp=None))
    assert services.invoke([first]) == []
    services.now_ms += 60_000
    services.slow(services.deliveries, "claim", 6.0)
    texts = [event(n, account_id="acc_2", id=f"x{n}", timestamp=None) for n in (2, 3)]
    again = services.messages(*texts, event(1, id="own", timestamp=None))
    assert services.invoke(again) == []
    assert len(services.queue.sent) == 2
    for one in services.taken():
        assert services.invoke([one]) == []
    assert_each_got_each_event_once(services, 1, 1)


def test_an_array_in_an_envelope_comes_again_whole(services: TimedDispatchFixture) -> None:
    services.add()
    services.slow(services.deliveries, "claim", 2.0)
    array = f"[{','.join(event(n, id=f'own-{n}') for n in range(5))}]"
    text = json.dumps({"Type": "Notification", "MessageId": "1", "Message": array})
    assert services.invoke(services.messages(text)) == []
    assert [one.body for one in services.queue.sent] == [text]
    services.deliveries.__dict__.pop("claim")
    assert services.invoke(services.taken()) == []
    assert_each_got_each_event_once(services, 1, 5)


def test_webhooks_are_read_for_five_seconds_and_other_accounts_events_come_again(
    services: TimedDispatchFixture,
) -> None:
    for number in range(10):
        services.add(number, account_id=f"acc_{number}")
    services.slow(services.store, "destinations", 2.0)
    texts = [event(n, account_id=f"acc_{n}", timestamp=None) for n in range(10)]
    assert services.invoke(services.messages(*texts)) == []
    assert len(services.sender.posts) == 3
    assert len(services.queue.sent) == 7
    assert {one.delay_seconds for one in services.queue.sent} == {UNREAD_DELAY_SECONDS}
    assert [one.group for one in services.queue.sent] == [f"acc_{n}" for n in range(3, 10)]
    assert services.telemetry.counts["PostponedEvents"] == 7
    claims = len(services.deliveries.claims)
    services.now_ms += 60_000
    while waiting := services.taken():
        assert services.invoke(waiting) == []
    assert len(services.sender.posts) == len({body for _, body, _ in services.sender.posts}) == 10
    assert len(services.deliveries.claims) == claims


def test_records_are_read_for_five_seconds_and_the_quiet_accounts_among_the_first(
    services: TimedDispatchFixture,
) -> None:
    services.add(*range(1, 51))
    services.add(99, account_id="quiet")
    services.slow(services.deliveries, "get_many", 6.0)
    texts = [*map(event, range(9)), event(9, account_id="quiet")]
    assert services.invoke(services.messages(*texts)) == []
    assert len(services.sender.posts) == 100
    assert samples.webhook(99).url in [url for url, _, _ in services.sender.posts[:2]]
    assert services.telemetry.counts["PostponedDeliveries"] == 351
    while waiting := services.taken():
        assert services.invoke(waiting) == []
    assert len(services.sender.posts) == 451


def test_slow_reads_of_every_kind_leave_time_for_the_attempts_of_who_was_first(
    services: TimedDispatchFixture,
) -> None:
    services.add()
    for owner, name in (
        (services.deliveries, "claim"),
        (services.store, "destinations"),
        (services.deliveries, "get_many"),
    ):
        services.slow(owner, name, 8.9)
    texts = [event(n, id=f"own-{n}") for n in range(10)]
    assert services.invoke(services.messages(*texts)) == []
    assert len(services.sender.posts) == 1
    assert len(services.queue.sent) == 9


def test_no_read_begins_where_no_attempt_could_follow() -> None:
    """The case after messages whose accounts were slow to be found."""
    services: TimedDispatchFixture
    calls: list[str] = []

    class Slow(SesAccounts):
        def choose(self, *_: Any) -> str:
            services.remaining -= 12.0
            calls.append("read")
            return "acc_1"

    services = TimedDispatchFixture(ses_accounts=Slow())
    services.one_thread()
    services.add()
    texts = [ses_record(n) for n in range(4)]
    messages = services.messages(*texts)
    messages[2] = messages[2]._replace(group=None, arrived_at_ms=services.now_ms - 9)
    assert services.invoke(messages) == []
    assert len(calls) == 2
    back = {one.body: one for one in services.queue.sent}
    assert back[texts[2]].arrived_at_ms == services.now_ms - 9
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


def test_a_failed_read_is_a_failure_and_a_late_one_is_none(services: TimedDispatchFixture) -> None:
    for number in range(10):
        services.add(number, account_id=f"acc_{number}")
    services.slow(services.store, "destinations", 2.0)
    services.store.failures.plan("destinations", True)
    messages = services.messages(*(event(n, account_id=f"acc_{n}") for n in range(10)))
    assert services.invoke(messages) == [messages[0].id]
    assert len(services.sender.posts) == 2
    assert len(services.queue.sent) == 7


def test_an_envelope_of_several_accounts_in_an_array_comes_again_once(
    services: TimedDispatchFixture,
) -> None:
    """Otherwise it would be as many messages the next time, and so on."""
    services.add(1)
    services.add(2, account_id="acc_2")
    services.slow(services.deliveries, "claim", 6.0)
    events = [event(n, account_id=f"acc_{n}", id=f"own-{n}") for n in (1, 2)]
    envelope = json.dumps({"Type": "Notification", "Message": f"[{','.join(events)}]"})
    first = event(3, account_id="acc_3", id="own-3")
    assert services.invoke(services.messages(f"[{first},{envelope}]")) == []
    assert [one.body for one in services.queue.sent] == [f"[{envelope}]"]
    assert services.telemetry.counts["PostponedEvents"] == 2
    services.deliveries.__dict__.pop("claim")
    assert services.invoke(services.taken()) == []
    assert len(services.sender.posts) == 2


def test_what_is_not_found_again_in_its_array_comes_again_with_all_of_it() -> None:
    answers = [True]

    class Accounts(SesAccounts):
        def choose(self, *_: Any) -> str:
            if not answers:
                raise UnavailableError("no answer")
            answers.pop()
            return "acc_1"

    services = TimedDispatchFixture(ses_accounts=Accounts())
    services.one_thread()
    services.add()
    services.slow(services.deliveries, "claim", 6.0)
    held = [json.loads(ses_record(1)), json.loads(event(2, id="own-2"))]
    envelope = json.dumps({"Type": "Notification", "Message": json.dumps(held)})
    text = f"[{event(1, id='own-1')},{envelope}]"
    assert services.invoke(services.messages(text)) == []
    assert [one.body for one in services.queue.sent] == [text]


def test_a_claim_that_cannot_be_read_is_its_own_messages_trouble(
    services: TimedDispatchFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    services.add()
    claim = services.deliveries.claim

    def unreadable(one: Event, holder: Holder) -> EventClaim:
        if one.id == "own-1":
            raise KeyError("occurred_at")
        return claim(one, holder)

    monkeypatch.setattr(services.deliveries, "claim", unreadable)
    messages = services.messages(event(1, id="own-1"), event(2, id="own-2"))
    assert services.invoke(messages) == [messages[0].id]
    assert len(services.sender.posts) == 1
