"""Every error that the API returns, with its status, its stable code and its message."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aws_lambda_powertools.event_handler.openapi.exceptions import RequestValidationError

from api.api_error import ApiError
from api.rate_limit_errors import RATE_LIMITS
from api.schemas.base import ProblemOut
from webhooks.domain.errors import (
    DeliveryErasedError,
    ExternalIdTakenError,
    HostLimitReachedError,
    IdempotencyConflictError,
    IdempotencyInProgressError,
    InvalidEventError,
    InvalidInputError,
    LastApiKeyError,
    LimitReachedError,
    OverlapRunningError,
    RateLimitExceededError,
    ReplayRunningError,
    RotationConflictError,
    ScopeExceededError,
    TooManyAttemptsError,
    TooManyReplaysError,
    UnavailableError,
    WebhookDisabledError,
)
from webhooks.domain.timestamps import to_text
from webhooks.domain.webhook import InvalidWebhookError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

_MAX_FIELD_LENGTH = 100
_RETRY_AFTER_SECONDS = 1
_HOUR_SECONDS = 3600

# pydantic's own messages are about Python; these say how to correct the request. The types are in
# pydantic's documentation under "Validation Errors".
_SENTENCES = {
    "missing": "This field is required. Add it.",
    "extra_forbidden": "This field is unknown. Remove it.",
    "string_type": "Use a string.",
    "string_too_short": "Use a text that is not empty, or null to clear it.",
    "string_unicode": "Use a string of valid Unicode.",
    "list_type": "Use a list.",
    "dict_type": "Use an object.",
    "bool_type": "Use true or false.",
    "enum": "Use one of {expected}.",
    "model_type": "Use an object.",
    "model_attributes_type": "Use an object.",
    "int_parsing": "Use a whole number.",
    "int_type": "Use a whole number.",
    "greater_than_equal": "Use at least {ge}.",
    "less_than_equal": "Use at most {le}.",
}
_OTHER_SENTENCE = "Use a value of the documented form."


def malformed_json(message: str) -> ApiError:
    """Refuse a body that the API cannot read as JSON."""
    return ApiError(400, "malformed_json", message)


def unauthorized() -> ApiError:
    """Refuse a missing, wrong or revoked key; the message does not say which."""
    return ApiError(
        401,
        "unauthorized",
        "The API key is missing or not valid. Send a valid one as "
        '"Authorization: Bearer YOUR_API_KEY".',
        headers={"WWW-Authenticate": "Bearer"},
    )


def insufficient_scope(scope: str) -> ApiError:
    """Refuse a key without the needed scope and name that scope (RFC 6750, section 3.1)."""
    return ApiError(
        403,
        "insufficient_scope",
        f"This key lacks the scope {scope}. Use a key that has it.",
        headers={"WWW-Authenticate": f'Bearer error="insufficient_scope", scope="{scope}"'},
    )


def not_found() -> ApiError:
    """Refuse a path that no route has."""
    return ApiError(404, "not_found", "The API has no such route. Check the path.")


def webhook_not_found() -> ApiError:
    """Refuse an id that is unknown or belongs to another account's webhook."""
    return ApiError(404, "webhook_not_found", "The account has no such webhook. Check the id.")


def api_key_not_found() -> ApiError:
    """Refuse an id that is unknown or belongs to another account's key."""
    return ApiError(404, "api_key_not_found", "The account has no such API key. Check the id.")


def delivery_not_found() -> ApiError:
    """Refuse an id that is not, or no longer, in the webhook's delivery log."""
    return ApiError(
        404, "delivery_not_found", "The webhook's log has no such delivery. Check the id."
    )


def replay_not_found() -> ApiError:
    """Refuse an id that is not, or no longer, a replay of the webhook."""
    return ApiError(404, "replay_not_found", "The webhook has no such replay. Check the id.")


def check_not_found() -> ApiError:
    """Refuse an id that is not, or no longer, a check of the webhook."""
    return ApiError(404, "check_not_found", "The webhook has no such check. Check the id.")


def erasure_not_found() -> ApiError:
    """Refuse an id that is not, or no longer, an erasure of the account."""
    return ApiError(404, "erasure_not_found", "The account has no such erasure. Check the id.")


def file_not_found() -> ApiError:
    """Refuse a name that is not on the dashboard's closed list of files."""
    return ApiError(404, "file_not_found", "The dashboard has no such file. Check the name.")


def method_not_allowed(allowed: Iterable[str]) -> ApiError:
    """Refuse a method that the path does not have; Allow names its methods."""
    allow = ", ".join(sorted(allowed))
    message = f"This path does not have this method. Use {allow}."
    return ApiError(405, "method_not_allowed", message, headers={"Allow": allow})


def body_too_large(max_body_bytes: int) -> ApiError:
    """Refuse a body of more than `max_body_bytes`."""
    return ApiError(
        413, "body_too_large", f"The body is too large. Send at most {max_body_bytes:,} bytes."
    )


def unsupported_media_type() -> ApiError:
    """Refuse a body whose Content-Type is not JSON in UTF-8."""
    return ApiError(
        415,
        "unsupported_media_type",
        'The body is not JSON in UTF-8. Send JSON with "Content-Type: application/json".',
    )


def validation_failed(details: Iterable[ProblemOut]) -> ApiError:
    """Refuse well-formed input that breaks a rule; `details` names the fields."""
    return ApiError(
        422,
        "validation_failed",
        "Some fields are not valid. Correct those in details and send the request again.",
        details=details,
    )


def problem(field: str, message: str) -> ProblemOut:
    """Return a fault of one field. Callers choose field names, so a long name is cut."""
    clean = field[:_MAX_FIELD_LENGTH].encode(errors="replace").decode()
    return ProblemOut(field=clean, message=message)


def event_problem(error: InvalidEventError, index: int | None = None) -> ProblemOut:
    """Return an event's fault; `index` is the event's place in a list of events."""
    if index is None:
        field = error.field
    else:
        field = f"[{index}]" if error.field == "body" else f"[{index}].{error.field}"
    return problem(field, f"This {error.message}.")


def as_api_error(error: Exception) -> ApiError:
    """Return the API's form of an exception; an unforeseen one becomes a 500 without details."""
    if isinstance(error, ApiError):
        return error
    if isinstance(error, RequestValidationError):
        return validation_failed(_schema_problem(each) for each in error.errors())
    if isinstance(error, InvalidEventError):
        return validation_failed([event_problem(error)])
    if isinstance(error, InvalidInputError):
        problems = error.problems if isinstance(error, InvalidWebhookError) else (error,)
        return validation_failed(problem(each.field, each.message) for each in problems)
    if isinstance(error, RateLimitExceededError | OverlapRunningError):
        return _refused_until(error)
    known = (refusal for kind, refusal in _REFUSALS.items() if isinstance(error, kind))
    return next(known, _internal_error)()


def _limit_reached() -> ApiError:
    return ApiError(
        409,
        "webhook_limit_reached",
        "This account already has the maximum number of webhooks. Delete one first.",
    )


def _host_limit_reached() -> ApiError:
    return ApiError(
        409,
        "host_limit_reached",
        "This account already has the maximum number of webhooks for this host. Delete one, or use "
        "another host.",
    )


def _external_id_taken() -> ApiError:
    return ApiError(
        409,
        "external_id_taken",
        "Another webhook of this account has this external_id. Use another, or PUT to change that "
        "webhook.",
    )


def _delivery_erased() -> ApiError:
    return ApiError(
        409,
        "delivery_erased",
        "This payload was erased with its recipient. Publish the event again.",
    )


def _refused_until(error: RateLimitExceededError | OverlapRunningError) -> ApiError:
    if isinstance(error, OverlapRunningError):
        return _overlap_running(error)
    return _rate_limit_exceeded(error)


def _rate_limit_exceeded(error: RateLimitExceededError) -> ApiError:
    code, message = RATE_LIMITS[type(error)]
    return ApiError(429, code, message, headers={"Retry-After": str(error.retry_after_seconds)})


def _webhook_disabled() -> ApiError:
    return ApiError(
        409, "webhook_disabled", "This webhook is disabled. Enable it first: set active to true."
    )


def _too_many_attempts() -> ApiError:
    return ApiError(
        409, "too_many_attempts", "This delivery has no attempts left. Publish the event again."
    )


def _overlap_running(error: OverlapRunningError) -> ApiError:
    end = "" if error.until_ms is None else f" until {to_text(error.until_ms)}"
    return ApiError(
        409,
        "overlap_running",
        f"The overlap of the last rotation is running{end}, and a receiver may still have the old "
        "secret. Give the receiver the new one, which ends the overlap, or wait. Set force to true "
        "to rotate anyway: the old secret then signs nothing, and a receiver that has it refuses "
        "deliveries.",
    )


def _rotation_conflict() -> ApiError:
    return ApiError(
        409,
        "rotation_conflict",
        "Another rotation of this secret was made at the same moment, or since this call was first "
        "made. Use the secret that it returned, or rotate again, with another Idempotency-Key.",
    )


def _replay_running() -> ApiError:
    return ApiError(
        409, "replay_running", "This webhook has a running replay. Cancel it, or wait for its end."
    )


def _too_many_replays() -> ApiError:
    return ApiError(
        429,
        "too_many_replays",
        "This webhook has reached its limit of replays per day. Wait before you start another.",
        headers={"Retry-After": str(_HOUR_SECONDS)},
    )


def _last_api_key() -> ApiError:
    return ApiError(
        409,
        "last_api_key",
        "This is the account's last key that may manage it. Make another key with the scope write "
        "first.",
    )


def _scope_exceeded() -> ApiError:
    return ApiError(
        403,
        "insufficient_scope",
        "A key can only give scopes that it has itself. Use fewer scopes.",
    )


def _idempotency_conflict() -> ApiError:
    return ApiError(
        409,
        "idempotency_conflict",
        "This Idempotency-Key was used with another body in the last 24 hours. Use a new key.",
    )


def _idempotency_in_progress() -> ApiError:
    return ApiError(
        409,
        "idempotency_in_progress",
        "The first call with this Idempotency-Key is still in progress. Try again in a moment.",
        headers={"Retry-After": str(_RETRY_AFTER_SECONDS)},
    )


def _unavailable() -> ApiError:
    return ApiError(
        503,
        "unavailable",
        "The service did not respond in time. Try again in a moment.",
        headers={"Retry-After": str(_RETRY_AFTER_SECONDS)},
    )


def _internal_error() -> ApiError:
    return ApiError(
        500,
        "internal_error",
        "Something failed on our side. Try again; if it keeps failing, report the response's "
        "X-Request-Id.",
    )


_REFUSALS = {
    HostLimitReachedError: _host_limit_reached,
    LimitReachedError: _limit_reached,
    ExternalIdTakenError: _external_id_taken,
    TooManyAttemptsError: _too_many_attempts,
    DeliveryErasedError: _delivery_erased,
    WebhookDisabledError: _webhook_disabled,
    LastApiKeyError: _last_api_key,
    ScopeExceededError: _scope_exceeded,
    IdempotencyConflictError: _idempotency_conflict,
    IdempotencyInProgressError: _idempotency_in_progress,
    ReplayRunningError: _replay_running,
    RotationConflictError: _rotation_conflict,
    TooManyReplaysError: _too_many_replays,
    UnavailableError: _unavailable,
}


def _schema_problem(error: Mapping[str, Any]) -> ProblemOut:
    sentence = _SENTENCES.get(error["type"], _OTHER_SENTENCE)
    return problem(_field_path(error["loc"]), sentence.format(**error.get("ctx", {})))


def _field_path(location: Sequence[str | int]) -> str:
    # The first part is the field's place (body, query or path), which the field's name makes clear.
    path = ""
    for part in location[1:]:
        if isinstance(part, int):
            path += f"[{part}]"
        else:
            path += f".{part}" if path else part
    return path or "body"
