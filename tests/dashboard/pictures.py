"""Takes the pictures of the documentation: `PYTHONPATH=... python -m dashboard.pictures`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from playwright.sync_api import sync_playwright

from dashboard.browsing import launch, visit
from dashboard.site import furnish, site

if TYPE_CHECKING:
    from collections.abc import Mapping

IMAGES = Path(__file__).parents[2] / "docs" / "images"
MAX_BYTES = 150_000
DESK = {"viewport": {"width": 1200, "height": 860}, "timezone_id": "Europe/Berlin"}
PHONE = {
    "viewport": {"width": 390, "height": 844},
    "timezone_id": "Europe/Berlin",
    "is_mobile": True,
    "has_touch": True,
}
PICTURES: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "dashboard-webhooks": ("webhooks", DESK),
    "dashboard-webhook": ("webhook", DESK),
    "dashboard-webhook-dark": ("webhook", {**DESK, "color_scheme": "dark"}),
    "dashboard-delivery": ("delivery", DESK),
    "dashboard-delivery-dark": ("delivery", {**DESK, "color_scheme": "dark"}),
    "dashboard-phone": ("webhook", PHONE),
}


def take(directory: Path) -> None:
    """Write each picture as a PNG into a directory."""
    directory.mkdir(exist_ok=True)
    with site() as place, sync_playwright() as playwright:
        paths = furnish(place)
        browser = launch(playwright.chromium)
        for name, (view, options) in PICTURES.items():
            with visit(browser, place.url, **options) as guest:
                guest.sign_in(place.key)
                guest.go(paths[view])
                guest.page.screenshot(path=directory / f"{name}.png")
        browser.close()


if __name__ == "__main__":
    take(Path(sys.argv[1]) if len(sys.argv) > 1 else IMAGES)
