"""The webhooks of an account: register, list, show, change, rotate, delete."""

from dataclasses import replace
from typing import Annotated
from urllib.parse import unquote

from aws_lambda_powertools.event_handler import Response, content_types
from aws_lambda_powertools.event_handler.openapi.params import Body, Query
from aws_lambda_powertools.event_handler.router import APIGatewayHttpRouter

from api import errors
from api.dependencies import AccountId, CurrentCall, Services
from api.operations import Sample, refuses
from api.routes.parameters import Cursor, ExternalId, Limit, WebhookId, own_webhook
from api.schemas.base import DeletedOut, Pagination, Success, SuccessPage, Warned
from api.schemas.webhooks import (
    RegisteredWebhookOut,
    RotatedSecretOut,
    RotationIn,
    WebhookChangesIn,
    WebhookIn,
    WebhookOut,
    WebhookPutIn,
    rotation_warnings,
    warnings_of,
)
from webhooks.domain.errors import (
    ExternalIdTakenError,
    HostLimitReachedError,
    LimitReachedError,
    OverlapRunningError,
    RotationConflictError,
    TooManyEnablesError,
)
from webhooks.services.upsert import put_webhook
from webhooks.services.webhooks import Registered, WebhookService

router = APIGatewayHttpRouter()  # type: ignore[no-untyped-call]

_DEFAULT_ROTATION = RotationIn()
_REGISTRATION = Sample(
    {
        "url": "https://your-server.com/webhooks/email",
        "events": ["email.sent", "email.delivered", "email.bounced", "email.complained"],
    }
)
_REPLACEMENT = Sample(
    {
        "url": "https://your-server.com/webhooks/email",
        "events": ["email.delivered", "email.bounced"],
        "metadata": {"team": "billing"},
    }
)


@router.post("/", status_code=201, summary="Register a webhook", tags=["Webhooks"])
@refuses(LimitReachedError(), HostLimitReachedError(), ExternalIdTakenError())
def register_webhook(
    webhook: Annotated[WebhookIn, Body(), _REGISTRATION],
    account_id: AccountId,
    services: Services,
    call: CurrentCall,
) -> Warned[RegisteredWebhookOut]:
    """The response shows the secret, and only this once: save it."""
    registered = services.webhook_service.register(
        account_id, webhook.registration(), seed=call.seed
    )
    return _with_secret(registered)


@router.get("/", summary="List webhooks", tags=["Webhooks"])
def list_webhooks(
    account_id: AccountId, services: Services, limit: Limit = 20, cursor: Cursor = None
) -> SuccessPage[WebhookOut]:
    """Newest first."""
    page = services.webhook_service.page(account_id, limit, cursor)
    return SuccessPage(
        data=[WebhookOut.of(webhook) for webhook in page.items],
        pagination=Pagination(next_cursor=page.next),
    )


@router.put(
    "/external/<external_id>",
    summary="Create or change a webhook by your own id",
    tags=["Webhooks"],
    responses={
        200: {
            "description": "OK",
            "content": {"application/json": {"model": Success[WebhookOut]}},
        },
        201: {
            "description": "Created",
            "content": {"application/json": {"model": Warned[RegisteredWebhookOut]}},
        },
    },
)
@refuses(LimitReachedError(), HostLimitReachedError(), TooManyEnablesError())
def put_webhook_by_external_id(
    external_id: ExternalId,
    webhook: Annotated[WebhookPutIn, Body(), _REPLACEMENT],
    account_id: AccountId,
    services: Services,
    call: CurrentCall,
) -> Response[Warned[RegisteredWebhookOut] | Success[WebhookOut]]:
    """Repeat it as often as you like: a call that changes nothing has no effect.

    A 201 shows the secret, and only this once: save it. Omitted fields get their defaults, except
    for active, which keeps its value.
    """
    external_id = _decoded(external_id)
    registration = webhook.registration()
    if registration.external_id not in {"", external_id}:
        message = "Leave it out, or give the same id as the path."
        raise errors.validation_failed([errors.problem("external_id", message)])
    put = put_webhook(
        services.webhook_service,
        account_id,
        replace(registration, external_id=external_id),
        active=webhook.active_if_given(),
        seed=call.seed,
    )
    if isinstance(put, Registered):
        return Response(201, content_types.APPLICATION_JSON, _with_secret(put))
    return Response(200, content_types.APPLICATION_JSON, Success(data=WebhookOut.of(put)))


@router.get("/external/<external_id>", summary="Show a webhook by your own id", tags=["Webhooks"])
@refuses(errors.webhook_not_found())
def get_webhook_by_external_id(
    external_id: ExternalId, account_id: AccountId, services: Services
) -> Success[WebhookOut]:
    """The webhook without its secret."""
    webhook = services.webhook_service.find(account_id, _decoded(external_id))
    if webhook is None:
        raise errors.webhook_not_found()
    return Success(data=WebhookOut.of(webhook))


@router.get("/<webhook_id>", summary="Show a webhook", tags=["Webhooks"])
def get_webhook(
    webhook_id: WebhookId, account_id: AccountId, services: Services
) -> Success[WebhookOut]:
    """The webhook without its secret."""
    return Success(
        data=WebhookOut.of(own_webhook(services.webhook_service, account_id, webhook_id))
    )


@router.patch("/<webhook_id>", summary="Change a webhook", tags=["Webhooks"])
@refuses(HostLimitReachedError(), ExternalIdTakenError(), TooManyEnablesError())
def change_webhook(
    webhook_id: WebhookId,
    changes: Annotated[WebhookChangesIn, Body(), Sample({"active": False})],
    account_id: AccountId,
    services: Services,
) -> Success[WebhookOut]:
    """Omitted fields keep their values.

    Set active to true to enable the webhook, or to probe it at once if it is down.
    """
    webhook = services.webhook_service.update(account_id, webhook_id, changes.changes())
    if webhook is None:
        raise errors.webhook_not_found()
    return Success(data=WebhookOut.of(webhook))


@router.post("/<webhook_id>/rotate-secret", summary="Rotate the secret", tags=["Webhooks"])
@refuses(OverlapRunningError(), RotationConflictError())
def rotate_secret(
    webhook_id: WebhookId,
    account_id: AccountId,
    services: Services,
    call: CurrentCall,
    rotation: Annotated[
        RotationIn, Body(), Sample({"overlap_seconds": 86_400})
    ] = _DEFAULT_ROTATION,
) -> Warned[RotatedSecretOut]:
    """The response shows the new secret, and only this once: save it.

    The old secret stays valid for an overlap, during which another rotation is refused unless force
    is true.
    """
    rotated = services.webhook_service.rotate_secret(
        account_id,
        webhook_id,
        rotation.secret,
        overlap_seconds=rotation.overlap_seconds,
        force=rotation.force,
        seed=call.seed,
    )
    if rotated is None:
        raise errors.webhook_not_found()
    return Warned(
        data=RotatedSecretOut.of(webhook_id, rotated), warnings=rotation_warnings(rotated)
    )


@router.delete("/", summary="Delete a webhook, by query", tags=["Webhooks"])
@refuses(errors.webhook_not_found())
def delete_webhook_by_query(
    webhook_id: Annotated[str, Query(alias="id", description="The webhook's id.")],
    account_id: AccountId,
    services: Services,
) -> Success[DeletedOut]:
    """Deliveries that are under way are cancelled."""
    return _delete(services.webhook_service, account_id, webhook_id)


@router.delete("/<webhook_id>", summary="Delete a webhook", tags=["Webhooks"])
def delete_webhook(
    webhook_id: WebhookId, account_id: AccountId, services: Services
) -> Success[DeletedOut]:
    """Deliveries that are under way are cancelled."""
    return _delete(services.webhook_service, account_id, webhook_id)


def _decoded(external_id: str) -> str:
    """Return the external id in a path, whether or not the gateway has decoded it.

    External ids never contain a percent sign, so decoding twice is harmless.
    """
    return unquote(external_id)


def _with_secret(registered: Registered) -> Warned[RegisteredWebhookOut]:
    shown = RegisteredWebhookOut.of(registered.webhook, registered.secret)
    return Warned(data=shown, warnings=warnings_of(registered.secret))


def _delete(
    webhook_service: WebhookService, account_id: str, webhook_id: str
) -> Success[DeletedOut]:
    if not webhook_service.delete(account_id, webhook_id):
        raise errors.webhook_not_found()
    return Success(data=DeletedOut(id=webhook_id))
