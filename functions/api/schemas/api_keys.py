"""Schemas of API keys."""

from typing import Annotated, Any

from pydantic import Field, WithJsonSchema

from api.schemas.base import DeletedOut, In, Out
from webhooks.domain.api_key import ApiKey, Scope
from webhooks.domain.timestamps import to_text
from webhooks.services.api_keys import MAX_NAME_LENGTH, IssuedKey

_NAME_SCHEMA: dict[str, Any] = {
    "type": "string",
    "minLength": 1,
    "maxLength": MAX_NAME_LENGTH,
    "description": "Your name for the key.",
    "examples": ["billing"],
}
_SCOPES_SCHEMA: dict[str, Any] = {
    "type": "array",
    "minItems": 1,
    "uniqueItems": True,
    "items": {"type": "string", "enum": [*Scope]},
    "description": "The calls that the key may make. Default: the scopes of the calling key.",
    "examples": [["publish"]],
}


class ApiKeyIn(In):
    """A key to create."""

    name: Annotated[str, WithJsonSchema(_NAME_SCHEMA)]
    scopes: Annotated[list[str], WithJsonSchema(_SCOPES_SCHEMA)] | None = None


class ApiKeyOut(Out):
    """A key without its text, of which only the last four characters are shown."""

    id: str
    name: str
    scopes: list[Scope]
    last_four: str
    created_at: str
    last_used_at: str | None = None
    revoked_at: str | None = None

    @classmethod
    def of(cls, key: ApiKey) -> "ApiKeyOut":
        """Return a key as lists show it."""
        return cls(**_shown(key))


class IssuedApiKeyOut(ApiKeyOut):
    """A new key with its text, which is shown only this once."""

    key: str = Field(repr=False)

    @classmethod
    def of_issued(cls, issued: IssuedKey) -> "IssuedApiKeyOut":
        """Return a new key as its creation shows it."""
        return cls(key=issued.text, **_shown(issued.key))


class RevokedApiKeyOut(DeletedOut):
    """A revoked key, which no call accepts from then on."""

    revoked_at: str


def _shown(key: ApiKey) -> dict[str, Any]:
    return {
        "id": key.id,
        "name": key.name,
        "scopes": [scope for scope in Scope if scope in key.scopes],
        "last_four": key.last_four,
        "created_at": to_text(key.created_at_ms),
        "last_used_at": _text(key.last_used_at_ms),
        "revoked_at": _text(key.revoked_at_ms),
    }


def _text(unix_ms: int | None) -> str | None:
    return None if unix_ms is None else to_text(unix_ms)
