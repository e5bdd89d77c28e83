"""The webhooks of an account, as their owner manages them."""

from __future__ import annotations

import re
import secrets
import time
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlsplit

from webhooks.domain import cursor as cursors
from webhooks.domain.errors import InvalidTarget
from webhooks.domain.webhook import Registration, Webhook, generated_secret, webhook_id

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from webhooks.ports import WebhookStore

_ID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII)


class Registered(NamedTuple):
    """A new webhook with its secret, which is shown this once."""

    webhook: Webhook
    secret: str


class Page(NamedTuple):
    """Part of a list of webhooks, newest first; `next_cursor` is None at its end."""

    webhooks: Sequence[Webhook]
    next_cursor: str | None


class Registry:
    """Registers, shows and deletes webhooks, each account its own."""

    def __init__(
        self,
        store: WebhookStore,
        *,
        check_url: Callable[[str], object],
        resolve: Callable[[str], Sequence[str]],
        is_public: Callable[[str], bool],
        max_webhooks: int,
        cursor_key: bytes,
        now_ns: Callable[[], int] = time.time_ns,
        random_bytes: Callable[[int], bytes] = secrets.token_bytes,
    ) -> None:
        """Take the store, the rules for urls and addresses, and the account's limit.

        `check_url` raises InvalidTarget. `resolve` returns the addresses of a host name, none
        where it has none or they cannot be had within about 2 seconds; it never raises.
        `cursor_key` seals the lists' cursors and must be the same in every process.
        """
        self._store = store
        self._check_url = check_url
        self._resolve = resolve
        self._is_public = is_public
        self._max_webhooks = max_webhooks
        self._cursor_key = cursor_key
        self._now_ns = now_ns
        self._random_bytes = random_bytes

    def register(self, account_id: str, registration: Registration) -> Registered:
        """Add a webhook, active from now on.

        Raises InvalidWebhook with every broken rule, InvalidTarget where the url's host resolves
        to an address that is not public, LimitReached, Unavailable.
        """
        registration.check(self._check_url)
        self._check_addresses(registration.url)
        now_ns = self._now_ns()
        now_ms = now_ns // 1_000_000
        secret = registration.secret
        if secret is None:
            secret = generated_secret(self._random_bytes(32))
        webhook = Webhook(
            account_id=account_id,
            id=webhook_id(now_ns, self._random_bytes(8)),
            url=registration.url,
            events=registration.events,
            active=True,
            created_at_ms=now_ms,
            updated_at_ms=now_ms,
            description=registration.description,
        )
        self._store.create(webhook, secret, limit=self._max_webhooks)
        return Registered(webhook, secret)

    def get(self, account_id: str, webhook_id: str) -> Webhook | None:
        """Return one webhook of the account, None where it has none of that id."""
        return self._store.get(account_id, webhook_id) if _ID.fullmatch(webhook_id) else None

    def page(self, account_id: str, limit: int, cursor: str | None = None) -> Page:
        """Return up to `limit` webhooks, newest first; InvalidInput for a cursor not of this list.

        `cursor` is the `next_cursor` of the page before.
        """
        scope = ("webhooks", account_id)
        before = None if cursor is None else cursors.unseal(self._cursor_key, scope, cursor)
        webhooks, next_before = self._store.page(account_id, limit, before)
        if next_before is None:
            return Page(webhooks, None)
        return Page(webhooks, cursors.seal(self._cursor_key, scope, next_before))

    def delete(self, account_id: str, webhook_id: str) -> bool:
        """Remove a webhook of the account; False where it has none of that id."""
        return bool(_ID.fullmatch(webhook_id)) and self._store.delete(account_id, webhook_id)

    def _check_addresses(self, url: str) -> None:
        # A friendly early word only: names move, so the sender checks again at every attempt. A
        # name without addresses is let through, since it may be about to get its first.
        host = urlsplit(url).hostname or ""
        if not all(self._is_public(address) for address in self._resolve(host)):
            raise InvalidTarget("Use a host whose every address is public.")
