"""Rows 7 to 9: the same message again, at once, and under one id with another payload."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from support.fault_harness import one_event
from support.receiver import Answer
from webhooks.domain.delivery import Status
from webhooks.wiring.dispatcher import DispatcherServices

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.fault_harness import Case
    from support.receiver import Receiver, Request

    MakeReceiver = Callable[..., Receiver]


@pytest.mark.parametrize(("status", "schedules"), [(200, 0), (500, 1)])
def test_row_07_same_message_twice_one_after_the_other(
    case: Case, receiver: MakeReceiver, status: int, schedules: int
) -> None:
    hook = receiver(Answer(status))
    case.webhook(hook)
    for _ in range(3):
        assert case.dispatch(case.message()) == []
    assert len(hook.requests) == 1
    assert len(case.delivery().attempts) == 1
    assert len(case.executions()) == schedules


def test_row_07_same_message_twice_in_one_batch(case: Case, receiver: MakeReceiver) -> None:
    hook = receiver(Answer(500))
    case.webhook(hook)
    assert case.dispatch(case.message(), case.message()) == []
    assert len(hook.requests) == 1
    assert len(case.executions()) == 1


@pytest.mark.parametrize("answers", [(200, 200), (500, 500), (200, 500), (500, 200)])
def test_row_08_same_message_twice_at_once_in_two_workers(
    case: Case, receiver: MakeReceiver, answers: tuple[int, int]
) -> None:
    """Neither is answered before both are there, so that neither worker knows of the other."""
    both_there = threading.Barrier(2)
    statuses = iter(answers)

    def answer(_: Request) -> Answer:
        both_there.wait(10)
        return Answer(next(statuses))

    hook = receiver(answer)
    case.webhook(hook)
    workers = [case.stand.services(DispatcherServices), case.stand.fresh(DispatcherServices)]
    with ThreadPoolExecutor(2) as threads:
        failed = threads.map(lambda worker: case.dispatch(case.message(), services=worker), workers)
        assert list(failed) == [[], []]

    assert len(hook.requests) == 2
    assert one_event(*hook.requests)
    delivery = case.delivery()
    assert delivery.status is (Status.SUCCEEDED if 200 in answers else Status.RETRYING)
    assert len(case.executions()) <= 1
    assert case.dispatch(case.message()) == []
    if delivery.status is Status.RETRYING:
        assert len(case.executions()) == 1
    for state in case.executions():
        hook.answer_with(Answer(200))
        assert case.retry(state)["decision"] == "done"
    assert len(hook.requests) == (2 if 200 in answers else 3)
    assert case.delivery().status is Status.SUCCEEDED


@pytest.mark.parametrize("status", [200, 500])
def test_row_09_same_event_id_with_another_payload(
    case: Case, receiver: MakeReceiver, status: int
) -> None:
    hook = receiver(Answer(status))
    case.webhook(hook)
    first, other = (
        case.message(id="evt-of-the-producer", data={"status": text}) for text in ("a", "b")
    )
    assert case.dispatch(first) == []
    before = case.delivery()
    assert case.dispatch(other) == []
    assert case.delivery() == before
    assert [request.json["data"]["status"] for request in hook.requests] == ["a"]
    [line] = case.log.lines("event_conflict")
    assert line["delivery_id"] == before.id
    assert '"Conflicts":[1.0]' in case.log.text


def test_row_09_two_payloads_under_one_id_in_one_batch(case: Case, receiver: MakeReceiver) -> None:
    hook = receiver()
    case.webhook(hook)
    messages = [case.message(id="evt-twice", data={"status": text}) for text in ("a", "b")]
    assert case.dispatch(*messages) == []
    [request] = hook.requests
    assert request.json["data"]["status"] == "a"
    assert case.delivery().body == request.body
    [line] = case.log.lines("event_conflict")
    assert line["delivery_id"] == case.delivery().id
    assert '"Conflicts":[1.0]' in case.log.text


def test_row_09_two_payloads_under_one_id_at_two_workers_at_once(
    case: Case, receiver: MakeReceiver
) -> None:
    """Both are sent, since neither finds the other's record; the first to be written stands."""
    both = threading.Barrier(2)

    def fail(_: Request) -> Answer:
        both.wait(10)
        return Answer(500)

    hook = receiver(fail)
    case.webhook(hook)
    with ThreadPoolExecutor(2) as threads:
        answers = [
            threads.submit(
                case.dispatch,
                case.message(id="evt-at-once", data={"status": text}),
                services=case.stand.fresh(DispatcherServices),
            )
            for text in ("a", "b")
        ]
        assert [answer.result() for answer in answers] == [[], []]
    assert sorted(request.json["data"]["status"] for request in hook.requests) == ["a", "b"]
    [line] = case.log.lines("event_conflict")
    assert line["delivery_id"] == case.delivery().id
    assert len(case.executions()) == 1
