"""Rows 64 to 66 and 68: short retries, whose executions run twice, late or never.

moto answers a second start of a name with the first execution, and restarts none, so the tests call
the function themselves.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from local import template
from support.faults import answer_lost
from support.receiver import Answer
from support.short_retries import (
    after_another_claim,
    claimed_by_another,
    fail_once,
    operations,
    run,
    services,
)
from webhooks.domain.delivery import Status
from webhooks.domain.errors import DeliveryInterruptedError, UnavailableError
from webhooks.domain.jobs import Action
from webhooks.domain.overdue import MOST_CLAIMS
from webhooks.services.retrier import LEASE_SECONDS
from webhooks.wiring.worker import WorkerServices

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.fault_harness import Case
    from support.receiver import Receiver, Request

    MakeReceiver = Callable[..., Receiver]


def test_row_64_a_short_retry_is_recorded_before_it_is_started(
    case: Case, receiver: MakeReceiver
) -> None:
    case.webhook(receiver(Answer(500)))
    state = fail_once(case)
    assert operations(case) == ["PutItem", "StartExecution"]
    delivery = case.delivery()
    assert (delivery.status, delivery.short, delivery.generation) == (Status.RETRYING, True, 0)
    # A lost start, or a lost execution, leaves the mark by which the sweep finds it.
    assert delivery.next_attempt_at_ms is not None
    assert case.executions() == []

    case.stand.faults.clear()
    run(case, state)
    # The claim, the result, and the next start.
    assert operations(case) == ["UpdateItem", "UpdateItem", "StartExecution"]


def test_row_64_a_first_retry_waits_five_seconds_and_no_second_more(
    case: Case, receiver: MakeReceiver
) -> None:
    case.webhook(receiver(Answer(500)))
    state = fail_once(case)
    # Five, less the time of a busy machine from the record to the start.
    assert 0 < state["seconds"] <= 5
    attempt = case.delivery().attempts[0]
    due_ms = case.delivery().next_attempt_at_ms or 0
    failed_ms = attempt.started_at_ms + attempt.duration_ms
    assert 5_000 <= due_ms - failed_ms < 6_000


def test_row_64_a_schedule_runs_both_machines(case: Case, receiver: MakeReceiver) -> None:
    hook = receiver(Answer(500))
    case.webhook(hook)
    first = fail_once(case)
    run(case, first)
    [second] = [one for one in case.short_executions() if one != first]
    assert second["attempt"] == 3
    run(case, second)
    # 300 seconds are no short delay.
    [long] = case.executions()
    assert (long["attempt"], long["seconds"] > 290) == (4, True)
    assert not case.delivery().short
    assert len(hook.requests) == 3


def test_row_65_an_execution_that_runs_twice_sends_once(case: Case, receiver: MakeReceiver) -> None:
    hook = receiver(Answer(500))
    case.webhook(hook)
    state = fail_once(case)
    for _ in range(3):
        assert run(case, state)["decision"] == "done"
    assert len(hook.requests) == 2
    assert [attempt.number for attempt in case.delivery().attempts] == [1, 2]


def test_row_65_a_second_run_during_the_attempt_ends_without_a_post(
    case: Case, receiver: MakeReceiver
) -> None:
    state: dict[str, Any] = {}
    second: list[Any] = []

    def answer(_: Request) -> Answer:
        if state and not second:
            second.append(run(case, state))
        return Answer(500)

    hook = receiver(answer)
    case.webhook(hook)
    state |= fail_once(case)
    run(case, state)
    assert second[0]["decision"] == "done"
    assert len(hook.requests) == 2
    assert [attempt.number for attempt in case.delivery().attempts] == [1, 2]


def test_row_65_an_execution_that_runs_late_finds_its_attempt_made(
    case: Case, receiver: MakeReceiver
) -> None:
    hook = receiver(Answer(500), Answer(500), Answer(200))
    case.webhook(hook)
    first = fail_once(case)
    run(case, first)
    [second] = [one for one in case.short_executions() if one != first]
    run(case, second)
    assert case.delivery().status is Status.SUCCEEDED
    for state in (first, second):
        assert run(case, state, late_seconds=3_600)["decision"] == "done"
    assert len(hook.requests) == 3


def test_row_65_a_run_that_died_with_its_claim_is_nobodys_until_the_lease_is_over(
    case: Case, receiver: MakeReceiver
) -> None:
    hook = receiver(Answer(500), Answer(200))
    case.webhook(hook)
    state = fail_once(case)
    claimed_by_another(case)
    assert run(case, state)["decision"] == "done"
    # The standard machine waits instead.
    verdict = case.retry({"action": Action.ATTEMPT, "state": state}, services(case, WorkerServices))
    assert verdict["decision"] == "wait"
    assert 80 < verdict["seconds"] <= LEASE_SECONDS
    assert len(hook.requests) == 1
    assert case.delivery().status is Status.RETRYING

    run(case, state, late_seconds=LEASE_SECONDS + 1)
    assert len(hook.requests) == 2
    assert case.delivery().status is Status.SUCCEEDED
    assert case.delivery().claim is None


def test_row_65_a_claim_whose_answer_is_lost_is_its_own(case: Case, receiver: MakeReceiver) -> None:
    hook = receiver(Answer(500), Answer(200))
    case.webhook(hook)
    state = fail_once(case)
    case.stand.faults.on("UpdateItem", answer_lost(), about="#claim.#to", times=1)
    run(case, state)
    assert len(hook.requests) == 2
    assert case.delivery().status is Status.SUCCEEDED


def test_row_65_our_own_trouble_before_the_post_gives_the_claim_up(
    case: Case, receiver: MakeReceiver
) -> None:
    hook = receiver(Answer(500), Answer(200))
    case.webhook(hook)
    state = fail_once(case)
    worker = services(case, WorkerServices)

    class Unresolved:
        def post(self, *_: object) -> Any:
            msg = "our own resolver"
            raise UnavailableError(msg)

    worker._sender = Unresolved()
    with pytest.raises(UnavailableError):
        case.retry({"action": Action.SHORT_ATTEMPT, "state": state}, worker)
    assert case.delivery().claim is None
    # The machine's next try makes the attempt at once.
    run(case, state)
    assert case.delivery().status is Status.SUCCEEDED


def test_row_65_the_lease_outlives_the_function_and_its_calls() -> None:
    function = template.load()["Resources"]["WorkerFunction"]["Properties"]
    slowest_call_seconds = 9
    assert function["Timeout"] + slowest_call_seconds < LEASE_SECONDS
    definition = json.loads(
        template.definition(template.load()["Resources"]["ShortRetryStateMachine"], {})
    )
    attempt = definition["States"]["Attempt"]
    [rule] = attempt["Retry"]
    delays = [
        min(rule["IntervalSeconds"] * rule["BackoffRate"] ** number, rule["MaxDelaySeconds"])
        for number in range(rule["MaxAttempts"])
    ]
    longest_wait_seconds = 60
    tries = 1 + rule["MaxAttempts"]
    assert longest_wait_seconds + tries * attempt["TimeoutSeconds"] + sum(delays) <= 280
    assert "Catch" not in attempt


def test_row_66_a_result_under_a_claim_that_is_anothers_by_now_is_dropped(
    case: Case, receiver: MakeReceiver
) -> None:
    hook = receiver(Answer(500), lambda _: after_another_claim(case, 500))
    case.webhook(hook)
    state = fail_once(case)
    run(case, state)
    delivery = case.delivery()
    assert len(delivery.attempts) == 1
    assert delivery.claim is not None
    assert delivery.claim.invocation == "dead"
    assert case.short_executions() == [state]


def test_row_66_a_success_wins_whatever_happened_meanwhile(
    case: Case, receiver: MakeReceiver
) -> None:
    hook = receiver(Answer(500), lambda _: after_another_claim(case, 200))
    case.webhook(hook)
    run(case, fail_once(case))
    delivery = case.delivery()
    assert (delivery.status, delivery.claim, delivery.next_attempt_at_ms) == (
        Status.SUCCEEDED,
        None,
        None,
    )


def test_row_68_a_delivery_without_a_result_time_and_again_ends_as_interrupted(
    case: Case, receiver: MakeReceiver
) -> None:
    hook = receiver(Answer(500))
    case.webhook(hook)
    state = fail_once(case)
    worker = services(case, WorkerServices)

    class Broken:
        def post(self, *_: object) -> Any:
            raise KeyError

    worker._sender = Broken()
    standard = {"action": Action.ATTEMPT, "state": state}
    for count in range(1, MOST_CLAIMS + 1):
        with pytest.raises(KeyError):
            case.retry(standard, worker)
        claim = case.delivery().claim
        assert claim is not None
        assert claim.count == count
    with pytest.raises(DeliveryInterruptedError):
        case.retry(standard, worker)
    assert len(hook.requests) == 1


def test_row_68_the_interrupted_one_is_a_dead_letter_at_once() -> None:
    definition = json.loads(
        template.definition(template.load()["Resources"]["RetryStateMachine"], {})
    )
    attempt = definition["States"]["Attempt"]
    [rule] = [
        one for one in attempt["Retry"] if one["ErrorEquals"] == [DeliveryInterruptedError.__name__]
    ]
    assert rule["MaxAttempts"] == 0
    assert attempt["Retry"].index(rule) < len(attempt["Retry"]) - 1
    [caught] = attempt["Catch"]
    assert caught["Next"] == "DeadLetterInterrupted"
