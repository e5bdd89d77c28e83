"""Checks of receivers: the requests, the proof in each response, and the course of a check."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from support import samples
from unit.services.jobs.check_fixture import (
    ACCEPTED,
    OTHER_SECRET,
    REFUSED,
    CheckFixture,
    ReceiverOf,
    by_both,
    by_contract,
    by_contract_and_clock,
    by_either,
    by_library,
    by_library_without_time,
    by_prefix,
    everything,
    failed,
    informed,
    nothing,
    only_where_signed,
    verdicts,
    with_any_of,
)
from webhooks.domain.delivery import FailureReason, Outcome
from webhooks.domain.errors import TooManyTestsError, UnavailableError, WebhookDisabledError
from webhooks.domain.jobs.check import AFTER_VALID, CheckRequest, CheckStatus, CheckVerdict, judge
from webhooks.domain.webhook import Secrets
from webhooks.services.jobs.check import PATIENCE_SECONDS, SECONDS_FOR_A_CHECK

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from unit.services.jobs.check_fixture import Verify

OF_TIME = {
    CheckRequest.STALE_TIMESTAMP,
    CheckRequest.FUTURE_TIMESTAMP,
    CheckRequest.TAMPERED_TIMESTAMP,
}


@pytest.mark.parametrize(
    ("verify", "expected_failures", "information"),
    [
        (by_contract, set(), {CheckRequest.DUPLICATE, *OF_TIME}),
        (by_library, set(), {CheckRequest.DUPLICATE}),
        (by_both, set(), {CheckRequest.DUPLICATE}),
        (by_either, set(), {CheckRequest.DUPLICATE, *OF_TIME}),
        (by_contract_and_clock, set(), {CheckRequest.DUPLICATE, CheckRequest.TAMPERED_TIMESTAMP}),
        (
            by_library_without_time,
            {CheckRequest.STALE_TIMESTAMP, CheckRequest.FUTURE_TIMESTAMP},
            {CheckRequest.DUPLICATE},
        ),
        (only_where_signed, {CheckRequest.UNSIGNED}, {CheckRequest.DUPLICATE, *OF_TIME}),
        (by_prefix, {CheckRequest.TRUNCATED_SIGNATURE}, {CheckRequest.DUPLICATE, *OF_TIME}),
        (nothing, set(AFTER_VALID) - {CheckRequest.DUPLICATE}, {CheckRequest.DUPLICATE}),
    ],
)
def test_a_receiver_is_verified_where_it_accepts_nothing_that_its_signature_gives_away(
    verify: Verify, expected_failures: set[CheckRequest], information: set[CheckRequest]
) -> None:
    check = CheckFixture(verify).check()
    assert check.status is CheckStatus.COMPLETED
    assert set(check.outcomes) == set(CheckRequest)
    assert failed(check.outcomes) == expected_failures
    assert informed(check.outcomes) == information
    assert judge(check.outcomes).verified == (not expected_failures)


def test_a_receiver_that_refuses_everything_is_sent_no_more_than_the_valid_request() -> None:
    fixture = CheckFixture(everything)
    check = fixture.check()
    assert len(fixture.receiver.came) == 1
    report = judge(check.outcomes)
    assert [finding.request for finding in report.findings] == [CheckRequest.VALID]
    assert not report.verified
    assert "genuine" in report.message
    assert "secret" in report.findings[0].message


def test_a_secret_that_was_rotated_away_is_found_where_the_receiver_still_takes_it() -> None:
    fixture = CheckFixture(with_any_of(samples.SECRET, OTHER_SECRET))
    retired = Secrets(samples.SECRET, OTHER_SECRET, samples.NOW_MS)
    fixture.webhooks.add(fixture.webhook, retired)
    assert failed(fixture.check().outcomes) == {CheckRequest.OLD_SECRET}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, {"nothing is left to do"}),
        ({CheckRequest.DUPLICATE: 409}, {"duplicate"}),
        ({CheckRequest.UNSIGNED: 400}, {"return 401"}),
        ({CheckRequest.UNSIGNED: 500, CheckRequest.DUPLICATE: 409}, {"return 401", "duplicate"}),
        ({CheckRequest.UNSIGNED: 403}, {"nothing is left to do"}),
    ],
)
def test_what_a_verified_receiver_had_better_do_is_in_the_first_sentence_too(
    changes: dict[CheckRequest, int], said: set[str]
) -> None:
    genuine = dict.fromkeys((probe for probe in CheckRequest if probe.genuine), ACCEPTED)
    refused = {
        probe: Outcome(FailureReason.HTTP_STATUS, status) for probe, status in changes.items()
    }
    report = judge({**dict.fromkeys(CheckRequest, REFUSED), **genuine, **refused})
    assert report.verified
    pieces = {"nothing is left to do", "return 401", "duplicate"}
    assert {piece for piece in pieces if piece in report.message} == said
    for finding in report.findings:
        if finding.request in changes and finding.outcome.status_code != 403:
            assert "eturn" in finding.message


@pytest.mark.parametrize("known", [samples.SECRET, OTHER_SECRET])
@pytest.mark.parametrize("verify", [by_contract, by_library, by_both])
def test_during_a_rotation_both_secrets_are_fine_and_nothing_else_is(
    verify: Verify, known: str
) -> None:
    fixture = CheckFixture(verify)
    secrets = Secrets(samples.SECRET, OTHER_SECRET, samples.NOW_MS + 60_000)
    fixture.webhooks.add(fixture.webhook, secrets)
    fixture.receiver.secret = known
    check = fixture.check()
    assert failed(check.outcomes) == set()
    assert fixture.webhooks.webhooks[fixture.webhook.account_id, fixture.webhook.id][1] == secrets


@pytest.mark.parametrize("status", [400, 404, 422, 500])
def test_during_a_rotation_a_receiver_may_refuse_a_signature_in_its_own_way(status: int) -> None:
    """A delivery is then repeated with the new secret, and the check's result is a delivery's."""

    class Own(ReceiverOf):
        def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> Outcome:
            outcome = super().post(url, body, headers)
            return outcome if outcome.succeeded else replace(outcome, status_code=status)

    fixture = CheckFixture(by_contract)
    fixture.webhooks.add(
        fixture.webhook, Secrets(samples.SECRET, OTHER_SECRET, samples.NOW_MS + 60_000)
    )
    fixture.receiver.__class__ = Own
    assert failed(fixture.check().outcomes) == set()
    fixture.receiver.secret = "whsec_" + "0" * 64
    check = fixture.check()
    assert check.outcomes[CheckRequest.VALID].status_code == status


@pytest.mark.parametrize(
    ("status", "verdict"),
    [
        (400, CheckVerdict.PASSED),
        (302, CheckVerdict.PASSED),
        (500, CheckVerdict.PASSED),
        (429, CheckVerdict.FAILED),
        (503, CheckVerdict.FAILED),
    ],
)
def test_what_is_not_accepted_counts_as_refused_unless_nobody_looked_at_it(
    status: int, verdict: CheckVerdict
) -> None:
    outcome = Outcome(FailureReason.HTTP_STATUS, status)
    answers = {
        **dict.fromkeys(CheckRequest, REFUSED),
        CheckRequest.VALID: ACCEPTED,
        CheckRequest.UNSIGNED: outcome,
    }
    assert verdicts(answers)[CheckRequest.UNSIGNED] is verdict
    assert judge(answers).verified is (verdict is CheckVerdict.PASSED)


@pytest.mark.parametrize("error", [error for error in FailureReason if error != "http_status"])
def test_what_got_no_response_proves_nothing(error: FailureReason) -> None:
    silent = Outcome(error)
    assert failed({CheckRequest.VALID: silent}) == {CheckRequest.VALID}
    answers: dict[CheckRequest, Outcome] = {
        CheckRequest.VALID: ACCEPTED,
        **dict.fromkeys(AFTER_VALID, silent),
    }
    report = judge(answers)
    assert failed(answers) == set(AFTER_VALID) - {CheckRequest.DUPLICATE}
    assert not report.verified
    assert "check again" in report.message


def test_a_check_is_started_with_a_record_and_counts_as_a_test_event() -> None:
    fixture = CheckFixture()
    check = fixture.checks.start(fixture.webhook)
    assert fixture.scheduler.keys == [check.key]
    assert fixture.checks.get(fixture.webhook, check.id) == check
    assert (check.status, check.outcomes) == (CheckStatus.RUNNING, {})
    assert fixture.checks.get(samples.webhook(2), check.id) is None
    assert fixture.checks.get(fixture.webhook, "x") is None
    fixture.checks.start(fixture.webhook)
    with pytest.raises(TooManyTestsError):
        fixture.checks.start(fixture.webhook)
    assert len(fixture.scheduler.started) == 2


def test_a_webhook_that_is_disabled_is_not_checked() -> None:
    fixture = CheckFixture(active=False)
    with pytest.raises(WebhookDisabledError):
        fixture.checks.start(fixture.webhook)
    assert not fixture.store.jobs


def test_a_check_that_could_not_be_started_says_so() -> None:
    fixture = CheckFixture()
    fixture.scheduler.failures.plan("start", True)
    with pytest.raises(UnavailableError):
        fixture.checks.start(fixture.webhook)
    [check] = fixture.store.jobs.values()
    assert (check.status, check.reason) == (CheckStatus.FAILED, "not_started")


def test_a_check_is_made_once() -> None:
    fixture = CheckFixture()
    check = fixture.check()
    assert fixture.carry_out(check) == check
    assert len(fixture.receiver.came) == len(CheckRequest)
    fixture.check_job.step(check.key._replace(check_id="another"), lambda: 45.0)
    assert len(fixture.receiver.came) == len(CheckRequest)


@pytest.mark.parametrize(
    ("reason", "change"),
    [
        ("webhook_deleted", lambda fixture: fixture.webhooks.delete("acc_1", fixture.webhook.id)),
        (
            "webhook_disabled",
            lambda fixture: fixture.webhooks.add(
                replace(fixture.webhook, active=False), Secrets(samples.SECRET)
            ),
        ),
        ("secret_missing", lambda fixture: fixture.webhooks.add(fixture.webhook, Secrets(None))),
        (
            "internal_error",
            lambda fixture: setattr(
                fixture, "now_ms", fixture.now_ms + int(PATIENCE_SECONDS * 1000) + 1
            ),
        ),
    ],
)
def test_a_check_that_cannot_be_made_any_more_fails_and_sends_nothing(
    reason: str, change: Callable[[CheckFixture], object]
) -> None:
    fixture = CheckFixture()
    check = fixture.checks.start(fixture.webhook)
    change(fixture)
    after = fixture.carry_out(check)
    assert (after.status, after.reason, after.outcomes) == (CheckStatus.FAILED, reason, {})
    assert fixture.receiver.came == []


def test_a_step_without_the_time_for_it_sends_nothing() -> None:
    fixture = CheckFixture()
    check = fixture.checks.start(fixture.webhook)
    fixture.remaining = SECONDS_FOR_A_CHECK - 1
    with pytest.raises(UnavailableError):
        fixture.carry_out(check)
    assert fixture.receiver.came == []
    assert fixture.now(check).running


def test_a_fault_of_ours_amid_a_check_has_all_of_it_made_again() -> None:
    fixture = CheckFixture()
    check = fixture.checks.start(fixture.webhook)
    fixture.receiver.failures.plan("post", False, False, True)
    with pytest.raises(UnavailableError):
        fixture.carry_out(check)
    assert fixture.now(check).running
    assert set(fixture.carry_out(check).outcomes) == set(CheckRequest)


def test_a_check_that_is_given_up_has_failed_unless_it_was_made() -> None:
    fixture = CheckFixture()
    given_up = fixture.checks.start(fixture.webhook)
    fixture.check_job.abandon(given_up.key)
    assert fixture.now(given_up).reason == "internal_error"
    fixture.now_ms += 1
    made = fixture.check()
    fixture.check_job.abandon(made.key)
    assert fixture.now(made) == made


def test_no_secret_and_no_signature_is_kept_or_logged() -> None:
    fixture = CheckFixture()
    check = fixture.check()
    signatures = [
        part
        for _, headers in fixture.receiver.came
        for name in ("X-SendComms-Signature", "webhook-signature")
        for part in headers.get(name, "").split(" ")
        if part
    ]
    assert len(signatures) == 2 * (len(CheckRequest) - 1)
    told = f"{check!r}{judge(check.outcomes)!r}{fixture.telemetry!r}{vars(fixture.telemetry)!r}"
    assert fixture.webhook.id in told
    for told_nowhere in (samples.SECRET, *signatures):
        assert told_nowhere not in told
