"""The API's own documentation: the OpenAPI document and a page to try it; no key needed."""

from functools import cache
from typing import Any

from aws_lambda_powertools.event_handler import APIGatewayHttpResolver, Response, content_types
from aws_lambda_powertools.event_handler.router import APIGatewayHttpRouter

from api import docs_page, openapi
from api.operations import SCOPE_EXTENSION

_PUBLIC: dict[str, Any] = {SCOPE_EXTENSION: None}


def make_router(app: APIGatewayHttpResolver) -> APIGatewayHttpRouter:
    """Return the routes that tell of all the routes of `app`."""
    router = APIGatewayHttpRouter()  # type: ignore[no-untyped-call]

    @cache
    def document() -> str:
        return openapi.text(openapi.document(app))

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
            }
        },
    )
    def get_openapi_document() -> Response[str]:
        """OpenAPI 3.1: every call, every response."""
        return Response(200, content_types.APPLICATION_JSON, document())

    @router.get(
        "/docs",
        summary="Try the API in a browser",
        tags=["Documentation"],
        compress=True,
        openapi_extensions=_PUBLIC,
        responses={
            200: {
                "description": "The page",
                "content": {"text/html": {"schema": {"type": "string"}}},
            }
        },
    )
    def get_docs() -> Response[str]:
        """A page that shows the document, takes a key and sends calls."""
        html, policy = docs_page.page()
        return Response(
            200,
            "text/html; charset=utf-8",
            html,
            headers={"Content-Security-Policy": policy, "Referrer-Policy": "no-referrer"},
        )

    return router
