"""Removes the parts of an event's data that no event can have: invalid, too deep or too large.

An invalid part of a record costs that part, not the whole event.
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
    """Return data of at most `max_bytes`, without parts that are not JSON or are too deep.

    A part is a top-level value, or a member of a top-level object. If there is not room for all,
    the largest parts are removed first, and of the small ones the last. `required` parts always
    stay.
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
    """Return the kept and taken parts, in the order of `data`."""
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
    """Return the bytes of a member; more than `max_bytes` if no event can hold it."""
    if is_longer(member, max_bytes):
        return max_bytes + 1
    try:
        written = serialize(member)
        if written.count(b"[") + written.count(b"{") > MAX_DEPTH - 2:
            # Two levels deeper in an event: inside `data`, which is inside the event.
            check_depth([[member]])
    except (TypeError, ValueError):
        return max_bytes + 1
    return len(written)
