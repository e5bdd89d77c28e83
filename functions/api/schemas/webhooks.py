"""The shapes of webhooks."""

from typing import Annotated, Any

from pydantic import ConfigDict, Field, WithJsonSchema

from api.schemas.base import In, Out
from webhooks.domain.event import EventType
from webhooks.domain.headers import MAX_HEADER_VALUE_LENGTH, MAX_HEADERS
from webhooks.domain.health import Health, HealthState
from webhooks.domain.signing import secret_warnings
from webhooks.domain.timestamps import to_text
from webhooks.domain.webhook import (
    ALL_EVENTS,
    MAX_DESCRIPTION_LENGTH,
    MAX_SECRET_LENGTH,
    MIN_SECRET_LENGTH,
    Registration,
    Webhook,
)
from webhooks.ports import WebhookChanges
from webhooks.services.registry import DEFAULT_OVERLAP_SECONDS, MAX_OVERLAP_SECONDS, Rotated

_URL_SCHEMA: dict[str, Any] = {
    "type": "string",
    "format": "uri",
    "pattern": "^https://",
    "maxLength": 2048,
    "description": "Where events are sent: https, a public host, no user information or fragment.",
    "examples": ["https://your-server.com/webhooks/email"],
}
_EVENTS_SCHEMA: dict[str, Any] = {
    "type": "array",
    "minItems": 1,
    "uniqueItems": True,
    "items": {"type": "string", "enum": [*EventType, ALL_EVENTS]},
    "description": 'The event types to send, or ["*"] for all, those to come included.',
    "examples": [["email.sent", "email.delivered", "email.bounced", "email.complained"]],
}
_SECRET_SCHEMA: dict[str, Any] = {
    "type": "string",
    "minLength": MIN_SECRET_LENGTH,
    "maxLength": MAX_SECRET_LENGTH,
    "description": "What signs the deliveries; generated where it is left out. Never shown again.",
}
_DESCRIPTION_SCHEMA: dict[str, Any] = {
    "type": "string",
    "maxLength": MAX_DESCRIPTION_LENGTH,
    "description": "A line for your own use.",
}
_HEADERS_SCHEMA: dict[str, Any] = {
    "type": "object",
    "maxProperties": MAX_HEADERS,
    "additionalProperties": {
        "type": "string",
        "minLength": 1,
        "maxLength": MAX_HEADER_VALUE_LENGTH,
        "pattern": "^[ -~]+$",
    },
    "description": (
        "Headers to add to each delivery, by name. Values are sent, and never shown again. Those "
        "of HTTP itself, Authorization, Cookie and the delivery's own are refused."
    ),
    "examples": [{"X-Team": "billing"}],
}

Url = Annotated[str, WithJsonSchema(_URL_SCHEMA)]
Events = Annotated[list[str], WithJsonSchema(_EVENTS_SCHEMA)]
Secret = Annotated[str, WithJsonSchema(_SECRET_SCHEMA)]
Description = Annotated[str, WithJsonSchema(_DESCRIPTION_SCHEMA)]
Headers = Annotated[dict[str, str], WithJsonSchema(_HEADERS_SCHEMA)]


class WebhookIn(In):
    """A webhook to register."""

    url: Url
    events: Events
    secret: Secret | None = Field(default=None, repr=False)
    description: Description | None = None
    headers: Headers | None = Field(default=None, repr=False)

    def registration(self) -> Registration:
        """Return the same as the domain's value."""
        return Registration(
            url=self.url,
            events=tuple(self.events),
            secret=self.secret,
            description=self.description or "",
            headers=self.headers or {},
        )


class WebhookChangesIn(In):
    """What to change of a webhook: at least one field; what is left out stays as it is."""

    model_config = ConfigDict(json_schema_extra={"minProperties": 1})

    # Defaults that are never used, so that null is refused where it could clear nothing.
    url: Url = Field(default_factory=str)
    events: Events = Field(default_factory=list)
    active: bool = Field(default_factory=bool, description="Whether events are sent.")
    description: Description | None = Field(default=None, description="null clears it.")
    headers: Headers | None = Field(
        default=None, repr=False, description="Replaces all there were; null clears them."
    )

    def changes(self) -> WebhookChanges:
        """Return the same as the service's value, in which None leaves a field as it is."""
        given = self.model_fields_set
        return WebhookChanges(
            url=self.url if "url" in given else None,
            events=self.events if "events" in given else None,
            active=self.active if "active" in given else None,
            description=(self.description or "") if "description" in given else None,
            headers=(self.headers or {}) if "headers" in given else None,
        )


_WARNINGS = Field(
    default=None,
    description="What to do about a secret that libraries read in different ways.",
)


class RotationIn(In):
    """How to rotate a webhook's secret; every field may be left out."""

    secret: Secret | None = Field(default=None, repr=False)
    overlap_seconds: int = Field(
        default=DEFAULT_OVERLAP_SECONDS,
        ge=0,
        le=MAX_OVERLAP_SECONDS,
        description="For how long the old secret signs too.",
    )


class RotatedSecretOut(Out):
    """A webhook's new secret, which is shown this once."""

    id: str
    secret: str = Field(repr=False)
    previous_secret_expires_at: str | None = None
    warnings: list[str] | None = _WARNINGS

    @classmethod
    def of(cls, webhook_id: str, rotated: Rotated) -> "RotatedSecretOut":
        """Return a rotation as the API shows it."""
        until_ms = rotated.previous_until_ms
        return cls(
            id=webhook_id,
            secret=rotated.secret,
            previous_secret_expires_at=None if until_ms is None else to_text(until_ms),
            warnings=secret_warnings(rotated.secret) or None,
        )


class RegisteredWebhookOut(Out):
    """A new webhook, with the secret that is shown this once."""

    id: str
    url: str
    events: list[str]
    secret: str = Field(repr=False)
    active: bool
    created_at: str
    description: str | None = None
    header_names: list[str] | None = None
    warnings: list[str] | None = _WARNINGS

    @classmethod
    def of(cls, webhook: Webhook, secret: str) -> "RegisteredWebhookOut":
        """Return a new webhook as its registration shows it."""
        return cls(
            id=webhook.id,
            url=webhook.url,
            events=list(webhook.events),
            secret=secret,
            active=webhook.active,
            created_at=to_text(webhook.created_at_ms),
            description=webhook.description or None,
            header_names=_header_names(webhook),
            warnings=secret_warnings(secret) or None,
        )


class HealthOut(Out):
    """How a webhook's latest attempts went.

    `failing`: the last one failed. `down`: so many failed in a row that events wait until a probe
    succeeds. `recovering`: what waited is being sent.
    """

    state: HealthState
    consecutive_failures: int
    failing_since: str | None = None

    @classmethod
    def of(cls, health: Health) -> "HealthOut":
        """Return a webhook's health as the API shows it."""
        since_ms = health.failing_since_ms
        return cls(
            state=health.state,
            consecutive_failures=health.failures,
            failing_since=None if since_ms is None else to_text(since_ms),
        )


class WebhookOut(Out):
    """A webhook as its owner sees it again: without its secret."""

    id: str
    url: str
    events: list[str]
    active: bool
    created_at: str
    updated_at: str
    description: str | None = None
    header_names: list[str] | None = None
    disabled_reason: str | None = None
    health: HealthOut

    @classmethod
    def of(cls, webhook: Webhook) -> "WebhookOut":
        """Return a webhook as the API shows it."""
        return cls(
            id=webhook.id,
            url=webhook.url,
            events=list(webhook.events),
            active=webhook.active,
            created_at=to_text(webhook.created_at_ms),
            updated_at=to_text(webhook.updated_at_ms),
            description=webhook.description or None,
            header_names=_header_names(webhook),
            disabled_reason=webhook.disabled_reason,
            health=HealthOut.of(webhook.health),
        )


def _header_names(webhook: Webhook) -> list[str] | None:
    # Names alone: a value may be a credential of the receiver's.
    return list(webhook.headers) or None
