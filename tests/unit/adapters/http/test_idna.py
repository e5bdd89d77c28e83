"""International names: a name that UTS 46 refuses is refused when a url is registered."""

from __future__ import annotations

import pytest

from webhooks.adapters.http.idna import check_international_name
from webhooks.domain.errors import InvalidTargetError
from webhooks.domain.targets import Target, parse_url


@pytest.mark.parametrize(
    "host", ["hooks.example.com", "xn--bcher-kva.example.com", "xn--r8jz45g.example.xn--p1ai"]
)
def test_a_name_that_every_parser_takes_is_taken(host: str) -> None:
    check_international_name(parse_url(f"https://{host}:8443/a?b=c"))


@pytest.mark.parametrize("label", ["xn--ssaa", "xn--1-zmc", "xn--hhbx"])
def test_a_name_whose_letters_are_not_allowed_together_is_refused(label: str) -> None:
    target = Target("https", f"{label}.example.com", 443, "/")
    with pytest.raises(InvalidTargetError, match="international name"):
        check_international_name(target)
