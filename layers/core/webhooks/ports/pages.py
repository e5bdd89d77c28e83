"""A page of a list, and the position of the next page."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, NamedTuple, TypeVar

if TYPE_CHECKING:
    from collections.abc import Sequence

    from webhooks.domain.delivery import DeliveryKey

Item = TypeVar("Item")


class Page(NamedTuple, Generic[Item]):
    """Part of a list; `next` is None at the list's end.

    Between a store and a service `next` is the id that the next page starts after. Between a
    service and its caller it is a sealed cursor. `unreadable` are the deliveries that a page leaves
    out because their records cannot be read.
    """

    items: Sequence[Item]
    next: str | None = None
    unreadable: Sequence[DeliveryKey] = ()
