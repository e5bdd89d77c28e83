"""Creates or changes a webhook by its external id, so that a deployment may be repeated."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from webhooks.domain.errors import ExternalIdTakenError, LimitReachedError, UnavailableError
from webhooks.domain.webhook import new_webhook_id
from webhooks.ports import WebhookChanges

if TYPE_CHECKING:
    from webhooks.domain.seed import Seed
    from webhooks.domain.webhook import Registration, Webhook
    from webhooks.services.webhooks import Registered, WebhookService

_TRIES = 5

_BEGINS_ANEW = frozenset({"url", "active"})
"""Changes that begin a webhook's record anew, even with the same value. A deployment that changes
something else must leave that record alone."""


def put_webhook(
    webhook_service: WebhookService,
    account_id: str,
    registration: Registration,
    *,
    active: bool | None = None,
    seed: Seed | None = None,
) -> Registered | Webhook:
    """Create the webhook with the registration's external id, or change it to match.

    An existing webhook gets every value of the registration except the secret, which only a new one
    takes. It stays enabled or disabled unless `active` is given. A webhook that has these values
    already is left alone. A failing webhook that is enabled at this url already begins no clean
    record. Of simultaneous calls one creates and the others change. A repeated `seed` returns the
    webhook that its first call created. Raises the errors of `WebhookService.register` and
    `WebhookService.update`, except ExternalIdTakenError.
    """
    webhook_service.check(registration)
    wanted = _wanted(registration, active)
    for _ in range(_TRIES):
        webhook = webhook_service.find(account_id, registration.external_id)
        if webhook is None or (seed is not None and webhook.id == new_webhook_id(seed)):
            try:
                return webhook_service.register(
                    account_id, registration, active=active is not False, seed=seed
                )
            except ExternalIdTakenError:
                continue
            except LimitReachedError:
                # Another call may have created it since, and so have reached the limit.
                if webhook_service.find(account_id, registration.external_id) is None:
                    raise
                continue
        same = {name for name, value in wanted.items() if getattr(webhook, name) == value}
        if same == wanted.keys():
            return webhook
        left_out = same & _BEGINS_ANEW
        changes = WebhookChanges(**{name: wanted[name] for name in wanted.keys() - left_out})
        changed = webhook_service.update(account_id, webhook.id, changes)
        # Another call may have changed the values that were left out.
        if changed is not None and all(getattr(changed, n) == wanted[n] for n in left_out):
            return changed
    msg = "putting a webhook: it is created, changed and deleted too often"
    raise UnavailableError(msg)


def _wanted(registration: Registration, active: bool | None) -> dict[str, Any]:
    values = registration.settings()
    # It finds the webhook. Setting it again would undo another call that changes it now.
    del values["external_id"]
    return values if active is None else {**values, "active": active}
