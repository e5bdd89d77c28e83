"""A refused request, as the API returns it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aws_lambda_powertools.event_handler import Response, content_types

from api.schemas.base import ErrorOut, Failure, ProblemOut

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_MAX_DETAILS = 20


class ApiError(Exception):
    """A refused request: raised at any depth, turned into a response in one place.

    `status` is the HTTP status, `details` is for validation errors only.
    """

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        details: Iterable[ProblemOut] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(code)
        self.status = status
        self.code = code
        self.message = message
        self.details = list(details)[:_MAX_DETAILS]
        self.headers = dict(headers or {})

    def response(self) -> Response[Failure]:
        """Return the HTTP response, the error in the API's envelope."""
        error = ErrorOut(code=self.code, message=self.message, details=self.details or None)
        return Response(
            status_code=self.status,
            content_type=content_types.APPLICATION_JSON,
            body=Failure(error=error),
            headers=self.headers,
        )
