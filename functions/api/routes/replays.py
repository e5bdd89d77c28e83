"""A webhook's replays: start, follow, list, cancel."""

from typing import Annotated

from aws_lambda_powertools.event_handler.openapi.params import Body, Path
from aws_lambda_powertools.event_handler.router import APIGatewayHttpRouter

from api import errors
from api.dependencies import AccountId, CurrentCall, Services
from api.operations import Missing, Sample, refuses
from api.routes.parameters import Cursor, Limit, WebhookId, own_webhook
from api.schemas.base import Pagination, Success, SuccessPage, Warned
from api.schemas.replays import AcceptedReplayOut, ReplayIn, ReplayOut, warnings_of
from webhooks.domain.errors import ReplayRunningError, TooManyReplaysError, WebhookDisabledError

router = APIGatewayHttpRouter()  # type: ignore[no-untyped-call]

ReplayId = Annotated[str, Path(description="The replay's id."), Missing(errors.replay_not_found)]
_SAMPLE = Sample({"since": "2025-12-21T00:00:00Z", "status": "exhausted"})


@router.post("/<webhook_id>/replay", status_code=202, summary="Start a replay", tags=["Replays"])
@refuses(WebhookDisabledError(), ReplayRunningError(), TooManyReplaysError())
def start_replay(
    webhook_id: WebhookId,
    replay: Annotated[ReplayIn, Body(), _SAMPLE],
    account_id: AccountId,
    services: Services,
    *,
    call: CurrentCall,
) -> Warned[AcceptedReplayOut]:
    """Sends deliveries again, oldest first, a few per second. Follow it by its id.

    If the receiver asked for a pause, the replay begins at not_before.
    """
    webhook = own_webhook(services.webhook_service, account_id, webhook_id)
    started = services.replays.start(
        webhook, since=replay.since, until=replay.until, status=replay.status, seed=call.seed
    )
    accepted = AcceptedReplayOut.accepted(started, webhook)
    return Warned(data=accepted, warnings=warnings_of(started, replay.until))


@router.get("/<webhook_id>/replays", summary="List replays", tags=["Replays"])
def list_replays(
    webhook_id: WebhookId,
    account_id: AccountId,
    services: Services,
    *,
    limit: Limit = 20,
    cursor: Cursor = None,
) -> SuccessPage[ReplayOut]:
    """Newest first."""
    page = services.replays.page(
        own_webhook(services.webhook_service, account_id, webhook_id), limit, cursor
    )
    return SuccessPage(
        data=[ReplayOut.of(replay) for replay in page.items],
        pagination=Pagination(next_cursor=page.next),
    )


@router.get("/<webhook_id>/replays/<replay_id>", summary="Follow a replay", tags=["Replays"])
def get_replay(
    webhook_id: WebhookId,
    replay_id: ReplayId,
    account_id: AccountId,
    services: Services,
) -> Success[ReplayOut]:
    """The replay's status and progress."""
    replay = services.replays.get(
        own_webhook(services.webhook_service, account_id, webhook_id), replay_id
    )
    if replay is None:
        raise errors.replay_not_found()
    return Success(data=ReplayOut.of(replay))


@router.delete("/<webhook_id>/replays/<replay_id>", summary="Cancel a replay", tags=["Replays"])
def cancel_replay(
    webhook_id: WebhookId,
    replay_id: ReplayId,
    account_id: AccountId,
    services: Services,
) -> Success[ReplayOut]:
    """Requests already under way still arrive. A replay that has ended stays as it is."""
    replay = services.replays.cancel(
        own_webhook(services.webhook_service, account_id, webhook_id), replay_id
    )
    if replay is None:
        raise errors.replay_not_found()
    return Success(data=ReplayOut.of(replay))
