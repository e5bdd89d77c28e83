"""The texts of owners and receivers are shown as text everywhere."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect

from dashboard.site import HOST, refused
from webhooks.domain.delivery import Status
from webhooks.domain.timestamps import to_text

if TYPE_CHECKING:
    from dashboard.browsing import Visit
    from dashboard.site import Site

pytestmark = pytest.mark.browser

ATTACKS = [
    "<script>window.broken = 1</script>",
    "<img src=x onerror=window.broken=1>",
    '"><svg onload=window.broken=1>',
    "javascript:window.broken=1",
    "</pre></code><iframe srcdoc='<script>parent.broken=1</script>'>",
    "{{constructor.constructor('window.broken=1')()}} ${window.broken=1}",
    "\u202egnirts desrever \u2066",
]


def unbroken(guest: Visit) -> None:
    """Check that no script ran, and that no element exists that only an attack could have made."""
    assert guest.page.evaluate("() => window.broken") is None
    assert (
        guest.page.locator("main script, main iframe, main img, [onerror], [onload]").count() == 0
    )


@pytest.mark.parametrize("attack", ATTACKS)
def test_an_attack_in_any_field_is_only_text(guest: Visit, place: Site, attack: str) -> None:
    webhook = place.webhook(
        1,
        url=f"https://{HOST}/?{attack}",
        description=attack,
        events=(attack, "*"),
        headers={attack: attack},
        disabled_reason=attack,
    )
    body = {
        "event": attack,
        "transaction_id": attack,
        "timestamp": to_text(place.now_ms),
        "data": {attack: attack, "__proto__": {"broken": attack}, "to": [attack]},
    }
    delivery = place.delivery(
        webhook,
        1000,
        Status.EXHAUSTED,
        [refused(1, place.now_ms, response_body=attack)],
        event_id=attack,
        event_type=attack,
        reason=attack,
        body=json.dumps(body).encode(),
    )
    guest.page.reload()
    guest.settle()
    expect(guest.page.locator(".card")).to_contain_text(attack)
    unbroken(guest)

    guest.go(f"#/webhooks/{webhook.id}")
    expect(guest.page.locator("h1")).to_contain_text(attack)
    row = guest.page.locator("table.log tbody tr")
    expect(row).to_contain_text(attack)
    guest.press("Edit…")
    expect(guest.dialog.get_by_label("Description")).to_have_value(attack)
    unbroken(guest)
    guest.press("Cancel")
    guest.press("Delete…")
    expect(guest.dialog).to_contain_text(attack)
    unbroken(guest)
    guest.press("Cancel")

    row.get_by_role("link").click()
    expect(guest.page.get_by_role("heading", level=1)).to_have_text(attack)
    expect(guest.page.locator("section pre").last).to_contain_text(
        json.dumps(attack, ensure_ascii=False)[1:-1]
    )
    guest.page.get_by_text("Your server's response").click()
    expect(guest.page.get_by_label("Response to attempt 1")).to_have_text(attack)
    guest.page.get_by_label("The exact bytes").check()
    expect(guest.page.locator("pre.wrapped")).to_have_text(delivery.body.decode())
    unbroken(guest)
    polluted = guest.page.evaluate("() => ({}).broken")
    assert polluted is None


def test_the_browser_would_refuse_and_report_markup(guest: Visit) -> None:
    guest.page.evaluate(
        """() => {
          try { document.body.innerHTML = "<b>bold</b>"; } catch (error) { window.refused = 1; }
          const script = document.createElement("script");
          try { script.textContent = "window.broken = 1"; } catch { window.refused += 1; }
          document.body.append(script);
        }"""
    )
    unbroken_value = guest.page.evaluate("() => [window.broken ?? null, window.refused]")
    assert unbroken_value == [None, 2]
    assert any("TrustedHTML" in complaint for complaint in guest.complaints)
    guest.complaints.clear()


def test_an_address_cannot_smuggle_a_path_into_a_call(guest: Visit) -> None:
    asked: list[str] = []
    guest.page.on("request", lambda request: asked.append(request.url))
    guest.page.goto(f"{guest.url}#/webhooks/..%2F..%2Fapi-keys")
    expect(guest.page.get_by_role("alert")).to_be_visible()
    assert not [url for url in asked if url.endswith("/api-keys")]
