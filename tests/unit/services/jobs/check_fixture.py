"""Receivers that verify in different ways, and the services that check them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from support import samples
from support.fakes import (
    Failures,
    FakeJobScheduler,
    FakeJobStore,
    FakeRateLimitStore,
    FakeTelemetry,
    FakeWebhookStore,
)
from support.http_api import LIMITS
from support.service_fixture import ServiceFixture
from webhooks.domain.delivery import FailureReason, Outcome
from webhooks.domain.jobs.check import Check, CheckRequest, CheckVerdict, judge
from webhooks.domain.rate_limit import RateLimit
from webhooks.domain.signing import sendcomms_signature, standard_signature
from webhooks.domain.webhook import Secrets
from webhooks.services.jobs.check import CheckJob, CheckService
from webhooks.services.rate_limits import RateLimits

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Headers = Mapping[str, str]
    Verify = Callable[[str, bytes, Headers], bool]

NOW = samples.NOW_MS // 1000
OTHER_SECRET = "whsec_" + "cd" * 32
TOLERANCE_SECONDS = 300
ACCEPTED = Outcome(status_code=200, duration_ms=3)
REFUSED = Outcome(FailureReason.HTTP_STATUS, 401, duration_ms=3)


def by_contract(secret: str, body: bytes, headers: Headers) -> bool:
    """Verify as the contract's receiver does."""
    return headers.get("X-SendComms-Signature") == sendcomms_signature(secret, body)


def by_library_without_time(secret: str, body: bytes, headers: Headers) -> bool:
    """Verify as a Standard Webhooks library does, but without a look at the clock."""
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
    """A `Sender` whose receiver verifies in one of these ways, and keeps the requests."""

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


class CheckFixture:
    """A webhook, its receiver, and the services that check it."""

    def __init__(self, verify: Verify = by_both, **changes: Any) -> None:
        self.now_ms = samples.NOW_MS
        self.remaining = 45.0
        self.webhook = samples.webhook(**changes)
        self.webhooks = FakeWebhookStore()
        self.webhooks.add(self.webhook, Secrets(samples.SECRET))
        self.services = ServiceFixture(store=self.webhooks)
        self.services.clock = self.clock  # type: ignore[method-assign]
        self.receiver = ReceiverOf(verify)
        self.store = FakeJobStore[Check]()
        self.scheduler = FakeJobScheduler()
        self.telemetry = FakeTelemetry()
        self.checks = CheckService(
            store=self.store,
            scheduler=self.scheduler,
            rate_limits=RateLimits(
                FakeRateLimitStore(),
                limits=LIMITS | {RateLimit.TESTS: 2},
                telemetry=self.telemetry,
                clock=self.clock,
            ),
            now_ns=lambda: self.now_ms * 1_000_000,
        )
        self.check_job = CheckJob(
            store=self.store,
            destinations=self.webhooks,
            sender=self.receiver,
            pauses=self.services.pauses,
            telemetry=self.telemetry,
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


def verdicts(outcomes: Mapping[CheckRequest, Outcome]) -> dict[CheckRequest, CheckVerdict]:
    return {finding.request: finding.verdict for finding in judge(outcomes).findings}


def failed(outcomes: Mapping[CheckRequest, Outcome]) -> set[CheckRequest]:
    return {
        probe for probe, verdict in verdicts(outcomes).items() if verdict is CheckVerdict.FAILED
    }


def informed(outcomes: Mapping[CheckRequest, Outcome]) -> set[CheckRequest]:
    found = verdicts(outcomes).items()
    return {probe for probe, verdict in found if verdict is CheckVerdict.INFORMATION}
