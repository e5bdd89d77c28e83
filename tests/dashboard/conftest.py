"""The browser, and dashboards to open in it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import sync_playwright

from dashboard.browsing import EXECUTABLE, Visit, launch, visit
from dashboard.site import Site, furnish, site

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("browser") and EXECUTABLE is None:
        pytest.skip("Chromium is not on the PATH")


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        chromium = launch(playwright.chromium)
        yield chromium
        chromium.close()


@pytest.fixture
def place() -> Iterator[Site]:
    """A dashboard of an empty account."""
    with site() as place:
        yield place


@pytest.fixture
def furnished(place: Site) -> dict[str, str]:
    """The paths of the dashboard's views, once its account has a day of everything."""
    return furnish(place)


@pytest.fixture
def guest(browser: Browser, place: Site) -> Iterator[Visit]:
    """A page on the dashboard, signed in."""
    with visit(browser, place.url) as guest:
        guest.sign_in(place.key)
        yield guest
