"""Schema of event types."""

from typing import Any

from pydantic import Field

from api.schemas.base import Out
from webhooks.domain.catalog import CatalogEntry
from webhooks.domain.event import EventType


class EventTypeOut(Out):
    """An event type, with the JSON Schema (2020-12) of its payload and one such payload."""

    type: EventType
    description: str
    payload_schema: dict[str, Any] = Field(serialization_alias="schema")
    sample: dict[str, Any]

    @classmethod
    def of(cls, entry: CatalogEntry) -> "EventTypeOut":
        """Return an event type as the API shows it."""
        return cls(
            type=entry.type,
            description=entry.description,
            payload_schema=entry.schema,
            sample=entry.sample,
        )
