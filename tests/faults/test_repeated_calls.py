"""Rows 90 and 91: a creating call that ends without an answer, and its repeat with its key."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

import pytest

from faults import log_capture
from faults.creating import CALLS, NO_TIME_LEFT, Caller
from faults.killed_process import AFTER, BEFORE, run_victim
from support import samples
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
from webhooks.domain.timestamps import to_text
from webhooks.domain.webhook import Secrets
from webhooks.wiring.api import ApiServices
from webhooks.wiring.dispatcher import DispatcherServices

if TYPE_CHECKING:
    from collections.abc import Callable

    from faults.fault_harness import Tenant
    from support.http_api import Answer
    from support.receiver import Receiver

    MakeReceiver = Callable[..., Receiver]

KINDS = [kind for kind in CALLS if kind != "events"]
"""Events have no ids except those of their content: they have a test of their own."""

ALIKE = {"named webhook", "own secret", "test", "check"}
"""The steps of these are a webhook's and a replay's."""
UNLIKE = [kind for kind in KINDS if kind not in ALIKE]
"""One kind for each different sequence of steps."""

CHANGES = {"rotation"}
"""Calls that change a resource, and add none."""


def undisturbed(caller: Caller) -> tuple[int, list[int]]:
    """Make a call without faults; returns its requests, and the number of items that it added."""
    # The use of a key is noted once an hour.
    assert caller.tenant.acme.call("GET").status == 200
    caller.begin()
    answer = caller.make()
    assert answer.status == caller.call.status, answer.text
    requests = len(caller.tenant.harness.faults.sent)
    more = added(caller)
    assert any(more) or caller.kind in CHANGES
    return requests, more


def added(caller: Caller) -> list[int]:
    """Return the number of items of each kind added since before the present call."""
    return [new - old for old, new in zip(caller.before, caller.made(), strict=True)]


def assert_made_once(caller: Caller, kind: str, answer: Answer, more: list[int]) -> None:
    """Assert a repeated call's answer: all that it names exists, and nothing else was made."""
    assert answer.status == caller.call.status, answer.text
    if kind in {"webhook", "named webhook", "put", "own secret"}:
        assert caller.secrets(answer.data["id"]).current == answer.data["secret"]
    elif kind == "rotation":
        secrets = caller.secrets(caller.webhook_id)
        assert secrets.current == answer.data["secret"]
        assert secrets.previous == log_capture.SECRET
    elif kind == "API key":
        api_key_service = caller.tenant.harness.services(ApiServices).api_key_service
        with caller.tenant.harness.faults.out_of_the_way():
            found = api_key_service.authenticate(f"Bearer {answer.data['key']}")
        assert found is not None
        assert found.id == answer.data["id"]
    again = caller.make()
    assert (again.status, again.text) == (answer.status, answer.text)
    assert again.headers["Idempotency-Replayed"] == "true"
    assert added(caller) == more


@pytest.mark.parametrize("kind", KINDS)
def test_row_90_killed_at_each_step_of_a_call(tenant: Tenant, kind: str) -> None:
    """After each of its requests, which is before the next one."""
    caller = Caller(tenant, kind)
    requests, more = undisturbed(caller)
    assert requests >= 4
    shown: set[str] = set()
    for step in range(requests):
        caller.begin()
        tenant.harness.faults.on(EVERY, ended_after(), skip=step, times=1)
        with pytest.raises(KilledError):
            caller.make(NO_TIME_LEFT)
        answer = caller.make()
        assert_made_once(caller, kind, answer, more)
        shown.add(answer.text)
    assert len(shown) == requests


@pytest.mark.parametrize("kind", ["webhook", "put", "API key", "rotation"])
def test_row_90_killed_again_and_again(tenant: Tenant, kind: str) -> None:
    caller = Caller(tenant, kind)
    requests, more = undisturbed(caller)
    caller.begin()
    for step in range(1, requests):
        tenant.harness.faults.on(EVERY, ended_after(), skip=step, times=1)
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
def test_row_90_killed_by_the_kernel(tenant: Tenant, when: str) -> None:
    caller = Caller(tenant, "webhook")
    _, more = undisturbed(caller)
    caller.begin()
    about = "IdempotencyTable" if "UpdateItem" in when else tenant.account
    settings = tenant.harness.aws.settings
    out_of_time = run_victim(
        settings, caller.event(), when, about=about, function="api", asked=0, left_ms=NO_TIME_LEFT
    )
    tenant.log.add(out_of_time)
    assert_made_once(caller, "webhook", caller.make(), more)


def test_row_90_a_killed_call_holds_its_key_for_as_long_as_it_had(tenant: Tenant) -> None:
    caller = Caller(tenant, "webhook")
    caller.begin()
    tenant.harness.faults.on("TransactWriteItems", ended_after(), times=1)
    with pytest.raises(KilledError):
        caller.make()
    early = caller.make()
    assert (early.status, early.error["code"]) == (409, "idempotency_in_progress")
    assert caller.made().webhooks == 1


@pytest.mark.parametrize("status", [200, 500])
def test_row_90_events_of_a_killed_publication_are_delivered_once(
    tenant: Tenant, receiver: MakeReceiver, status: int
) -> None:
    hook = receiver(Response(status))
    tenant.webhook(hook)
    caller = Caller(tenant, "events")
    documents = [
        {**json.loads(samples.event_text(account_id=tenant.account)), "transaction_id": f"txn_{n}"}
        for n in range(3)
    ]
    answers = set()
    for act in (ended_after(), ended_before(), None):
        caller.begin()
        if act is not None:
            tenant.harness.faults.on("UpdateItem", act, about="IdempotencyTable", times=1)
            with pytest.raises(KilledError):
                caller.make(NO_TIME_LEFT, documents)
        answer = caller.make(body=documents)
        assert answer.status == 202
        answers.add(answer.text)
    assert len(answers) == 1
    messages = tenant.harness.aws.queued()
    assert len(messages) == 3 + 6 + 3
    for message in messages:
        assert tenant.dispatch(message) == []
    assert len({one.event_id for one in tenant.deliveries()}) == 3
    assert len(hook.requests) == 3


@pytest.mark.parametrize("kind", UNLIKE)
def test_row_91_the_outcome_of_a_step_is_not_known(tenant: Tenant, kind: str) -> None:
    """A step is done, and none of the SDK's tries gets its answer: the call fails on our side."""
    caller = Caller(tenant, kind)
    requests, more = undisturbed(caller)
    failures = 0
    for step in range(2, requests):
        caller.begin()
        tenant.harness.faults.on(EVERY, answer_lost(), skip=step, times=SDK_TRIES)
        # So little time is left that the key is free again though its record could not be written.
        failed = caller.make(NO_TIME_LEFT)
        assert failed.status in {503, caller.call.status}, failed.text
        failures += failed.status == 503
        tenant.harness.faults.heal()
        answer = caller.make()
        assert_made_once(caller, kind, answer, more)
        if failed.status == caller.call.status:
            assert answer.text == failed.text
    assert failures


@pytest.mark.parametrize("kind", UNLIKE)
def test_row_91_one_answer_of_each_step_is_lost(tenant: Tenant, kind: str) -> None:
    caller = Caller(tenant, kind)
    requests, more = undisturbed(caller)
    for step in range(2, requests):
        caller.begin()
        tenant.harness.faults.on(EVERY, answer_lost(), skip=step, times=1)
        assert_made_once(caller, kind, caller.make(), more)


@pytest.mark.parametrize("kind", ["webhook", "put", "rotation"])
def test_row_91_a_call_that_may_have_been_done_is_made_with_no_other_body(
    tenant: Tenant, kind: str
) -> None:
    caller = Caller(tenant, kind)
    _, more = undisturbed(caller)
    caller.begin()
    url = caller.call.body.get("url")
    other = {"url": url, "events": ["email.sent"]} if url else {"overlap_seconds": 60}
    # A call that was refused may be corrected.
    assert caller.make(body={"unknown": 1}).status == 422
    for act in (answer_lost(), refused("ThrottlingException")):
        tenant.harness.faults.on("TransactWriteItems", act, times=SDK_TRIES)
        assert caller.make().status in {503, caller.call.status}
        tenant.harness.faults.heal()
        conflict = caller.make(body=other)
        assert (conflict.status, conflict.error["code"]) == (409, "idempotency_conflict")
    assert_made_once(caller, kind, caller.make(), more)


def test_row_90_a_rotation_that_another_has_followed_is_not_made_again(tenant: Tenant) -> None:
    """Its secret would come back, or replace a secret that a receiver uses."""
    caller = Caller(tenant, "rotation")
    for force, followers in ((False, 1), (True, 1), (False, 2), (True, 2)):
        caller.begin()
        body = {"force": True} if force else {}
        tenant.harness.faults.on("TransactWriteItems", ended_after(), times=1)
        with pytest.raises(KilledError):
            caller.make(NO_TIME_LEFT, body)
        for _ in range(followers):
            path = f"/api/v1/webhooks/{caller.webhook_id}/rotate-secret"
            assert tenant.acme.call("POST", path, json={"force": True}).status == 200
        before = caller.secrets(caller.webhook_id)
        for _ in range(2):
            late = caller.make(body=body)
            assert (late.status, late.error["code"]) == (409, "rotation_conflict")
        assert caller.secrets(caller.webhook_id) == before


@pytest.mark.parametrize("moved", [False, True])
def test_row_90_a_repeated_rotation_says_until_when_the_old_secret_signs(
    tenant: Tenant, moved: bool
) -> None:
    caller = Caller(tenant, "rotation")
    caller.begin()
    for act in (ended_before(), ended_after()):
        tenant.harness.faults.on("TransactWriteItems", act, times=1)
        with pytest.raises(KilledError):
            caller.make(NO_TIME_LEFT)
        # The overlap of the second try begins later than the call's first.
        time.sleep(0.05)
    secrets = caller.secrets(caller.webhook_id)
    assert secrets.current is not None
    if moved:
        destinations = tenant.harness.services(DispatcherServices)._destinations
        destinations.end_overlap(tenant.account, caller.webhook_id, secrets.current)
    answer = caller.make()
    assert (answer.status, answer.data["secret"]) == (200, secrets.current)
    until = None if moved else to_text(secrets.previous_expires_at_ms)
    assert answer.data.get("previous_secret_expires_at") == until


def test_row_90_a_repeated_rotation_warns_of_the_overlap_that_it_ended(tenant: Tenant) -> None:
    caller = Caller(tenant, "rotation")
    caller.begin()
    path = f"/api/v1/webhooks/{caller.webhook_id}/rotate-secret"
    assert tenant.acme.call("POST", path).status == 200
    forced = '"ended_overlap": {"BOOL": true}'
    tenant.harness.faults.on("TransactWriteItems", ended_after(), about=forced, times=1)
    with pytest.raises(KilledError):
        caller.make(NO_TIME_LEFT, {"force": True})
    secrets = caller.secrets(caller.webhook_id)
    answer = caller.make(body={"force": True})
    assert (answer.status, answer.data["secret"]) == (200, secrets.current)
    assert [each["field"] for each in answer.json["warnings"]] == ["force"]
    assert caller.secrets(caller.webhook_id) == secrets


def test_row_90_a_restored_secret_has_no_old_one_in_a_repeat(tenant: Tenant) -> None:
    caller = Caller(tenant, "rotation")
    caller.begin()
    tenant.lose_secret()
    tenant.harness.faults.on("UpdateItem", ended_after(), about="SET #secret = :secret", times=1)
    with pytest.raises(KilledError):
        caller.make(NO_TIME_LEFT)
    answer = caller.make()
    assert answer.status == 200
    assert "previous_secret_expires_at" not in answer.data
    assert caller.secrets(caller.webhook_id) == Secrets(answer.data["secret"])
