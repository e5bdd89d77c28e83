"""Publishing events over HTTP, for producers without AWS."""

from collections.abc import Sequence

from aws_lambda_powertools.event_handler.router import APIGatewayHttpRouter

from api import errors
from api.dependencies import AccountId, CurrentCall, PublishedDocuments, Services
from api.operations import SCOPE_EXTENSION, refuses
from api.requests import MAX_EVENTS_BODY_BYTES
from api.schemas.events import REQUEST_BODY, PublishedOut, PublishedSuccess, warnings_of
from webhooks.domain.api_key import Scope
from webhooks.domain.errors import InvalidEventError, TooManyEventsError, UnavailableError
from webhooks.services.publisher import Published

router = APIGatewayHttpRouter()  # type: ignore[no-untyped-call]


@router.post(
    "/",
    status_code=202,
    summary="Publish events",
    tags=["Events"],
    openapi_extensions={SCOPE_EXTENSION: Scope.PUBLISH.value, "requestBody": REQUEST_BODY},
)
@refuses(errors.body_too_large(MAX_EVENTS_BODY_BYTES), TooManyEventsError())
def publish_events(
    documents: PublishedDocuments,
    account_id: AccountId,
    services: Services,
    call: CurrentCall,
) -> PublishedSuccess:
    """Takes one event, or a list of 1 to 100. For a list, data has one result per event, in order.

    Warnings name the events of a list that share a transaction_id.
    """
    alone = isinstance(documents, dict)
    published = services.publisher.publish(
        account_id, [documents] if isinstance(documents, dict) else documents
    )
    if all(each.error for each in published):
        raise _refusal(published, alone=alone)
    # After a fault on our side the caller must send again, also under the same Idempotency-Key.
    call.final = not any(isinstance(each.error, UnavailableError) for each in published)
    results = [PublishedOut.of(index, each) for index, each in enumerate(published)]
    return PublishedSuccess(data=results[0] if alone else results, warnings=warnings_of(published))


def _refusal(published: Sequence[Published], *, alone: bool) -> Exception:
    """Return the error of a request of which no event was accepted.

    A fault on our side comes first, because the same request may succeed later.
    """
    problems = []
    for index, each in enumerate(published):
        if isinstance(each.error, InvalidEventError):
            problems.append(errors.event_problem(each.error, None if alone else index))
        elif each.error is not None:
            return each.error
    return errors.validation_failed(problems)
