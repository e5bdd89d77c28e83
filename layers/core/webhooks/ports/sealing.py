"""Protocol for sealing texts under a secret that is not stored, and deriving bytes from a key."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence


class Sealer(Protocol):
    """Seals a text under a secret of high entropy, for one purpose and one place.

    Each purpose has its own key. `about` names the text's place, so that it opens in no other
    place.
    """

    def seal(self, secret: str, purpose: str, about: Sequence[str], text: str) -> str:
        """Return a text as ASCII that only `unseal` with the same arguments can read.

        The same text looks different each time.
        """

    def unseal(self, secret: str, purpose: str, about: Sequence[str], sealed: str) -> str:
        """Return the text of a sealed one.

        Raises ValueError if it was changed, or sealed with another secret, purpose or place. A text
        that the previous version of this software sealed is opened by its secret alone.
        """

    def derive(self, key: bytes, purpose: str, length: int) -> bytes:
        """Return bytes that are always the same for the same purpose and key of high entropy."""
