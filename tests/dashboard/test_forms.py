"""The dashboard's forms in a browser."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect

from dashboard import pictures
from dashboard.browsing import Visit, visit
from dashboard.site import HOST

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Route

    from dashboard.site import Site

pytestmark = pytest.mark.browser


def test_all_of_a_secret_is_seen_on_any_screen(browser: Browser, place: Site) -> None:
    for options in (pictures.DESK, pictures.PHONE):
        with visit(browser, place.url, **options) as guest:
            guest.sign_in(place.key)
            guest.press("Register a webhook")
            guest.dialog.get_by_label("URL").fill(f"https://{HOST}/events")
            guest.press("Register")
            secret = guest.dialog.get_by_label("Secret", exact=True)
            expect(secret).to_have_value(re.compile("^whsec_[0-9a-f]{64}$"))
            cut_off = "(e) => [e.scrollWidth - e.clientWidth, e.scrollHeight - e.clientHeight]"
            assert secret.evaluate(cut_off) == [0, 0]


def test_a_long_forms_buttons_stay_in_sight(browser: Browser, place: Site) -> None:
    with visit(browser, place.url, viewport={"width": 800, "height": 420}) as guest:
        guest.sign_in(place.key)
        guest.press("Register a webhook")
        guest.dialog.get_by_label("All events").uncheck()
        box = guest.dialog.get_by_role("button", name="Register", exact=True).bounding_box()
        assert box is not None
        assert box["y"] + box["height"] <= 420
        guest.press("Register")
        error = guest.dialog.locator('[data-field="events"] .error')
        expect(error).to_have_text("Choose at least one event, or all of them.")


def test_refusals_stand_beside_their_fields(guest: Visit, place: Site) -> None:
    guest.press("Register a webhook")
    dialog = guest.dialog
    dialog.get_by_label("URL").fill("http://plain.example.com")
    dialog.get_by_label("All events").uncheck()
    dialog.get_by_text("More: a secret").click()
    dialog.get_by_label("Secret").fill("short")
    dialog.get_by_label("Header's name").fill("Cookie")
    dialog.get_by_label("Header's value").fill("x")
    guest.press("Register")
    expect(dialog.get_by_label("URL")).to_be_focused()
    for name in ("url", "events", "secret", "headers"):
        field = dialog.locator(f'[data-field="{name}"]')
        expect(field.locator(".error")).not_to_be_empty()
        expect(field.locator("[aria-invalid=true]").first).to_be_visible()
    expect(dialog.locator('[data-field="description"] .error')).to_be_empty()
    expect(dialog.get_by_label("URL")).to_have_accessible_description(re.compile("https"))
    assert place.fakes.webhooks.webhooks == {}
    dialog.get_by_label("URL").fill(f"https://{HOST}/events")
    dialog.get_by_label("All events").check()
    dialog.get_by_label("Secret").fill("")
    dialog.get_by_label("Header's name").fill("X-Team")
    guest.press("Register")
    expect(guest.heading("Your webhook's secret")).to_be_visible()
    ((webhook, _),) = place.fakes.webhooks.webhooks.values()
    assert (webhook.url, webhook.headers) == (f"https://{HOST}/events", {"X-Team": "x"})


def test_a_form_that_is_sent_twice_makes_one_webhook(guest: Visit, place: Site) -> None:
    guest.press("Register a webhook")
    guest.dialog.get_by_label("URL").fill(f"https://{HOST}/events")

    def lose_the_answer(route: Route) -> None:
        route.fetch()
        route.abort()

    guest.page.route("**/api/v1/webhooks", lose_the_answer)
    guest.press("Register")
    expect(guest.dialog.get_by_role("alert")).to_contain_text("cannot be reached")
    guest.page.unroute_all()
    guest.press("Register")
    expect(guest.heading("Your webhook's secret")).to_be_visible()
    assert len(place.fakes.webhooks.webhooks) == 1
    guest.complaints.clear()


def test_an_edit_sends_only_what_was_changed(guest: Visit, place: Site) -> None:
    webhook = place.webhook(1, url=f"https://{HOST}/old", description="Old", headers={"X-A": "b"})
    guest.go(f"#/webhooks/{webhook.id}")
    guest.press("Edit…")
    guest.dialog.get_by_label("Description").fill("")
    with guest.page.expect_request(lambda request: request.method == "PATCH") as sent:
        guest.press("Save")
    assert sent.value.post_data_json == {"description": None}
    expect(guest.said).to_have_text("Saved.")
    guest.press("Edit…")
    guest.dialog.get_by_label("Replace them").check()
    guest.press("Save")
    expect(guest.dialog).to_have_count(0)
    changed = place.fakes.webhooks.get("acme", webhook.id)
    assert changed is not None
    assert not changed.headers
