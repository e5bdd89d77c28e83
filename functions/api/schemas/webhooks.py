"""The shapes of webhooks."""

from typing import Annotated, Any

from pydantic import Field, WithJsonSchema

from api.schemas.base import In, Out
from webhooks.domain.event import EventType
from webhooks.domain.timestamps import to_text
from webhooks.domain.webhook import (
    ALL_EVENTS,
    MAX_DESCRIPTION_LENGTH,
    MAX_SECRET_LENGTH,
    MIN_SECRET_LENGTH,
    Registration,
    Webhook,
)

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


class WebhookIn(In):
    """A webhook to register."""

    url: Annotated[str, WithJsonSchema(_URL_SCHEMA)]
    events: Annotated[list[str], WithJsonSchema(_EVENTS_SCHEMA)]
    secret: Annotated[str, WithJsonSchema(_SECRET_SCHEMA)] | None = Field(default=None, repr=False)
    description: Annotated[str, WithJsonSchema(_DESCRIPTION_SCHEMA)] | None = None

    def registration(self) -> Registration:
        """Return the same as the domain's value."""
        return Registration(
            url=self.url,
            events=tuple(self.events),
            secret=self.secret,
            description=self.description or "",
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

    @classmethod
    def of(cls, webhook: Webhook, secret: str) -> "RegisteredWebhookOut":
        """Return a new webhook as its registration answers it."""
        return cls(
            id=webhook.id,
            url=webhook.url,
            events=list(webhook.events),
            secret=secret,
            active=webhook.active,
            created_at=to_text(webhook.created_at_ms),
            description=webhook.description or None,
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
    disabled_reason: str | None = None

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
            disabled_reason=webhook.disabled_reason,
        )
