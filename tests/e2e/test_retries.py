"""A delivery that fails: retried by the schedule, and dead-lettered, kept or cancelled."""

from __future__ import annotations

from typing import TYPE_CHECKING

from support.receiver import Answer, Raw, Receiver
from webhooks.domain.delivery import FailureReason, Status

if TYPE_CHECKING:
    import socket
    import threading
    from collections.abc import Callable

    from support.stack import Account, QueueMessage, Stack
    from webhooks.domain.delivery import Delivery

DELAYS = [1.0, 1.0, 1.0]
"""The stack's schedule."""

CLOCK_SECONDS = 0.002
"""The error from the log's times, which are in whole milliseconds."""


def about(delivery_id: str) -> Callable[[QueueMessage], bool]:
    return lambda message: delivery_id in message.body


def assert_never_early(delivery: Delivery, delays: list[float]) -> None:
    """Compare the attempts' own times: each waits out its delay, from the end of the last."""
    assert [attempt.number for attempt in delivery.attempts] == [*range(1, len(delays) + 2)]
    pairs = zip(delivery.attempts, delivery.attempts[1:], strict=False)
    for delay, (earlier, later) in zip(delays, pairs, strict=True):
        waited_ms = later.started_at_ms - earlier.started_at_ms - earlier.duration_ms
        assert waited_ms / 1000 >= delay - CLOCK_SECONDS


def test_a_failing_receiver_exhausts_the_schedule_and_leaves_one_dead_letter(
    stack: Stack, account: Account, receiver: Receiver
) -> None:
    receiver.answer_with(Answer(500, body=b"out of order"))
    webhook = account.register(receiver.url)
    account.publish()
    attempts = len(DELAYS) + 1
    requests = receiver.wait_for(attempts, timeout=30)
    headers = [request.headers for request in requests]
    assert [one["x-sendcomms-attempt"] for one in headers] == ["1", "2", "3", "4"]
    assert len({request.body for request in requests}) == 1
    assert len({one["webhook-id"] for one in headers}) == 1
    [delivery_id] = {one["x-sendcomms-delivery"] for one in headers}
    for delay, earlier, later in zip(DELAYS, requests, requests[1:], strict=False):
        assert later.received_at - earlier.received_at >= delay - CLOCK_SECONDS

    [message] = stack.dead_letters.wait_for(about(delivery_id), "about the delivery")
    letter = message.json
    assert letter["type"] == "delivery.exhausted"
    assert letter["attempts"] == attempts
    assert letter["event_type"] == "email.delivered"
    assert letter["event_id"] == headers[0]["webhook-id"]
    assert (letter["account_id"], letter["webhook_id"]) == (account.id, webhook["id"])
    delivery = account.delivery(letter["webhook_id"], letter["delivery_id"])
    assert delivery
    assert delivery.status is Status.EXHAUSTED
    assert delivery.body == requests[0].body
    assert [attempt.status_code for attempt in delivery.attempts] == [500] * attempts
    assert {attempt.response_body for attempt in delivery.attempts} == {"out of order"}
    assert_never_early(delivery, DELAYS)
    stack.wait_for_execution(delivery_id)
    assert len(stack.dead_letters.matching(about(delivery_id))) == 1
    assert len(receiver.requests) == attempts


def test_a_flaky_receiver_gets_the_delivery_in_the_end(
    stack: Stack, account: Account, receiver: Receiver
) -> None:
    with Receiver() as elsewhere:
        receiver.answer_with(Answer(307, {"Location": elsewhere.url}), Answer(404), Answer(202))
        webhook = account.register(receiver.url)
        account.publish()
        requests = receiver.wait_for(3, timeout=30)
        headers = [request.headers for request in requests]
        delivery_id = headers[0]["x-sendcomms-delivery"]
        delivery = account.delivery_with("succeeded", webhook["id"], delivery_id)
        assert [one.status_code for one in delivery.attempts] == [307, 404, 202]
        assert elsewhere.connections == 0
    assert_never_early(delivery, DELAYS[:2])
    assert len({one["webhook-timestamp"] for one in headers}) == 3
    assert len({one["webhook-signature"] for one in headers}) == 3
    assert len({one["x-sendcomms-signature"] for one in headers}) == 1
    stack.wait_for_execution(delivery_id)
    assert len(receiver.requests) == 3
    assert stack.dead_letters.matching(about(delivery_id)) == []


def test_a_silent_receiver_is_cut_off_and_delays_no_other(
    account: Account, receiver: Receiver
) -> None:
    def hang(_: socket.socket, stopping: threading.Event) -> None:
        stopping.wait()

    with Receiver(Raw(hang), Answer(200)) as hanging:
        webhook = account.register(hanging.url)
        account.register(receiver.url)
        account.publish()
        [prompt] = receiver.wait_for(1)
        _, again = hanging.wait_for(2, timeout=30)
        delivery = account.delivery_with(
            "succeeded", webhook["id"], again.headers["x-sendcomms-delivery"]
        )
        first, _ = delivery.attempts
        assert first.error is FailureReason.TIMEOUT
        assert 4_900 <= first.duration_ms < 6_500
        assert prompt.received_at < first.started_at_ms / 1000 + first.duration_ms / 1000


def test_retry_after_moves_the_next_attempt_later(account: Account, receiver: Receiver) -> None:
    receiver.answer_with(Answer(503, {"Retry-After": "3"}), Answer(200))
    webhook = account.register(receiver.url)
    account.publish()
    first, _ = receiver.wait_for(2, timeout=30)
    delivery = account.delivery_with(
        "succeeded", webhook["id"], first.headers["x-sendcomms-delivery"]
    )
    assert_never_early(delivery, [3.0])


def test_410_disables_the_webhook_and_keeps_what_comes(
    stack: Stack, account: Account, receiver: Receiver
) -> None:
    receiver.answer_with(Answer(410))
    webhook = account.register(receiver.url)
    account.publish()
    [request] = receiver.wait_for(1)
    delivery_id = request.headers["x-sendcomms-delivery"]
    assert account.delivery_with("waiting", webhook["id"], delivery_id).reason == "gone"
    shown = account.show(webhook["id"])
    assert shown["active"] is False
    assert shown["disabled_reason"] == "gone"
    account.publish(event="email.opened")
    stack.events.wait_until_empty()
    assert len(receiver.requests) == 1
    assert stack.execution_status(delivery_id) is None


def test_deleting_the_webhook_cancels_its_deliveries(
    stack: Stack, account: Account, receiver: Receiver
) -> None:
    receiver.answer_with(Answer(500))
    webhook = account.register(receiver.url)
    account.publish()
    [request, *_] = receiver.wait_for(1)
    delivery_id = request.headers["x-sendcomms-delivery"]
    answer = account.call("DELETE", f"/api/v1/webhooks?id={webhook['id']}")
    assert answer.status == 200
    before = len(receiver.requests)
    delivery = account.delivery_with("cancelled", webhook["id"], delivery_id)
    assert delivery.reason == "webhook_deleted"
    stack.wait_for_execution(delivery_id)
    assert len(receiver.requests) == before
    assert stack.dead_letters.matching(about(delivery_id)) == []
