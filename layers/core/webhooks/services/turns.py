"""The order in which owners are served: they take turns, however much one of them has."""

from __future__ import annotations

from collections import defaultdict, deque
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable

Item = TypeVar("Item")


def in_turns(items: Iterable[Item], *owners: Callable[[Item], Hashable]) -> list[Item]:
    """Return items in an order in which their owners take turns, by the first of `owners`.

    An owner's own items take turns by the next of `owners`. Items with the same owners stay in
    their order, and owners have their first turn in the order of their first items.
    """
    if not owners:
        return list(items)
    owner, *inner = owners
    groups: defaultdict[Hashable, list[Item]] = defaultdict(list)
    for item in items:
        groups[owner(item)].append(item)
    waiting = deque(iter(in_turns(group, *inner)) for group in groups.values())
    ordered: list[Item] = []
    while waiting:
        turn = waiting.popleft()
        for item in turn:
            ordered.append(item)
            waiting.append(turn)
            break
    return ordered
