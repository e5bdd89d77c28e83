"""The webhooks of an account: registering, reading, changing and deleting them."""

from __future__ import annotations

import secrets
import time
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlsplit
from uuid import UUID

from webhooks.domain import cursor as cursors
from webhooks.domain.drain_rate import PAUSE_SECONDS
from webhooks.domain.errors import (
    HostLimitReachedError,
    InvalidInputError,
    InvalidTargetError,
    UnavailableError,
)
from webhooks.domain.health import SETTLE_SECONDS, Circuit, RecoveryKey
from webhooks.domain.ids import is_uuid
from webhooks.domain.seed import Seed, fresh
from webhooks.domain.timestamps import MILLISECONDS, ns_to_ms, to_ms
from webhooks.domain.webhook import (
    Registration,
    Webhook,
    generated_secret,
    new_webhook_id,
    refuse,
)
from webhooks.domain.webhook_fields import problems
from webhooks.domain.webhook_rules import external_id_problems, secret_problems
from webhooks.ports import Page, UnstartedRecovery, WebhookChanges

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from webhooks.ports import JobScheduler, Telemetry, WebhookStore
    from webhooks.services.rate_limits import RateLimits

DEFAULT_OVERLAP_SECONDS = 86_400
MAX_OVERLAP_SECONDS = 604_800
ASK_SECONDS = 30
"""The least time between two probes that an owner asks for while a webhook is down. Each probe is
an execution and a request."""

_TARGET = frozenset({"url", "headers"})
"""The values that a request depends on. After a change of one, earlier failures say nothing."""


class Registered(NamedTuple):
    """A new webhook with its secret, which is shown only once."""

    webhook: Webhook
    secret: str


class Rotated(NamedTuple):
    """A webhook's new secret, which is shown only once, and the end of the old one.

    `previous_until_ms` is in Unix milliseconds; None if the old secret ended at once. With
    `ended_overlap` the secret before the old one signed until now.
    """

    secret: str
    previous_until_ms: int | None
    ended_overlap: bool = False


class WebhookService:
    """Registers, reads, changes and deletes webhooks, for each account its own.

    `check_url` raises InvalidTargetError. `resolve` returns the addresses of a host name, none if
    it has none or if they cannot be found within about 2 seconds; it never raises. `cursor_key`
    seals the lists' cursors and must be the same in every process. `now_ns` gives Unix nanoseconds.
    """

    def __init__(
        self,
        store: WebhookStore,
        *,
        recoveries: JobScheduler,
        rate_limits: RateLimits,
        telemetry: Telemetry,
        check_url: Callable[[str], object],
        resolve: Callable[[str], Sequence[str]],
        is_public: Callable[[str], bool],
        max_webhooks: int,
        max_webhooks_per_host: int,
        cursor_key: bytes,
        now_ns: Callable[[], int] = time.time_ns,
        random_bytes: Callable[[int], bytes] = secrets.token_bytes,
    ) -> None:
        self._store = store
        self._recoveries = recoveries
        self._rate_limits = rate_limits
        self._telemetry = telemetry
        self._check_url = check_url
        self._resolve = resolve
        self._is_public = is_public
        self._max_webhooks = max_webhooks
        self._max_webhooks_per_host = max_webhooks_per_host
        self._cursor_key = cursor_key
        self._now_ns = now_ns
        self._random_bytes = random_bytes

    def check(self, registration: Registration) -> None:
        """Raise InvalidWebhookError with every rule that a registration breaks."""
        registration.check(self._check_url)

    def register(
        self,
        account_id: str,
        registration: Registration,
        *,
        active: bool = True,
        seed: Seed | None = None,
    ) -> Registered:
        """Add a webhook; a repeated `seed` returns the webhook that its first call added.

        Raises InvalidWebhookError with every broken rule, InvalidTargetError if the url's host
        resolves to an address that is not public, LimitReachedError, HostLimitReachedError,
        ExternalIdTakenError, UnavailableError.
        """
        self.check(registration)
        seed = seed or self._fresh()
        secret = _secret(registration.secret, seed, "webhook secret")
        webhook = Webhook(
            account_id=account_id,
            id=new_webhook_id(seed),
            active=active,
            created_at_ms=seed.now_ms,
            updated_at_ms=seed.now_ms,
            **registration.settings(),
        )
        # The stored webhook passed the checks. Names, other webhooks and limits may have changed
        # since, but it may have been sent events, so it is not removed.
        if seed.repeated and self._store.get(account_id, webhook.id):
            return Registered(webhook, secret)
        self._check_addresses(registration.url)
        self._check_host(account_id, registration.url, consistent=False)
        self._store.create(webhook, secret, limit=self._max_webhooks)
        try:
            # Others may have been registered at the same time. Each call checks again, so that too
            # many never stay.
            self._check_host(account_id, webhook.url, excluded=webhook.id)
        except HostLimitReachedError:
            self._store.delete(account_id, webhook.id)
            raise
        return Registered(webhook, secret)

    def get(self, account_id: str, webhook_id: str) -> Webhook | None:
        """Return one webhook of the account; None if it has none of that id."""
        return self._store.get(account_id, webhook_id) if is_uuid(webhook_id) else None

    def find(self, account_id: str, external_id: str) -> Webhook | None:
        """Return the account's webhook with this external id; None if it has none."""
        if [*external_id_problems(external_id)]:
            return None
        return self._store.find(account_id, external_id)

    def page(self, account_id: str, limit: int, cursor: str | None = None) -> Page[Webhook]:
        """Return up to `limit` webhooks, newest first; InvalidInputError for a foreign cursor.

        `cursor` is the `next` of the page before.
        """
        scope = ("webhooks", account_id)
        before = cursors.unseal(self._cursor_key, scope, cursor)
        found = self._store.page(account_id, limit, before)
        return Page(found.items, cursors.seal(self._cursor_key, scope, found.next))

    def update(self, account_id: str, webhook_id: str, changes: WebhookChanges) -> Webhook | None:
        """Change the values in `changes`; return the webhook as it then is, None if absent.

        A webhook that is enabled, or that gets another url while it is down, begins with a clean
        record: a probe is made, and once it succeeds the waiting deliveries are sent. Enabling a
        webhook that is enabled and down makes a probe, at most every `ASK_SECONDS`. Raises
        InvalidWebhookError with every broken rule, InvalidTargetError if the new url's host
        resolves to an address that is not public, HostLimitReachedError, ExternalIdTakenError,
        TooManyEnablesError, UnavailableError.
        """
        refuse(self._problems(changes))
        if "url" in changes:
            self._check_addresses(changes["url"])
        if not is_uuid(webhook_id):
            return None
        if "url" in changes:
            self._check_host(account_id, changes["url"], excluded=webhook_id)
        now_ms = ns_to_ms(self._now_ns())
        asked = changes.get("active") is True
        if not asked and _TARGET.isdisjoint(changes):
            return self._store.update(account_id, webhook_id, changes, now_ms)
        before = self._store.get(account_id, webhook_id)
        if before is None:
            return None
        # Values that stay the same are left out: writing them again would undo another call, and
        # discard failures that are being reported.
        new = {name: value for name, value in changes.items() if not _is_same(before, name, value)}
        is_held = before.health.circuit is Circuit.OPEN or before.health.paused_until_ms(now_ms)
        stays_down = bool(is_held) and before.active
        stays_down = stays_down and changes.get("active") is not False
        again = stays_down and "url" not in new and (asked or "url" in changes)
        if asked or again or not _TARGET.isdisjoint(new):
            self._rate_limits.enable(before)
        if new.get("active") or (stays_down and "url" in new):
            recovery_id = self._new_recovery_id()
            webhook = self._store.update(
                account_id, webhook_id, WebhookChanges(**new), now_ms, recovery_id
            )
            if webhook is not None:
                # Even if another call disabled it meanwhile: then the recovery ends at once.
                self._recover(RecoveryKey(account_id, webhook_id, recovery_id))
            return webhook
        if again:
            self._request_probe(account_id, webhook_id, now_ms)
        if not new:
            return self._store.get(account_id, webhook_id)
        return self._store.update(account_id, webhook_id, WebhookChanges(**new), now_ms)

    def rotate_secret(
        self,
        account_id: str,
        webhook_id: str,
        secret: str | None = None,
        *,
        overlap_seconds: int = DEFAULT_OVERLAP_SECONDS,
        force: bool = False,
        seed: Seed | None = None,
    ) -> Rotated | None:
        """Give a webhook a new secret, generated if none is given; None if the webhook is absent.

        Both secrets sign for `overlap_seconds`, 0 to 604,800. At most two are valid at a time: a
        rotation within the overlap is refused, and with `force` ends the older one. If the old
        secret was missing, the deliveries that wait for a secret are sent from now on. A repeated
        `seed` returns the rotation that its first call made, and undoes no later one. Raises
        InvalidWebhookError, OverlapRunningError, RotationConflictError, UnavailableError.
        """
        broken = [*secret_problems(secret)] if secret is not None else []
        if not 0 <= overlap_seconds <= MAX_OVERLAP_SECONDS:
            broken.append(
                InvalidInputError("overlap_seconds", f"Use 0 to {MAX_OVERLAP_SECONDS:,} seconds.")
            )
        refuse(broken)
        if not is_uuid(webhook_id):
            return None
        seed = seed or self._fresh()
        new = _secret(secret, seed, "rotated secret")
        # The overlap begins with the write: for a repeated call, that is later than its seed.
        now_ms = max(seed.now_ms, ns_to_ms(self._now_ns())) if seed.repeated else seed.now_ms
        since_ms = seed.now_ms if seed.repeated else None
        until_ms = now_ms + overlap_seconds * MILLISECONDS
        # Again if another call restored the secret in between.
        for _ in range(2):
            made = self._store.rotate_secret(
                account_id,
                webhook_id,
                new,
                previous_until_ms=until_ms,
                now_ms=now_ms,
                force=force,
                since_ms=since_ms,
            )
            if made is not None:
                return Rotated(new, *made)
            restored = self._restore_secret(account_id, webhook_id, new, now_ms)
            if restored is None:
                return None
            if restored:
                return Rotated(new, None)
        return None

    def _restore_secret(
        self, account_id: str, webhook_id: str, secret: str, now_ms: int
    ) -> bool | None:
        """Give a webhook without a secret this one; None if absent, False if it has one.

        The recovery of the waiting deliveries is recorded first: a crash between the two steps
        leaves a recovery that waits for a secret, instead of deliveries that no recovery sends.
        """
        key = RecoveryKey(account_id, webhook_id, self._new_recovery_id())
        if self._store.update(*key[:2], WebhookChanges(), now_ms, key.recovery_id) is None:
            return None
        restored = self._store.restore_secret(account_id, webhook_id, secret)
        self._recover(key)
        return restored

    def delete(self, account_id: str, webhook_id: str) -> bool:
        """Remove a webhook of the account; False if it has none of that id.

        Its waiting deliveries are cancelled a little later. Raises UnavailableError.
        """
        if self.get(account_id, webhook_id) is None:
            return False
        # Start the recovery before the removal, because the waiting deliveries cannot be found
        # afterwards. A healthy webhook needs one too: it may go down before it is removed, and does
        # not show deliveries that wait for a secret. If the webhook is not removed after all, the
        # recovery sees that it is not the webhook's own, and ends.
        key = RecoveryKey(account_id, webhook_id, self._new_recovery_id())
        unstarted = None
        if not self._started(key, SETTLE_SECONDS):
            due_ms = ns_to_ms(self._now_ns()) + to_ms(SETTLE_SECONDS)
            unstarted = UnstartedRecovery(key.recovery_id, due_ms)
        return self._store.delete(account_id, webhook_id, unstarted=unstarted)

    def _request_probe(self, account_id: str, webhook_id: str, now_ms: int) -> None:
        """Probe a webhook that is down now, unless a probe was asked for a moment ago."""
        key = RecoveryKey(account_id, webhook_id, self._new_recovery_id())
        if self._store.ask(*key, now_ms, before_ms=now_ms - ASK_SECONDS * MILLISECONDS):
            self._recover(key)

    def _new_recovery_id(self) -> str:
        return str(UUID(bytes=self._random_bytes(16), version=4))

    def _recover(self, key: RecoveryKey) -> None:
        """Start a recovery after a short delay.

        Of several recoveries within that delay, all but the last find that another has replaced
        them, and send nothing: repeated calls must not send the same deliveries repeatedly.
        """
        self._started(key, PAUSE_SECONDS)

    def _started(self, key: RecoveryKey, delay_seconds: float) -> bool:
        """Start a recovery; False if refused: the sweep then starts it at the recorded time."""
        try:
            self._recoveries.start(key, delay_seconds=delay_seconds)
        except UnavailableError as error:
            self._telemetry.log(
                "warning", "recovery_not_started", **key._asdict(), error=str(error)
            )
            return False
        return True

    def _problems(self, changes: WebhookChanges) -> Iterator[InvalidInputError]:
        if not changes:
            yield InvalidInputError("body", f"Give at least one of {', '.join(changes._fields)}.")
        yield from problems(changes, self._check_url)

    def _fresh(self) -> Seed:
        return fresh(self._now_ns, self._random_bytes)

    def _check_host(
        self, account_id: str, url: str, excluded: str | None = None, *, consistent: bool = True
    ) -> None:
        """Raise HostLimitReachedError if too many of the account's webhooks lead to a url's host.

        Checks only if this limit is below the account's limit of webhooks, and only the newest
        webhooks, so that a call stays within its read units.
        """
        if self._max_webhooks_per_host >= self._max_webhooks:
            return
        host = urlsplit(url).hostname
        urls = self._store.newest_urls(account_id, consistent=consistent)
        others = sum(
            webhook_id != excluded and urlsplit(each).hostname == host
            for webhook_id, each in urls.items()
        )
        if others >= self._max_webhooks_per_host:
            msg = f"the account has {others} webhooks of this host, as many as it may"
            raise HostLimitReachedError(msg)

    def _check_addresses(self, url: str) -> None:
        # Only an early hint: names move, so the sender checks again at every attempt. A name
        # without addresses passes, since it may soon get its first.
        host = urlsplit(url).hostname or ""
        if not all(self._is_public(address) for address in self._resolve(host)):
            raise InvalidTargetError("Use a host whose every address is public.")


def _secret(given: str | None, seed: Seed, purpose: str) -> str:
    return generated_secret(seed.draw(purpose, 32)) if given is None else given


def _is_same(webhook: Webhook, name: str, value: object) -> bool:
    return name in {*_TARGET, "active"} and value == getattr(webhook, name)
