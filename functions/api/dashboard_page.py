"""The dashboard's files (a page, its style sheet, its modules) and their Content-Security-Policy.

The files are served as they are in the folder. One module is generated: the webhook's fields, from
the domain's table. The list of files is closed, so no request can name another file.
"""

from __future__ import annotations

import hashlib
import json
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from webhooks.domain.webhook_fields import READABLE, Field, FieldKind, May

PAGE = "index.html"

_FIELDS = "fields.js"
_BY_KIND = (FieldKind.TEXT, FieldKind.PAIRS)
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
        # With these two, texts of receivers and owners can only be shown as text: the browser
        # refuses any string as HTML or as a script's source.
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    ]
)
"""The page's Content-Security-Policy: own files only, nothing inline, no string as HTML."""


class DashboardFile(NamedTuple):
    """A file as the API serves it; `etag` is quoted and changes with the content."""

    content_type: str
    text: str
    etag: str


@cache
def files(*, docs_page: bool = True) -> dict[str, DashboardFile]:
    """Return the dashboard's files by name, the page included.

    Without the API's documentation page, the dashboard links to the OpenAPI document instead.
    """
    texts = {path.name: path.read_text(encoding="utf-8") for path in _DIRECTORY.iterdir()}
    texts[_FIELDS] = _fields_module()
    if not docs_page:
        texts[PAGE] = texts[PAGE].replace('href="/docs"', 'href="/api/v1/openapi.json"')
    return {name: _file(name, texts[name]) for name in sorted(texts)}


def _file(name: str, text: str) -> DashboardFile:
    digest = hashlib.sha256(text.encode()).hexdigest()
    return DashboardFile(_CONTENT_TYPES[Path(name).suffix], text, f'"{digest[:32]}"')


def _fields_module() -> str:
    """Return a JavaScript module of the fields that the dashboard shows and edits by their kind.

    Required fields and headers have forms of their own.
    """
    shown = [field for field in READABLE if field.kind in _BY_KIND and May.CLEAR in field.may]
    data = json.dumps([_as_data(field) for field in shown], indent=2)
    return (
        "// Fields of a webhook that are shown and edited by their kind. Generated from the table "
        f"of all fields.\n\nexport const FIELDS = {data};\n"
    )


def _as_data(field: Field) -> dict[str, Any]:
    return {
        "name": field.name,
        "kind": field.kind.value,
        "label": field.name.replace("_", " ").capitalize(),
        "hint": field.meaning,
        "maxLength": field.max_length or None,
        "listed": field.listed,
    }
