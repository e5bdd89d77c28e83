"""The allowed targets of deliveries: the url rule and the address rule.

The url rule judges the text alone and the address rule one resolved address. Both are needed: a
harmless name may resolve to a private address, and a harmless address may hide in a text that two
parsers read in two ways. Therefore only this module parses urls; the sender connects to its result.
"""

from __future__ import annotations

import re
import unicodedata
from ipaddress import AddressValueError, IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import TYPE_CHECKING, NamedTuple

from webhooks.domain.errors import InvalidTargetError

if TYPE_CHECKING:
    from collections.abc import Collection

MAX_URL_CHARACTERS = 2048
DEFAULT_PORT = 443


class Target(NamedTuple):
    """A parsed url: `host` in lower case, `path_and_query` as in the request line."""

    scheme: str
    host: str
    port: int
    path_and_query: str


_URL = re.compile(
    r"(?P<scheme>https)://(?P<host>[a-z0-9._-]+)(?::(?P<port>[1-9][0-9]{0,4}))?"
    r"(?P<rest>/(?:[a-z0-9._~!$&'()*+,;=:@/?-]|%[0-9a-f]{2})*)?",
    re.ASCII | re.IGNORECASE,
)
_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?", re.ASCII)
_LAST_LABEL = re.compile(r"[a-z][a-z0-9-]{0,61}[a-z0-9]", re.ASCII)
"""It starts with a letter, so no spelling of a number (`127.1`, `0x7f.1`, `2130706433`) passes."""

_FAULTS = (
    (r"[^\x00-\x7f]", "Use ASCII only: international names as xn--..., other text as %XX."),
    (r"\A(?!https://)", "Start the url with https://."),
    (r"\A.{8}(?:[/?#:]|\Z)", "Name a host after https://."),
    (r"\A.{8}[^/?#]*@", "Leave out the user name and password."),
    (r"#", "Leave out the fragment (#...), which is never sent."),
    (r"\A.{8}[^/?#]*[][]", "Use a DNS name as the host; IPv6 addresses cannot be reached."),
    (r"\A.{8}[^/?#]*\?", "Put a / between the host and the query."),
    (
        r"[^!-~]|[\\\"<>^`{|}]|[][]",
        "Escape as %XX all characters but letters, digits and -._~!$&'()*+,;=:@/? in the url.",
    ),
    (r"%(?![0-9a-f]{2})", "Follow each % with two hexadecimal digits."),
)
"""Compiled (and cached by `re`) when the first url is refused: a sender hardly ever needs them."""

_FAULT_FLAGS = re.ASCII | re.IGNORECASE | re.DOTALL

_PUNYCODE = "xn--"
_UNFOLDED = "\u00df\u03c2"
"""Sharp s and final sigma, which IDNA 2008 distinguishes from the letters that they fold to."""

_INVISIBLE = (
    # letters and marks that Unicode calls default ignorable
    *(("\u034f", "\u034f"), ("\u115f", "\u1160"), ("\u17b4", "\u17b5"), ("\u180b", "\u180f")),
    *(("\u3164", "\u3164"), ("\ufe00", "\ufe0f"), ("\uffa0", "\uffa0")),
    ("\U000e0000", "\U000e0fff"),
)
_JOINERS = frozenset("\u200c\u200d")
"""Invisible, but part of a letter's form in some scripts: Persian, Sinhala (RFC 5892, CONTEXTJ)."""

_DOTS = frozenset("\u00b7\u0375\u05f3\u05f4\u30fb")
"""The middle dots of Catalan, Katakana and others: no letters, but parts of words (CONTEXTO)."""

_RIGHT_TO_LEFT = frozenset({"R", "AL", "AN"})
_NEUTRAL = frozenset({"ES", "CS", "ET", "ON", "BN", "NSM"})
_MAX_HOST_CHARACTERS = 253

_PRIVATE_SUFFIXES = (
    # RFC 6761, RFC 6762, RFC 7686, RFC 8375, RFC 9476
    *("localhost", "local", "test", "invalid", "example", "onion", "home.arpa", "alt"),
    # withheld or reserved by ICANN for private networks, and other names that such networks use
    *("internal", "home", "corp", "mail", "lan", "intranet", "private", "localdomain"),
    # reverse zones, and names that AWS resolves to private addresses
    *("in-addr.arpa", "ip6.arpa", "vpce.amazonaws.com", "vpce.amazonaws.com.cn"),
)
API_GATEWAY = ".execute-api."
"""The text after an API's id in its default names; an API has an IPv4 name and a dual-stack one."""

_LOW_PORTS = frozenset({443})
_SERVICE_PORTS = frozenset(
    # databases, caches, brokers, directories, container and cluster control, remote desktops
    {1433, 1434, 1521, 2049, 2181, 2375, 2376, 2379, 2380, 3260, 3268, 3269, 3306, 3389, 4369}
    | {5432, 5433, 5671, 5672, 5900, 5984, 5985, 5986, 6000, 6379, 6380, 6443, 7000, 7001, 7199}
    | {7473, 7474, 7687, 8086, 8500, 9042, 9092, 9160, 9200, 9300, 9418, 10250, 10255, 11211}
    | {15672, 16379, 26257, 26379, 27017, 27018, 27019, 28015, 50000}
)


def check_url(url: str, own_hosts: Collection[str] = ()) -> None:
    """Raise InvalidTargetError, saying what to change, unless a webhook may have this url.

    It judges the text only; the addresses that the name resolves to are judged at every attempt.
    `own_hosts` are the names of the service's own API, in lower case.
    """
    refuse_own(parse_url(url), own_hosts)


def refuse_own(target: Target, own_hosts: Collection[str]) -> None:
    """Raise InvalidTargetError for the service's own API: a webhook must not call the service.

    `own_hosts` are its names in lower case. A default name of API Gateway covers all default names
    of that API; the text from `API_GATEWAY` on may be left out.
    """
    if _named(target.host) in map(_named, own_hosts):
        raise InvalidTargetError("Use your own server's url: this host is this API itself.")


def _named(host: str) -> str:
    """Return an API's id if a host is one of its default names, else the host."""
    return host.partition(API_GATEWAY)[0]


def parse_url(url: str) -> Target:
    """Parse a url that a webhook may have; InvalidTargetError if no webhook may have it."""
    if len(url) > MAX_URL_CHARACTERS:
        raise InvalidTargetError(f"Use at most {MAX_URL_CHARACTERS:,} characters.")
    match = _URL.fullmatch(url)
    if match is None:
        raise InvalidTargetError(_what_is_wrong(url))
    host = match["host"].lower()
    _check_host(host)
    port = int(match["port"] or DEFAULT_PORT)
    if port > 65535 or port in _SERVICE_PORTS or (port < 1024 and port not in _LOW_PORTS):
        raise InvalidTargetError(
            "Use port 443, or a port from 1024 to 65535, such as 8443, that databases and similar "
            "services do not use."
        )
    return Target("https", host, port, match["rest"] or "/")


def _what_is_wrong(url: str) -> str:
    """Return the most helpful sentence on a url that is already refused."""
    found = (sentence for pattern, sentence in _FAULTS if re.search(pattern, url, _FAULT_FLAGS))
    return next(found, "Use only letters, digits, dots and dashes in the host, and digits as port.")


def _check_host(host: str) -> None:
    labels = host.split(".")
    if len(host) > _MAX_HOST_CHARACTERS or not all(map(_LABEL.fullmatch, labels)):
        raise InvalidTargetError("Use a valid DNS name as the host.")
    if len(labels) < 2 or not _LAST_LABEL.fullmatch(labels[-1]):
        raise InvalidTargetError(
            "Use a full public DNS name as the host, not an address or a local name."
        )
    if any(label.startswith(_PUNYCODE) for label in labels):
        texts = [_decoded(label) for label in labels]
        if not (all(texts) and _reads_in_order(texts)):
            raise InvalidTargetError(
                "Use a valid international name: an xn-- label of the host does not decode."
            )
    if host.endswith(tuple(f".{suffix}" for suffix in _PRIVATE_SUFFIXES)):
        raise InvalidTargetError("Use a public name: the host's belongs to private networks.")


def _decoded(label: str) -> str:
    """Return a label decoded; an empty text if it is an A-label that breaks the rules.

    It must consist of letters, digits and marks in their one canonical form, and of joiners and
    dots where they belong. An approximation of RFC 5892 and UTS 46 that errs by refusing; resolvers
    and certificates see the ASCII in any case.
    """
    if not label.startswith(_PUNYCODE):
        return label
    encoded = label[len(_PUNYCODE) :]
    try:
        text = encoded.encode().decode("punycode")
        canonical = text.encode("punycode").decode() == encoded
    except UnicodeError:
        return ""
    valid = (
        canonical
        and not text.isascii()
        and unicodedata.normalize("NFC", text) == text
        and all(
            _is_in_context(text, at) if character in _JOINERS | _DOTS else _is_in_a_name(character)
            for at, character in enumerate(text)
        )
        and unicodedata.category(text[0])[0] != "M"
    )
    return text if valid else ""


def _is_in_context(text: str, at: int) -> bool:
    """Whether a joiner or dot is at a place where a name may have it (RFC 5892, appendix A)."""
    import idna  # few names need its tables of scripts and joining letters

    try:
        if text[at] in _JOINERS:
            return idna.core.valid_contextj(text, at)
        return idna.core.valid_contexto(text, at)
    except ValueError:
        return False


def _is_in_a_name(character: str) -> bool:
    folded = unicodedata.normalize("NFKC", character.casefold())
    return character == "-" or (
        unicodedata.category(character)[0] in "LMN"
        and (folded == character or character in _UNFOLDED)
        and not any(first <= character <= last for first, last in _INVISIBLE)
    )


def _reads_in_order(texts: list[str]) -> bool:
    """Whether a name follows the Bidi rule (RFC 5893, section 2): each label reads one way."""
    directions = [[unicodedata.bidirectional(c) for c in text] for text in texts]
    if not any(_RIGHT_TO_LEFT.intersection(found) for found in directions):
        return True
    return all(map(_keeps_bidi_rule, directions))


def _keeps_bidi_rule(directions: list[str]) -> bool:
    found = set(directions)
    last = next((one for one in reversed(directions) if one != "NSM"), "")
    if directions[0] == "L":
        return found <= {"L", "EN", *_NEUTRAL} and last in {"L", "EN"}
    return (
        directions[0] in {"R", "AL"}
        and found <= {*_RIGHT_TO_LEFT, "EN", *_NEUTRAL}
        and last in {*_RIGHT_TO_LEFT, "EN"}
        and not {"EN", "AN"} <= found
    )


_CLOSED_IPV4 = tuple(
    (int(network.network_address), int(network.netmask))
    for network in map(
        IPv4Network,
        (
            # IANA's special-purpose registry (RFC 6890 and later), "global" entries included
            *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16"),
            *("172.16.0.0/12", "192.0.0.0/24", "192.0.2.0/24", "192.31.196.0/24"),
            *("192.52.193.0/24", "192.88.99.0/24", "192.168.0.0/16", "192.175.48.0/24"),
            *("198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4"),
            # Azure's wire server, which responds on a public address
            "168.63.129.16/32",
        ),
    )
)
_OPEN_IPV6 = IPv6Network("2000::/3")
"""The only part that IANA allocates. Mapped, compatible, translated and NAT64 lie outside of it."""

_CLOSED_IPV6 = tuple(
    map(IPv6Network, ("2001::/23", "2001:db8::/32", "2002::/16", "2620:4f:8000::/48", "3fff::/20"))
)


def is_public(address: str) -> bool:
    """Whether a receiver on the internet can have this address.

    The prefixes are listed here because `ipaddress.is_global` changes between patch releases and
    calls multicast, NAT64, 6to4 and more global. A text that is not one address is not public.
    """
    try:
        if ":" not in address:
            number = int(IPv4Address(address))
            return not any(number & mask == network for network, mask in _CLOSED_IPV4)
        wide = IPv6Address(address)
    except AddressValueError:
        return False
    return (
        wide.scope_id is None
        and wide in _OPEN_IPV6
        and not any(wide in network for network in _CLOSED_IPV6)
    )
