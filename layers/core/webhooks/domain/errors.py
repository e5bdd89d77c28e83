"""The package's exceptions, by cause.

::

    WebhooksError
    ├── InvalidInputError               the input breaks a rule; names the field and the way out
    │   ├── InvalidTargetError          a url that no webhook may have
    │   ├── InvalidWebhookError         a registration that breaks rules, every one of them listed
    │   └── InvalidEventError           an event message that is never processable; has a reason
    ├── LimitReachedError               the account is at its limit
    │   └── HostLimitReachedError       the account is at its limit of webhooks for one host
    ├── ExternalIdTakenError            another of its webhooks has this external id
    ├── TooManyAttemptsError            the delivery's log is full
    ├── DeliveryErasedError             the delivery's payload was erased
    ├── WebhookDisabledError            nothing is sent to it until its owner enables it
    ├── OverlapRunningError             a rotation would end a secret that a receiver may have
    ├── RotationConflictError           another rotation was made at the same moment
    ├── ReplayRunningError              the webhook has a replay in progress
    ├── TooManyReplaysError             the webhook is at its limit of replays in a day
    ├── RateLimitExceededError          a rate limit; says when the next request is allowed
    │   ├── TooManyCallsError           calls of an account in a minute
    │   ├── TooManyEventsError          events that an account publishes in a minute
    │   ├── TooManyTestsError           test events of a webhook in an hour
    │   ├── TooManyResendsError         resends of a webhook in an hour
    │   ├── TooManyEnablesError         enablings of a webhook in an hour
    │   └── TooManyErasuresError        erasures of an account in a day
    ├── LastApiKeyError                 revoking this key would lock its account out
    ├── ScopeExceededError              a key would create a key with more scopes than its own
    ├── IdempotencyConflictError        an idempotency key was reused for another request
    ├── IdempotencyInProgressError      the first request with this key is still in progress
    ├── UnreadableRecordError           this version cannot read a delivery's or a job's record
    ├── DeliveryInterruptedError        a delivery's attempts end without a result, again and again
    └── UnavailableError                our own side (a table, a queue, a key) failed: try again

A receiver that fails is never an exception: it is an `Outcome` (see `delivery`). An absent webhook
or delivery is `None`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from webhooks.domain.delivery import DeliveryKey


class RecordKey(Protocol):
    """A named tuple that identifies a record, the record's own id last."""

    def _asdict(self) -> dict[str, Any]: ...


class WebhooksError(Exception):
    """The root of this package's errors."""


class InvalidInputError(WebhooksError):
    """A value breaks a rule of the contract.

    `field` is the path of the value, such as `events[1]`; `message` is one sentence for a person
    that says what to do. Neither ever holds a secret or the refused value itself.
    """

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{field}: {message}")
        self.field = field
        self.message = message


class InvalidTargetError(InvalidInputError):
    """A url, or an address that it resolves to, that no delivery may go to."""

    def __init__(self, message: str, field: str = "url") -> None:
        super().__init__(field, message)


InvalidTarget = InvalidTargetError
"""The former name, for code outside the project that catches it."""


class InvalidEventError(InvalidInputError):
    """An event message that no number of retries will make processable.

    `reason` is a stable code for metrics and for the events dead-letter queue: `not_json`,
    `too_deep`, `not_an_object`, `unknown_event`, `no_account`, `invalid_field`, `too_large`,
    `too_many_recipients`, `too_many_bytes`, `confirmation`.
    """

    def __init__(self, reason: str, field: str, message: str) -> None:
        super().__init__(field, message)
        self.reason = reason


class LimitReachedError(WebhooksError):
    """The account is at its limit; the message names the resource and the limit."""


class HostLimitReachedError(LimitReachedError):
    """The account already has the maximum number of webhooks for this host."""


class ExternalIdTakenError(WebhooksError):
    """Another webhook of the account already has this external id."""


class WebhookDisabledError(WebhooksError):
    """The webhook is disabled, so nothing is sent to it."""


class TooManyAttemptsError(WebhooksError):
    """The delivery's log is full: it gets no more manual attempts."""


class DeliveryErasedError(WebhooksError):
    """The delivery's payload was erased with a recipient, so there is nothing to send."""


class OverlapRunningError(WebhooksError):
    """The overlap of the last rotation is running, so the secret is not rotated again.

    `until_ms` is its end in Unix milliseconds, None if that is not known.
    """

    def __init__(self, until_ms: int | None = None) -> None:
        super().__init__("the overlap of the last rotation is running")
        self.until_ms = until_ms


class RotationConflictError(WebhooksError):
    """Another rotation of the webhook's secret was made at the same moment."""


class ReplayRunningError(WebhooksError):
    """The webhook has a replay that has not ended."""


class TooManyReplaysError(WebhooksError):
    """The webhook is at its limit of replays in a day."""


class RateLimitExceededError(WebhooksError):
    """A rate limit is used up; the next period begins in `retry_after_seconds`."""

    def __init__(self, retry_after_seconds: int = 1) -> None:
        super().__init__(f"the next period begins in {retry_after_seconds} seconds")
        self.retry_after_seconds = retry_after_seconds


class TooManyCallsError(RateLimitExceededError):
    """The account is at its limit of calls in a minute."""


class TooManyEventsError(RateLimitExceededError):
    """The account is at its limit of published events in a minute."""


class TooManyTestsError(RateLimitExceededError):
    """The webhook is at its limit of test events in an hour."""


class TooManyResendsError(RateLimitExceededError):
    """The webhook is at its limit of resends in an hour."""


class TooManyEnablesError(RateLimitExceededError):
    """The webhook is at its limit of enablings and requested probes in an hour."""


class TooManyErasuresError(RateLimitExceededError):
    """The account is at its limit of erasures in a day."""


class LastApiKeyError(WebhooksError):
    """The account has no other valid key that may write, so this one is not revoked."""


class ScopeExceededError(WebhooksError):
    """A key may not create another key with more scopes than its own."""


class IdempotencyConflictError(WebhooksError):
    """The idempotency key was used for another request in the last 24 hours."""


class IdempotencyInProgressError(WebhooksError):
    """The first request with this idempotency key is still in progress."""


class UnreadableRecordError(WebhooksError):
    """A delivery's or a job's record is broken or of a newer version; a retry does not help.

    It concerns that record alone. The text names the record and the kind of fault, but nothing of
    the record's content.
    """

    def __init__(self, key: RecordKey, trouble: str = "") -> None:
        [*_, (id_name, record_id)] = key._asdict().items()
        kind = id_name.removesuffix("_id")
        told = f": {trouble}" if trouble else ""
        super().__init__(f"the record of {kind} {record_id} cannot be read{told}")
        self.key = key


class DeliveryInterruptedError(WebhooksError):
    """A delivery was claimed again and again without a result; no more attempts are made.

    The state machine catches it by this name and sends the delivery's dead letter at once.
    """

    def __init__(self, key: DeliveryKey, claims: int) -> None:
        super().__init__(f"delivery {key.delivery_id}: {claims} claims had no result")
        self.key = key


class UnavailableError(WebhooksError):
    """A resource of ours was throttled, timed out or refused the request; the caller retries."""
