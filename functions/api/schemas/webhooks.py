"""Schemas of webhooks."""

import time
from collections.abc import Callable
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, StringConstraints, WithJsonSchema, create_model
from pydantic import Field as Shape

from api.schemas.base import In, Out, ProblemOut
from webhooks.domain.event import EventType
from webhooks.domain.headers import MAX_HEADER_VALUE_LENGTH, MAX_HEADERS
from webhooks.domain.health import Health, HealthState
from webhooks.domain.signing import secret_warnings
from webhooks.domain.timestamps import ns_to_ms, to_text
from webhooks.domain.webhook import Registration, Webhook
from webhooks.domain.webhook_fields import (
    CHANGEABLE,
    FIELDS,
    READABLE,
    REGISTERED,
    Field,
    FieldKind,
    May,
)
from webhooks.domain.webhook_rules import (
    ALL_EVENTS,
    MAX_EXTERNAL_ID_LENGTH,
    MAX_METADATA_KEY_LENGTH,
    MAX_METADATA_PAIRS,
    MAX_METADATA_VALUE_LENGTH,
    MAX_SECRET_LENGTH,
    MIN_SECRET_LENGTH,
)
from webhooks.ports import WebhookChanges
from webhooks.services.webhooks import DEFAULT_OVERLAP_SECONDS, MAX_OVERLAP_SECONDS, Rotated

# The form of each field as the OpenAPI document describes it. The rules are in the domain.
_FORMS: dict[str, dict[str, Any]] = {
    "url": {
        "type": "string",
        "format": "uri",
        "pattern": "^https://",
        "maxLength": 2048,
        "examples": ["https://your-server.com/webhooks/email"],
    },
    "events": {
        "type": "array",
        "minItems": 1,
        "uniqueItems": True,
        "items": {"type": "string", "enum": [*EventType, ALL_EVENTS]},
        "examples": [["email.sent", "email.delivered", "email.bounced", "email.complained"]],
    },
    "secret": {
        "type": "string",
        "minLength": MIN_SECRET_LENGTH,
        "maxLength": MAX_SECRET_LENGTH,
    },
    "headers": {
        "type": "object",
        "maxProperties": MAX_HEADERS,
        "additionalProperties": {
            "type": "string",
            "minLength": 1,
            "maxLength": MAX_HEADER_VALUE_LENGTH,
            "pattern": "^[ -~]+$",
        },
        "examples": [{"X-Team": "billing"}],
    },
    "external_id": {
        "type": "string",
        "minLength": 1,
        "maxLength": MAX_EXTERNAL_ID_LENGTH,
        "pattern": "^[0-9A-Za-z_.:@-]*[0-9A-Za-z][0-9A-Za-z_.:@-]*$",
        "examples": ["billing-production"],
    },
    "metadata": {
        "type": "object",
        "maxProperties": MAX_METADATA_PAIRS,
        "propertyNames": {"minLength": 1, "maxLength": MAX_METADATA_KEY_LENGTH},
        "additionalProperties": {"type": "string", "maxLength": MAX_METADATA_VALUE_LENGTH},
        "examples": [{"team": "billing", "environment": "production"}],
    },
}
_GIVEN: dict[FieldKind, Any] = {
    FieldKind.URL: str,
    FieldKind.TEXT: str,
    FieldKind.NAMES: list[str],
    FieldKind.FLAG: bool,
    FieldKind.SECRET: str,
    FieldKind.HEADERS: dict[str, str],
    FieldKind.PAIRS: dict[str, str],
}
_HIDDEN = (FieldKind.SECRET, FieldKind.HEADERS)
"""Kinds whose values no schema's `repr` shows."""

_Model = TypeVar("_Model", bound=BaseModel)


def _with(shapes: dict[str, Any]) -> Callable[[type[_Model]], type[_Model]]:
    """Return a decorator that adds the fields to a schema, each with its type and its default."""

    def made(model: type[_Model]) -> type[_Model]:
        return create_model(
            model.__name__,
            __base__=model,
            __doc__=model.__doc__,
            __module__=model.__module__,
            **shapes,
        )

    return made


def _given(field: Field) -> Any:
    """Return the type of a field in a request, with its description for the OpenAPI document."""
    given = _GIVEN[field.kind]
    if field.filled:
        given = Annotated[given, StringConstraints(min_length=1)]
    form = _FORMS.get(field.name)
    if form is None and field.kind is FieldKind.TEXT:
        form = {"type": "string", "maxLength": field.max_length}
    if form is None:
        return given
    return Annotated[given, WithJsonSchema({**form, "description": field.meaning})]


def _to_register(field: Field) -> Any:
    if field.required and field.kind is not FieldKind.SECRET:
        return (_given(field), ...)
    return (_given(field) | None, Shape(default=None, repr=field.kind not in _HIDDEN))


def _to_change(field: Field) -> Any:
    kept: dict[str, Any] = {"repr": field.kind not in _HIDDEN}
    if May.CLEAR in field.may:
        several = isinstance(field.empty, dict)
        text = "Replaces all existing ones; null clears them." if several else "null clears it."
        return (_given(field) | None, Shape(default=None, description=text, **kept))
    if field.name not in _FORMS:
        kept["description"] = field.meaning
    # The default is never used. Without None as a type, null is refused for fields that cannot be
    # cleared.
    return (_given(field), Shape(default_factory=_GIVEN[field.kind], **kept))


@_with({field.name: _to_register(field) for field in REGISTERED})
class WebhookIn(In):
    """A webhook to register."""

    def registration(self) -> Registration:
        """Return the same values as the domain's type."""
        return Registration(**_values(self, {field.name for field in REGISTERED}))


@_with({field.name: _to_change(field) for field in FIELDS if field.name == "active"})
class WebhookPutIn(WebhookIn):
    """A webhook to register, or all settings of an existing one except its secret.

    `external_id` may be left out because the path has it. If `active` is left out, an existing
    webhook stays enabled or disabled.
    """

    def active_if_given(self) -> bool | None:
        """Return `active`; None if it was left out."""
        return getattr(self, "active") if "active" in self.model_fields_set else None  # noqa: B009


@_with({field.name: _to_change(field) for field in CHANGEABLE})
class WebhookChangesIn(In):
    """The fields of a webhook to change, at least one. Omitted fields keep their values."""

    model_config = ConfigDict(json_schema_extra={"minProperties": 1})

    def changes(self) -> WebhookChanges:
        """Return the same values as the service's type."""
        return WebhookChanges(**_values(self, self.model_fields_set))


def _values(given: In, names: set[str]) -> dict[str, Any]:
    """Return the domain's values by field: a list becomes a tuple, null the field's empty value."""
    values = {}
    for field in FIELDS:
        if field.name in names:
            value = getattr(given, field.name)
            if value is None and field.kind is not FieldKind.SECRET:
                value = field.empty
            values[field.name] = tuple(value) if field.kind is FieldKind.NAMES else value
    return values


_SECRET_FORM = _FORMS["secret"] | {
    "description": next(field.meaning for field in FIELDS if field.kind is FieldKind.SECRET)
}


def warnings_of(secret: str) -> list[ProblemOut] | None:
    """Return a warning if libraries read the secret in different ways; otherwise None."""
    return [ProblemOut(field="secret", message=text) for text in secret_warnings(secret)] or None


_ENDED_OVERLAP = (
    "The former old secret no longer signs requests. A receiver that still uses "
    "it refuses deliveries until you give it the new secret."
)


def rotation_warnings(rotated: Rotated) -> list[ProblemOut] | None:
    """Return the warnings about the new secret, and one if the rotation ended an overlap."""
    ended = [ProblemOut(field="force", message=_ENDED_OVERLAP)] if rotated.ended_overlap else []
    return [*ended, *(warnings_of(rotated.secret) or [])] or None


class RotationIn(In):
    """The way to rotate a webhook's secret; every field is optional."""

    secret: Annotated[str, WithJsonSchema(_SECRET_FORM)] | None = Shape(default=None, repr=False)
    overlap_seconds: int = Shape(
        default=DEFAULT_OVERLAP_SECONDS,
        ge=0,
        le=MAX_OVERLAP_SECONDS,
        description="How long the old secret signs too, in seconds.",
    )
    force: bool = Shape(
        default=False,
        description=(
            "Rotate even during the overlap of the last rotation. Its old secret then signs "
            "nothing, and a receiver that still has it refuses deliveries."
        ),
    )


class RotatedSecretOut(Out):
    """A webhook's new secret, which is shown only this once."""

    id: str
    secret: str = Shape(repr=False)
    previous_secret_expires_at: str | None = None

    @classmethod
    def of(cls, webhook_id: str, rotated: Rotated) -> "RotatedSecretOut":
        """Return a rotation as the API shows it."""
        until_ms = rotated.previous_until_ms
        return cls(
            id=webhook_id,
            secret=rotated.secret,
            previous_secret_expires_at=None if until_ms is None else to_text(until_ms),
        )


NOT_BEFORE = (
    "The time of sending, if the receiver asked for a pause by Retry-After. Absent if it is sent "
    "at once."
)
"""Description of `not_before` in the OpenAPI document, for calls that send something."""


class HealthOut(Out):
    """The outcome of a webhook's latest attempts.

    `failing`: the last attempt failed. `down`: several attempts in a row failed, and events wait
    until a probe succeeds. `recovering`: the waiting events are being sent, or will be from
    `not_before` on.
    """

    state: HealthState
    consecutive_failures: int
    failing_since: str | None = None
    not_before: str | None = Shape(
        default=None,
        description=(
            "End of the pause that the receiver asked for by Retry-After on a 429 or 503. "
            "Nothing is sent until then. Absent if there is no pause."
        ),
    )

    @classmethod
    def of(cls, health: Health) -> "HealthOut":
        """Return a webhook's health as the API shows it."""
        since_ms = health.failing_since_ms
        until_ms = health.paused_until_ms(ns_to_ms(time.time_ns()))
        return cls(
            state=health.state,
            consecutive_failures=health.failures,
            failing_since=None if since_ms is None else to_text(since_ms),
            not_before=None if until_ms is None else to_text(until_ms),
        )


_SHOWN: dict[FieldKind, tuple[Any, Callable[[Any], Any]]] = {
    FieldKind.URL: (str, str),
    FieldKind.TEXT: (str, str),
    FieldKind.NAMES: (list[str], list),
    FieldKind.FLAG: (bool, bool),
    FieldKind.TIME: (str, to_text),
    # Names only: a header's value may be a credential of the receiver.
    FieldKind.HEADERS: (list[str], list),
    FieldKind.PAIRS: (dict[str, str], dict),
    FieldKind.HEALTH: (HealthOut, HealthOut.of),
}
"""Each kind's type in responses, and the conversion of a value to it."""

_OF_NEW = tuple(field for field in FIELDS if field.is_created and field.name != "updated_at")


def _shown(field: Field) -> Any:
    if field.kind is FieldKind.SECRET:
        return (str, Shape(repr=False))
    kind = _SHOWN[field.kind][0]
    return (kind, ...) if field.required else (kind | None, None)


def _show(webhook: Webhook, names: set[str]) -> dict[str, Any]:
    """Return a webhook's fields as the API shows them; empty optional fields become None."""
    values: dict[str, Any] = {}
    for field in READABLE:
        if field.shown_as in names:
            value = getattr(webhook, field.python_name)
            shown = value or field.required
            values[field.shown_as] = _SHOWN[field.kind][1](value) if shown else None
    return values


@_with({field.shown_as: _shown(field) for field in _OF_NEW})
class RegisteredWebhookOut(Out):
    """A new webhook with its secret, which is shown only this once."""

    @classmethod
    def of(cls, webhook: Webhook, secret: str) -> "RegisteredWebhookOut":
        """Return a new webhook as its registration shows it."""
        return cls(**_show(webhook, set(cls.model_fields)) | {"secret": secret})


@_with({field.shown_as: _shown(field) for field in READABLE})
class WebhookOut(Out):
    """A webhook without its secret."""

    @classmethod
    def of(cls, webhook: Webhook) -> "WebhookOut":
        """Return a webhook as the API shows it."""
        return cls(**_show(webhook, set(cls.model_fields)))
