"""The event types and the payloads that receivers get for them."""

from aws_lambda_powertools.event_handler.router import APIGatewayHttpRouter

from api.schemas.base import Success
from api.schemas.event_types import EventTypeOut
from webhooks.domain.catalog import catalog

router = APIGatewayHttpRouter()  # type: ignore[no-untyped-call]


@router.get("/", summary="List event types", tags=["Events"])
def list_event_types() -> Success[list[EventTypeOut]]:
    """Each with a description, the JSON Schema of its payload, and a sample."""
    return Success(data=[EventTypeOut.of(entry) for entry in catalog()])
