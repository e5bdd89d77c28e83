"""A check of a receiver: genuine and forged requests, and the conclusions from its responses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import NamedTuple

from webhooks.domain.delivery import FailureReason, Outcome
from webhooks.domain.jobs import Action
from webhooks.domain.jobs.run import Run
from webhooks.domain.status_codes import (
    blames_signature,
    is_from_parser,
    is_inconclusive,
    is_server_error,
)
from webhooks.domain.webhook import webhook_id


class CheckRequest(StrEnum):
    """A request of a check, named after its fault."""

    VALID = "valid"
    DUPLICATE = "duplicate"
    TAMPERED_BODY = "tampered_body"
    OLD_SECRET = "old_secret"  # noqa: S105  a name
    UNSIGNED = "unsigned"
    TRUNCATED_SIGNATURE = "truncated_signature"
    STALE_TIMESTAMP = "stale_timestamp"
    FUTURE_TIMESTAMP = "future_timestamp"
    TAMPERED_TIMESTAMP = "tampered_timestamp"

    @property
    def genuine(self) -> bool:
        """Whether a receiver is expected to accept it."""
        return self in {CheckRequest.VALID, CheckRequest.DUPLICATE}


AFTER_VALID = tuple(request for request in CheckRequest if request is not CheckRequest.VALID)
"""Requests sent after the valid one was accepted: before that, a refusal would prove nothing."""

_OF_TIME = frozenset(
    {CheckRequest.STALE_TIMESTAMP, CheckRequest.FUTURE_TIMESTAMP, CheckRequest.TAMPERED_TIMESTAMP}
)
"""Forgeries that `X-SendComms-Signature` cannot reveal, because it does not cover the time."""


class CheckVerdict(StrEnum):
    """The conclusion from one response."""

    PASSED = "passed"
    FAILED = "failed"
    INFORMATION = "information"


class CheckStatus(StrEnum):
    """The state of a check."""

    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"


class CheckKey(NamedTuple):
    """Primary key of a check."""

    account_id: str
    webhook_id: str
    check_id: str

    @property
    def action(self) -> Action:
        """The worker's action for each step of a check."""
        return Action.CHECK


@dataclass(frozen=True, slots=True)
class Check:
    """The record of a check: the responses, from which `judge` draws the conclusions.

    Times are Unix milliseconds. `reason` is why a check failed, which says nothing of the receiver.
    """

    account_id: str
    webhook_id: str
    id: str
    created_at_ms: int
    updated_at_ms: int
    status: CheckStatus = CheckStatus.RUNNING
    outcomes: Mapping[CheckRequest, Outcome] = field(default_factory=dict)
    reason: str | None = None
    run: Run = Run()  # noqa: RUF009 (frozen)

    @property
    def key(self) -> CheckKey:
        """The check's primary key."""
        return CheckKey(self.account_id, self.webhook_id, self.id)

    @property
    def running(self) -> bool:
        """Whether its requests are not all sent yet."""
        return self.status is CheckStatus.RUNNING

    def completed(self, outcomes: Mapping[CheckRequest, Outcome], now_ms: int) -> Check:
        """Return the check with all its responses."""
        return replace(
            self, status=CheckStatus.COMPLETED, outcomes=dict(outcomes), updated_at_ms=now_ms
        )

    def failed(self, reason: str, now_ms: int) -> Check:
        """Return the check as failed before its requests were all sent, with the reason."""
        return replace(self, status=CheckStatus.FAILED, reason=reason, updated_at_ms=now_ms)


class Finding(NamedTuple):
    """One request of a check, and the conclusion from its response."""

    request: CheckRequest
    outcome: Outcome
    verdict: CheckVerdict
    message: str


class Report(NamedTuple):
    """The result of a check: whether the receiver is verified, and advice for its owner."""

    verified: bool
    message: str
    findings: Sequence[Finding]


def judge(outcomes: Mapping[CheckRequest, Outcome]) -> Report:
    """Draw the conclusions from a check's responses, which include at least `VALID`.

    A receiver is verified if it accepts genuine requests and refuses forged ones. It may accept
    forgeries that only the time reveals if it verifies `X-SendComms-Signature` instead, as the
    contract's own receiver does. It does if it refuses a changed body, and accepts a request whose
    `webhook-signature` is of another time.
    """
    tells_the_body = not _accepted(outcomes, CheckRequest.TAMPERED_BODY)
    goes_by_time = not _accepted(outcomes, CheckRequest.TAMPERED_TIMESTAMP)
    excused = _OF_TIME if tells_the_body and not goes_by_time else frozenset[CheckRequest]()
    findings = [
        Finding(request, outcome, *_of(request, outcome, excused=request in excused))
        for request, outcome in outcomes.items()
    ]
    verified = len(outcomes) == len(CheckRequest) and all(
        finding.verdict is not CheckVerdict.FAILED for finding in findings
    )
    return Report(verified, _summary(findings, verified, excused=bool(excused)), findings)


def check_id(now_ns: int, random_bytes: bytes) -> str:
    """Return the id of a check requested at this moment: a UUIDv7, made as a webhook's is."""
    return webhook_id(now_ns, random_bytes)


def _accepted(outcomes: Mapping[CheckRequest, Outcome], request: CheckRequest) -> bool:
    return request in outcomes and outcomes[request].succeeded


def _of(request: CheckRequest, outcome: Outcome, *, excused: bool) -> tuple[CheckVerdict, str]:
    if request is CheckRequest.VALID:
        return _of_valid(outcome)
    if request is CheckRequest.DUPLICATE:
        message = _DUPLICATE_ACCEPTED if outcome.succeeded else _DUPLICATE_REFUSED
        return CheckVerdict.INFORMATION, message
    return _of_forged(request, outcome, excused=excused)


def _of_forged(
    request: CheckRequest, outcome: Outcome, *, excused: bool
) -> tuple[CheckVerdict, str]:
    if outcome.succeeded:
        if excused:
            return CheckVerdict.INFORMATION, _EXCUSED
        return CheckVerdict.FAILED, _ADVICE[request]
    status = outcome.status_code
    if is_inconclusive(status):
        return CheckVerdict.FAILED, _UNCLEAR
    if is_server_error(status):
        return CheckVerdict.PASSED, _REFUSED_AS_FAULT.format(status)
    if not blames_signature(status):
        return CheckVerdict.PASSED, _REFUSED_OTHERWISE.format(status)
    return CheckVerdict.PASSED, "Refused, as it should be."


def _of_valid(outcome: Outcome) -> tuple[CheckVerdict, str]:
    if outcome.succeeded:
        return CheckVerdict.PASSED, "Accepted, as it should be."
    if blames_signature(outcome.status_code):
        return CheckVerdict.FAILED, _VALID_REFUSED
    if is_from_parser(outcome.status_code):
        return CheckVerdict.FAILED, _VALID_UNPARSED.format(outcome.status_code)
    if outcome.status_code is not None:
        return CheckVerdict.FAILED, _VALID_FAILED.format(outcome.status_code)
    return CheckVerdict.FAILED, _UNREACHED[outcome.error or FailureReason.CONNECTION]


def _summary(findings: Sequence[Finding], verified: bool, *, excused: bool) -> str:
    if verified:
        left = _left(findings)
        accepts = _VERIFIED_WITHOUT_TIME if excused else _VERIFIED
        return " ".join([accepts, *left]) if left or excused else _NOTHING_LEFT
    failed = {finding.request for finding in findings if finding.verdict is CheckVerdict.FAILED}
    if CheckRequest.VALID in failed:
        return _NOT_REACHED
    accepted = {finding.request for finding in findings if finding.outcome.succeeded}
    if not failed & accepted:
        return _UNPROVEN
    if {CheckRequest.TAMPERED_BODY, CheckRequest.OLD_SECRET, CheckRequest.UNSIGNED} <= accepted:
        return _UNVERIFIED
    return _INCOMPLETE


def _left(findings: Sequence[Finding]) -> list[str]:
    """Return further advice for the owner of a verified receiver."""
    refused = {f.request: f.outcome.status_code for f in findings if not f.outcome.succeeded}
    left = []
    if CheckRequest.DUPLICATE in refused:
        left.append(_LEFT_DUPLICATE)
        del refused[CheckRequest.DUPLICATE]
    if not all(blames_signature(code) for code in refused.values()):
        left.append(_LEFT_STATUS)
    return left


_VERIFIED = "Your receiver accepts requests that we sign and refuses everything else."
_NOTHING_LEFT = f"{_VERIFIED[:-1]}: nothing is left to do."
_LEFT_DUPLICATE = (
    "But it refuses a duplicate: return 2xx for events that you already have, or they are retried."
)
_LEFT_STATUS = (
    "But return 401 for requests that do not verify: during a rotation it shows us which secret "
    "you have, and without it deliveries fail."
)
_VERIFIED_WITHOUT_TIME = (
    "Your receiver accepts requests that we sign and refuses others. X-SendComms-Signature does "
    "not cover the time: remember each webhook-id for some days, or verify webhook-signature, so "
    "that a recorded delivery cannot be sent to you again."
)
_NOT_REACHED = (
    "Your receiver did not accept a genuine request. Nothing else was sent, since a refusal would "
    "prove nothing: correct this first, and check again."
)
_UNPROVEN = (
    "Your receiver accepted nothing forged, but did not respond to every request: check again "
    "when it is less busy."
)
_UNVERIFIED = (
    "Your receiver accepts requests that we did not send: verify the signature before you read "
    "the body, return 401 if it does not match, and check again."
)
_INCOMPLETE = "Your receiver accepts forged requests: correct the failed points, and check again."

_VALID_REFUSED = (
    "Refused, though it is genuine: check that your receiver has this webhook's secret, all of "
    "it, and verifies the body's bytes as they came. AdonisJS trims texts and turns empty ones "
    "into null before you see them, xss-clean and express-mongo-sanitize rewrite others, and a "
    "firewall may return 403: the page on verifying has the way around each."
)
_VALID_UNPARSED = (
    "Refused with {}, though it is genuine: a parser in front of your code refuses keys such as "
    "constructor or __proto__ (those of Nuxt and h3 1, Fastify, Hapi, Koa and middy do), or a "
    "firewall refuses its text. Use the body's bytes as they came: the page on verifying has the "
    "way for each."
)
_VALID_FAILED = (
    "Refused with {}, though it is genuine: return any 2xx for a request that you accept."
)
_UNREACHED: Mapping[FailureReason, str] = {
    FailureReason.HTTP_STATUS: "Not accepted: return any 2xx for a request that you accept.",
    FailureReason.TIMEOUT: "No response within 5 seconds: respond first, and do the work later.",
    FailureReason.CONNECTION: "The connection failed: check that your server runs and can be "
    "reached from outside.",
    FailureReason.TLS: "The TLS handshake failed: check your server's certificate and its chain.",
    FailureReason.DNS: "The url's host has no address: check its DNS records.",
    FailureReason.BLOCKED_ADDRESS: "The url leads to an address that is not public: use a public "
    "one.",
    FailureReason.RESPONSE_TOO_LARGE: "The response's headers are too large: send fewer of them.",
}
_DUPLICATE_ACCEPTED = (
    "Accepted, as it should be. Only you can see whether it was processed once: remember each "
    "webhook-id."
)
_DUPLICATE_REFUSED = (
    "Not accepted. Return 2xx for events that you already have, or they are retried."
)
_EXCUSED = (
    "Accepted, since your receiver verifies X-SendComms-Signature, which does not cover the time: "
    "remember each webhook-id, or verify webhook-signature."
)
_UNCLEAR = (
    "The response does not show whether it was refused: check again when your receiver is less "
    "busy."
)
_REFUSED_AS_FAULT = (
    "Refused, but as an error of your server, with {}: return 401, which shows us that the "
    "signature was the reason."
)
_REFUSED_OTHERWISE = (
    "Refused, with {}: return 401, which shows us during a rotation which secret you have."
)
_ADVICE: Mapping[CheckRequest, str] = {
    CheckRequest.TAMPERED_BODY: "Accepted, though its body was changed after it was signed: "
    "compare the signature with your own of the body's bytes.",
    CheckRequest.OLD_SECRET: "Accepted, though it was signed with a secret that is no longer "
    "valid: keep only the webhook's live secrets.",
    CheckRequest.UNSIGNED: "Accepted, though it has no signature: refuse requests without one.",
    CheckRequest.TRUNCATED_SIGNATURE: "Accepted, though the end of its signature is missing: "
    "compare all of it, in constant time.",
    CheckRequest.STALE_TIMESTAMP: "Accepted, though it was signed ten minutes ago: refuse "
    "requests with a webhook-timestamp over five minutes old.",
    CheckRequest.FUTURE_TIMESTAMP: "Accepted, though its time is ten minutes ahead: refuse "
    "requests with a webhook-timestamp over five minutes in the future.",
    CheckRequest.TAMPERED_TIMESTAMP: "Accepted, though its webhook-timestamp was changed after it "
    "was signed: verify a signature.",
}
