from __future__ import annotations

import json
from dataclasses import replace

import pytest

from support import samples
from unit.services.dispatch.dispatch_fixture import REFUSED, DispatchFixture
from webhooks.domain import signing
from webhooks.domain.delivery import FailureReason, Outcome, Status
from webhooks.domain.event import EventType
from webhooks.domain.health import Circuit, Health
from webhooks.domain.ses import SesAccounts
from webhooks.domain.webhook import Secrets
from webhooks.services.dispatch.messages import QueueMessage

GONE = Outcome(FailureReason.HTTP_STATUS, status_code=410, duration_ms=7)


@pytest.fixture
def services() -> DispatchFixture:
    return DispatchFixture()


def test_an_event_reaches_every_active_webhook_that_wants_its_type(
    services: DispatchFixture,
) -> None:
    services.add(1, 2)
    services.add(3, events=("email.opened",))
    services.add(4, events=("*",))
    services.add(5, account_id="acc_2")
    assert services.send(samples.event_text()) == []
    assert {url for url, _, _ in services.sender.posts} == {
        samples.webhook(number).url for number in (1, 2, 4)
    }
    assert [delivery.status for delivery in services.stored()] == [Status.SUCCEEDED] * 3


def test_a_star_is_every_type_of_mail_those_to_come_included_and_no_other() -> None:
    every, named = samples.webhook(1, events=("*",)), samples.webhook(2, events=("webhook.new",))
    assert all(every.wants(event_type) for event_type in (*EventType, "email.to_come"))
    assert not every.wants("webhook.new")
    assert named.wants("webhook.new")
    assert not named.wants("email.sent")


def test_a_delivery_that_succeeds_costs_its_share_of_one_write_and_no_execution(
    services: DispatchFixture,
) -> None:
    services.add(1, 2, 3)
    texts = [samples.event_text(transaction_id=f"txn_{number}") for number in range(4)]
    assert services.send(*texts) == []
    assert len(services.stored()) == 12
    assert services.deliveries.writes == ["put_settled"]
    assert services.store.queries == 1
    assert services.scheduler.calls == 0


def test_the_bytes_sent_are_those_recorded(services: DispatchFixture) -> None:
    services.add()
    services.send(samples.event_text())
    [(_, body, headers)] = services.sender.posts
    assert services.only().body == body
    assert json.loads(body)["data"]["status"] == "delivered"
    assert headers["X-SendComms-Delivery"] == services.only().id
    assert headers["X-SendComms-Attempt"] == "1"
    assert headers["webhook-id"] == services.only().event_id


def test_a_failure_is_recorded_then_scheduled(services: DispatchFixture) -> None:
    services.add()
    services.sender.answer = lambda *_: REFUSED
    assert services.send(samples.event_text()) == []
    delivery = services.only()
    assert delivery.status is Status.RETRYING
    assert delivery.next_attempt_at_ms == samples.NOW_MS + 5_000
    assert [(a.number, a.error, a.response_body) for a in delivery.attempts] == [
        (1, FailureReason.HTTP_STATUS, "no")
    ]
    assert services.scheduler.executions == {delivery.key: (2, 5.0)}


def test_a_failing_webhook_does_not_hold_up_the_others(services: DispatchFixture) -> None:
    services.add(1, 2)
    refused_url = samples.webhook(1).url
    services.sender.answer = lambda url, _: (
        REFUSED if url == refused_url else Outcome(status_code=200)
    )
    assert services.send(samples.event_text()) == []
    assert sorted(delivery.status for delivery in services.stored()) == ["retrying", "succeeded"]


def test_the_one_that_fails_of_many_is_retried(services: DispatchFixture) -> None:
    services.add(1)
    answers = iter([REFUSED, *[Outcome(status_code=200)] * 9])
    services.sender.answer = lambda *_: next(answers)
    assert services.send(*[samples.event_text(transaction_id=f"txn_{n}") for n in range(10)]) == []
    [failed] = [one for one in services.stored() if one.status is Status.RETRYING]
    assert len(services.stored()) == 10
    assert list(services.scheduler.executions) == [failed.key]


def test_gone_disables_the_webhook_once_and_keeps_its_deliveries(services: DispatchFixture) -> None:
    services.add()
    services.sender.answer = lambda *_: GONE
    texts = [samples.event_text(transaction_id=f"txn_{number}") for number in range(3)]
    assert services.send(*texts) == []
    webhook = services.store.get("acc_1", samples.webhook().id)
    assert webhook is not None
    assert (webhook.active, webhook.disabled_reason) == (False, "gone")
    assert [delivery.status for delivery in services.stored()] == [Status.WAITING] * 3
    assert services.scheduler.calls == 0
    assert services.operational_events.types == ["webhook.disabled"]


def test_a_disabled_webhooks_deliveries_wait_without_an_attempt(services: DispatchFixture) -> None:
    services.add(active=False)
    assert services.send(samples.event_text()) == []
    assert services.only().status is Status.WAITING
    assert services.only().attempts == ()
    assert services.sender.posts == []


def test_a_webhook_without_a_secret_is_never_sent_an_unsigned_request(
    services: DispatchFixture,
) -> None:
    services.store.add(samples.webhook(), Secrets(None))
    assert services.send(samples.event_text()) == []
    assert services.sender.posts == []
    assert (services.only().status, services.only().reason) == (Status.WAITING, "secret_missing")
    assert services.telemetry.counts["SecretMissing"] == 1


def test_the_latency_is_from_the_messages_arrival_to_the_receivers_answer(
    services: DispatchFixture,
) -> None:
    services.add(1, 2)
    services.sender.answer = lambda *_: Outcome(status_code=200, duration_ms=40)
    message = QueueMessage("m0", samples.event_text(), samples.NOW_MS - 1_500)
    assert services.dispatcher.dispatch([message], lambda: 60.0) == []
    assert services.telemetry.times == {"DeliveryLatency": [1_540, 1_540]}


def test_a_clock_that_is_behind_measures_no_negative_latency(services: DispatchFixture) -> None:
    services.add()
    message = QueueMessage("m0", samples.event_text(), samples.NOW_MS + 1_500)
    services.dispatcher.dispatch([message], lambda: 60.0)
    assert services.telemetry.times == {"DeliveryLatency": [0]}


def test_a_failure_has_no_latency_and_tells_whether_anybody_answered(
    services: DispatchFixture,
) -> None:
    services.add(1, 2, 3)
    unanswered = {samples.webhook(1).url: FailureReason.TIMEOUT}
    services.sender.answer = lambda url, _: Outcome(unanswered.get(url, FailureReason.HTTP_STATUS))
    services.send(samples.event_text())
    assert services.telemetry.times == {}
    assert services.telemetry.counts["FailedAttempts"] == 3
    assert services.telemetry.counts["UnansweredAttempts"] == 1
    # Without a point of its own the metric would leave the success rate without a value.
    assert services.telemetry.counts["Succeeded"] == 0


def test_deferred_deliveries_are_counted_and_failures_are_not(services: DispatchFixture) -> None:
    services.add(1, active=False)
    services.add(2)
    services.sender.answer = lambda *_: REFUSED
    services.send(samples.event_text())
    assert services.telemetry.counts["DeferredDeliveries"] == 1


def test_an_invocation_names_its_messages_and_their_events(services: DispatchFixture) -> None:
    services.add(1, 2)
    services.send(samples.event_text(id="evt-1"), "not JSON", samples.event_text(id="evt-2"))
    assert services.telemetry.traced == {
        "message_ids": ["m0", "m1", "m2"],
        "event_ids": ["evt-1", "evt-2"],
    }


def test_while_a_circuit_is_open_an_event_costs_one_write_and_nothing_else(
    services: DispatchFixture,
) -> None:
    services.add(health=Health(failures=10, circuit=Circuit.OPEN, recovery_id="r"))
    assert services.send(samples.event_text(), samples.event_text(transaction_id="txn_2")) == []
    assert [(one.status, one.reason) for one in services.stored()] == [
        (Status.WAITING, "webhook_down")
    ] * 2
    assert services.deliveries.writes == ["create", "create"]
    assert services.sender.posts == []
    assert services.health_store.writes == []
    assert services.scheduler.calls == 0
    assert services.recoveries.started == []


def test_a_webhook_that_is_draining_is_sent_to_at_once(services: DispatchFixture) -> None:
    services.add(health=Health(circuit=Circuit.DRAINING, recovery_id="r"))
    assert services.send(samples.event_text()) == []
    assert services.only().status is Status.SUCCEEDED
    assert services.health_store.writes == []


def test_a_batchs_failures_change_a_webhooks_health_once(services: DispatchFixture) -> None:
    services.add(1, 2)
    services.sender.answer = lambda *_: REFUSED
    texts = [samples.event_text(transaction_id=f"txn_{number}") for number in range(6)]
    assert services.send(*texts) == []
    assert services.health_store.writes == ["failed", "failed"]
    assert [services.webhook(number).health.failures for number in (1, 2)] == [6, 6]
    assert services.send(*(samples.event_text(transaction_id=f"more_{n}") for n in range(6))) == []
    assert services.operational_events.types == ["webhook.down", "webhook.down"]
    assert len(services.recoveries.started) == 2


def test_a_batch_in_which_one_arrives_is_a_success_of_its_webhook(
    services: DispatchFixture,
) -> None:
    services.add(health=Health(failures=9, failing_since_ms=samples.NOW_MS))
    services.sender.answer = lambda *_: REFUSED if len(services.sender.posts) > 1 else Outcome()
    texts = [samples.event_text(transaction_id=f"txn_{number}") for number in range(6)]
    assert services.send(*texts) == []
    health = services.webhook().health
    assert (health.failures, health.failing_since_ms) == (0, None)
    assert services.health_store.writes == ["succeeded", "count"]


def test_health_that_cannot_be_recorded_loses_no_delivery(services: DispatchFixture) -> None:
    services.add()
    services.sender.answer = lambda *_: REFUSED
    services.health_store.failures.plan("failed", True)
    assert services.send(samples.event_text()) == []
    assert services.only().status is Status.RETRYING
    assert services.scheduler.calls == 1
    assert services.telemetry.counts["UnrecordedHealth"] == 1


def test_a_bug_in_recording_health_is_seen_and_loses_no_delivery(services: DispatchFixture) -> None:
    services.add()
    services.sender.answer = lambda *_: REFUSED

    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError

    services.health_store.failed = broken  # type: ignore[method-assign]
    assert services.send(samples.event_text()) == []
    assert services.only().status is Status.RETRYING
    [line] = services.telemetry.logged("message_failed")
    assert line["error"] == "ZeroDivisionError"


def test_a_rotation_signs_with_both_secrets(services: DispatchFixture) -> None:
    secrets = Secrets("whsec_" + "cd" * 32, samples.SECRET, samples.NOW_MS + 1)
    services.store.add(samples.webhook(), secrets)
    services.send(samples.event_text())
    [(_, body, headers)] = services.sender.posts
    event_id, timestamp = headers["webhook-id"], int(headers["webhook-timestamp"])
    assert headers["webhook-signature"].split(" ") == [
        signing.standard_signature(secret, event_id, timestamp, body)
        for secret in secrets.live(samples.NOW_MS)
    ]
    old = signing.sendcomms_signature(samples.SECRET, body)
    assert headers["X-SendComms-Signature"] == old


def test_a_ses_record_that_is_no_event_is_counted_and_dropped(services: DispatchFixture) -> None:
    record = {"eventType": "Received", "mail": {"messageId": "m", "timestamp": "x"}, "receipt": {}}
    assert services.send(json.dumps(record)) == []
    assert services.telemetry.counts["IgnoredEvents"] == 1
    assert services.rejected.messages == []


def test_the_headers_that_are_asked_for_reach_the_receiver(services: DispatchFixture) -> None:
    services.ses_headers = ("X-Order-Id",)
    services.ses_accounts = SesAccounts(default="acc_1")
    services.add()
    record = {
        "eventType": "Delivery",
        "mail": {
            "messageId": "m",
            "timestamp": "2025-12-21T10:30:00Z",
            "headers": [{"name": "X-Order-Id", "value": "17"}, {"name": "X-Other", "value": "18"}],
        },
        "delivery": {"timestamp": "2025-12-21T10:30:00Z", "recipients": ["a@example.com"]},
    }
    assert services.send(json.dumps(record)) == []
    [(_, body, _)] = services.sender.posts
    assert json.loads(body)["data"]["headers"] == {"X-Order-Id": "17"}


def test_an_event_of_an_array_has_the_time_of_its_first_copy(services: DispatchFixture) -> None:
    services.add()
    event = {"account_id": "acc_1", "event": "email.delivered", "data": {"to": "a@example.com"}}
    array = json.dumps([{"event": "email.lost"}, event, {**event, "id": "evt_other"}])
    assert services.send(json.dumps(event)) == []
    services.now_ms += 60_000
    assert services.send(array) == []
    assert len(services.stored()) == len(services.sender.posts) == 2
    assert [one.reason for one in services.rejected.messages] == ["unknown_event"]
    assert "Conflicts" not in services.telemetry.counts


@pytest.mark.parametrize(("wrong", "rejected"), [(10, 10), (11, 1), (20_000, 1)])
def test_an_array_is_rejected_piece_by_piece_or_as_it_came(
    services: DispatchFixture, wrong: int, rejected: int
) -> None:
    """A request for each of thousands would delay the others of its batch."""
    services.add()
    event = {"account_id": "acc_1", "event": "email.delivered", "data": {"to": "a@example.com"}}
    array = json.dumps([0] * wrong + [event])
    assert services.send(array) == []
    assert len(services.sender.posts) == 1
    bodies = [one.body for one in services.rejected.messages]
    assert bodies == (["0"] * rejected if rejected == wrong else [array])
    assert {one.reason for one in services.rejected.messages} == {"not_an_object"}


def test_logs_name_no_url_address_payload_or_secret(services: DispatchFixture) -> None:
    services.add()
    services.sender.answer = lambda *_: replace(REFUSED, response_body="secret-answer")
    field = samples.event_text(**{"canary@example.com": 1})
    services.send(samples.event_text(), "not json canary", field)
    said = repr(services.telemetry.lines)
    for canary in ("example.com", samples.SECRET, "Welcome", "secret-answer", "canary"):
        assert canary not in said
