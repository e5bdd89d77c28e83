"""Checks of receivers: started and read by a webhook's owner, carried out in one step."""

from __future__ import annotations

import secrets
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from webhooks.domain import rotation, status_codes
from webhooks.domain.errors import UnavailableError
from webhooks.domain.headers import merged
from webhooks.domain.ids import is_uuid
from webhooks.domain.jobs import check_requests
from webhooks.domain.jobs.check import AFTER_VALID, Check, CheckKey, CheckRequest, check_id, judge
from webhooks.domain.pauses import asked_until_ms
from webhooks.domain.seed import Seed, fresh
from webhooks.domain.timestamps import MILLISECONDS, to_ms
from webhooks.services.concurrency import run_all
from webhooks.services.jobs.runner import NextStep
from webhooks.services.jobs.running import NO_STATE, current, kept
from webhooks.services.jobs.starting import start, was_started

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

    from webhooks.domain.delivery import Delivery, Outcome
    from webhooks.domain.jobs.check_requests import SignedRequest, Signers
    from webhooks.domain.webhook import Destination, Webhook
    from webhooks.ports import DestinationStore, JobScheduler, JobStore, Sender, Telemetry
    from webhooks.services.pauses import Pauses
    from webhooks.services.rate_limits import RateLimits

SECONDS_FOR_A_CHECK = 3 * 5.0 + 2 * 9.0
"""Time for the valid request, its repetition during a secret's rotation, and all others in
parallel, 5 seconds each, and for two writes at their slowest (see `adapters.aws`).
"""

PATIENCE_SECONDS = 600.0
"""The age at which a check is no longer made, counted from its start or from the end of the pause
that it waited for. Its owner has stopped waiting by then.
"""

_WAITED_UNTIL = "waited_until"
"""State of a check that waited for a pause: the pause's end, in Unix milliseconds."""


class _Accepted(NamedTuple):
    """The outcome of the valid request, and the secrets that signed it."""

    outcome: Outcome
    signers: Signers


class CheckService:
    """Starts and shows checks of a webhook. The caller has verified the webhook's owner.

    The service sends nothing and knows no secret: it writes a record and starts the state machine.
    A check counts as a test event in the rate limits, because a failing test event makes about as
    many requests.
    """

    def __init__(
        self,
        *,
        store: JobStore[Check],
        scheduler: JobScheduler,
        rate_limits: RateLimits,
        now_ns: Callable[[], int] = time.time_ns,
        random_bytes: Callable[[int], bytes] = secrets.token_bytes,
    ) -> None:
        self._store = store
        self._scheduler = scheduler
        self._rate_limits = rate_limits
        self._now_ns = now_ns
        self._random_bytes = random_bytes

    def start(self, webhook: Webhook, *, seed: Seed | None = None) -> Check:
        """Start a check of a webhook's receiver; a repeated `seed` returns the check of the first
        call.

        Raises WebhookDisabledError, TooManyTestsError, UnavailableError.
        """
        repeatable, seed = seed is not None, seed or fresh(self._now_ns, self._random_bytes)
        check = Check(
            account_id=webhook.account_id,
            webhook_id=webhook.id,
            id=check_id(seed.now_ns, seed.draw("check id", 8)),
            created_at_ms=seed.now_ms,
            updated_at_ms=seed.now_ms,
        )
        if seed.repeated and was_started(self._store, self._scheduler, check):
            return check
        webhook.require_active()
        self._rate_limits.test(webhook)
        failed = None if repeatable else check.failed("not_started", seed.now_ms)
        start(self._store, self._scheduler, check, not_started=failed)
        return check

    def get(self, webhook: Webhook, check_id: str) -> Check | None:
        """Return a check of the webhook; None if it has none of this id, or no longer."""
        if not is_uuid(check_id):
            return None
        return self._store.get(CheckKey(webhook.account_id, webhook.id, check_id))


class CheckJob:
    """Sends a check's requests to a receiver, and records the responses.

    These requests are not deliveries: they are not in the log, and the webhook's health, circuit
    and secrets stay as they are. An interrupted check is repeated with other ids. A check waits for
    the end of a pause that the receiver asked for, and its responses can begin a pause. `clock`
    gives Unix seconds.
    """

    key_type = CheckKey

    def __init__(
        self,
        *,
        store: JobStore[Check],
        destinations: DestinationStore,
        sender: Sender,
        pauses: Pauses,
        telemetry: Telemetry,
        clock: Callable[[], float],
        random_bytes: Callable[[int], bytes] = secrets.token_bytes,
    ) -> None:
        self._store = store
        self._destinations = destinations
        self._sender = sender
        self._pauses = pauses
        self._telemetry = telemetry
        self._clock = clock
        self._random_bytes = random_bytes
        self._threads = ThreadPoolExecutor(len(AFTER_VALID), thread_name_prefix="check")

    def step(
        self,
        key: CheckKey,
        remaining_seconds: Callable[[], float],
        state: Mapping[str, Any] = NO_STATE,
        /,
    ) -> NextStep | None:
        """Make the whole check and record its result, unless that is done already.

        Raises UnavailableError if one of our own services failed, or the invocation's time is too
        short.
        """
        check = current(self._store, key, state)
        if check is None:
            return None
        found = self._ready(check, int(state.get(_WAITED_UNTIL, 0)))
        if isinstance(found, str):
            self._fail(check, found)
            return None
        until_ms = self._pauses.until_ms(found.webhook)
        if until_ms is not None:
            seconds = (until_ms - to_ms(self._clock())) / MILLISECONDS
            waiting = replace(check, updated_at_ms=to_ms(self._clock()))
            self._store.save(check, kept(waiting, to_ms(self._clock()), seconds))
            return NextStep(seconds, {_WAITED_UNTIL: until_ms})
        if remaining_seconds() < SECONDS_FOR_A_CHECK:
            msg = f"a check: {remaining_seconds():.0f} seconds are too few for it"
            raise UnavailableError(msg)
        signers = check_requests.Signers.of(found.secrets.live(to_ms(self._clock())))
        self._complete(check, self._outcomes(found, signers))
        return None

    def _ready(self, check: Check, waited_until_ms: int) -> Destination | str:
        """Return the check's destination, or the reason of its failure."""
        begun_ms = max(check.created_at_ms, waited_until_ms)
        if to_ms(self._clock()) > begun_ms + PATIENCE_SECONDS * MILLISECONDS:
            return "internal_error"
        destination = self._destinations.destination(check.account_id, check.webhook_id)
        if destination is None:
            return "webhook_deleted"
        if not destination.webhook.active:
            return "webhook_disabled"
        if not destination.secrets.live(to_ms(self._clock())):
            self._telemetry.log("error", "secret_missing", **check.key._asdict())
            self._telemetry.count("SecretMissing")
            return "secret_missing"
        return destination

    def abandon(self, key: CheckKey, state: Mapping[str, Any] = NO_STATE, /) -> None:
        """Mark a check as failed after the state machine gave it up, through a fault of ours."""
        check = current(self._store, key, state)
        if check is not None:
            self._fail(check, "internal_error")

    def _outcomes(self, destination: Destination, signers: Signers) -> dict[CheckRequest, Outcome]:
        webhook = destination.webhook
        valid = self._sample(webhook, CheckRequest.VALID)
        first = self._send_valid(webhook, valid, signers)
        self._hear(webhook, [first.outcome])
        if not first.outcome.succeeded:
            return {CheckRequest.VALID: first.outcome}
        seconds = int(self._clock())
        old_secret = check_requests.unlive_secret(
            destination.secrets, to_ms(self._clock()), self._random_bytes(32)
        )

        def send(request: CheckRequest) -> Outcome:
            if request is CheckRequest.DUPLICATE:
                signed = check_requests.valid_request(
                    valid, first.signers, seconds, attempt_number=2
                )
            else:
                sample = self._sample(webhook, request)
                signed = check_requests.forged(request, sample, first.signers, seconds, old_secret)
            return self._post(webhook, signed)

        rest = run_all(self._threads, send, AFTER_VALID)
        self._hear(webhook, rest)
        if len(rest) < len(AFTER_VALID):
            msg = "a check: not all of its requests could be sent"
            raise UnavailableError(msg)
        return {CheckRequest.VALID: first.outcome, **dict(zip(AFTER_VALID, rest, strict=True))}

    def _hear(self, webhook: Webhook, outcomes: Sequence[Outcome]) -> None:
        """Pause the webhook until the latest time that a response asks for, if any does."""
        asked_ms = [asked_until_ms(outcome, to_ms(self._clock())) for outcome in outcomes]
        until_ms = max((each for each in asked_ms if each is not None), default=None)
        if until_ms is not None:
            self._pauses.pause(webhook, until_ms)

    def _send_valid(self, webhook: Webhook, valid: Delivery, signers: Signers) -> _Accepted:
        """Send the valid request like a delivery: again after a refusal during a rotation."""
        seconds = int(self._clock())
        outcome = self._post(webhook, check_requests.valid_request(valid, signers, seconds))
        if len(signers.standard) > 1 and status_codes.may_refuse_signature(outcome.status_code):
            new = check_requests.Signers.of(signers.standard[:1])
            second = self._post(webhook, check_requests.valid_request(valid, new, seconds))
            if rotation.telling(outcome, second):
                return _Accepted(second, new)
        return _Accepted(outcome, signers)

    def _post(self, webhook: Webhook, signed: SignedRequest) -> Outcome:
        headers = merged(webhook.headers, signed.headers)
        return self._sender.post(webhook.url, signed.body, headers)

    def _sample(self, webhook: Webhook, request: CheckRequest) -> Delivery:
        event_id = f"evt_{self._random_bytes(16).hex()}"
        return check_requests.sample(webhook, request, event_id, to_ms(self._clock()))

    def _complete(self, check: Check, outcomes: dict[CheckRequest, Outcome]) -> None:
        if self._store.save(check, check.completed(outcomes, to_ms(self._clock()))):
            verified = judge(outcomes).verified
            self._telemetry.log("info", "check_completed", **check.key._asdict(), verified=verified)

    def _fail(self, check: Check, reason: str) -> None:
        if self._store.save(check, check.failed(reason, to_ms(self._clock()))):
            self._telemetry.log("info", "check_failed", **check.key._asdict(), reason=reason)
