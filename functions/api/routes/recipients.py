"""Recipients of emails: erase the stored payloads that mention one."""

import re
from typing import Annotated
from urllib.parse import unquote

from aws_lambda_powertools.event_handler.openapi.params import Path, Query
from aws_lambda_powertools.event_handler.router import APIGatewayHttpRouter

from api import errors
from api.dependencies import AccountId, CurrentCall, Services
from api.operations import Missing, refuses
from api.routes.parameters import Flag
from api.schemas.base import Success
from api.schemas.recipients import ErasureOut
from webhooks.domain.errors import InvalidInputError, TooManyErasuresError

router = APIGatewayHttpRouter()  # type: ignore[no-untyped-call]

_ESCAPE = re.compile(r"%[0-9A-Fa-f]{2}")

Address = Annotated[
    str,
    Path(
        description="The recipient's email address, percent-encoded as a whole.",
        json_schema_extra={"format": "email"},
    ),
]
IncludeUnsearched = Annotated[
    Flag,
    Query(description="Also erase each payload that takes too long to search."),
]
ErasureId = Annotated[str, Path(description="The erasure's id."), Missing(errors.erasure_not_found)]


@router.delete("/<address>", status_code=202, summary="Erase a recipient", tags=["Recipients"])
@refuses(TooManyErasuresError())
def erase_recipient(
    address: Address,
    account_id: AccountId,
    services: Services,
    call: CurrentCall,
    *,
    include_unsearched: IncludeUnsearched = False,
) -> Success[ErasureOut]:
    """Erases every stored payload that mentions the address. Follow it by its id.

    A payload that takes over 100 ms of CPU to search is listed as `unsearched`;
    `include_unsearched` erases it too.
    """
    wanted = _decoded(address)
    erasure = services.erasures.start(account_id, wanted, include_unsearched=include_unsearched)
    # Erased payloads leave no trace, so the log records the key that asked for the erasure.
    call.noted["erasure_id"] = erasure.id
    return Success(data=ErasureOut.of(erasure))


@router.get("/erasures/<erasure_id>", summary="Follow an erasure", tags=["Recipients"])
def get_erasure(
    erasure_id: ErasureId, account_id: AccountId, services: Services
) -> Success[ErasureOut]:
    """The erasure's status and progress."""
    erasure = services.erasures.get(account_id, erasure_id)
    if erasure is None:
        raise errors.erasure_not_found()
    return Success(data=ErasureOut.of(erasure))


def _decoded(address: str) -> str:
    """Return the address in a path, whether or not the gateway has decoded it.

    An ambiguous address is refused: reading it wrongly would erase another recipient's payloads.
    """
    if "@" not in address:
        return unquote(address)
    if _ESCAPE.search(address):
        raise InvalidInputError("address", "Percent-encode all of it, as recipient%40example.com.")
    return address
