"""The address rule of this machine: the deployed one, and receivers on loopback besides.

It is handed to the sender and to the registry from here, by code. Nothing that a deployed stack
reads, no variable and no parameter, leads to it.
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
"""Put before the rest of a loopback url to have the deployed rule judge it; shorter than any."""

_DEFAULT_PORTS = {"http": 80, "https": 443}
_MAX_PORT = 65535


def parse_url(url: str) -> Target:
    """Return where a url leads, loopback and `http` included, or raise InvalidTargetError."""
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
    """Tell whether an address is this machine's own, of IPv4."""
    try:
        return IPv4Address(address).is_loopback
    except AddressValueError:
        return False


def is_allowed(address: str) -> bool:
    """Tell whether a delivery may go to an address: a public one or this machine's loopback."""
    return is_loopback(address) or targets.is_public(address)
