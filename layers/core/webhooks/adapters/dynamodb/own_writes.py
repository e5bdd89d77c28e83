"""Conditional writes that recognise themselves.

The SDK sends a request again if its response was lost. The second one fails its condition, because
the first was applied. Then the caller must get the result of the first.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from botocore.exceptions import ClientError

    from webhooks.adapters.dynamodb.item_keys import Item

Recognise = Callable[["Item"], "Item | None"]
"""Takes the item that failed a write's condition. Returns the item to use as the write's result if
an earlier try made that write, None if another writer did."""


def sent_again(response: Mapping[str, Any]) -> bool:
    """Whether the SDK sent this response's request more than once.

    An earlier try may have been applied with its response lost, or it may have been refused.
    """
    metadata: Mapping[str, Any] = response.get("ResponseMetadata", {})
    return bool(metadata.get("RetryAttempts"))


def made_before(error: ClientError, recognise: Recognise) -> Item | None:
    """Return the result of an earlier try of a write that failed its condition, else None.

    The write requests the item that fails it (`ReturnValuesOnConditionCheckFailure`) at no extra
    cost. If the request was sent only once, another call made the change, even if it looks the
    same: of any number of calls in one millisecond one made it. If it was sent again, one of two
    such calls may take the other's write for its own. Then both report it: a notice is sent twice
    rather than never.
    """
    found: Any = error.response.get("Item")
    return recognise(found) if found and sent_again(error.response) else None


def left(
    values: Mapping[str, Any],
    *,
    absent: Collection[str] = (),
    taken: Mapping[str, Any] | None = None,
) -> Recognise:
    """Recognise a write by the values that it left in its item, and by attributes now `absent`.

    `taken` are attributes that the write removed; the result contains their former values.
    """

    def recognise(item: Item) -> Item | None:
        if any(item.get(name) != value for name, value in values.items()):
            return None
        if any(name in item for name in absent):
            return None
        return {**item, **(taken or {})}

    return recognise
