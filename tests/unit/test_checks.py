"""Checks of receivers: what is sent, what each response proves, and what becomes of a check."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import pytest

from support import samples
from support.fakes import (
    Failures,
    FakeJobScheduler,
    FakeJobStore,
    FakeObserver,
    FakeRateLimitStore,
    FakeWebhookStore,
)
from support.http_api import LIMITS
from webhooks.domain.delivery import FailureReason, Outcome
from webhooks.domain.errors import TooManyTestsError, UnavailableError, WebhookDisabledError
from webhooks.domain.jobs.check import AFTER_VALID, Check, CheckStatus, Probe, Verdict, judge
from webhooks.domain.jobs.check_requests import Signers, forged, genuine, sample, unlive_secret
from webhooks.domain.payload import parse, serialize
from webhooks.domain.rate_limit import RateLimit
from webhooks.domain.signing import sendcomms_signature, standard_signature
from webhooks.domain.webhook import Secrets
from webhooks.services.jobs.check import (
    PATIENCE_SECONDS,
    SECONDS_FOR_A_CHECK,
    CheckJob,
    CheckService,
)
from webhooks.services.rate_limits import RateLimits

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from webhooks.domain.jobs.check_requests import Request

    Headers = Mapping[str, str]
    Verify = Callable[[str, bytes, Headers], bool]

NOW = samples.NOW_MS // 1000
OTHER_SECRET = "whsec_" + "cd" * 32
TOLERANCE_SECONDS = 300
ACCEPTED = Outcome(status_code=200, duration_ms=3)
REFUSED = Outcome(FailureReason.HTTP_STATUS, 401, duration_ms=3)


def by_contract(secret: str, body: bytes, headers: Headers) -> bool:
    """What the contract's receiver does."""
    return headers.get("X-SendComms-Signature") == sendcomms_signature(secret, body)


def by_library_without_time(secret: str, body: bytes, headers: Headers) -> bool:
    """What a Standard Webhooks library does, but for looking at the clock."""
    timestamp = int(headers["webhook-timestamp"])
    genuine = standard_signature(secret, headers["webhook-id"], timestamp, body)
    return genuine in headers.get("webhook-signature", "").split(" ")


def in_time(headers: Headers) -> bool:
    return abs(int(headers["webhook-timestamp"]) - NOW) <= TOLERANCE_SECONDS


def by_library(secret: str, body: bytes, headers: Headers) -> bool:
    return in_time(headers) and by_library_without_time(secret, body, headers)


def by_either(secret: str, body: bytes, headers: Headers) -> bool:
    return by_contract(secret, body, headers) or by_library(secret, body, headers)


def by_both(secret: str, body: bytes, headers: Headers) -> bool:
    return by_contract(secret, body, headers) and by_library(secret, body, headers)


def by_contract_and_clock(secret: str, body: bytes, headers: Headers) -> bool:
    return by_contract(secret, body, headers) and in_time(headers)


def only_where_signed(secret: str, body: bytes, headers: Headers) -> bool:
    return "X-SendComms-Signature" not in headers or by_contract(secret, body, headers)


def by_prefix(secret: str, body: bytes, headers: Headers) -> bool:
    given = headers.get("X-SendComms-Signature", "none")
    return sendcomms_signature(secret, body).startswith(given)


def nothing(secret: str, body: bytes, headers: Headers) -> bool:
    return True


def everything(secret: str, body: bytes, headers: Headers) -> bool:
    return False


def with_any_of(*secrets: str) -> Verify:
    def verify(_: str, body: bytes, headers: Headers) -> bool:
        return any(by_contract(secret, body, headers) for secret in secrets)

    return verify


@dataclass
class ReceiverOf:
    """A `Sender` whose receiver verifies in one of these ways, and remembers what came."""

    verify: Verify
    secret: str = samples.SECRET
    instead: Outcome | None = None
    came: list[tuple[bytes, dict[str, str]]] = field(default_factory=list)
    failures: Failures = field(default_factory=Failures)

    def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> Outcome:
        self.failures.check("post")
        self.came.append((body, dict(headers)))
        if self.instead is not None:
            return self.instead
        return ACCEPTED if self.verify(self.secret, body, headers) else REFUSED


class World:
    """A webhook, its receiver, and the services that check it."""

    def __init__(self, verify: Verify = by_both, **changes: Any) -> None:
        self.now_ms = samples.NOW_MS
        self.remaining = 45.0
        self.webhook = samples.webhook(**changes)
        self.webhooks = FakeWebhookStore()
        self.webhooks.add(self.webhook, Secrets(samples.SECRET))
        self.receiver = ReceiverOf(verify)
        self.store = FakeJobStore[Check]()
        self.scheduler = FakeJobScheduler()
        self.observer = FakeObserver()
        self.checks = CheckService(
            store=self.store,
            scheduler=self.scheduler,
            rate_limits=RateLimits(
                FakeRateLimitStore(),
                limits=LIMITS | {RateLimit.TESTS: 2},
                observer=self.observer,
                clock=self.clock,
            ),
            now_ns=lambda: self.now_ms * 1_000_000,
        )
        self.check_job = CheckJob(
            store=self.store,
            destinations=self.webhooks,
            sender=self.receiver,
            observer=self.observer,
            clock=self.clock,
        )

    def clock(self) -> float:
        return self.now_ms / 1000

    def now(self, check: Check) -> Check:
        return self.store.jobs[check.key]

    def carry_out(self, check: Check) -> Check:
        self.check_job.step(check.key, lambda: self.remaining)
        return self.now(check)

    def check(self) -> Check:
        return self.carry_out(self.checks.start(self.webhook))


def verdicts(outcomes: Mapping[Probe, Outcome]) -> dict[Probe, Verdict]:
    return {finding.probe: finding.verdict for finding in judge(outcomes).findings}


def failed(outcomes: Mapping[Probe, Outcome]) -> set[Probe]:
    return {probe for probe, verdict in verdicts(outcomes).items() if verdict is Verdict.FAILED}


def informed(outcomes: Mapping[Probe, Outcome]) -> set[Probe]:
    found = verdicts(outcomes).items()
    return {probe for probe, verdict in found if verdict is Verdict.INFORMATION}


OF_TIME = {Probe.STALE_TIMESTAMP, Probe.FUTURE_TIMESTAMP, Probe.TAMPERED_TIMESTAMP}


@pytest.mark.parametrize(
    ("verify", "expected_failures", "information"),
    [
        (by_contract, set(), {Probe.DUPLICATE, *OF_TIME}),
        (by_library, set(), {Probe.DUPLICATE}),
        (by_both, set(), {Probe.DUPLICATE}),
        (by_either, set(), {Probe.DUPLICATE, *OF_TIME}),
        (by_contract_and_clock, set(), {Probe.DUPLICATE, Probe.TAMPERED_TIMESTAMP}),
        (
            by_library_without_time,
            {Probe.STALE_TIMESTAMP, Probe.FUTURE_TIMESTAMP},
            {Probe.DUPLICATE},
        ),
        (only_where_signed, {Probe.UNSIGNED}, {Probe.DUPLICATE, *OF_TIME}),
        (by_prefix, {Probe.TRUNCATED_SIGNATURE}, {Probe.DUPLICATE, *OF_TIME}),
        (nothing, set(AFTER_VALID) - {Probe.DUPLICATE}, {Probe.DUPLICATE}),
    ],
)
def test_a_receiver_is_verified_where_it_accepts_nothing_that_its_signature_gives_away(
    verify: Verify, expected_failures: set[Probe], information: set[Probe]
) -> None:
    check = World(verify).check()
    assert check.status is CheckStatus.COMPLETED
    assert set(check.outcomes) == set(Probe)
    assert failed(check.outcomes) == expected_failures
    assert informed(check.outcomes) == information
    assert judge(check.outcomes).verified == (not expected_failures)


def test_a_receiver_that_refuses_everything_is_sent_no_more_than_the_valid_request() -> None:
    world = World(everything)
    check = world.check()
    assert len(world.receiver.came) == 1
    report = judge(check.outcomes)
    assert [finding.probe for finding in report.findings] == [Probe.VALID]
    assert not report.verified
    assert "genuine" in report.message
    assert "secret" in report.findings[0].message


def test_a_secret_that_was_rotated_away_is_found_where_the_receiver_still_takes_it() -> None:
    world = World(with_any_of(samples.SECRET, OTHER_SECRET))
    retired = Secrets(samples.SECRET, OTHER_SECRET, samples.NOW_MS)
    world.webhooks.add(world.webhook, retired)
    assert failed(world.check().outcomes) == {Probe.OLD_SECRET}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, {"nothing is left to do"}),
        ({Probe.DUPLICATE: 409}, {"duplicate"}),
        ({Probe.UNSIGNED: 400}, {"return 401"}),
        ({Probe.UNSIGNED: 500, Probe.DUPLICATE: 409}, {"return 401", "duplicate"}),
        ({Probe.UNSIGNED: 403}, {"nothing is left to do"}),
    ],
)
def test_what_a_verified_receiver_had_better_do_is_in_the_first_sentence_too(
    changes: dict[Probe, int], said: set[str]
) -> None:
    genuine = dict.fromkeys((probe for probe in Probe if probe.genuine), ACCEPTED)
    refused = {
        probe: Outcome(FailureReason.HTTP_STATUS, status) for probe, status in changes.items()
    }
    report = judge({**dict.fromkeys(Probe, REFUSED), **genuine, **refused})
    assert report.verified
    pieces = {"nothing is left to do", "return 401", "duplicate"}
    assert {piece for piece in pieces if piece in report.message} == said
    for finding in report.findings:
        if finding.probe in changes and finding.outcome.status_code != 403:
            assert "eturn" in finding.message


@pytest.mark.parametrize("known", [samples.SECRET, OTHER_SECRET])
@pytest.mark.parametrize("verify", [by_contract, by_library, by_both])
def test_during_a_rotation_both_secrets_are_fine_and_nothing_else_is(
    verify: Verify, known: str
) -> None:
    world = World(verify)
    secrets = Secrets(samples.SECRET, OTHER_SECRET, samples.NOW_MS + 60_000)
    world.webhooks.add(world.webhook, secrets)
    world.receiver.secret = known
    check = world.check()
    assert failed(check.outcomes) == set()
    assert world.webhooks.webhooks[world.webhook.account_id, world.webhook.id][1] == secrets


@pytest.mark.parametrize(
    ("status", "verdict"),
    [
        (400, Verdict.PASSED),
        (302, Verdict.PASSED),
        (500, Verdict.PASSED),
        (429, Verdict.FAILED),
        (503, Verdict.FAILED),
    ],
)
def test_what_is_not_accepted_counts_as_refused_unless_nobody_looked_at_it(
    status: int, verdict: Verdict
) -> None:
    outcome = Outcome(FailureReason.HTTP_STATUS, status)
    answers = {**dict.fromkeys(Probe, REFUSED), Probe.VALID: ACCEPTED, Probe.UNSIGNED: outcome}
    assert verdicts(answers)[Probe.UNSIGNED] is verdict
    assert judge(answers).verified is (verdict is Verdict.PASSED)


@pytest.mark.parametrize("error", [error for error in FailureReason if error != "http_status"])
def test_what_got_no_response_proves_nothing(error: FailureReason) -> None:
    silent = Outcome(error)
    assert failed({Probe.VALID: silent}) == {Probe.VALID}
    answers: dict[Probe, Outcome] = {Probe.VALID: ACCEPTED, **dict.fromkeys(AFTER_VALID, silent)}
    report = judge(answers)
    assert failed(answers) == set(AFTER_VALID) - {Probe.DUPLICATE}
    assert not report.verified
    assert "check again" in report.message


def test_each_request_is_a_delivery_but_for_the_one_thing_that_is_wrong() -> None:
    webhook = samples.webhook(events=("*",))
    signers = Signers.of([samples.SECRET])
    made: dict[Probe, Request] = {}
    for probe in Probe:
        delivery = sample(webhook, probe, f"evt_{probe}", samples.NOW_MS)
        right = genuine(delivery, signers, NOW)
        made[probe] = (
            right if probe.genuine else forged(probe, delivery, signers, NOW, OTHER_SECRET)
        )
        differs = {
            name for name in right.headers if made[probe].headers.get(name) != right.headers[name]
        }
        if made[probe].body != right.body:
            differs.add("body")
        signatures = {"X-SendComms-Signature", "webhook-signature"}
        assert (
            differs
            == {
                Probe.VALID: set(),
                Probe.DUPLICATE: set(),
                Probe.TAMPERED_BODY: {"body"},
                Probe.OLD_SECRET: signatures,
                Probe.UNSIGNED: signatures,
                Probe.TRUNCATED_SIGNATURE: signatures,
                Probe.STALE_TIMESTAMP: {"webhook-timestamp", "webhook-signature"},
                Probe.FUTURE_TIMESTAMP: {"webhook-timestamp", "webhook-signature"},
                Probe.TAMPERED_TIMESTAMP: {"webhook-signature"},
            }[probe]
        )
    stale, future = made[Probe.STALE_TIMESTAMP], made[Probe.FUTURE_TIMESTAMP]
    for request in (stale, future):
        assert by_library_without_time(samples.SECRET, request.body, request.headers)
        assert not in_time(request.headers)
    assert int(stale.headers["webhook-timestamp"]) < NOW < int(future.headers["webhook-timestamp"])


@pytest.mark.parametrize("probe", [Probe.VALID, Probe.DUPLICATE])
def test_nothing_genuine_is_forged(probe: Probe) -> None:
    delivery = sample(samples.webhook(), probe, "evt_1", samples.NOW_MS)
    with pytest.raises(ValueError, match="genuine"):
        forged(probe, delivery, Signers.of([samples.SECRET]), NOW, OTHER_SECRET)


def test_every_body_is_a_sample_that_says_so_and_node_writes_it_as_it_is() -> None:
    world = World(events=("email.bounced",), headers={"X-Team": "billing"})
    world.check()
    assert len(world.receiver.came) == len(Probe)
    for body, headers in world.receiver.came:
        assert serialize(parse(body.decode())) == body
        payload = json.loads(body)
        assert payload["event"] == headers["X-SendComms-Event"] == "email.bounced"
        assert payload["data"]["subject"].startswith("A check of your receiver: ")
        assert payload["data"]["to"].endswith("@example.com")
        assert headers["X-Team"] == "billing"


def test_only_the_duplicate_has_the_ids_and_the_bytes_of_the_valid_request() -> None:
    world = World()
    world.check()
    (body, first), *rest = world.receiver.came
    again = [headers for other, headers in rest if other == body]
    assert [headers["X-SendComms-Attempt"] for headers in again] == ["2"]
    ids = ("webhook-id", "X-SendComms-Delivery")
    assert [again[0][name] for name in ids] == [first[name] for name in ids]
    assert len({headers["webhook-id"] for _, headers in rest}) == len(rest)
    assert len({json.loads(other)["transaction_id"] for other, _ in rest}) == len(rest)


@pytest.mark.parametrize(
    ("secrets", "expected"),
    [
        (Secrets(samples.SECRET), None),
        (Secrets(samples.SECRET, OTHER_SECRET, samples.NOW_MS), OTHER_SECRET),
        (Secrets(samples.SECRET, OTHER_SECRET, samples.NOW_MS + 1), None),
        (Secrets(samples.SECRET, samples.SECRET, samples.NOW_MS), None),
    ],
)
def test_an_old_secret_is_one_that_no_longer_counts(secrets: Secrets, expected: str | None) -> None:
    made = unlive_secret(secrets, samples.NOW_MS, bytes(32))
    assert made == (expected or f"whsec_{'0' * 64}")
    assert made not in secrets.live(samples.NOW_MS)


def test_a_check_is_started_with_a_record_and_counts_as_a_test_event() -> None:
    world = World()
    check = world.checks.start(world.webhook)
    assert world.scheduler.keys == [check.key]
    assert world.checks.get(world.webhook, check.id) == check
    assert (check.status, check.outcomes) == (CheckStatus.RUNNING, {})
    assert world.checks.get(samples.webhook(2), check.id) is None
    assert world.checks.get(world.webhook, "x") is None
    world.checks.start(world.webhook)
    with pytest.raises(TooManyTestsError):
        world.checks.start(world.webhook)
    assert len(world.scheduler.started) == 2


def test_a_webhook_that_is_disabled_is_not_checked() -> None:
    world = World(active=False)
    with pytest.raises(WebhookDisabledError):
        world.checks.start(world.webhook)
    assert not world.store.jobs


def test_a_check_that_could_not_be_started_says_so() -> None:
    world = World()
    world.scheduler.failures.plan("start", True)
    with pytest.raises(UnavailableError):
        world.checks.start(world.webhook)
    [check] = world.store.jobs.values()
    assert (check.status, check.reason) == (CheckStatus.FAILED, "not_started")


def test_a_check_is_made_once() -> None:
    world = World()
    check = world.check()
    assert world.carry_out(check) == check
    assert len(world.receiver.came) == len(Probe)
    world.check_job.step(check.key._replace(check_id="another"), lambda: 45.0)
    assert len(world.receiver.came) == len(Probe)


@pytest.mark.parametrize(
    ("reason", "change"),
    [
        ("webhook_deleted", lambda world: world.webhooks.delete("acc_1", world.webhook.id)),
        (
            "webhook_disabled",
            lambda world: world.webhooks.add(
                replace(world.webhook, active=False), Secrets(samples.SECRET)
            ),
        ),
        ("secret_missing", lambda world: world.webhooks.add(world.webhook, Secrets(None))),
        (
            "internal_error",
            lambda world: setattr(world, "now_ms", world.now_ms + int(PATIENCE_SECONDS * 1000) + 1),
        ),
    ],
)
def test_a_check_that_cannot_be_made_any_more_fails_and_sends_nothing(
    reason: str, change: Callable[[World], object]
) -> None:
    world = World()
    check = world.checks.start(world.webhook)
    change(world)
    after = world.carry_out(check)
    assert (after.status, after.reason, after.outcomes) == (CheckStatus.FAILED, reason, {})
    assert world.receiver.came == []


def test_a_step_without_the_time_for_it_sends_nothing() -> None:
    world = World()
    check = world.checks.start(world.webhook)
    world.remaining = SECONDS_FOR_A_CHECK - 1
    with pytest.raises(UnavailableError):
        world.carry_out(check)
    assert world.receiver.came == []
    assert world.now(check).running


def test_a_fault_of_ours_amid_a_check_has_all_of_it_made_again() -> None:
    world = World()
    check = world.checks.start(world.webhook)
    world.receiver.failures.plan("post", False, False, True)
    with pytest.raises(UnavailableError):
        world.carry_out(check)
    assert world.now(check).running
    assert set(world.carry_out(check).outcomes) == set(Probe)


def test_a_check_that_is_given_up_has_failed_unless_it_was_made() -> None:
    world = World()
    given_up = world.checks.start(world.webhook)
    world.check_job.abandon(given_up.key)
    assert world.now(given_up).reason == "internal_error"
    world.now_ms += 1
    made = world.check()
    world.check_job.abandon(made.key)
    assert world.now(made) == made


def test_no_secret_and_no_signature_is_kept_or_logged() -> None:
    world = World()
    check = world.check()
    signatures = [
        part
        for _, headers in world.receiver.came
        for name in ("X-SendComms-Signature", "webhook-signature")
        for part in headers.get(name, "").split(" ")
        if part
    ]
    assert len(signatures) == 2 * (len(Probe) - 1)
    told = f"{check!r}{judge(check.outcomes)!r}{world.observer!r}{vars(world.observer)!r}"
    assert world.webhook.id in told
    for told_nowhere in (samples.SECRET, *signatures):
        assert told_nowhere not in told


def test_the_valid_request_has_what_parsers_change_or_refuse() -> None:
    world = World()
    world.check()
    (body, _), *rest = world.receiver.came
    data = json.loads(body)["data"]
    odd = data["check"]
    assert data["subject"] == data["subject"].strip() + "  "
    assert odd["empty"] == ""
    assert not odd["name"].isascii()
    assert {"constructor", "__proto__"} <= set(odd)
    assert serialize(parse(body.decode())) == body
    # What is forged must be refused for that alone, and the duplicate is the valid one again.
    others = {other for other, _ in rest} - {body}
    assert len(others) == len(rest) - 1
    assert all(b"__proto__" not in other and b"constructor" not in other for other in others)


@pytest.mark.parametrize(
    ("status", "named"),
    [
        (400, ["Nuxt", "Fastify", "Hapi", "Koa"]),
        (406, ["firewall"]),
        (415, ["parser"]),
        (422, ["middy"]),
        (401, ["AdonisJS", "xss-clean", "express-mongo-sanitize", "secret"]),
        (403, ["firewall", "secret"]),
    ],
)
def test_a_valid_request_that_is_refused_names_the_likely_framework(
    status: int, named: list[str]
) -> None:
    refused = Outcome(error=FailureReason.HTTP_STATUS, status_code=status)
    [finding] = judge({Probe.VALID: refused}).findings
    assert finding.verdict is Verdict.FAILED
    assert [name for name in named if name not in finding.message] == []
