"""Poison, and faults of our own: neither harms another message, and nothing is lost."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import pytest

from support import samples
from unit.services.dispatch.dispatch_fixture import REFUSED, DispatchFixture
from webhooks.domain.delivery import Outcome, Status
from webhooks.domain.errors import UnavailableError

if TYPE_CHECKING:
    from collections.abc import Mapping


@pytest.fixture
def services() -> DispatchFixture:
    return DispatchFixture()


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
    services: DispatchFixture, text: str, reason: str
) -> None:
    services.add()
    assert services.send(text, samples.event_text()) == []
    [message] = services.rejected.messages
    assert (message.message_id, message.body, message.reason) == ("m0", text, reason)
    assert services.telemetry.logged("message_rejected")[0]["reason"] == reason
    assert services.telemetry.counts["RejectedMessages"] == 1
    assert services.only().status is Status.SUCCEEDED


def test_poison_that_cannot_be_dead_lettered_is_received_again(services: DispatchFixture) -> None:
    services.rejected.refuse = {"m0"}
    assert services.send("not json") == ["m0"]


def test_a_failed_query_is_never_no_webhooks(services: DispatchFixture) -> None:
    services.add(1)
    services.add(2, account_id="acc_2")
    services.store.failures.plan("destinations", True, True)
    texts = (samples.event_text(), samples.event_text(account_id="acc_2"), "not json")
    assert services.send(*texts) == ["m0", "m1"]
    assert services.sender.posts == []
    assert services.send(*texts[:2]) == []
    assert len(services.sender.posts) == 2


def test_a_failed_read_of_deliveries_sends_nothing(services: DispatchFixture) -> None:
    services.add()
    services.deliveries.failures.plan("get_many", True)
    assert services.send(samples.event_text()) == ["m0"]
    assert services.sender.posts == []


@pytest.mark.parametrize("accounts", [["acc_1"], ["acc_1", "acc_2"]])
def test_an_account_whose_webhooks_cannot_be_read_fails_its_own_messages_only(
    services: DispatchFixture, monkeypatch: pytest.MonkeyPatch, accounts: list[str]
) -> None:
    """As after an edit of the table by hand that removed a webhook's url."""
    services.add(1, account_id="acc_2")
    read = services.store.destinations

    def broken(account_id: str, shard: Any = None) -> Any:
        if account_id == "acc_1":
            raise KeyError("url")
        return read(account_id, shard)

    monkeypatch.setattr(services.store, "destinations", broken)
    texts = [samples.event_text(account_id=account) for account in accounts]
    assert services.send(*texts) == ["m0"]
    assert len(services.sender.posts) == len(accounts) - 1
    [logged] = services.telemetry.logged("message_failed")
    assert logged["error"] == "KeyError"


def test_a_failed_claim_fails_its_message_only(services: DispatchFixture) -> None:
    services.add()
    services.deliveries.failures.plan("claim", True)
    assert services.send(samples.event_text(timestamp=None), samples.event_text()) == ["m0"]
    assert len(services.sender.posts) == 1


def test_a_failure_that_cannot_be_recorded_is_received_again(services: DispatchFixture) -> None:
    services.add()
    services.sender.answer = lambda *_: REFUSED
    services.deliveries.failures.plan("create", True)
    assert services.send(samples.event_text()) == ["m0"]
    assert services.scheduler.calls == 0


def test_a_success_that_cannot_be_recorded_is_received_again(services: DispatchFixture) -> None:
    services.add(1, 2)
    services.send(samples.event_text())
    unwritable = services.stored()[0].key
    services.deliveries.deliveries.clear()
    services.deliveries.unwritable = {unwritable}
    other = samples.event_text(account_id="acc_3")
    assert services.send(samples.event_text(), other) == ["m0"]
    assert services.telemetry.counts["UnrecordedSuccesses"] == 1


def test_our_own_trouble_is_not_the_receivers_failure(services: DispatchFixture) -> None:
    services.add()

    def unavailable(_url: str, _headers: Mapping[str, str]) -> Outcome:
        msg = "out of file descriptors"
        raise UnavailableError(msg)

    services.sender.answer = unavailable
    assert services.send(samples.event_text()) == ["m0"]
    assert services.stored() == []


def test_a_bug_in_one_delivery_harms_no_other_and_loses_nothing(services: DispatchFixture) -> None:
    services.add(1, 2)
    broken_url = samples.webhook(1).url

    def answer(url: str, _headers: Mapping[str, str]) -> Outcome:
        if url == broken_url:
            raise ZeroDivisionError
        return Outcome(status_code=204)

    services.sender.answer = answer
    assert services.send(samples.event_text()) == ["m0"]
    assert services.only().status is Status.SUCCEEDED
    [line] = services.telemetry.logged("message_failed")
    assert line["error"] == "ZeroDivisionError"


def test_the_deliveries_of_a_batch_are_attempted_at_the_same_time(
    services: DispatchFixture,
) -> None:
    services.add(1, 2, 3, 4)
    together = threading.Barrier(4, timeout=10)

    def answer(_url: str, _headers: Mapping[str, str]) -> Outcome:
        together.wait()
        return Outcome(status_code=200)

    services.sender.answer = answer
    assert services.send(samples.event_text()) == []
    assert len(services.stored()) == 4


def test_a_success_is_recorded_while_a_slower_delivery_goes_on(services: DispatchFixture) -> None:
    services.add(1, 2)
    slow_url = samples.webhook(1).url
    recorded = threading.Event()
    put_settled = services.deliveries.put_settled

    def watched(deliveries: Any) -> Any:
        result = put_settled(deliveries)
        recorded.set()
        return result

    services.deliveries.put_settled = watched  # type: ignore[method-assign]

    def answer(url: str, _headers: Mapping[str, str]) -> Outcome:
        if url == slow_url:
            assert recorded.wait(10)
        return Outcome(status_code=200)

    services.sender.answer = answer
    assert services.send(samples.event_text()) == []
    assert services.deliveries.writes == ["put_settled", "put_settled"]


def test_a_failure_that_lost_a_race_to_a_success_starts_nothing(services: DispatchFixture) -> None:
    services.add()

    def answer(_url: str, headers: Mapping[str, str]) -> Outcome:
        rival = samples.delivery(
            id=headers["X-SendComms-Delivery"], status=Status.SUCCEEDED, next_attempt_at_ms=None
        )
        services.deliveries.put_settled([rival])
        return REFUSED

    services.sender.answer = answer
    assert services.send(samples.event_text()) == []
    assert services.only().status is Status.SUCCEEDED
    assert services.scheduler.calls == 0
