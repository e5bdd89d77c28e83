"""What every resource's shapes share: the bases, the envelope, pagination and errors.

Shapes only. The rules are the domain's, which says more about a broken one than a schema can; the
schemas repeat them for the OpenAPI document alone.
"""

from typing import Generic, Literal, TypeVar

from pydantic import BaseModel, ConfigDict

Data = TypeVar("Data")


class In(BaseModel):
    """What a caller sends: exact types, no unknown fields, and no echo of it in any error."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, hide_input_in_errors=True)


class Out(BaseModel):
    """What the API returns. A field that is None is left out."""

    model_config = ConfigDict(frozen=True)


class DeletedOut(Out):
    """What was deleted."""

    id: str
    deleted: Literal[True] = True


class Success(Out, Generic[Data]):
    """The envelope of a response."""

    success: Literal[True] = True
    data: Data


class Pagination(Out):
    """Where a list goes on; without `next_cursor` it does not."""

    next_cursor: str | None = None


class SuccessPage(Out, Generic[Data]):
    """The envelope of part of a list."""

    success: Literal[True] = True
    data: list[Data]
    pagination: Pagination


class ProblemOut(Out):
    """One thing that is wrong with the input."""

    field: str
    message: str


class Warned(Success[Data], Generic[Data]):
    """The envelope of a response, with what its caller should change."""

    warnings: list[ProblemOut] | None = None


class ErrorOut(Out):
    """What went wrong: a stable code for programs, a sentence for people."""

    code: str
    message: str
    details: list[ProblemOut] | None = None


class Failure(Out):
    """The envelope of an error."""

    success: Literal[False] = False
    error: ErrorOut
