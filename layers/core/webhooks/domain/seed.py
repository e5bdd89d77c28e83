"""The source of a call's ids, secrets and times: random, or the same at each repetition."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from webhooks.domain.timestamps import ns_to_ms

KEY_BYTES = 32
"""Random bytes in a seed."""

_SEPARATOR = ":"


@dataclass(frozen=True, slots=True)
class Seed:
    """The time and the random bytes of one call.

    `now_ns` is when the call was first made, in Unix nanoseconds. `draw` takes a purpose and a
    number, and returns that many random bytes: one seed always returns the same for a purpose.
    `repeated` is true if an earlier try may have done all or a part of the call.
    """

    now_ns: int
    draw: Callable[[str, int], bytes]
    repeated: bool = False

    @property
    def now_ms(self) -> int:
        """The time in Unix milliseconds."""
        return ns_to_ms(self.now_ns)


def fresh(now_ns: Callable[[], int], random_bytes: Callable[[int], bytes]) -> Seed:
    """Return the seed of a call that cannot be repeated."""
    return Seed(now_ns(), lambda _, number: random_bytes(number))


def new_text(now_ns: int, key: bytes) -> str:
    """Return the seed of a time and `KEY_BYTES` random bytes as a text.

    It is a secret: the call's secrets follow from it.
    """
    return f"{now_ns}{_SEPARATOR}{key.hex()}"


def of_text(text: str, derive: Callable[[bytes, str, int], bytes], *, repeated: bool) -> Seed:
    """Return the seed of a text; `derive` makes bytes from a key, a purpose and their number."""
    now_ns, _, key = text.partition(_SEPARATOR)
    key_bytes = bytes.fromhex(key)
    return Seed(
        int(now_ns), lambda purpose, number: derive(key_bytes, purpose, number), repeated=repeated
    )
