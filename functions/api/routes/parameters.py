"""Parameters that routes of several resources share."""

import re
from typing import Annotated

from aws_lambda_powertools.event_handler.openapi.params import Path, Query
from pydantic import BeforeValidator, Strict

from api import errors
from api.operations import Missing
from webhooks.domain.webhook import Webhook
from webhooks.services.webhooks import WebhookService

ExternalId = Annotated[str, Path(description="Your own id for the webhook.")]
WebhookId = Annotated[str, Path(description="The webhook's id."), Missing(errors.webhook_not_found)]


def _whole_number(value: object) -> object:
    """Return the number of a text of ASCII digits; any other text becomes an invalid value.

    pydantic alone also accepts `+1`, ` 1`, `1_0` and the digits of every script.
    """
    if isinstance(value, str):
        return int(value) if re.fullmatch(r"[0-9]{1,18}", value) else "not a whole number"
    return value


def _flag(value: object) -> object:
    """Return the value of `true` or `false`; any other text becomes an invalid value.

    pydantic alone also accepts `1`, `on`, `y`, `YES` and the like.
    """
    return {"true": True, "false": False}.get(value, value) if isinstance(value, str) else value


Limit = Annotated[
    int,
    Query(ge=1, le=100, description="Maximum number of items on the page."),
    BeforeValidator(_whole_number),
]
Flag = Annotated[bool, Strict(), BeforeValidator(_flag)]
"""A boolean in a query, `true` or `false`."""

Cursor = Annotated[str | None, Query(description="The next_cursor of the previous page.")]


def own_webhook(webhook_service: WebhookService, account_id: str, webhook_id: str) -> Webhook:
    """Return a webhook of the account; another account's webhook is reported as unknown."""
    webhook = webhook_service.get(account_id, webhook_id)
    if webhook is None:
        raise errors.webhook_not_found()
    return webhook
