"""The address rule of this machine: the deployed rule, plus receivers on loopback.

The sender and the webhook service get it from here, in code. No variable and no parameter that a
deployed stack reads leads to it.
"""

from __future__ import annotations

import re
from ipaddress import AddressValueError, IPv4Address

from webhooks.domain import targets
from webhooks.domain.errors import InvalidTargetError
from webhooks.domain.targets import Target

_LOOPBACK_URL = re.compile(
    r"(?P<scheme>https?)://(?P<host>127\.0\.0\.1|localhost)(?::(?P<port>[1-9][0-9]{0,4}))?"
    r"(?P<rest>(?:[/?#].*)?)",
    re.ASCII | re.IGNORECASE | re.DOTALL,
)
_PUBLIC_ORIGIN = "https://a.io"
"""Prefix that turns a loopback url into a public one for the deployed rule; shorter than any."""

_DEFAULT_PORTS = {"http": 80, "https": 443}
_MAX_PORT = 65535


def parse_url(url: str) -> Target:
    """Return a url's target, loopback and `http` included, or raise InvalidTargetError."""
    found = _LOOPBACK_URL.fullmatch(url)
    if found is None or len(url) > targets.MAX_URL_CHARACTERS:
        return targets.parse_url(url)
    scheme = found["scheme"].lower()
    port = int(found["port"] or _DEFAULT_PORTS[scheme])
    if port > _MAX_PORT:
        raise InvalidTargetError("Use a port from 1 to 65535.")
    judged = targets.parse_url(_PUBLIC_ORIGIN + found["rest"])
    return Target(scheme, found["host"].lower(), port, judged.path_and_query)


def is_loopback(address: str) -> bool:
    """Return whether an IPv4 address is this machine's own."""
    try:
        return IPv4Address(address).is_loopback
    except AddressValueError:
        return False


def is_allowed(address: str) -> bool:
    """Return whether a delivery may go to an address: a public one or this machine's loopback."""
    return is_loopback(address) or targets.is_public(address)
