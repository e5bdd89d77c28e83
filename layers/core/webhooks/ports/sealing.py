"""Sealing texts under a secret that is kept nowhere, and deriving bytes from a key."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence


class Sealer(Protocol):
    """Seals a text under a secret of high entropy, for one purpose, bound to what it is about.

    The purpose separates keys. `about` names the text's place, so that it opens in no other place.
    """

    def seal(self, secret: str, purpose: str, about: Sequence[str], text: str) -> str:
        """Return a text as ASCII that only `unseal` with the same arguments reads.

        The same text looks different each time.
        """

    def unseal(self, secret: str, purpose: str, about: Sequence[str], sealed: str) -> str:
        """Return the text of a sealed one.

        Raises ValueError where it was changed, or sealed with another secret, purpose or place. A
        text that the version before this one sealed is opened by its secret alone.
        """

    def derive(self, key: bytes, purpose: str, length: int) -> bytes:
        """Return bytes that are the same for the same key, of high entropy, and purpose."""
