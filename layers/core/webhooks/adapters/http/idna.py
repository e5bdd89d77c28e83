"""A second reading of a url when it is registered: international names, as a browser takes them."""

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

    The url rule judges an A-label (`xn--...`) by the interpreter's edition of Unicode and strictly;
    pydantic judges it by UTS 46 with tables of its own, as browsers do, which would be too much to
    load wherever a url is sent to.
    """
    try:
        host = _urls().validate_python(f"https://{target.host}/").host
    except ValidationError:
        host = None
    if host != target.host:
        raise InvalidTargetError(
            "Use a valid international name: an xn-- label of the host breaks the rules of UTS 46."
        )
