"""What several resources' routes take, and find, in the same way."""

from typing import Annotated

from aws_lambda_powertools.event_handler.openapi.params import Path, Query

from api import errors
from api.operations import Missing
from webhooks.domain.webhook import Webhook
from webhooks.services.registry import Registry

ExternalId = Annotated[str, Path(description="Your own id of the webhook.")]
WebhookId = Annotated[str, Path(description="The webhook's id."), Missing(errors.webhook_not_found)]
Limit = Annotated[int, Query(ge=1, le=100, description="Maximum number of items on the page.")]
Cursor = Annotated[str | None, Query(description="The next_cursor of the page before.")]


def own_webhook(registry: Registry, account_id: str, webhook_id: str) -> Webhook:
    """Return a webhook of the account; a foreign one is as absent as one that never was."""
    webhook = registry.get(account_id, webhook_id)
    if webhook is None:
        raise errors.webhook_not_found()
    return webhook
