"""Creating or changing a webhook by its owner's own id, so that a deployment may be repeated."""

from __future__ import annotations

from typing import TYPE_CHECKING

from webhooks.domain.errors import ExternalIdTakenError, LimitReachedError, UnavailableError
from webhooks.ports import WebhookChanges

if TYPE_CHECKING:
    from webhooks.domain.webhook import Registration, Webhook
    from webhooks.services.registry import Registered, Registry

_TRIES = 5


def put_webhook(
    registry: Registry, account_id: str, registration: Registration, *, active: bool | None = None
) -> Registered | Webhook:
    """Create the webhook that has the registration's external id, or make it be as it says.

    An existing webhook gets every value of the registration but the secret, which only a new one
    takes; it stays enabled or disabled unless `active` is given. One that has these values already
    is left alone. Of calls at once one creates and the others change. Raises what
    `Registry.register` and `Registry.update` raise, but for ExternalIdTakenError.
    """
    registry.check(registration)
    for _ in range(_TRIES):
        webhook = registry.find(account_id, registration.external_id)
        if webhook is None:
            try:
                return registry.register(account_id, registration, active=active is not False)
            except ExternalIdTakenError:
                continue
            except LimitReachedError:
                # Another call may have created it since, and so have reached the limit.
                if registry.find(account_id, registration.external_id) is None:
                    raise
                continue
        changes = _replacement(registration, active)
        if all(getattr(webhook, name) == value for name, value in changes.items()):
            return webhook
        changed = registry.update(account_id, webhook.id, changes)
        if changed is not None:
            return changed
    msg = "putting a webhook: it is created and deleted too often"
    raise UnavailableError(msg)


def _replacement(registration: Registration, active: bool | None) -> WebhookChanges:
    values = registration.settings()
    # It found the webhook. To set it again would take it back from a call that changes it now.
    del values["external_id"]
    return WebhookChanges(**values, active=active)
