"""The API's documentation: the OpenAPI document and a page to try it; no key needed."""

from functools import cache
from typing import Any

from aws_lambda_powertools.event_handler import APIGatewayHttpResolver, Response, content_types
from aws_lambda_powertools.event_handler.openapi.types import OpenAPIResponse
from aws_lambda_powertools.event_handler.router import APIGatewayHttpRouter

from api import docs_page, openapi
from api.dependencies import IfNoneMatch
from api.docs_page import DocsPage
from api.operations import SCOPE_EXTENSION

_PUBLIC: dict[str, Any] = {SCOPE_EXTENSION: None}
_UNCHANGED: OpenAPIResponse = {"description": "Not Modified"}


def make_router(app: APIGatewayHttpResolver, *, with_page: bool) -> APIGatewayHttpRouter:
    """Return the routes that document all routes of `app`; the page is optional."""
    router = APIGatewayHttpRouter()  # type: ignore[no-untyped-call]

    @cache
    def document() -> dict[str, Any]:
        return openapi.document(app)

    @cache
    def text() -> tuple[str, str]:
        made = openapi.text(document())
        return made, docs_page.etag_of(made)

    @cache
    def page() -> DocsPage:
        return docs_page.page(document())

    @router.get(
        "/api/v1/openapi.json",
        summary="The OpenAPI document",
        tags=["Documentation"],
        compress=True,
        openapi_extensions=_PUBLIC,
        responses={
            200: {
                "description": "The document",
                "content": {"application/json": {"schema": {"type": "object"}}},
            },
            304: _UNCHANGED,
        },
    )
    def get_openapi_document(known: IfNoneMatch) -> Response[str]:
        """OpenAPI 3.1: every call, every response."""
        body, etag = text()
        return _answer(known, etag, content_types.APPLICATION_JSON, body)

    if not with_page:
        return router

    @router.get(
        "/docs",
        summary="Documentation of the API, with forms to try it",
        tags=["Documentation"],
        compress=True,
        openapi_extensions=_PUBLIC,
        responses={
            200: {
                "description": "The page",
                "content": {"text/html": {"schema": {"type": "string"}}},
            },
            304: _UNCHANGED,
        },
    )
    def get_docs(known: IfNoneMatch) -> Response[str]:
        """A page that shows the document, asks for a key and sends calls."""
        html, policy, etag = page()
        headers = {"Content-Security-Policy": policy, "Referrer-Policy": "no-referrer"}
        return _answer(known, etag, "text/html; charset=utf-8", html, headers)

    return router


def _answer(
    known: str | None,
    etag: str,
    content_type: str,
    body: str,
    headers: dict[str, str] | None = None,
) -> Response[str]:
    """Return a document, or 304 if the caller has this version already (RFC 9110, 13.1.2)."""
    # Browsers check for a new version at each load: a deployment may have changed it.
    headers = {
        **(headers or {}),
        "Cache-Control": "no-cache",
        "ETag": etag,
        "Vary": "Accept-Encoding",
    }
    if known is not None and (known.strip() == "*" or etag in known):
        return Response(304, headers=headers, compress=False)
    return Response(200, content_type, body, headers=headers)
