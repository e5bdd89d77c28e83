"""A second check of a url at registration: international names, as browsers accept them."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from pydantic import HttpUrl, TypeAdapter, ValidationError

from webhooks.domain.errors import InvalidTargetError

if TYPE_CHECKING:
    from webhooks.domain.targets import Target


@cache
def _urls() -> TypeAdapter[HttpUrl]:
    return TypeAdapter(HttpUrl)


def check_international_name(target: Target) -> None:
    """Raise InvalidTargetError unless pydantic finds the same host in a url that the rule accepts.

    The url rule judges an A-label (`xn--...`) strictly, by the interpreter's edition of Unicode.
    Pydantic judges it by UTS 46 with its own tables, as browsers do; these are too large to load in
    every function that sends.
    """
    try:
        host = _urls().validate_python(f"https://{target.host}/").host
    except ValidationError:
        host = None
    if host != target.host:
        raise InvalidTargetError(
            "Use a valid international name: an xn-- label of the host breaks the rules of UTS 46."
        )
