from __future__ import annotations

import json
import threading
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from support import samples
from support.world import World as Services
from webhooks.domain import signing
from webhooks.domain.delivery import Delivery, FailureReason, Outcome, Status
from webhooks.domain.errors import UnavailableError
from webhooks.domain.event import MAX_BODY_BYTES, EventType, accept
from webhooks.domain.health import Circuit, Health
from webhooks.domain.ses import SesAccounts
from webhooks.domain.webhook import Secrets
from webhooks.services.reader import Message

if TYPE_CHECKING:
    from collections.abc import Mapping

REFUSED = Outcome(FailureReason.HTTP_STATUS, status_code=500, duration_ms=7, response_body="no")
GONE = Outcome(FailureReason.HTTP_STATUS, status_code=410, duration_ms=7)


class World(Services):
    """A dispatcher among fakes."""

    def stored(self) -> list[Delivery]:
        return list(self.deliveries.deliveries.values())

    def only(self) -> Delivery:
        [delivery] = self.stored()
        return delivery


@pytest.fixture
def world() -> World:
    return World()


def test_an_event_reaches_every_active_webhook_that_wants_its_type(world: World) -> None:
    world.add(1, 2)
    world.add(3, events=("email.opened",))
    world.add(4, events=("*",))
    world.add(5, account_id="acc_2")
    assert world.send(samples.event_text()) == []
    assert {url for url, _, _ in world.sender.posts} == {
        samples.webhook(number).url for number in (1, 2, 4)
    }
    assert [delivery.status for delivery in world.stored()] == [Status.SUCCEEDED] * 3


def test_a_star_is_every_type_of_mail_those_to_come_included_and_no_other() -> None:
    every, named = samples.webhook(1, events=("*",)), samples.webhook(2, events=("webhook.new",))
    assert all(every.wants(event_type) for event_type in (*EventType, "email.to_come"))
    assert not every.wants("webhook.new")
    assert named.wants("webhook.new")
    assert not named.wants("email.sent")


def test_a_delivery_that_succeeds_costs_its_share_of_one_write_and_no_execution(
    world: World,
) -> None:
    world.add(1, 2, 3)
    texts = [samples.event_text(transaction_id=f"txn_{number}") for number in range(4)]
    assert world.send(*texts) == []
    assert len(world.stored()) == 12
    assert world.deliveries.writes == ["put_settled"]
    assert world.store.queries == 1
    assert world.scheduler.calls == 0


def test_the_bytes_sent_are_those_recorded(world: World) -> None:
    world.add()
    world.send(samples.event_text())
    [(_, body, headers)] = world.sender.posts
    assert world.only().body == body
    assert json.loads(body)["data"]["status"] == "delivered"
    assert headers["X-SendComms-Delivery"] == world.only().id
    assert headers["X-SendComms-Attempt"] == "1"
    assert headers["webhook-id"] == world.only().event_id


def test_a_failure_is_recorded_then_scheduled(world: World) -> None:
    world.add()
    world.sender.answer = lambda *_: REFUSED
    assert world.send(samples.event_text()) == []
    delivery = world.only()
    assert delivery.status is Status.RETRYING
    assert delivery.next_attempt_at_ms == samples.NOW_MS + 5_000
    assert [(a.number, a.error, a.response_body) for a in delivery.attempts] == [
        (1, FailureReason.HTTP_STATUS, "no")
    ]
    assert world.scheduler.executions == {delivery.key: (2, 5.0)}


def test_a_failing_webhook_does_not_hold_up_the_others(world: World) -> None:
    world.add(1, 2)
    refused_url = samples.webhook(1).url
    world.sender.answer = lambda url, _: REFUSED if url == refused_url else Outcome(status_code=200)
    assert world.send(samples.event_text()) == []
    assert sorted(delivery.status for delivery in world.stored()) == ["retrying", "succeeded"]


def test_gone_disables_the_webhook_once_and_keeps_its_deliveries(world: World) -> None:
    world.add()
    world.sender.answer = lambda *_: GONE
    texts = [samples.event_text(transaction_id=f"txn_{number}") for number in range(3)]
    assert world.send(*texts) == []
    webhook = world.store.get("acc_1", samples.webhook().id)
    assert webhook is not None
    assert (webhook.active, webhook.disabled_reason) == (False, "gone")
    assert [delivery.status for delivery in world.stored()] == [Status.WAITING] * 3
    assert world.scheduler.calls == 0
    assert world.operational_events.types == ["webhook.disabled"]


def test_a_disabled_webhooks_deliveries_wait_without_an_attempt(world: World) -> None:
    world.add(active=False)
    assert world.send(samples.event_text()) == []
    assert world.only().status is Status.WAITING
    assert world.only().attempts == ()
    assert world.sender.posts == []


def test_a_webhook_without_a_secret_is_never_sent_an_unsigned_request(world: World) -> None:
    world.store.add(samples.webhook(), Secrets(None))
    assert world.send(samples.event_text()) == []
    assert world.sender.posts == []
    assert (world.only().status, world.only().reason) == (Status.WAITING, "secret_missing")
    assert world.observer.counts["SecretMissing"] == 1


def test_the_latency_is_from_the_messages_arrival_to_the_receivers_answer(world: World) -> None:
    world.add(1, 2)
    world.sender.answer = lambda *_: Outcome(status_code=200, duration_ms=40)
    message = Message("m0", samples.event_text(), samples.NOW_MS - 1_500)
    assert world.dispatcher.dispatch([message], lambda: 60.0) == []
    assert world.observer.times == {"DeliveryLatency": [1_540, 1_540]}


def test_a_clock_that_is_behind_measures_no_negative_latency(world: World) -> None:
    world.add()
    message = Message("m0", samples.event_text(), samples.NOW_MS + 1_500)
    world.dispatcher.dispatch([message], lambda: 60.0)
    assert world.observer.times == {"DeliveryLatency": [0]}


def test_a_failure_has_no_latency_and_tells_whether_anybody_answered(world: World) -> None:
    world.add(1, 2, 3)
    unanswered = {samples.webhook(1).url: FailureReason.TIMEOUT}
    world.sender.answer = lambda url, _: Outcome(unanswered.get(url, FailureReason.HTTP_STATUS))
    world.send(samples.event_text())
    assert world.observer.times == {}
    assert world.observer.counts["FailedAttempts"] == 3
    assert world.observer.counts["UnansweredAttempts"] == 1


def test_deferred_deliveries_are_counted_and_failures_are_not(world: World) -> None:
    world.add(1, active=False)
    world.add(2)
    world.sender.answer = lambda *_: REFUSED
    world.send(samples.event_text())
    assert world.observer.counts["DeferredDeliveries"] == 1


def test_an_invocation_names_its_messages_and_their_events(world: World) -> None:
    world.add(1, 2)
    world.send(samples.event_text(id="evt-1"), "not JSON", samples.event_text(id="evt-2"))
    assert world.observer.traced == {
        "message_ids": ["m0", "m1", "m2"],
        "event_ids": ["evt-1", "evt-2"],
    }


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
    assert len(world.observer.logged("event_conflict")) == 1


def test_an_event_that_its_first_copys_time_makes_too_large_is_dead_lettered_and_its_batch_goes_on(
    world: World,
) -> None:
    world.add()
    world.add(1, account_id="acc_2")
    far = "9999-12-31T23:59:59.999Z"
    assert world.send(samples.event_text(id="evt_mine", timestamp=far)) == []

    data = {"to": "a", "x": ""}
    document = {"account_id": "acc_1", "event": "email.sent", "id": "evt_mine", "data": data}
    data["x"] = "x" * (MAX_BODY_BYTES - len(accept(document, sent_at_ms=world.now_ms).body))
    assert len(accept(document, sent_at_ms=world.now_ms).body) == MAX_BODY_BYTES
    assert world.send(json.dumps(document), samples.event_text(account_id="acc_2")) == []
    assert [(one.message_id, one.reason) for one in world.rejected.messages] == [
        ("m0", "too_large")
    ]
    assert len(world.sender.posts) == 2


def test_two_bodies_under_one_id_in_a_batch_are_a_logged_conflict(world: World) -> None:
    world.add()
    first = samples.event_text(id="evt_mine")
    assert world.send(first, samples.event_text(id="evt_mine", transaction_id="other")) == []
    assert len(world.sender.posts) == 1
    assert world.observer.counts["Conflicts"] == 1


def test_an_event_whose_id_is_derived_from_its_time_needs_no_claim(world: World) -> None:
    world.add()
    world.send(samples.event_text())
    assert world.deliveries.claims == {}


def test_a_retrying_delivery_seen_again_gets_its_execution_and_no_attempt(world: World) -> None:
    world.add()
    world.sender.answer = lambda *_: REFUSED
    world.scheduler.failures.plan("start", True)
    assert world.send(samples.event_text()) == ["m0"]
    assert world.scheduler.executions == {}
    assert world.send(samples.event_text()) == []
    assert world.scheduler.executions == {world.only().key: (2, 5.0)}
    assert len(world.sender.posts) == 1


def test_another_body_under_the_same_event_id_is_a_logged_conflict(world: World) -> None:
    world.add()
    world.send(samples.event_text(id="evt_mine"))
    other = samples.event_text(id="evt_mine", transaction_id="txn_other")
    assert world.send(other) == []
    assert len(world.sender.posts) == 1
    assert world.observer.logged("event_conflict")[0]["event_id"] == "evt_mine"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("not json", "not_json"),
        ("[]", "not_an_object"),
        ("[" * 100_000, "too_deep"),
        (samples.event_text(event="email.lost"), "unknown_event"),
        (samples.event_text(account_id=None), "no_account"),
        (samples.event_text(data={"id": "x"}), "invalid_field"),
        (samples.event_text(data={"to": "a@b.example", "x": "y" * 70_000}), "too_large"),
    ],
)
def test_poison_goes_to_the_dead_letter_queue_at_once_and_harms_nobody(
    world: World, text: str, reason: str
) -> None:
    world.add()
    assert world.send(text, samples.event_text()) == []
    [message] = world.rejected.messages
    assert (message.message_id, message.body, message.reason) == ("m0", text, reason)
    assert world.observer.logged("message_rejected")[0]["reason"] == reason
    assert world.observer.counts["RejectedMessages"] == 1
    assert world.only().status is Status.SUCCEEDED


def test_poison_that_cannot_be_dead_lettered_is_received_again(world: World) -> None:
    world.rejected.refuse = {"m0"}
    assert world.send("not json") == ["m0"]


def test_a_failed_query_is_never_no_webhooks(world: World) -> None:
    world.add(1)
    world.add(2, account_id="acc_2")
    world.store.failures.plan("destinations", True, True)
    texts = (samples.event_text(), samples.event_text(account_id="acc_2"), "not json")
    assert world.send(*texts) == ["m0", "m1"]
    assert world.sender.posts == []
    assert world.send(*texts[:2]) == []
    assert len(world.sender.posts) == 2


def test_a_failed_read_of_deliveries_sends_nothing(world: World) -> None:
    world.add()
    world.deliveries.failures.plan("get_many", True)
    assert world.send(samples.event_text()) == ["m0"]
    assert world.sender.posts == []


@pytest.mark.parametrize("accounts", [["acc_1"], ["acc_1", "acc_2"]])
def test_an_account_whose_webhooks_cannot_be_read_fails_its_own_messages_only(
    world: World, monkeypatch: pytest.MonkeyPatch, accounts: list[str]
) -> None:
    """As after an edit of the table by hand, that took a webhook's url away."""
    world.add(1, account_id="acc_2")
    read = world.store.destinations

    def broken(account_id: str, shard: Any = None) -> Any:
        if account_id == "acc_1":
            raise KeyError("url")
        return read(account_id, shard)

    monkeypatch.setattr(world.store, "destinations", broken)
    texts = [samples.event_text(account_id=account) for account in accounts]
    assert world.send(*texts) == ["m0"]
    assert len(world.sender.posts) == len(accounts) - 1
    [logged] = world.observer.logged("message_failed")
    assert logged["error"] == "KeyError"


def test_a_failed_claim_fails_its_message_only(world: World) -> None:
    world.add()
    world.deliveries.failures.plan("claim", True)
    assert world.send(samples.event_text(timestamp=None), samples.event_text()) == ["m0"]
    assert len(world.sender.posts) == 1


def test_a_failure_that_cannot_be_recorded_is_received_again(world: World) -> None:
    world.add()
    world.sender.answer = lambda *_: REFUSED
    world.deliveries.failures.plan("create", True)
    assert world.send(samples.event_text()) == ["m0"]
    assert world.scheduler.calls == 0


def test_a_success_that_cannot_be_recorded_is_received_again(world: World) -> None:
    world.add(1, 2)
    world.send(samples.event_text())
    unwritable = world.stored()[0].key
    world.deliveries.deliveries.clear()
    world.deliveries.unwritable = {unwritable}
    other = samples.event_text(account_id="acc_3")
    assert world.send(samples.event_text(), other) == ["m0"]
    assert world.observer.counts["UnrecordedSuccesses"] == 1


def test_our_own_trouble_is_not_the_receivers_failure(world: World) -> None:
    world.add()

    def unavailable(_url: str, _headers: Mapping[str, str]) -> Outcome:
        msg = "out of file descriptors"
        raise UnavailableError(msg)

    world.sender.answer = unavailable
    assert world.send(samples.event_text()) == ["m0"]
    assert world.stored() == []


def test_a_bug_in_one_delivery_harms_no_other_and_loses_nothing(world: World) -> None:
    world.add(1, 2)
    broken_url = samples.webhook(1).url

    def answer(url: str, _headers: Mapping[str, str]) -> Outcome:
        if url == broken_url:
            raise ZeroDivisionError
        return Outcome(status_code=204)

    world.sender.answer = answer
    assert world.send(samples.event_text()) == ["m0"]
    assert world.only().status is Status.SUCCEEDED
    [line] = world.observer.logged("message_failed")
    assert line["error"] == "ZeroDivisionError"


def test_what_does_not_fit_in_the_time_left_is_received_again(world: World) -> None:
    world.add()
    world.remaining = 27.9
    assert world.send(samples.event_text()) == ["m0"]
    assert world.sender.posts == []
    assert world.stored() == []


def test_the_deliveries_of_a_batch_are_attempted_at_the_same_time(world: World) -> None:
    world.add(1, 2, 3, 4)
    together = threading.Barrier(4, timeout=10)

    def answer(_url: str, _headers: Mapping[str, str]) -> Outcome:
        together.wait()
        return Outcome(status_code=200)

    world.sender.answer = answer
    assert world.send(samples.event_text()) == []
    assert len(world.stored()) == 4


def test_a_success_is_recorded_while_a_slower_delivery_goes_on(world: World) -> None:
    world.add(1, 2)
    slow_url = samples.webhook(1).url
    recorded = threading.Event()
    put_settled = world.deliveries.put_settled

    def watched(deliveries: Any) -> Any:
        result = put_settled(deliveries)
        recorded.set()
        return result

    world.deliveries.put_settled = watched  # type: ignore[method-assign]

    def answer(url: str, _headers: Mapping[str, str]) -> Outcome:
        if url == slow_url:
            assert recorded.wait(10)
        return Outcome(status_code=200)

    world.sender.answer = answer
    assert world.send(samples.event_text()) == []
    assert world.deliveries.writes == ["put_settled", "put_settled"]


def test_a_failure_that_lost_a_race_to_a_success_starts_nothing(world: World) -> None:
    world.add()

    def answer(_url: str, headers: Mapping[str, str]) -> Outcome:
        rival = samples.delivery(
            id=headers["X-SendComms-Delivery"], status=Status.SUCCEEDED, next_attempt_at_ms=None
        )
        world.deliveries.put_settled([rival])
        return REFUSED

    world.sender.answer = answer
    assert world.send(samples.event_text()) == []
    assert world.only().status is Status.SUCCEEDED
    assert world.scheduler.calls == 0


def test_while_a_circuit_is_open_an_event_costs_one_write_and_nothing_else(world: World) -> None:
    world.add(health=Health(failures=10, circuit=Circuit.OPEN, recovery_id="r"))
    assert world.send(samples.event_text(), samples.event_text(transaction_id="txn_2")) == []
    assert [(one.status, one.reason) for one in world.stored()] == [
        (Status.WAITING, "webhook_down")
    ] * 2
    assert world.deliveries.writes == ["create", "create"]
    assert world.sender.posts == []
    assert world.health_store.writes == []
    assert world.scheduler.calls == 0
    assert world.recoveries.started == []


def test_an_open_circuit_takes_no_time_that_an_attempt_would(world: World) -> None:
    world.add(health=Health(circuit=Circuit.OPEN, recovery_id="r"))
    world.remaining = 1.0
    assert world.send(samples.event_text()) == []
    assert world.only().status is Status.WAITING


def test_a_webhook_that_is_draining_is_sent_to_at_once(world: World) -> None:
    world.add(health=Health(circuit=Circuit.DRAINING, recovery_id="r"))
    assert world.send(samples.event_text()) == []
    assert world.only().status is Status.SUCCEEDED
    assert world.health_store.writes == []


def test_a_batchs_failures_change_a_webhooks_health_once(world: World) -> None:
    world.add(1, 2)
    world.sender.answer = lambda *_: REFUSED
    texts = [samples.event_text(transaction_id=f"txn_{number}") for number in range(6)]
    assert world.send(*texts) == []
    assert world.health_store.writes == ["failed", "failed"]
    assert [world.webhook(number).health.failures for number in (1, 2)] == [6, 6]
    assert world.send(*(samples.event_text(transaction_id=f"more_{n}") for n in range(6))) == []
    assert world.operational_events.types == ["webhook.down", "webhook.down"]
    assert len(world.recoveries.started) == 2


def test_a_batch_in_which_one_arrives_is_a_success_of_its_webhook(world: World) -> None:
    world.add(health=Health(failures=9, failing_since_ms=samples.NOW_MS))
    world.sender.answer = lambda *_: REFUSED if len(world.sender.posts) > 1 else Outcome()
    texts = [samples.event_text(transaction_id=f"txn_{number}") for number in range(6)]
    assert world.send(*texts) == []
    assert world.webhook().health == Health()
    assert world.health_store.writes == ["succeeded"]


def test_health_that_cannot_be_recorded_loses_no_delivery(world: World) -> None:
    world.add()
    world.sender.answer = lambda *_: REFUSED
    world.health_store.failures.plan("failed", True)
    assert world.send(samples.event_text()) == []
    assert world.only().status is Status.RETRYING
    assert world.scheduler.calls == 1
    assert world.observer.counts["UnrecordedHealth"] == 1


def test_a_bug_in_recording_health_is_seen_and_loses_no_delivery(world: World) -> None:
    world.add()
    world.sender.answer = lambda *_: REFUSED

    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError

    world.health_store.failed = broken  # type: ignore[method-assign]
    assert world.send(samples.event_text()) == []
    assert world.only().status is Status.RETRYING
    [line] = world.observer.logged("message_failed")
    assert line["error"] == "ZeroDivisionError"


def test_a_rotation_signs_with_both_secrets(world: World) -> None:
    secrets = Secrets("whsec_" + "cd" * 32, samples.SECRET, samples.NOW_MS + 1)
    world.store.add(samples.webhook(), secrets)
    world.send(samples.event_text())
    [(_, body, headers)] = world.sender.posts
    event_id, timestamp = headers["webhook-id"], int(headers["webhook-timestamp"])
    assert headers["webhook-signature"].split(" ") == [
        signing.standard_signature(secret, event_id, timestamp, body)
        for secret in secrets.live(samples.NOW_MS)
    ]
    old = signing.sendcomms_signature(samples.SECRET, body)
    assert headers["X-SendComms-Signature"] == old


def test_a_ses_record_that_is_no_event_is_counted_and_dropped(world: World) -> None:
    record = {"eventType": "Received", "mail": {"messageId": "m", "timestamp": "x"}, "receipt": {}}
    assert world.send(json.dumps(record)) == []
    assert world.observer.counts["IgnoredEvents"] == 1
    assert world.rejected.messages == []


def test_the_headers_that_are_asked_for_reach_the_receiver(world: World) -> None:
    world.ses_headers = ("X-Order-Id",)
    world.ses_accounts = SesAccounts(default="acc_1")
    world.add()
    record = {
        "eventType": "Delivery",
        "mail": {
            "messageId": "m",
            "timestamp": "2025-12-21T10:30:00Z",
            "headers": [{"name": "X-Order-Id", "value": "17"}, {"name": "X-Other", "value": "18"}],
        },
        "delivery": {"timestamp": "2025-12-21T10:30:00Z", "recipients": ["a@example.com"]},
    }
    assert world.send(json.dumps(record)) == []
    [(_, body, _)] = world.sender.posts
    assert json.loads(body)["data"]["headers"] == {"X-Order-Id": "17"}


def test_an_event_of_an_array_has_the_time_of_its_first_copy(world: World) -> None:
    world.add()
    event = {"account_id": "acc_1", "event": "email.delivered", "data": {"to": "a@example.com"}}
    array = json.dumps([{"event": "email.lost"}, event, {**event, "id": "evt_other"}])
    assert world.send(json.dumps(event)) == []
    world.now_ms += 60_000
    assert world.send(array) == []
    assert len(world.stored()) == len(world.sender.posts) == 2
    assert [one.reason for one in world.rejected.messages] == ["unknown_event"]
    assert "Conflicts" not in world.observer.counts


@pytest.mark.parametrize(("wrong", "rejected"), [(10, 10), (11, 1), (20_000, 1)])
def test_an_array_is_rejected_piece_by_piece_or_as_it_came(
    world: World, wrong: int, rejected: int
) -> None:
    """A request for each of thousands would hold up the others of its batch."""
    world.add()
    event = {"account_id": "acc_1", "event": "email.delivered", "data": {"to": "a@example.com"}}
    array = json.dumps([0] * wrong + [event])
    assert world.send(array) == []
    assert len(world.sender.posts) == 1
    bodies = [one.body for one in world.rejected.messages]
    assert bodies == (["0"] * rejected if rejected == wrong else [array])
    assert {one.reason for one in world.rejected.messages} == {"not_an_object"}


def test_logs_name_no_url_address_payload_or_secret(world: World) -> None:
    world.add()
    world.sender.answer = lambda *_: replace(REFUSED, response_body="secret-answer")
    field = samples.event_text(**{"canary@example.com": 1})
    world.send(samples.event_text(), "not json canary", field)
    said = repr(world.observer.lines)
    for canary in ("example.com", samples.SECRET, "Welcome", "secret-answer", "canary"):
        assert canary not in said
