"""The source of a call's ids, secrets and times: fresh, or the same each time it is repeated."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

KEY_BYTES = 32
"""The random bytes that a seed is made of."""

_SEPARATOR = ":"


@dataclass(frozen=True, slots=True)
class Seed:
    """The time and the random bytes of one call.

    `now_ns` is Unix nanoseconds, of the first time that the call was made. `draw` takes a purpose
    and a number, and returns as many random bytes: of one seed always the same for a purpose.
    `repeated` says that an earlier try may have done all of the call, or a part.
    """

    now_ns: int
    draw: Callable[[str, int], bytes]
    repeated: bool = False

    @property
    def now_ms(self) -> int:
        """The time in Unix milliseconds."""
        return self.now_ns // 1_000_000


def fresh(now_ns: Callable[[], int], random_bytes: Callable[[int], bytes]) -> Seed:
    """Return the seed of a call that nobody can repeat."""
    return Seed(now_ns(), lambda _, number: random_bytes(number))


def new_text(now_ns: int, key: bytes) -> str:
    """Return the seed of a time and `KEY_BYTES` random bytes as a text.

    It is a secret: the call's secrets follow from it.
    """
    return f"{now_ns}{_SEPARATOR}{key.hex()}"


def of_text(text: str, derive: Callable[[bytes, str, int], bytes], *, repeated: bool) -> Seed:
    """Return the seed of a text; `derive` makes bytes of a key, a purpose and their number."""
    now_ns, _, key = text.partition(_SEPARATOR)
    key_bytes = bytes.fromhex(key)
    return Seed(
        int(now_ns), lambda purpose, number: derive(key_bytes, purpose, number), repeated=repeated
    )
