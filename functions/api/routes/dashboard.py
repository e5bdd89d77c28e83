"""The dashboard: a page for owners, which calls the API like any other client."""

from typing import Annotated, Any

from aws_lambda_powertools.event_handler import Response
from aws_lambda_powertools.event_handler.openapi.params import Path
from aws_lambda_powertools.event_handler.openapi.types import OpenAPIResponse
from aws_lambda_powertools.event_handler.router import APIGatewayHttpRouter

from api import dashboard_page, errors
from api.dashboard_page import DashboardFile
from api.dependencies import CurrentCall, IfNoneMatch
from api.operations import SCOPE_EXTENSION, Missing
from api.requests import Call

router = APIGatewayHttpRouter()  # type: ignore[no-untyped-call]

_PUBLIC: dict[str, Any] = {SCOPE_EXTENSION: None}
_UNCHANGED: OpenAPIResponse = {"description": "Not Modified"}


def _found(*content_types: str) -> OpenAPIResponse:
    return {
        "description": "OK",
        "content": {name: {"schema": {"type": "string"}} for name in content_types},
    }


@router.get(
    "/",
    summary="The dashboard",
    tags=["Documentation"],
    compress=True,
    openapi_extensions=_PUBLIC,
    responses={200: _found("text/html"), 304: _UNCHANGED},
)
def get_dashboard(known: IfNoneMatch, call: CurrentCall) -> Response[str]:
    """A page that asks for a key, then shows and changes the account's webhooks."""
    return _answer(_files(call)[dashboard_page.PAGE], known)


@router.get(
    "/<file>",
    summary="A file of the dashboard",
    tags=["Documentation"],
    compress=True,
    openapi_extensions=_PUBLIC,
    responses={
        200: _found("text/javascript", "text/css", "image/svg+xml", "text/html"),
        304: _UNCHANGED,
    },
)
def get_dashboard_file(
    file: Annotated[str, Path(description="The file's name."), Missing(errors.file_not_found)],
    known: IfNoneMatch,
    call: CurrentCall,
) -> Response[str]:
    """A style sheet, a module or the icon."""
    found = _files(call).get(file)
    if found is None:
        raise errors.file_not_found()
    return _answer(found, known)


def _files(call: Call) -> dict[str, DashboardFile]:
    return dashboard_page.files(docs_page=call.services.docs_page)


def _answer(file: DashboardFile, known: str | None) -> Response[str]:
    headers = {
        # Browsers check for a new version at each load, so all files of a page have one version.
        "Cache-Control": "no-cache",
        "Content-Security-Policy": dashboard_page.POLICY,
        "ETag": file.etag,
        "Referrer-Policy": "no-referrer",
        "Vary": "Accept-Encoding",
    }
    if known is not None and file.etag in known:
        return Response(304, headers=headers, compress=False)
    return Response(200, file.content_type, file.text, headers=headers)
