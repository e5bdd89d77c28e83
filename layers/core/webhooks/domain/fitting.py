"""Leaves out of an event's data the parts that no event can have: wrong, too deep or too large.

A wrong part of a record costs that part, not the event.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from webhooks.domain.payload import MAX_DEPTH, check_depth, is_longer, serialize

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
_SMALL_BYTES = 1024


def fitting(
    data: Mapping[str, object], required: Iterable[str], max_bytes: int
) -> dict[str, object]:
    """Return data without the parts that are no JSON or too deep, and of at most `max_bytes`.

    A part is a value, or one in an object. Where there is not room for all, the largest is left
    out first, and of small ones the last. Those that are `required` stay, whatever they are.
    """
    kept = {name: data[name] for name in required if name in data}
    room = max_bytes - len(serialize(kept))
    parts: list[tuple[int, str, str | None]] = []
    for name, value in data.items():
        if name in kept:
            continue
        if isinstance(value, dict):
            room -= len(serialize({name: {}}))
            parts += [(_size({key: one}, max_bytes), name, key) for key, one in value.items()]
        else:
            parts.append((_size({name: value}, max_bytes), name, None))
    taken: set[tuple[str, str | None]] = set()
    for size, name, key in sorted(parts, key=lambda part: part[0] // _SMALL_BYTES):
        if size <= room:
            room -= size
            taken.add((name, key))
    return _without(data, kept, taken)


def _without(
    data: Mapping[str, object], kept: Mapping[str, object], taken: set[tuple[str, str | None]]
) -> dict[str, object]:
    """Return what is kept or taken, in the order of `data`."""
    found: dict[str, object] = {}
    for name, value in data.items():
        if name in kept or (name, None) in taken:
            found[name] = value
        elif isinstance(value, dict):
            members = {key: one for key, one in value.items() if (name, key) in taken}
            if members:
                found[name] = members
    return found


def _size(member: dict[str, object], max_bytes: int) -> int:
    """Return the bytes of a member; more than `max_bytes` for what no event can hold."""
    if is_longer(member, max_bytes):
        return max_bytes + 1
    try:
        written = serialize(member)
        if written.count(b"[") + written.count(b"{") > MAX_DEPTH - 2:
            # As deep as it is in an event: in its data, in the event.
            check_depth([[member]])
    except (TypeError, ValueError):
        return max_bytes + 1
    return len(written)
