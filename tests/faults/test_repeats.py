"""Rows 7 to 9: the same message again, at once, and under one id with another payload."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from faults.fault_harness import one_event
from support.receiver import Answer
from webhooks.domain.delivery import Status
from webhooks.wiring.dispatcher import DispatcherServices

if TYPE_CHECKING:
    from collections.abc import Callable

    from faults.fault_harness import Tenant
    from support.receiver import Receiver, Request

    MakeReceiver = Callable[..., Receiver]


@pytest.mark.parametrize(("status", "schedules"), [(200, 0), (500, 1)])
def test_row_07_same_message_twice_one_after_the_other(
    tenant: Tenant, receiver: MakeReceiver, status: int, schedules: int
) -> None:
    hook = receiver(Answer(status))
    tenant.webhook(hook)
    for _ in range(3):
        assert tenant.dispatch(tenant.message()) == []
    assert len(hook.requests) == 1
    assert len(tenant.delivery().attempts) == 1
    assert len(tenant.executions()) == schedules


def test_row_07_same_message_twice_in_one_batch(tenant: Tenant, receiver: MakeReceiver) -> None:
    hook = receiver(Answer(500))
    tenant.webhook(hook)
    assert tenant.dispatch(tenant.message(), tenant.message()) == []
    assert len(hook.requests) == 1
    assert len(tenant.executions()) == 1


@pytest.mark.parametrize("answers", [(200, 200), (500, 500), (200, 500), (500, 200)])
def test_row_08_same_message_twice_at_once_in_two_workers(
    tenant: Tenant, receiver: MakeReceiver, answers: tuple[int, int]
) -> None:
    """Neither is answered before both are there, so that neither worker knows of the other."""
    both_there = threading.Barrier(2)
    statuses = iter(answers)

    def answer(_: Request) -> Answer:
        both_there.wait(10)
        return Answer(next(statuses))

    hook = receiver(answer)
    tenant.webhook(hook)
    workers = [
        tenant.harness.services(DispatcherServices),
        tenant.harness.fresh(DispatcherServices),
    ]
    with ThreadPoolExecutor(2) as threads:
        failed = threads.map(
            lambda worker: tenant.dispatch(tenant.message(), services=worker), workers
        )
        assert list(failed) == [[], []]

    assert len(hook.requests) == 2
    assert one_event(*hook.requests)
    delivery = tenant.delivery()
    assert delivery.status is (Status.SUCCEEDED if 200 in answers else Status.RETRYING)
    assert len(tenant.executions()) <= 1
    assert tenant.dispatch(tenant.message()) == []
    if delivery.status is Status.RETRYING:
        assert len(tenant.executions()) == 1
    for state in tenant.executions():
        hook.answer_with(Answer(200))
        assert tenant.retry(state)["decision"] == "done"
    assert len(hook.requests) == (2 if 200 in answers else 3)
    assert tenant.delivery().status is Status.SUCCEEDED


@pytest.mark.parametrize("status", [200, 500])
def test_row_09_same_event_id_with_another_payload(
    tenant: Tenant, receiver: MakeReceiver, status: int
) -> None:
    hook = receiver(Answer(status))
    tenant.webhook(hook)
    first, other = (
        tenant.message(id="evt-of-the-producer", data={"status": text}) for text in ("a", "b")
    )
    assert tenant.dispatch(first) == []
    before = tenant.delivery()
    assert tenant.dispatch(other) == []
    assert tenant.delivery() == before
    assert [request.json["data"]["status"] for request in hook.requests] == ["a"]
    [line] = tenant.log.lines("event_conflict")
    assert line["delivery_id"] == before.id
    assert '"Conflicts":[1.0]' in tenant.log.text


def test_row_09_two_payloads_under_one_id_in_one_batch(
    tenant: Tenant, receiver: MakeReceiver
) -> None:
    hook = receiver()
    tenant.webhook(hook)
    messages = [tenant.message(id="evt-twice", data={"status": text}) for text in ("a", "b")]
    assert tenant.dispatch(*messages) == []
    [request] = hook.requests
    assert request.json["data"]["status"] == "a"
    assert tenant.delivery().body == request.body
    [line] = tenant.log.lines("event_conflict")
    assert line["delivery_id"] == tenant.delivery().id
    assert '"Conflicts":[1.0]' in tenant.log.text


def test_row_09_two_payloads_under_one_id_at_two_workers_at_once(
    tenant: Tenant, receiver: MakeReceiver
) -> None:
    """Both are sent, since neither finds the other's record; the first to be written stands."""
    both = threading.Barrier(2)

    def fail(_: Request) -> Answer:
        both.wait(10)
        return Answer(500)

    hook = receiver(fail)
    tenant.webhook(hook)
    with ThreadPoolExecutor(2) as threads:
        answers = [
            threads.submit(
                tenant.dispatch,
                tenant.message(id="evt-at-once", data={"status": text}),
                services=tenant.harness.fresh(DispatcherServices),
            )
            for text in ("a", "b")
        ]
        assert [answer.result() for answer in answers] == [[], []]
    assert sorted(request.json["data"]["status"] for request in hook.requests) == ["a", "b"]
    [line] = tenant.log.lines("event_conflict")
    assert line["delivery_id"] == tenant.delivery().id
    assert len(tenant.executions()) == 1
