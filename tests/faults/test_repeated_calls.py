"""Rows 90 and 91: a creating call that ends without an answer, and comes again with its key."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from support import samples, watch
from support.creating import CALLS, NO_TIME_LEFT, Caller
from support.faults import (
    EVERY,
    SDK_TRIES,
    KilledError,
    answer_lost,
    ended_after,
    ended_before,
    refused,
)
from support.receiver import Answer as Response
from support.victim import AFTER, BEFORE, run_victim

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.http_api import Answer
    from support.receiver import Receiver
    from support.stand import Case

    MakeReceiver = Callable[..., Receiver]

KINDS = [kind for kind in CALLS if kind != "events"]
"""Events have no ids but those of their content: they have a test of their own."""

UNLIKE = [kind for kind in KINDS if kind not in {"named webhook", "own secret"}]
"""One of each that takes other steps than the others."""

CHANGES = {"rotation"}
"""Calls that change what is there, and add nothing."""


def undisturbed(caller: Caller) -> tuple[int, list[int]]:
    """Make a call that nothing happens to; returns its requests, and what the account has more."""
    # The use of a key is noted once an hour.
    assert caller.case.acme.call("GET").status == 200
    caller.begin()
    answer = caller.make()
    assert answer.status == caller.call.status, answer.text
    requests = len(caller.case.stand.faults.sent)
    more = added(caller)
    assert any(more) or caller.kind in CHANGES
    return requests, more


def added(caller: Caller) -> list[int]:
    """Return how much more of each the account has than before the present call."""
    return [new - old for old, new in zip(caller.before, caller.made(), strict=True)]


def assert_made_once(caller: Caller, kind: str, answer: Answer, more: list[int]) -> None:
    """Assert what a repeated call answered, that all it names is there, and nothing besides."""
    assert answer.status == caller.call.status, answer.text
    if kind in {"webhook", "named webhook", "put", "own secret"}:
        assert caller.secrets(answer.data["id"]).current == answer.data["secret"]
    elif kind == "rotation":
        secrets = caller.secrets(caller.webhook_id)
        assert secrets.current == answer.data["secret"]
        assert secrets.previous == watch.SECRET
    elif kind == "API key":
        keyring = caller.case.stand.services("api").keyring
        with caller.case.stand.faults.out_of_the_way():
            found = keyring.authenticate(f"Bearer {answer.data['key']}")
        assert found is not None
        assert found.id == answer.data["id"]
    again = caller.make()
    assert (again.status, again.text) == (answer.status, answer.text)
    assert again.headers["Idempotency-Replayed"] == "true"
    assert added(caller) == more


@pytest.mark.parametrize("kind", KINDS)
def test_row_90_killed_at_each_step_of_a_call(case: Case, kind: str) -> None:
    """After each of its requests, which is before the next one."""
    caller = Caller(case, kind)
    requests, more = undisturbed(caller)
    assert requests >= 4
    shown: set[str] = set()
    for step in range(requests):
        caller.begin()
        case.stand.faults.on(EVERY, ended_after(), skip=step, times=1)
        with pytest.raises(KilledError):
            caller.make(NO_TIME_LEFT)
        answer = caller.make()
        assert_made_once(caller, kind, answer, more)
        shown.add(answer.text)
    assert len(shown) == requests


@pytest.mark.parametrize("kind", ["webhook", "put", "API key", "rotation"])
def test_row_90_killed_again_and_again(case: Case, kind: str) -> None:
    caller = Caller(case, kind)
    requests, more = undisturbed(caller)
    caller.begin()
    for step in range(1, requests):
        case.stand.faults.on(EVERY, ended_after(), skip=step, times=1)
        with pytest.raises(KilledError):
            caller.make(NO_TIME_LEFT)
    assert_made_once(caller, kind, caller.make(), more)


@pytest.mark.parametrize(
    "when",
    [
        f"{BEFORE} TransactWriteItems",
        f"{AFTER} TransactWriteItems",
        f"{BEFORE} UpdateItem",
        f"{AFTER} UpdateItem",
    ],
)
def test_row_90_killed_by_the_kernel(case: Case, when: str) -> None:
    caller = Caller(case, "webhook")
    _, more = undisturbed(caller)
    caller.begin()
    about = "IdempotencyTable" if "UpdateItem" in when else case.account
    settings = case.stand.aws.settings
    out_of_time = run_victim(
        settings, caller.event(), when, about=about, function="api", asked=0, left_ms=NO_TIME_LEFT
    )
    case.log.add(out_of_time)
    assert_made_once(caller, "webhook", caller.make(), more)


def test_row_90_a_killed_call_holds_its_key_for_as_long_as_it_had(case: Case) -> None:
    caller = Caller(case, "webhook")
    caller.begin()
    case.stand.faults.on("TransactWriteItems", ended_after(), times=1)
    with pytest.raises(KilledError):
        caller.make()
    early = caller.make()
    assert (early.status, early.error["code"]) == (409, "idempotency_in_progress")
    assert caller.made().webhooks == 1


@pytest.mark.parametrize("status", [200, 500])
def test_row_90_events_of_a_killed_publication_are_delivered_once(
    case: Case, receiver: MakeReceiver, status: int
) -> None:
    hook = receiver(Response(status))
    case.webhook(hook)
    caller = Caller(case, "events")
    documents = [
        {**json.loads(samples.event_text(account_id=case.account)), "transaction_id": f"txn_{n}"}
        for n in range(3)
    ]
    answers = set()
    for act in (ended_after(), ended_before(), None):
        caller.begin()
        if act is not None:
            case.stand.faults.on("UpdateItem", act, about="IdempotencyTable", times=1)
            with pytest.raises(KilledError):
                caller.make(NO_TIME_LEFT, documents)
        answer = caller.make(body=documents)
        assert answer.status == 202
        answers.add(answer.text)
    assert len(answers) == 1
    messages = case.stand.aws.queued()
    assert len(messages) == 3 + 6 + 3
    for message in messages:
        assert case.dispatch(message) == []
    assert len({one.event_id for one in case.deliveries()}) == 3
    assert len(hook.requests) == 3


@pytest.mark.parametrize("kind", UNLIKE)
def test_row_91_the_outcome_of_a_step_is_not_known(case: Case, kind: str) -> None:
    """A step is done, and none of the SDK's tries hears of it: the call fails on our side."""
    caller = Caller(case, kind)
    requests, more = undisturbed(caller)
    failures = 0
    for step in range(2, requests):
        caller.begin()
        case.stand.faults.on(EVERY, answer_lost(), skip=step, times=SDK_TRIES)
        # So little time is left that the key is free again though its record could not be written.
        failed = caller.make(NO_TIME_LEFT)
        assert failed.status in {503, caller.call.status}, failed.text
        failures += failed.status == 503
        case.stand.faults.heal()
        answer = caller.make()
        assert_made_once(caller, kind, answer, more)
        if failed.status == caller.call.status:
            assert answer.text == failed.text
    assert failures


@pytest.mark.parametrize("kind", UNLIKE)
def test_row_91_one_answer_of_each_step_is_lost(case: Case, kind: str) -> None:
    caller = Caller(case, kind)
    requests, more = undisturbed(caller)
    for step in range(2, requests):
        caller.begin()
        case.stand.faults.on(EVERY, answer_lost(), skip=step, times=1)
        assert_made_once(caller, kind, caller.make(), more)


def test_row_91_a_call_that_failed_may_be_corrected(case: Case) -> None:
    caller = Caller(case, "webhook")
    caller.begin()
    case.stand.faults.on("TransactWriteItems", refused("ThrottlingException"), times=SDK_TRIES)
    assert caller.make().status == 503
    wrong = caller.make(body={"url": caller.call.body["url"], "events": ["no"]})
    assert wrong.status == 422
    # What the first call may have made is not forgotten over that.
    case.stand.faults.on("TransactWriteItems", answer_lost(), times=SDK_TRIES)
    assert caller.make().status == 503
    other = {"url": caller.call.body["url"], "events": ["email.sent"]}
    assert caller.make(body={"url": 1}).status == 422
    answer = caller.make()
    assert answer.status == 201
    assert caller.made().webhooks == 1
    conflict = caller.make(body=other)
    assert (conflict.status, conflict.error["code"]) == (409, "idempotency_conflict")
