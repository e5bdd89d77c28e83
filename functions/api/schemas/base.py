"""Base classes, envelope, pagination and errors of all schemas.

These classes describe shapes only. The rules are in the domain, whose messages say more than a
schema can. The schemas repeat the rules for the OpenAPI document alone.
"""

from typing import Generic, Literal, TypeVar

from pydantic import BaseModel, ConfigDict

Data = TypeVar("Data")


class In(BaseModel):
    """A request body: exact types, no unknown fields, and errors that never quote the input."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, hide_input_in_errors=True)


class Out(BaseModel):
    """Part of a response. Fields that are None are left out."""

    model_config = ConfigDict(frozen=True)


class DeletedOut(Out):
    """The id of the deleted resource."""

    id: str
    deleted: Literal[True] = True


class Success(Out, Generic[Data]):
    """The envelope of a successful response."""

    success: Literal[True] = True
    data: Data


class Pagination(Out):
    """The cursor of the next page; the last page has none."""

    next_cursor: str | None = None


class SuccessPage(Out, Generic[Data]):
    """The envelope of one page of a list."""

    success: Literal[True] = True
    data: list[Data]
    pagination: Pagination


class ProblemOut(Out):
    """A fault of one field: how to correct it."""

    field: str
    message: str


class Warned(Success[Data], Generic[Data]):
    """The envelope of a successful response with advice to its caller."""

    warnings: list[ProblemOut] | None = None


class ErrorOut(Out):
    """An error: a stable code for programs, a sentence for people."""

    code: str
    message: str
    details: list[ProblemOut] | None = None


class Failure(Out):
    """The envelope of an error."""

    success: Literal[False] = False
    error: ErrorOut
