"""The checks of a webhook's receiver: start one, read its report."""

from typing import Annotated

from aws_lambda_powertools.event_handler.openapi.params import Path
from aws_lambda_powertools.event_handler.router import APIGatewayHttpRouter

from api import errors
from api.dependencies import AccountId, CurrentCall, Services
from api.operations import Missing, refuses
from api.routes.parameters import WebhookId, own_webhook
from api.schemas.base import Success
from api.schemas.checks import AcceptedCheckOut, CheckOut
from webhooks.domain.errors import TooManyTestsError, WebhookDisabledError

router = APIGatewayHttpRouter()  # type: ignore[no-untyped-call]

CheckId = Annotated[str, Path(description="The check's id."), Missing(errors.check_not_found)]


@router.post("/<webhook_id>/check", status_code=202, summary="Check a receiver", tags=["Checks"])
@refuses(WebhookDisabledError(), TooManyTestsError())
def start_check(
    webhook_id: WebhookId,
    account_id: AccountId,
    services: Services,
    call: CurrentCall,
) -> Success[AcceptedCheckOut]:
    """Sends genuine and forged samples to the webhook's url, nine at most. Follow it by its id.

    If the receiver asked for a pause, the samples are sent at not_before.
    """
    webhook = own_webhook(services.webhook_service, account_id, webhook_id)
    check = services.checks.start(webhook, seed=call.seed)
    return Success(data=AcceptedCheckOut.accepted(check, webhook))


@router.get("/<webhook_id>/checks/<check_id>", summary="Read a check's report", tags=["Checks"])
def get_check(
    webhook_id: WebhookId,
    check_id: CheckId,
    account_id: AccountId,
    services: Services,
) -> Success[CheckOut]:
    """The report follows a few seconds after the start: the receiver's faults and remedies."""
    check = services.checks.get(
        own_webhook(services.webhook_service, account_id, webhook_id), check_id
    )
    if check is None:
        raise errors.check_not_found()
    return Success(data=CheckOut.of(check))
