"""Conditional writes that recognise themselves.

The SDK sends a request again whose answer was lost. The second is stopped by what the first has
written. Its caller is to have the answer of the first.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from botocore.exceptions import ClientError

    from webhooks.adapters.dynamodb.item_keys import Item

Recognise = Callable[["Item"], "Item | None"]
"""Given the item that stopped a write: the item to answer with where that write was made before,
None where it was another's."""


def sent_again(response: Mapping[str, Any]) -> bool:
    """Tell whether the SDK had sent a request before the one that this is the response to.

    What was sent before may have been done: its answer was lost, or it was refused.
    """
    metadata: Mapping[str, Any] = response.get("ResponseMetadata", {})
    return bool(metadata.get("RetryAttempts"))


def made_before(error: ClientError, recognise: Recognise) -> Item | None:
    """Return the item to answer with where a write was stopped by itself, else None.

    The write asks for the item that stops it (`ReturnValuesOnConditionCheckFailure`), which costs
    nothing more. Where the request was sent once it was another's, however alike: of any number of
    calls in one millisecond one made the change. Sent again, one of two such calls may take the
    other's for its own. Then both have made it: a notice comes twice rather than never.
    """
    found: Any = error.response.get("Item")
    return recognise(found) if found and sent_again(error.response) else None


def left(
    values: Mapping[str, Any],
    *,
    absent: Collection[str] = (),
    taken: Mapping[str, Any] | None = None,
) -> Recognise:
    """Recognise a write by the values that it left in its item, and the attributes `absent` since.

    `taken` are attributes that the write removed, to be answered with as they were.
    """

    def recognise(item: Item) -> Item | None:
        if any(item.get(name) != value for name, value in values.items()):
            return None
        if any(name in item for name in absent):
            return None
        return {**item, **(taken or {})}

    return recognise
