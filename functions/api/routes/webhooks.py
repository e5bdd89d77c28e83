"""The webhooks of an account: register, list, show, change, rotate, delete."""

from typing import Annotated

from aws_lambda_powertools.event_handler.openapi.params import Body, Query
from aws_lambda_powertools.event_handler.router import APIGatewayHttpRouter

from api import errors
from api.dependencies import AccountId, WebhookRegistry
from api.operations import Sample, refuses
from api.routes.parameters import Cursor, Limit, WebhookId, own_webhook
from api.schemas.base import DeletedOut, Pagination, Success, SuccessPage
from api.schemas.webhooks import (
    RegisteredWebhookOut,
    RotatedSecretOut,
    RotationIn,
    WebhookChangesIn,
    WebhookIn,
    WebhookOut,
)
from webhooks.domain.errors import HostLimitReachedError, LimitReachedError
from webhooks.services.registry import Registry

router = APIGatewayHttpRouter()  # type: ignore[no-untyped-call]

_DEFAULT_ROTATION = RotationIn()
_REGISTRATION = Sample(
    {
        "url": "https://your-server.com/webhooks/email",
        "events": ["email.sent", "email.delivered", "email.bounced", "email.complained"],
    }
)


@router.post("/", status_code=201, summary="Register a webhook", tags=["Webhooks"])
@refuses(LimitReachedError(), HostLimitReachedError())
def register_webhook(
    webhook: Annotated[WebhookIn, Body(), _REGISTRATION],
    account_id: AccountId,
    registry: WebhookRegistry,
) -> Success[RegisteredWebhookOut]:
    """Save the secret: it is shown only this once."""
    registered = registry.register(account_id, webhook.registration())
    return Success(data=RegisteredWebhookOut.of(registered.webhook, registered.secret))


@router.get("/", summary="List webhooks", tags=["Webhooks"])
def list_webhooks(
    account_id: AccountId, registry: WebhookRegistry, limit: Limit = 20, cursor: Cursor = None
) -> SuccessPage[WebhookOut]:
    """Newest first."""
    page = registry.page(account_id, limit, cursor)
    return SuccessPage(
        data=[WebhookOut.of(webhook) for webhook in page.webhooks],
        pagination=Pagination(next_cursor=page.next_cursor),
    )


@router.get("/<webhook_id>", summary="Show a webhook", tags=["Webhooks"])
def get_webhook(
    webhook_id: WebhookId, account_id: AccountId, registry: WebhookRegistry
) -> Success[WebhookOut]:
    """Everything but the secret."""
    return Success(data=WebhookOut.of(own_webhook(registry, account_id, webhook_id)))


@router.patch("/<webhook_id>", summary="Change a webhook", tags=["Webhooks"])
@refuses(HostLimitReachedError())
def change_webhook(
    webhook_id: WebhookId,
    changes: Annotated[WebhookChangesIn, Body(), Sample({"active": False})],
    account_id: AccountId,
    registry: WebhookRegistry,
) -> Success[WebhookOut]:
    """What is left out stays as it is."""
    webhook = registry.update(account_id, webhook_id, changes.changes())
    if webhook is None:
        raise errors.webhook_not_found()
    return Success(data=WebhookOut.of(webhook))


@router.post("/<webhook_id>/rotate-secret", summary="Rotate the secret", tags=["Webhooks"])
def rotate_secret(
    webhook_id: WebhookId,
    account_id: AccountId,
    registry: WebhookRegistry,
    rotation: Annotated[
        RotationIn, Body(), Sample({"overlap_seconds": 86_400})
    ] = _DEFAULT_ROTATION,
) -> Success[RotatedSecretOut]:
    """Save the secret: it is shown only this once. The old one stays valid for a while."""
    rotated = registry.rotate_secret(
        account_id, webhook_id, rotation.secret, overlap_seconds=rotation.overlap_seconds
    )
    if rotated is None:
        raise errors.webhook_not_found()
    return Success(data=RotatedSecretOut.of(webhook_id, rotated))


@router.delete("/", summary="Delete a webhook, by query", tags=["Webhooks"])
@refuses(errors.webhook_not_found())
def delete_webhook_by_query(
    webhook_id: Annotated[str, Query(alias="id", description="The webhook's id.")],
    account_id: AccountId,
    registry: WebhookRegistry,
) -> Success[DeletedOut]:
    """Deliveries that are under way are cancelled."""
    return _delete(registry, account_id, webhook_id)


@router.delete("/<webhook_id>", summary="Delete a webhook", tags=["Webhooks"])
def delete_webhook(
    webhook_id: WebhookId, account_id: AccountId, registry: WebhookRegistry
) -> Success[DeletedOut]:
    """Deliveries that are under way are cancelled."""
    return _delete(registry, account_id, webhook_id)


def _delete(registry: Registry, account_id: str, webhook_id: str) -> Success[DeletedOut]:
    if not registry.delete(account_id, webhook_id):
        raise errors.webhook_not_found()
    return Success(data=DeletedOut(id=webhook_id))
