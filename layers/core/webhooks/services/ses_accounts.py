"""Whose the mail of SES is: the table that an operator keeps, read once a minute at most."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from webhooks.domain.ses import SesAccounts
    from webhooks.ports import SesAccountStore

KEPT_SECONDS = 60.0
"""How long a process goes by what it has read: how late a change of the table may count."""


class KeptSesAccounts:
    """Chooses accounts by the table; it is read when the first record needs it, and then kept."""

    def __init__(self, store: SesAccountStore, *, default: str, clock: Callable[[], float]) -> None:
        """`default` is the account of all mail that the table does not name; `clock` in seconds."""
        self._store = store
        self._default = default
        self._clock = clock
        self._kept: SesAccounts | None = None
        self._read_at = 0.0

    def choose(self, tenants: Sequence[str], configuration_sets: Sequence[str]) -> str:
        """Return the account of such mail. Raises UnavailableError where the table is not read.

        Another account's webhooks never get mail because of a fault of ours, so that nothing is
        assumed then.
        """
        if not tenants and not configuration_sets:
            return self._default
        now = self._clock()
        if self._kept is None or not 0 <= now - self._read_at < KEPT_SECONDS:
            self._kept = self._store.read(self._default)
            self._read_at = now
        return self._kept.choose(tenants, configuration_sets)
