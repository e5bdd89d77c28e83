"""Rows 64 to 66 and 68: short retries, whose executions run twice, late or never.

moto answers a second start of a name with the first execution, and restarts none, so the tests call
the function themselves.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from faults.short_retries import (
    after_another_claim,
    claimed_by_another,
    fail_once,
    operations,
    run,
    services,
)
from local import template
from support.faults import answer_lost
from support.receiver import Answer
from webhooks.domain.delivery import Status
from webhooks.domain.errors import DeliveryInterruptedError, UnavailableError
from webhooks.domain.jobs import Action
from webhooks.domain.overdue import MOST_CLAIMS
from webhooks.services.retrier import LEASE_SECONDS
from webhooks.wiring.worker import WorkerServices

if TYPE_CHECKING:
    from collections.abc import Callable

    from faults.fault_harness import Tenant
    from support.receiver import Receiver, Request

    MakeReceiver = Callable[..., Receiver]


def test_row_64_a_short_retry_is_recorded_before_it_is_started(
    tenant: Tenant, receiver: MakeReceiver
) -> None:
    tenant.webhook(receiver(Answer(500)))
    state = fail_once(tenant)
    assert operations(tenant) == ["PutItem", "StartExecution"]
    delivery = tenant.delivery()
    assert (delivery.status, delivery.short, delivery.generation) == (Status.RETRYING, True, 0)
    # A lost start, or a lost execution, leaves the mark by which the sweep finds it.
    assert delivery.next_attempt_at_ms is not None
    assert tenant.executions() == []

    tenant.harness.faults.clear()
    run(tenant, state)
    # The claim, the result, and the next start.
    assert operations(tenant) == ["UpdateItem", "UpdateItem", "StartExecution"]


def test_row_64_a_first_retry_waits_five_seconds_and_no_second_more(
    tenant: Tenant, receiver: MakeReceiver
) -> None:
    tenant.webhook(receiver(Answer(500)))
    state = fail_once(tenant)
    # Five, less the time of a busy machine from the record to the start.
    assert 0 < state["seconds"] <= 5
    attempt = tenant.delivery().attempts[0]
    due_ms = tenant.delivery().next_attempt_at_ms or 0
    failed_ms = attempt.started_at_ms + attempt.duration_ms
    assert 5_000 <= due_ms - failed_ms < 6_000


def test_row_64_a_schedule_runs_both_machines(tenant: Tenant, receiver: MakeReceiver) -> None:
    hook = receiver(Answer(500))
    tenant.webhook(hook)
    first = fail_once(tenant)
    run(tenant, first)
    [second] = [one for one in tenant.short_executions() if one != first]
    assert second["attempt"] == 3
    run(tenant, second)
    # 300 seconds are no short delay.
    [long] = tenant.executions()
    assert (long["attempt"], long["seconds"] > 290) == (4, True)
    assert not tenant.delivery().short
    assert len(hook.requests) == 3


def test_row_65_an_execution_that_runs_twice_sends_once(
    tenant: Tenant, receiver: MakeReceiver
) -> None:
    hook = receiver(Answer(500))
    tenant.webhook(hook)
    state = fail_once(tenant)
    for _ in range(3):
        assert run(tenant, state)["decision"] == "done"
    assert len(hook.requests) == 2
    assert [attempt.number for attempt in tenant.delivery().attempts] == [1, 2]


def test_row_65_a_second_run_during_the_attempt_ends_without_a_post(
    tenant: Tenant, receiver: MakeReceiver
) -> None:
    state: dict[str, Any] = {}
    second: list[Any] = []

    def answer(_: Request) -> Answer:
        if state and not second:
            second.append(run(tenant, state))
        return Answer(500)

    hook = receiver(answer)
    tenant.webhook(hook)
    state |= fail_once(tenant)
    run(tenant, state)
    assert second[0]["decision"] == "done"
    assert len(hook.requests) == 2
    assert [attempt.number for attempt in tenant.delivery().attempts] == [1, 2]


def test_row_65_an_execution_that_runs_late_finds_its_attempt_made(
    tenant: Tenant, receiver: MakeReceiver
) -> None:
    hook = receiver(Answer(500), Answer(500), Answer(200))
    tenant.webhook(hook)
    first = fail_once(tenant)
    run(tenant, first)
    [second] = [one for one in tenant.short_executions() if one != first]
    run(tenant, second)
    assert tenant.delivery().status is Status.SUCCEEDED
    for state in (first, second):
        assert run(tenant, state, late_seconds=3_600)["decision"] == "done"
    assert len(hook.requests) == 3


def test_row_65_a_run_that_died_with_its_claim_is_nobodys_until_the_lease_is_over(
    tenant: Tenant, receiver: MakeReceiver
) -> None:
    hook = receiver(Answer(500), Answer(200))
    tenant.webhook(hook)
    state = fail_once(tenant)
    claimed_by_another(tenant)
    assert run(tenant, state)["decision"] == "done"
    # The standard machine waits instead.
    verdict = tenant.retry(
        {"action": Action.ATTEMPT, "state": state}, services(tenant, WorkerServices)
    )
    assert verdict["decision"] == "wait"
    assert 80 < verdict["seconds"] <= LEASE_SECONDS
    assert len(hook.requests) == 1
    assert tenant.delivery().status is Status.RETRYING

    run(tenant, state, late_seconds=LEASE_SECONDS + 1)
    assert len(hook.requests) == 2
    assert tenant.delivery().status is Status.SUCCEEDED
    assert tenant.delivery().claim is None


def test_row_65_a_claim_whose_answer_is_lost_is_its_own(
    tenant: Tenant, receiver: MakeReceiver
) -> None:
    hook = receiver(Answer(500), Answer(200))
    tenant.webhook(hook)
    state = fail_once(tenant)
    tenant.harness.faults.on("UpdateItem", answer_lost(), about="#claim.#to", times=1)
    run(tenant, state)
    assert len(hook.requests) == 2
    assert tenant.delivery().status is Status.SUCCEEDED


def test_row_65_our_own_trouble_before_the_post_gives_the_claim_up(
    tenant: Tenant, receiver: MakeReceiver
) -> None:
    hook = receiver(Answer(500), Answer(200))
    tenant.webhook(hook)
    state = fail_once(tenant)
    worker = services(tenant, WorkerServices)

    class Unresolved:
        def post(self, *_: object) -> Any:
            msg = "our own resolver"
            raise UnavailableError(msg)

    worker._sender = Unresolved()
    with pytest.raises(UnavailableError):
        tenant.retry({"action": Action.SHORT_ATTEMPT, "state": state}, worker)
    assert tenant.delivery().claim is None
    # The machine's next try makes the attempt at once.
    run(tenant, state)
    assert tenant.delivery().status is Status.SUCCEEDED


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
    tenant: Tenant, receiver: MakeReceiver
) -> None:
    hook = receiver(Answer(500), lambda _: after_another_claim(tenant, 500))
    tenant.webhook(hook)
    state = fail_once(tenant)
    run(tenant, state)
    delivery = tenant.delivery()
    assert len(delivery.attempts) == 1
    assert delivery.claim is not None
    assert delivery.claim.invocation == "dead"
    assert tenant.short_executions() == [state]


def test_row_66_a_success_wins_whatever_happened_meanwhile(
    tenant: Tenant, receiver: MakeReceiver
) -> None:
    hook = receiver(Answer(500), lambda _: after_another_claim(tenant, 200))
    tenant.webhook(hook)
    run(tenant, fail_once(tenant))
    delivery = tenant.delivery()
    assert (delivery.status, delivery.claim, delivery.next_attempt_at_ms) == (
        Status.SUCCEEDED,
        None,
        None,
    )


def test_row_68_a_delivery_without_a_result_time_and_again_ends_as_interrupted(
    tenant: Tenant, receiver: MakeReceiver
) -> None:
    hook = receiver(Answer(500))
    tenant.webhook(hook)
    state = fail_once(tenant)
    worker = services(tenant, WorkerServices)

    class Broken:
        def post(self, *_: object) -> Any:
            raise KeyError

    worker._sender = Broken()
    standard = {"action": Action.ATTEMPT, "state": state}
    for count in range(1, MOST_CLAIMS + 1):
        with pytest.raises(KeyError):
            tenant.retry(standard, worker)
        claim = tenant.delivery().claim
        assert claim is not None
        assert claim.count == count
    with pytest.raises(DeliveryInterruptedError):
        tenant.retry(standard, worker)
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
