"""The API's documentation page: the OpenAPI document as HTML, with forms to try each call.

The page is readable without a script. Style sheet and script are inline, and the page loads nothing
from other hosts.
"""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from api import docs_html

if TYPE_CHECKING:
    from collections.abc import Mapping

_DIRECTORY = Path(__file__).parent / "docs"
_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}: the API</title>
<link rel="icon" href="data:,">
<style>{style}</style>
</head>
<body>
{body}
<script>{script}</script>
</body>
</html>
"""


class DocsPage(NamedTuple):
    """The page, its Content-Security-Policy, and its quoted `etag`."""

    html: str
    policy: str
    etag: str


def page(document: Mapping[str, Any]) -> DocsPage:
    """Return the documentation page of an OpenAPI document.

    The policy names the script and the style sheet by their digests. No other script runs, no text
    becomes HTML, and the page exchanges nothing with another host.
    """
    style, script = _read("page.css"), _read("page.js")
    policy = "; ".join(
        [
            "default-src 'none'",
            f"script-src {_digest(script)}",
            f"style-src {_digest(style)}",
            "img-src data:",
            "connect-src 'self'",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
            "require-trusted-types-for 'script'",
            "trusted-types 'none'",
        ]
    )
    html = _PAGE.format(
        title=document["info"]["title"],
        style=style,
        body=docs_html.body(document),
        script=script,
    )
    return DocsPage(html, policy, etag_of(html))


def etag_of(text: str) -> str:
    """Return a strong validator of a text (RFC 9110, section 8.8.3)."""
    return f'"{hashlib.sha256(text.encode()).hexdigest()[:32]}"'


def _read(name: str) -> str:
    # Text mode turns line ends into \n. A browser does the same before it computes the digest.
    return (_DIRECTORY / name).read_text(encoding="utf-8")


def _digest(source: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(source.encode()).digest()).decode()}'"
