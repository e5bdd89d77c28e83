"""The dashboard's files: one page, its style sheet and its modules, and the policy they run under.

They are served as they are written; nothing is built. The list is closed, so that no request can
name another file.
"""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path
from typing import NamedTuple

PAGE = "index.html"

_DIRECTORY = Path(__file__).parent / "dashboard"
_CONTENT_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}

POLICY = "; ".join(
    [
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        # Whatever a receiver or an owner wrote can then only be text: a browser refuses to take
        # any string for HTML or for a script's source.
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    ]
)
"""The page's Content-Security-Policy: nothing of others, nothing inline, no string as HTML."""


class DashboardFile(NamedTuple):
    """A file as it is answered; `etag` is quoted and changes with the content."""

    content_type: str
    text: str
    etag: str


@cache
def files() -> dict[str, DashboardFile]:
    """Return the dashboard's files by name, the page itself among them."""
    return {path.name: _read(path) for path in sorted(_DIRECTORY.iterdir())}


def _read(path: Path) -> DashboardFile:
    text = path.read_text(encoding="utf-8")
    digest = hashlib.sha256(text.encode()).hexdigest()
    return DashboardFile(_CONTENT_TYPES[path.suffix], text, f'"{digest[:32]}"')
