"""`python -m local.openapi` writes docs/openapi.json; with --check it only compares."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
DOCUMENT = ROOT / "docs" / "openapi.json"


def generate() -> str:
    """Return the OpenAPI document of the current code."""
    from api.app import Api
    from api.openapi import document, text
    from webhooks.settings import Settings
    from webhooks.wiring.api import ApiServices

    # The document depends on the routes alone: no service is built for it.
    return text(document(Api(ApiServices(Settings())).resolver))


def main() -> int:
    """Run the command; return its exit status, 1 if --check finds a difference."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="compare, and write nothing")
    if not parser.parse_args().check:
        DOCUMENT.write_text(generate(), encoding="utf-8")
        return 0
    if DOCUMENT.exists() and DOCUMENT.read_text(encoding="utf-8") == generate():
        return 0
    print("docs/openapi.json differs from the code: run python -m local.openapi", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
