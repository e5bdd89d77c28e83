"""Checks of receivers: started and read by a webhook's owner, and carried out in one step."""

from __future__ import annotations

import secrets
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from webhooks.domain import rotation
from webhooks.domain.errors import UnavailableError
from webhooks.domain.headers import merged
from webhooks.domain.ids import is_uuid
from webhooks.domain.jobs import check_requests
from webhooks.domain.jobs.check import AFTER_VALID, Check, CheckKey, Probe, check_id, judge
from webhooks.domain.pauses import asked_until_ms
from webhooks.domain.seed import Seed, fresh
from webhooks.services.concurrency import run_all
from webhooks.services.jobs.runner import NextStep
from webhooks.services.jobs.running import NO_STATE, current, kept
from webhooks.services.jobs.starting import start, was_started

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

    from webhooks.domain.delivery import Delivery, Outcome
    from webhooks.domain.jobs.check_requests import Request, Signers
    from webhooks.domain.webhook import Destination, Webhook
    from webhooks.ports import DestinationStore, JobScheduler, JobStore, Sender, Telemetry
    from webhooks.services.pauses import Pauses
    from webhooks.services.rate_limits import RateLimits

SECONDS_FOR_A_CHECK = 3 * 5.0 + 2 * 9.0
"""The valid request, one more during a secret's rotation, all others at once, of 5 seconds each,
and two writes at their slowest (see `adapters.aws`)."""

PATIENCE_SECONDS = 600.0
"""How long after it was asked for, or after the pause that it waited for, a check is still made:
nobody waits for it any more then."""

_WAITED_UNTIL = "waited_until"
"""In the state of a check that waited for a pause, when that ended, in Unix milliseconds."""

_MILLISECONDS = 1000


class _Accepted(NamedTuple):
    """What came of the valid request, and the secrets that signed it."""

    outcome: Outcome
    signers: Signers


class CheckService:
    """Starts and shows checks of one webhook at a time, which its caller found to be its own.

    Sends nothing itself and knows no secret: it writes a record and starts the state machine.
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
        """Count each check as a test event: one that fails makes about as many requests."""
        self._store = store
        self._scheduler = scheduler
        self._rate_limits = rate_limits
        self._now_ns = now_ns
        self._random_bytes = random_bytes

    def start(self, webhook: Webhook, *, seed: Seed | None = None) -> Check:
        """Start a check of a webhook's receiver, of a repeated `seed` the one it has started.

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
        """Return one check of a webhook, None where it has none of that id, or no longer."""
        if not is_uuid(check_id):
            return None
        return self._store.get(CheckKey(webhook.account_id, webhook.id, check_id))


class CheckJob:
    """Sends a receiver the requests of a check, and keeps what it answered.

    Nothing of it is a delivery: the log has none of it, and the webhook's health, its circuit and
    its secrets stay as they are. A check that was interrupted is made again, with other ids. It
    waits for the end of a pause that the receiver asked for, and may begin one.
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
        """`clock` gives Unix seconds."""
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
        """Make a check, in one step, and record what came of it, unless that was done.

        Raises UnavailableError where our own side failed, or the invocation's time is too short.
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
            seconds = (until_ms - self._now_ms()) / _MILLISECONDS
            waiting = replace(check, updated_at_ms=self._now_ms())
            self._store.save(check, kept(waiting, self._now_ms(), seconds))
            return NextStep(seconds, {_WAITED_UNTIL: until_ms})
        if remaining_seconds() < SECONDS_FOR_A_CHECK:
            msg = f"a check: {remaining_seconds():.0f} seconds are too few for it"
            raise UnavailableError(msg)
        signers = check_requests.Signers.of(found.secrets.live(self._now_ms()))
        self._complete(check, self._outcomes(found, signers))
        return None

    def _ready(self, check: Check, waited_until_ms: int) -> Destination | str:
        """Return what a check is sent to, or why it has failed."""
        begun_ms = max(check.created_at_ms, waited_until_ms)
        if self._now_ms() > begun_ms + PATIENCE_SECONDS * _MILLISECONDS:
            return "internal_error"
        destination = self._destinations.destination(check.account_id, check.webhook_id)
        if destination is None:
            return "webhook_deleted"
        if not destination.webhook.active:
            return "webhook_disabled"
        if not destination.secrets.live(self._now_ms()):
            self._telemetry.log("error", "secret_missing", **check.key._asdict())
            self._telemetry.count("SecretMissing")
            return "secret_missing"
        return destination

    def abandon(self, key: CheckKey, state: Mapping[str, Any] = NO_STATE, /) -> None:
        """Mark a check as failed that the state machine gives up, through a fault of ours."""
        check = current(self._store, key, state)
        if check is not None:
            self._fail(check, "internal_error")

    def _outcomes(self, destination: Destination, signers: Signers) -> dict[Probe, Outcome]:
        webhook = destination.webhook
        valid = self._sample(webhook, Probe.VALID)
        first = self._send_valid(webhook, valid, signers)
        self._hear(webhook, [first.outcome])
        if not first.outcome.succeeded:
            return {Probe.VALID: first.outcome}
        seconds = int(self._clock())
        old_secret = check_requests.unlive_secret(
            destination.secrets, self._now_ms(), self._random_bytes(32)
        )

        def send(probe: Probe) -> Outcome:
            if probe is Probe.DUPLICATE:
                request = check_requests.genuine(valid, first.signers, seconds, attempt_number=2)
            else:
                sample = self._sample(webhook, probe)
                request = check_requests.forged(probe, sample, first.signers, seconds, old_secret)
            return self._post(webhook, request)

        rest = run_all(self._threads, send, AFTER_VALID)
        self._hear(webhook, rest)
        if len(rest) < len(AFTER_VALID):
            msg = "a check: not all of its requests could be sent"
            raise UnavailableError(msg)
        return {Probe.VALID: first.outcome, **dict(zip(AFTER_VALID, rest, strict=True))}

    def _hear(self, webhook: Webhook, outcomes: Sequence[Outcome]) -> None:
        """Have the webhook paused where a response asks for it, until the latest time."""
        asked_ms = [asked_until_ms(outcome, self._now_ms()) for outcome in outcomes]
        until_ms = max((each for each in asked_ms if each is not None), default=None)
        if until_ms is not None:
            self._pauses.pause(webhook, until_ms)

    def _send_valid(self, webhook: Webhook, valid: Delivery, signers: Signers) -> _Accepted:
        """Send the valid request as a delivery is sent: in a rotation, once more where refused."""
        seconds = int(self._clock())
        outcome = self._post(webhook, check_requests.genuine(valid, signers, seconds))
        if len(signers.standard) > 1 and rotation.may_refuse_signature(outcome.status_code):
            new = check_requests.Signers.of(signers.standard[:1])
            second = self._post(webhook, check_requests.genuine(valid, new, seconds))
            if rotation.telling(outcome, second):
                return _Accepted(second, new)
        return _Accepted(outcome, signers)

    def _post(self, webhook: Webhook, request: Request) -> Outcome:
        headers = merged(webhook.headers, request.headers)
        return self._sender.post(webhook.url, request.body, headers)

    def _sample(self, webhook: Webhook, probe: Probe) -> Delivery:
        event_id = f"evt_{self._random_bytes(16).hex()}"
        return check_requests.sample(webhook, probe, event_id, self._now_ms())

    def _complete(self, check: Check, outcomes: dict[Probe, Outcome]) -> None:
        if self._store.save(check, check.completed(outcomes, self._now_ms())):
            verified = judge(outcomes).verified
            self._telemetry.log("info", "check_completed", **check.key._asdict(), verified=verified)

    def _fail(self, check: Check, reason: str) -> None:
        if self._store.save(check, check.failed(reason, self._now_ms())):
            self._telemetry.log("info", "check_failed", **check.key._asdict(), reason=reason)

    def _now_ms(self) -> int:
        return int(self._clock() * _MILLISECONDS)
