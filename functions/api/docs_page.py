"""The page to try the API in a browser: Swagger UI, as Powertools brings it, from nowhere else."""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from pathlib import Path

import aws_lambda_powertools

_SWAGGER_UI = Path(aws_lambda_powertools.__file__).parent / "event_handler/openapi/swagger_ui"
_START = """
SwaggerUIBundle({
  url: "/api/v1/openapi.json",
  dom_id: "#swagger-ui",
  presets: [SwaggerUIBundle.presets.apis],
  validatorUrl: null,
  tryItOutEnabled: true
});
"""
_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>SendComms Webhooks: the API</title>
<link rel="icon" href="data:,">
<style>{style}</style>
</head>
<body>
<noscript>This page needs JavaScript. The document itself is at /api/v1/openapi.json.</noscript>
<main id="swagger-ui"></main>
<script>{library}</script>
<script>{start}</script>
</body>
</html>
"""


@cache
def page() -> tuple[str, str]:
    """Return the page, and the Content-Security-Policy under which it runs.

    Its scripts and its style sheet are in it, and named in the policy by their digests: no other
    script runs, and nothing is loaded from or sent to another host.
    """
    style = _read("swagger-ui.min.css")
    library = _read("swagger-ui-bundle.min.js")
    policy = "; ".join(
        [
            "default-src 'none'",
            f"script-src {_digest(library)} {_digest(_START)}",
            f"style-src {_digest(style)}",
            "img-src 'self' data:",
            "connect-src 'self'",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
        ]
    )
    return _PAGE.format(style=style, library=library, start=_START), policy


def _read(name: str) -> str:
    # Line ends become \n, as a browser makes them before it takes the digest.
    return (_SWAGGER_UI / name).read_text(encoding="utf-8")


def _digest(source: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(source.encode()).digest()).decode()}'"
