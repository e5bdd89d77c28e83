"""The accounts of SES mail, from an operator's table that is read at most once a minute."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from webhooks.domain.ses import SesAccounts
    from webhooks.ports import SesAccountStore

KEPT_SECONDS = 60.0
"""How long a process uses the table that it has read. A change of the table may count that late."""


class KeptSesAccounts:
    """Chooses accounts by the table, which is read when a record needs it, and then kept.

    `default` is the account of all mail that the table does not name. `clock` gives seconds.
    """

    def __init__(self, store: SesAccountStore, *, default: str, clock: Callable[[], float]) -> None:
        self._store = store
        self._default = default
        self._clock = clock
        self._kept: SesAccounts | None = None
        self._read_at = 0.0

    def choose(self, tenants: Sequence[str], configuration_sets: Sequence[str]) -> str:
        """Return the account of such mail. Raises UnavailableError if the table cannot be read.

        No account is assumed then: a fault of ours must never send mail to another account's
        webhooks.
        """
        if not tenants and not configuration_sets:
            return self._default
        now = self._clock()
        if self._kept is None or not 0 <= now - self._read_at < KEPT_SECONDS:
            self._kept = self._store.read(self._default)
            self._read_at = now
        return self._kept.choose(tenants, configuration_sets)
