"""The API keys of an account: make, list, revoke."""

from typing import Annotated

from aws_lambda_powertools.event_handler.openapi.params import Body, Path
from aws_lambda_powertools.event_handler.router import APIGatewayHttpRouter

from api import errors
from api.dependencies import AccountId, CallingKey, CurrentCall, Services
from api.operations import Missing, Sample, refuses
from api.routes.parameters import Cursor, Limit
from api.schemas.api_keys import ApiKeyIn, ApiKeyOut, IssuedApiKeyOut, RevokedApiKeyOut
from api.schemas.base import Pagination, Success, SuccessPage
from webhooks.domain.errors import LastApiKeyError, ScopeExceededError
from webhooks.domain.timestamps import to_text

router = APIGatewayHttpRouter()  # type: ignore[no-untyped-call]

KeyId = Annotated[str, Path(description="The key's id."), Missing(errors.api_key_not_found)]
_SAMPLE = Sample({"name": "billing", "scopes": ["publish"]})


@router.post("/", status_code=201, summary="Create an API key", tags=["API keys"])
@refuses(ScopeExceededError())
def create_api_key(
    api_key: Annotated[ApiKeyIn, Body(), _SAMPLE],
    calling_key: CallingKey,
    services: Services,
    call: CurrentCall,
) -> Success[IssuedApiKeyOut]:
    """The response shows the key, and only this once: save it."""
    issued = services.api_key_service.create(
        calling_key, api_key.name, api_key.scopes, seed=call.seed
    )
    return Success(data=IssuedApiKeyOut.of_issued(issued))


@router.get("/", summary="List API keys", tags=["API keys"])
def list_api_keys(
    account_id: AccountId, services: Services, limit: Limit = 20, cursor: Cursor = None
) -> SuccessPage[ApiKeyOut]:
    """Newest first, revoked keys included."""
    page = services.api_key_service.page(account_id, limit, cursor)
    return SuccessPage(
        data=[ApiKeyOut.of(key) for key in page.items],
        pagination=Pagination(next_cursor=page.next),
    )


@router.delete("/<key_id>", summary="Revoke an API key", tags=["API keys"])
@refuses(LastApiKeyError())
def revoke_api_key(
    key_id: KeyId, calling_key: CallingKey, services: Services
) -> Success[RevokedApiKeyOut]:
    """The key stops working at once. The last key with the scope write cannot be revoked."""
    key = services.api_key_service.revoke(key_id, by=calling_key)
    if key is None or key.revoked_at_ms is None:
        raise errors.api_key_not_found()
    return Success(data=RevokedApiKeyOut(id=key.id, revoked_at=to_text(key.revoked_at_ms)))
