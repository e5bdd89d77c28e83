"""A webhook's deliveries: list, show, resend, and test with a sample event."""

from typing import Annotated

from aws_lambda_powertools.event_handler.openapi.params import Body, Path, Query
from aws_lambda_powertools.event_handler.router import APIGatewayHttpRouter

from api import errors
from api.dependencies import AccountId, CurrentCall, Services
from api.operations import Missing, Sample, refuses
from api.routes.parameters import Cursor, Limit, WebhookId, own_webhook
from api.schemas.base import Pagination, Success, SuccessPage
from api.schemas.deliveries import (
    AcceptedDeliveryOut,
    DeliveryOut,
    DeliverySummaryOut,
    SampleEventIn,
)
from webhooks.domain.delivery import Status
from webhooks.domain.errors import (
    DeliveryErasedError,
    TooManyAttemptsError,
    TooManyResendsError,
    TooManyTestsError,
    WebhookDisabledError,
)
from webhooks.domain.event import EventType
from webhooks.services.delivery_log import DeliveryFilter

router = APIGatewayHttpRouter()  # type: ignore[no-untyped-call]

DeliveryId = Annotated[
    str, Path(description="The delivery's id."), Missing(errors.delivery_not_found)
]
StatusFilter = Annotated[Status | None, Query(description="Only deliveries with this status.")]
EventFilter = Annotated[EventType | None, Query(description="Only events of this type.")]
Since = Annotated[
    str | None,
    Query(
        description="Only events from this time on (RFC 3339; write + as %2B).",
        json_schema_extra={"format": "date-time"},
    ),
]
Until = Annotated[
    str | None,
    Query(
        description="Only events up to this time (RFC 3339; write + as %2B).",
        json_schema_extra={"format": "date-time"},
    ),
]


@router.get("/<webhook_id>/deliveries", summary="List deliveries", tags=["Deliveries"])
def list_deliveries(
    webhook_id: WebhookId,
    account_id: AccountId,
    services: Services,
    *,
    status: StatusFilter = None,
    event: EventFilter = None,
    since: Since = None,
    until: Until = None,
    limit: Limit = 20,
    cursor: Cursor = None,
) -> SuccessPage[DeliverySummaryOut]:
    """Newest first. A page can be short or empty and still have a next_cursor."""
    webhook = own_webhook(services.webhook_service, account_id, webhook_id)
    wanted = DeliveryFilter(status, event, since, until)
    page = services.delivery_log_service.page(webhook, wanted, limit, cursor)
    return SuccessPage(
        data=[DeliverySummaryOut.of(delivery) for delivery in page.items],
        pagination=Pagination(next_cursor=page.next),
    )


@router.get("/<webhook_id>/deliveries/<delivery_id>", summary="Show one", tags=["Deliveries"])
def get_delivery(
    webhook_id: WebhookId,
    delivery_id: DeliveryId,
    account_id: AccountId,
    services: Services,
) -> Success[DeliveryOut]:
    """The delivery with its payload and every attempt."""
    delivery = services.delivery_log_service.get(
        own_webhook(services.webhook_service, account_id, webhook_id), delivery_id
    )
    if delivery is None:
        raise errors.delivery_not_found()
    return Success(data=DeliveryOut.of(delivery))


@router.post(
    "/<webhook_id>/deliveries/<delivery_id>/resend",
    status_code=202,
    summary="Resend one",
    tags=["Deliveries"],
)
@refuses(
    WebhookDisabledError(), DeliveryErasedError(), TooManyAttemptsError(), TooManyResendsError()
)
def resend_delivery(
    webhook_id: WebhookId,
    delivery_id: DeliveryId,
    account_id: AccountId,
    services: Services,
    *,
    call: CurrentCall,
) -> Success[AcceptedDeliveryOut]:
    """Makes one attempt at once, in every status of the delivery. The schedule stays as it is.

    If the receiver asked for a pause, the attempt is made at not_before.
    """
    webhook = own_webhook(services.webhook_service, account_id, webhook_id)
    delivery = services.delivery_log_service.resend(webhook, delivery_id, seed=call.seed)
    if delivery is None:
        raise errors.delivery_not_found()
    return Success(data=AcceptedDeliveryOut.accepted(delivery, webhook))


@router.post(
    "/<webhook_id>/test", status_code=202, summary="Send a test event", tags=["Deliveries"]
)
@refuses(WebhookDisabledError(), TooManyTestsError())
def send_test_event(
    webhook_id: WebhookId,
    sample: Annotated[SampleEventIn, Body(), Sample({"event": "email.bounced"})],
    account_id: AccountId,
    services: Services,
    *,
    call: CurrentCall,
) -> Success[AcceptedDeliveryOut]:
    """A sample event is delivered and retried like any other; the log marks it as a test.

    If the receiver asked for a pause, it is sent at not_before.
    """
    webhook = own_webhook(services.webhook_service, account_id, webhook_id)
    delivery = services.delivery_log_service.test(webhook, sample.event, seed=call.seed)
    return Success(data=AcceptedDeliveryOut.accepted(delivery, webhook))
