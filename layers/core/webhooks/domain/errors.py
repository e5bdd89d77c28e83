"""What can go wrong, by whose fault it is.

::

    WebhooksError
    ├── InvalidInputError               the input breaks a rule; says which field and what to do
    │   ├── InvalidTargetError          a url that no webhook may have
    │   ├── InvalidWebhookError         a registration that breaks rules, every one of them listed
    │   └── InvalidEventError           an event message that is never processable; has a reason
    ├── LimitReachedError               the account has as many as it may have
    │   └── HostLimitReachedError       as many of its webhooks lead to one host
    ├── ExternalIdTakenError            another of its webhooks has this external id
    ├── TooManyAttemptsError            the delivery's log is full
    ├── DeliveryErasedError             the delivery has no payload any more
    ├── WebhookDisabledError            nothing is sent to it until its owner enables it
    ├── OverlapRunningError             a rotation would end a secret that a receiver may have
    ├── RotationConflictError           another rotation was made at the same moment
    ├── ReplayRunningError              the webhook has a replay that goes on
    ├── TooManyReplaysError             the webhook has had as many replays as a day allows
    ├── RateLimitExceededError          too much was asked for at a time; says when to go on
    │   ├── TooManyCallsError           calls of an account in a minute
    │   ├── TooManyEventsError          events that an account publishes in a minute
    │   ├── TooManyTestsError           test events of a webhook in an hour
    │   ├── TooManyResendsError         resends of a webhook in an hour
    │   ├── TooManyEnablesError         enablings of a webhook in an hour
    │   └── TooManyErasuresError        erasures of an account in a day
    ├── LastApiKeyError                 revoking this key would lock its account out
    ├── ScopeExceededError              a key would pass on more than it may do itself
    ├── IdempotencyConflictError        an idempotency key comes again with another request
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
    """A named tuple of the ids that find a record, its own id last."""

    def _asdict(self) -> dict[str, Any]: ...


class WebhooksError(Exception):
    """The root of this package's errors."""


class InvalidInputError(WebhooksError):
    """A value breaks a rule of the contract.

    `field` is the path of the value, as `events[1]`; `message` is one sentence for a person that
    says what to do. Neither ever holds a secret or the refused value itself.
    """

    def __init__(self, field: str, message: str) -> None:
        """Name the field and say what to do."""
        super().__init__(f"{field}: {message}")
        self.field = field
        self.message = message


class InvalidTargetError(InvalidInputError):
    """A url, or an address that it leads to, that no delivery may go to."""

    def __init__(self, message: str, field: str = "url") -> None:
        """Say what is wrong with the url, without repeating it."""
        super().__init__(field, message)


InvalidTarget = InvalidTargetError
"""The former name, which checks outside the project catch."""


class InvalidEventError(InvalidInputError):
    """An event message that no number of tries will make processable.

    `reason` is a stable code for metrics and for the events dead-letter queue: `not_json`,
    `too_deep`, `not_an_object`, `unknown_event`, `no_account`, `invalid_field`, `too_large`,
    `too_many_recipients`, `too_many_bytes`, `confirmation`.
    """

    def __init__(self, reason: str, field: str, message: str) -> None:
        """Give the stable reason next to the field and the sentence."""
        super().__init__(field, message)
        self.reason = reason


class LimitReachedError(WebhooksError):
    """The account already has as many as it may have; the message says of what, and the limit."""


class HostLimitReachedError(LimitReachedError):
    """As many of the account's webhooks lead to this host as may."""


class ExternalIdTakenError(WebhooksError):
    """Another webhook of the account has this external id."""


class WebhookDisabledError(WebhooksError):
    """The webhook is disabled, so nothing is sent to it."""


class TooManyAttemptsError(WebhooksError):
    """The delivery's log is full: it gets no more attempts by hand."""


class DeliveryErasedError(WebhooksError):
    """The delivery's payload was erased with a recipient, so there is nothing to send."""


class OverlapRunningError(WebhooksError):
    """The overlap of the webhook's last rotation is running, so its secret is not rotated again."""

    def __init__(self, until_ms: int | None = None) -> None:
        """Say when the overlap ends, in Unix milliseconds; None where that is not known."""
        super().__init__("the overlap of the last rotation is running")
        self.until_ms = until_ms


class RotationConflictError(WebhooksError):
    """Another rotation of the webhook's secret was made at the same moment."""


class ReplayRunningError(WebhooksError):
    """The webhook has a replay already that has not come to its end."""


class TooManyReplaysError(WebhooksError):
    """The webhook has had as many replays within a day as it may have."""


class RateLimitExceededError(WebhooksError):
    """As much was asked for in this stretch of time as may be."""

    def __init__(self, retry_after_seconds: int = 1) -> None:
        """Say in how many seconds the next one begins."""
        super().__init__(f"the next begins in {retry_after_seconds} seconds")
        self.retry_after_seconds = retry_after_seconds


class TooManyCallsError(RateLimitExceededError):
    """The account has made as many calls within a minute as it may."""


class TooManyEventsError(RateLimitExceededError):
    """The account has published as many events within a minute as it may."""


class TooManyTestsError(RateLimitExceededError):
    """The webhook has had as many test events within an hour as it may have."""


class TooManyResendsError(RateLimitExceededError):
    """The webhook has had as many resends within an hour as it may have."""


class TooManyEnablesError(RateLimitExceededError):
    """The webhook was enabled, or asked to be probed, as often within an hour as it may be."""


class TooManyErasuresError(RateLimitExceededError):
    """The account has begun as many erasures within a day as it may."""


class LastApiKeyError(WebhooksError):
    """The account has no other valid key that may write, so this one is not revoked."""


class ScopeExceededError(WebhooksError):
    """A key may not make one that may do more than itself."""


class IdempotencyConflictError(WebhooksError):
    """The idempotency key was used for another request in the last 24 hours."""


class IdempotencyInProgressError(WebhooksError):
    """The first request with this idempotency key is still in progress."""


class UnreadableRecordError(WebhooksError):
    """A delivery's or a job's record is broken, or of a newer version: another try is of no use.

    It concerns that record alone. The text names it and the kind of trouble, nothing of what the
    record holds.
    """

    def __init__(self, key: RecordKey, trouble: str = "") -> None:
        """Name the record by the last id of its key, and the error of reading it where known."""
        [*_, (id_name, record_id)] = key._asdict().items()
        kind = id_name.removesuffix("_id")
        told = f": {trouble}" if trouble else ""
        super().__init__(f"the record of {kind} {record_id} cannot be read{told}")
        self.key = key


class DeliveryInterruptedError(WebhooksError):
    """A delivery's attempts were claimed again and again and none had a result: no more are made.

    The state machine knows it by its name: it is the delivery's dead letter, at once.
    """

    def __init__(self, key: DeliveryKey, claims: int) -> None:
        """Name the delivery and how often an attempt of it was claimed."""
        super().__init__(f"delivery {key.delivery_id}: {claims} claims had no result")
        self.key = key


class UnavailableError(WebhooksError):
    """Something of ours was throttled, timed out or refused us; the work is to be tried again."""
