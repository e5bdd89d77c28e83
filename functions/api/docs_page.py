"""The page of the API: what the OpenAPI document says, and forms to try it.

It can be read without a script. Its style sheet and its script are in it, and nothing is loaded
from elsewhere.
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
    """The page, the Content-Security-Policy under which it runs, and its quoted `etag`."""

    html: str
    policy: str
    etag: str


def page(document: Mapping[str, Any]) -> DocsPage:
    """Return the page of an OpenAPI document.

    Its script and its style sheet are named in the policy by their digests: no other script runs,
    no text becomes HTML, and nothing is loaded from or sent to another host.
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
    # Line ends become \n, as a browser makes them before it takes the digest.
    return (_DIRECTORY / name).read_text(encoding="utf-8")


def _digest(source: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(source.encode()).digest()).decode()}'"
