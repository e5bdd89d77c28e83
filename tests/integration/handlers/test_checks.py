"""A check of a receiver on the real adapters: its store, its step, and the untouched state."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest

import worker.handler
from support import samples
from support.backend import Backend, backend, lambda_context
from support.http_api import ApiOnFakes
from support.receiver import Answer, Receiver
from support.stores import on_dynamodb
from webhooks.domain.delivery import FailureReason, Outcome
from webhooks.domain.errors import UnavailableError
from webhooks.domain.jobs.check import Check, CheckRequest, CheckStatus, check_id, judge
from webhooks.domain.rate_limit import RateLimit
from webhooks.domain.signing import sendcomms_signature
from webhooks.wiring.worker import WorkerServices

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.http_api import AccountClient
    from support.receiver import Request
    from support.stores import Clock, Stores

"""The real time: the items of these handlers expire by the real clock."""

DAY_SECONDS = 86_400
OUTCOMES = {
    CheckRequest.VALID: Outcome(status_code=204, duration_ms=12),
    CheckRequest.UNSIGNED: Outcome(FailureReason.HTTP_STATUS, 401, 3),
    CheckRequest.STALE_TIMESTAMP: Outcome(FailureReason.TIMEOUT, duration_ms=5000),
}


def check_of(**changes: Any) -> Check:
    values: dict[str, Any] = {
        "account_id": "acc_1",
        "webhook_id": samples.WEBHOOK_ID,
        "id": check_id(samples.NOW_MS * 1_000_000, bytes(8)),
        "created_at_ms": samples.NOW_MS,
        "updated_at_ms": samples.NOW_MS,
        **changes,
    }
    return Check(**values)


def test_a_check_comes_back_as_it_was_put_in_and_ends_once(stores: Stores) -> None:
    check = check_of()
    stores.checks.create(check)
    stores.checks.create(check)
    assert stores.checks.get(check.key) == check
    ended = check.completed(OUTCOMES, samples.NOW_MS + 9)
    assert stores.checks.save(check, ended)
    assert stores.checks.save(check, ended), "a lost answer"
    assert not stores.checks.save(check, check.failed("internal_error", samples.NOW_MS + 10))
    assert stores.checks.get(check.key) == ended


def test_a_check_is_found_by_its_own_webhook_alone(stores: Stores) -> None:
    check = check_of()
    stores.checks.create(check)
    for key in (
        check.key._replace(account_id="acc_2"),
        check.key._replace(webhook_id=samples.webhook(2).id),
        check.key._replace(check_id=check_id((samples.NOW_MS + 1) * 1_000_000, bytes(8))),
    ):
        assert stores.checks.get(key) is None
    failed = check.failed("webhook_deleted", samples.NOW_MS)
    assert stores.checks.save(check, failed)
    assert stores.checks.get(check.key) == failed


def test_an_absent_check_has_no_end(stores: Stores) -> None:
    assert not stores.checks.save(check_of(), check_of().completed(OUTCOMES, samples.NOW_MS))


def test_a_check_past_its_time_to_live_is_gone(dynamodb_stores: Stores, clock: Clock) -> None:
    dynamodb_stores.checks.create(check_of())
    clock.seconds += 31 * DAY_SECONDS
    assert dynamodb_stores.checks.get(check_of().key) is None


def test_a_missing_table_is_unavailable(dynamodb: Any, clock: Clock) -> None:
    stores = on_dynamodb(dynamodb, clock)
    dynamodb.delete_table(TableName="DeliveriesTable")
    for call in (
        lambda: stores.checks.create(check_of()),
        lambda: stores.checks.get(check_of().key),
        lambda: stores.checks.save(check_of(), check_of()),
    ):
        with pytest.raises(UnavailableError):
            call()


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[Backend]:
    with backend(monkeypatch) as aws_backend:
        yield aws_backend


def begun(aws: Backend, receiver: Receiver) -> Check:
    stores = on_dynamodb(aws.clients["dynamodb"], time.time)
    stores.webhooks.create(samples.webhook(url=receiver.url), samples.SECRET, limit=50)
    now_ms = int(time.time() * 1000)
    check = check_of(
        id=check_id(now_ms * 1_000_000, bytes(8)), created_at_ms=now_ms, updated_at_ms=now_ms
    )
    stores.checks.create(check)
    return check


def state_of(check: Check) -> dict[str, Any]:
    return {"version": 1, "action": "check", **check.key._asdict(), "seconds": 0}


def step(aws: Backend, state: dict[str, Any]) -> dict[str, Any]:
    return worker.handler.handle(state, lambda_context(45.0), aws.services(WorkerServices))


def stored(aws: Backend, check: Check) -> Check:
    found = on_dynamodb(aws.clients["dynamodb"], time.time).checks.get(check.key)
    assert found
    return found


def by_contract(request: Request) -> Answer:
    genuine = sendcomms_signature(samples.SECRET, request.body)
    return Answer(200 if request.headers.get("x-sendcomms-signature") == genuine else 401)


def test_a_check_is_one_step_that_reads_twice_and_writes_once(
    aws: Backend, capsys: pytest.CaptureFixture[str]
) -> None:
    with Receiver(by_contract) as receiver:
        check = begun(aws, receiver)
        dynamodb = aws.clients["dynamodb"]
        webhooks = dynamodb.scan(TableName="WebhooksTable")["Items"]
        aws.calls.clear()
        state = step(aws, state_of(check))
        assert aws.calls == {"GetItem": 2, "PutItem": 1}
        assert (state["decision"], state["check_id"]) == ("done", check.id)
        assert len(receiver.requests) == len(CheckRequest)
        assert step(aws, state_of(check))["decision"] == "done"
        assert len(receiver.requests) == len(CheckRequest), "it is made once"
    ended = stored(aws, check)
    assert judge(ended.outcomes).verified
    assert ended.outcomes[CheckRequest.OLD_SECRET].status_code == 401
    assert dynamodb.scan(TableName="WebhooksTable")["Items"] == webhooks
    [item] = dynamodb.scan(TableName="DeliveriesTable")["Items"]
    told = f"{capsys.readouterr().out}{item}{state}"
    assert check.id in told
    for secret in (samples.SECRET, "sha256=", "v1,", receiver.url):
        assert secret not in told


def test_a_receiver_that_fails_keeps_its_health_and_gets_one_request(aws: Backend) -> None:
    with Receiver(Answer(410)) as receiver:
        check = begun(aws, receiver)
        webhooks = aws.clients["dynamodb"].scan(TableName="WebhooksTable")["Items"]
        step(aws, state_of(check))
        assert len(receiver.requests) == 1
    assert stored(aws, check).outcomes.keys() == {CheckRequest.VALID}
    assert aws.clients["dynamodb"].scan(TableName="WebhooksTable")["Items"] == webhooks


def test_an_address_that_is_not_public_is_blocked_as_for_a_delivery(aws: Backend) -> None:
    with Receiver() as receiver:
        check = begun(aws, receiver)
        services = WorkerServices(aws.settings)
        worker.handler.handle(state_of(check), lambda_context(45.0), services)
        assert receiver.requests == []
    outcomes = stored(aws, check).outcomes
    assert [each.error for each in outcomes.values()] == [FailureReason.BLOCKED_ADDRESS]


def test_what_the_state_machine_gives_up_has_failed(aws: Backend) -> None:
    with Receiver() as receiver:
        check = begun(aws, receiver)
        step(aws, {"version": 1, "action": "abandon", "state": state_of(check)})
        assert receiver.requests == []
    ended = stored(aws, check)
    assert (ended.status, ended.reason) == (CheckStatus.FAILED, "internal_error")


def test_an_owner_reads_the_report_as_soon_as_there_is_one(
    on_fakes: ApiOnFakes, acme: AccountClient
) -> None:
    webhook = samples.webhook(account_id="acme")
    on_fakes.webhooks.create(webhook, samples.SECRET, limit=50)
    path = f"/api/v1/webhooks/{webhook.id}/check"
    once = {"Idempotency-Key": "once"}
    started = acme.call("POST", path, headers=once)
    assert started.status == 202
    assert acme.call("POST", path, headers=once).data == started.data
    assert started.data["status"] == "running"
    assert "verified" not in started.data
    [check] = on_fakes.check_store.jobs.values()
    on_fakes.check_store.save(check, check.completed(OUTCOMES, check.created_at_ms))
    report = acme.call("GET", f"{path}s/{check.id}").data
    assert (report["status"], report["verified"]) == ("completed", False)
    valid, unsigned, stale = report["requests"]
    assert (valid["request"], valid["expected"], valid["verdict"]) == (
        ("valid", "accepted", "passed")
    )
    assert (unsigned["status_code"], unsigned["error"]) == (401, "http_status")
    assert (stale["error"], stale["duration_ms"]) == ("timeout", 5000)
    assert "status_code" not in stale
    assert all(each["message"] for each in (report, *report["requests"]))


def test_a_check_is_refused_as_a_test_event_is() -> None:
    on_fakes = ApiOnFakes(limits={RateLimit.CALLS: 100, RateLimit.TESTS: 1})
    for number, active in ((1, True), (2, False)):
        webhook = samples.webhook(number, account_id="acme", active=active)
        on_fakes.webhooks.create(webhook, samples.SECRET, limit=50)
    paths = [f"/api/v1/webhooks/{samples.webhook(number).id}" for number in (1, 2)]
    assert on_fakes.acme.call("POST", f"{paths[0]}/check").status == 202
    refused = [
        on_fakes.acme.call("POST", f"{paths[0]}/check"),
        on_fakes.acme.call("POST", f"{paths[0]}/test", json={"event": "email.sent"}),
        on_fakes.acme.call("POST", f"{paths[1]}/check"),
    ]
    assert [(answer.status, answer.error["code"]) for answer in refused] == [
        (429, "too_many_tests"),
        (429, "too_many_tests"),
        (409, "webhook_disabled"),
    ]
    assert refused[0].headers["Retry-After"]
