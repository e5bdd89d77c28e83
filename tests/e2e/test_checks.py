"""Receivers that verify well, in part, or not at all, checked through the running stack."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import pytest

from e2e.receivers import CONTRACT_SECRET
from support.receiver import Answer
from support.stack import eventually, run_module
from webhooks.domain.signing import standard_signature

if TYPE_CHECKING:
    from collections.abc import Callable

    from e2e.receivers import ExpressReceiver, StandardReceiver
    from support.receiver import Receiver, Request
    from support.stack import Account, Stack

OF_TIME = ["stale_timestamp", "future_timestamp", "tampered_timestamp"]
FORGED = ["tampered_body", "old_secret", "unsigned", "truncated_signature", *OF_TIME]


def report_of(account: Account, webhook_id: str) -> dict[str, Any]:
    """Check a webhook's receiver, and return the report."""
    path = f"/api/v1/webhooks/{webhook_id}/check"
    started = account.call("POST", path)
    assert started.status == 202, started.text

    def completed() -> dict[str, Any] | None:
        report: dict[str, Any] = account.call("GET", f"{path}s/{started.data['id']}").data
        return report if report["status"] != "running" else None

    report = eventually(completed, "the check's report")
    assert report["status"] == "completed"
    assert account.call("GET", f"/api/v1/webhooks/{webhook_id}/deliveries").data == []
    return report


def with_verdict(report: dict[str, Any], verdict: str) -> list[str]:
    return [each["request"] for each in report["requests"] if each["verdict"] == verdict]


@pytest.mark.node
@pytest.mark.parametrize("version", ["express4", "express5"])
def test_the_contracts_receiver_is_verified_and_told_about_time(
    account: Account, version: str, request: pytest.FixtureRequest
) -> None:
    receiver: ExpressReceiver = request.getfixturevalue(version)
    webhook = account.register(receiver.webhook_url, secret=CONTRACT_SECRET)
    report = report_of(account, webhook["id"])
    assert report["verified"], report
    assert with_verdict(report, "information") == ["duplicate", *OF_TIME]
    assert "webhook-signature" in report["message"]


@pytest.mark.node
def test_the_libraries_of_standard_webhooks_and_svix_are_verified_outright(
    account: Account, standard: StandardReceiver
) -> None:
    path = f"/checked/{account.id}"
    webhook = account.register(f"{standard.url}{path}")
    standard.learn(path, webhook["secret"])
    report = report_of(account, webhook["id"])
    assert report["verified"], report
    assert with_verdict(report, "passed") == ["valid", *FORGED]
    came = standard.wait_for_requests(9, lambda one: one.path == path)
    assert sorted(one.status for one in came) == [204, 204, *[401] * 7]


def ignoring_time(secret: str) -> Callable[[Request], Answer]:
    def verify(request: Request) -> Answer:
        headers = request.headers
        timestamp = int(headers["webhook-timestamp"])
        genuine = standard_signature(secret, headers["webhook-id"], timestamp, request.body)
        given = headers.get("webhook-signature", "").split(" ")
        return Answer(200 if genuine in given else 401)

    return verify


def test_a_receiver_that_ignores_the_time_is_found_out(
    account: Account, receiver: Receiver
) -> None:
    webhook = account.register(receiver.url)
    receiver.answer_with(ignoring_time(webhook["secret"]))
    report = report_of(account, webhook["id"])
    assert not report["verified"]
    assert with_verdict(report, "failed") == ["stale_timestamp", "future_timestamp"]
    genuine, *rest = receiver.requests
    assert len(rest) == 8
    assert abs(int(genuine.headers["webhook-timestamp"]) - time.time()) < 60
    assert all("A check of your receiver" in one.json["data"]["subject"] for one in rest)


def test_a_receiver_that_rejects_everything_is_asked_once(
    account: Account, receiver: Receiver
) -> None:
    receiver.answer_with(Answer(403))
    report = report_of(account, account.register(receiver.url)["id"])
    assert not report["verified"]
    assert with_verdict(report, "failed") == ["valid"]
    assert len(receiver.requests) == 1


def test_a_receiver_that_verifies_nothing_fails_the_command_too(
    stack: Stack, account: Account, receiver: Receiver
) -> None:
    webhook = account.register(receiver.url, ["email.opened"])
    access = {
        "SENDCOMMS_API_URL": stack.outputs["ApiUrl"],
        "SENDCOMMS_API_KEY": account.key,
    }
    directory = stack.outputs_file.parents[1]
    arguments = ["check", webhook["id"], "--json"]
    with run_module("cli", *arguments, directory=directory, **access) as command:
        assert command.wait() == 1, command.errors
        report = json.loads(command.output)
    assert not report["verified"]
    assert with_verdict(report, "failed") == FORGED
    assert {one.json["event"] for one in receiver.requests} == {"email.opened"}
    assert account.show(webhook["id"])["health"]["state"] == "healthy"
