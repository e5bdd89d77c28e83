"""A browser's page on the dashboard, and the errors in it."""

from __future__ import annotations

import contextlib
import os
import shutil
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from playwright.sync_api import expect

from support.slowness import seconds

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser, BrowserType, ConsoleMessage, Locator, Page

EXECUTABLE = shutil.which("chromium") or shutil.which("google-chrome")

PATIENCE_MS = 20_000
"""The time limit for an element to appear on an idle machine."""

# A browser's message about a refusal that the page itself handles.
_REFUSAL = "Failed to load resource: the server responded with a status of 4"


def launch(chromium: BrowserType) -> Browser:
    """Start the browser; for root, the user of a container, it starts only without its sandbox."""
    arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
    return chromium.launch(executable_path=EXECUTABLE, args=arguments)


@dataclass
class Visit:
    """A page on a dashboard. `complaints` are violations of the policy, and errors of its code."""

    page: Page
    url: str
    complaints: list[str] = field(default_factory=list)

    def sign_in(self, key: str) -> None:
        self.page.goto(self.url)
        self.page.get_by_label("API key").fill(key)
        self.page.get_by_role("button", name="Sign in").click()
        expect(self.heading("Webhooks")).to_be_visible()

    def go(self, path: str) -> None:
        """Go to a view by its address, and wait until all its data is there."""
        self.page.goto(f"{self.url}{path}")
        self.settle()

    def settle(self) -> None:
        expect(self.page.locator("[aria-busy=true]")).to_have_count(0)
        expect(self.page.locator("main h1")).to_be_visible()

    def heading(self, name: str) -> Locator:
        return self.page.get_by_role("heading", name=name, exact=True)

    def press(self, name: str) -> None:
        """Press the button of this name, in the dialog if one is open."""
        dialog = self.dialog
        inside: Any = dialog if dialog.count() else self.page
        inside.get_by_role("button", name=name, exact=True).click()

    @property
    def dialog(self) -> Locator:
        return self.page.get_by_role("dialog")

    @property
    def said(self) -> Locator:
        """The page's last announcement."""
        return self.page.locator("#announcer")

    def note(self, message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"} and not message.text.startswith(_REFUSAL):
            self.complaints.append(message.text)


@contextlib.contextmanager
def visit(browser: Browser, url: str, **options: Any) -> Iterator[Visit]:
    """Open a page of its own; AssertionError at the end if the browser complained."""
    context = browser.new_context(
        **{"reduced_motion": "reduce", "viewport": {"width": 1280, "height": 860}} | options
    )
    patience_ms = seconds(PATIENCE_MS)
    expect.set_options(timeout=patience_ms)
    context.set_default_timeout(patience_ms)
    guest = Visit(context.new_page(), url)
    guest.page.on("console", guest.note)
    guest.page.on("pageerror", lambda error: guest.complaints.append(str(error)))
    try:
        yield guest
        assert guest.complaints == []
    finally:
        context.close()
