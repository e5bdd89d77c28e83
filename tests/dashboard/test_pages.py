"""The dashboard in a browser, on an account with a day of everything."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect

from dashboard import pictures
from dashboard.browsing import Visit, visit
from dashboard.site import HOUR_MS, refused
from dashboard.test_access import CONTRASTS, PROBLEMS
from support.http_api import http_api_event
from webhooks.domain.api_key import Scope
from webhooks.domain.delivery import FailureReason, Outcome, Status
from webhooks.domain.health import Health
from webhooks.domain.jobs.check import CheckRequest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Route

    from dashboard.site import Site

pytestmark = pytest.mark.browser


def test_a_wrong_key_is_refused_in_words_and_kept_nowhere(browser: Browser, place: Site) -> None:
    with visit(browser, place.url) as guest:
        guest.page.goto(place.url)
        for wrong in ("sc_live_wrong", "schlüssel", ""):
            guest.page.get_by_label("API key").fill(wrong)
            guest.press("Sign in")
            expect(guest.page.get_by_role("alert")).to_have_text("This is not a valid key.")
        assert guest.page.evaluate("() => sessionStorage.length") == 0


def test_the_key_stays_in_the_tab_and_goes_as_its_owner_signs_out(guest: Visit) -> None:
    kept = "() => [sessionStorage.length, localStorage.length, document.cookie]"
    assert guest.page.evaluate(kept) == [1, 0, ""]
    assert "sc_live" not in guest.page.url
    guest.page.reload()
    expect(guest.heading("Webhooks")).to_be_visible()
    guest.press("Sign out")
    expect(guest.heading("Sign in")).to_be_visible()
    assert guest.page.evaluate(kept) == [0, 0, ""]
    expect(guest.said).to_have_text("You are signed out.")


def test_a_key_that_is_revoked_meanwhile_leads_back_to_the_door(guest: Visit, place: Site) -> None:
    place.fakes.keys.keys.clear()
    guest.page.reload()
    expect(guest.page.get_by_role("alert")).to_contain_text("no longer valid")
    assert guest.page.evaluate("() => sessionStorage.length") == 0


def test_a_read_only_key_gets_the_missing_scope(browser: Browser, place: Site) -> None:
    place.webhook(1)
    key = place.fakes.client("acme", {Scope.READ}).key
    with visit(browser, place.url) as guest:
        guest.sign_in(key)
        guest.page.get_by_role("link", name="https://hook1.example.com/events").click()
        guest.press("Disable")
        expect(guest.said).to_have_text("This key lacks the scope write. Use a key that has it.")


def test_the_list_shows_how_each_webhook_is(
    guest: Visit, place: Site, furnished: dict[str, str]
) -> None:
    guest.page.reload()
    guest.settle()
    cards = guest.page.locator(".card")
    expect(cards.locator(".pill")).to_have_text(["Failing", "Down", "Disabled"])
    billing = cards.nth(0)
    expect(billing).to_contain_text("The last attempt failed, 4 minutes ago.")
    day = [
        delivery
        for delivery in place.fakes.deliveries.deliveries.values()
        if delivery.webhook_id.endswith("3")
    ]
    arrived = sum(delivery.status is Status.SUCCEEDED for delivery in day)
    shown = billing.locator("dd").first.inner_text()
    assert shown == f"{100 * arrived / len(day):.1f} %"
    words = billing.get_by_role("img").get_attribute("aria-label") or ""
    assert f"{len(day)} deliveries: {arrived} arrived, 1 under way" in words
    expect(cards.nth(2)).to_contain_text("410 Gone")
    expect(cards.nth(2)).to_contain_text("Nothing was sent in the last 24 hours.")


def test_a_webhooks_day_is_drawn_with_its_response_times(
    guest: Visit, place: Site, furnished: dict[str, str]
) -> None:
    guest.go(furnished["webhook"])
    times = guest.page.locator("svg.times")
    hours = times.locator(".median").count()
    words = times.get_attribute("aria-label") or ""
    assert re.fullmatch(
        r"Median responses took from \d+ ms, at \d\d:00, to \d+ ms, at \d\d:00\.", words
    )
    slow = guest.page.locator("dt", has_text="95 of 100 within").locator("~ dd").inner_text()
    taken = sorted(
        delivery.attempts[-1].duration_ms
        for delivery in place.fakes.deliveries.deliveries.values()
        if delivery.webhook_id.endswith("3") and delivery.status is Status.SUCCEEDED
    )
    assert slow == f"{taken[math.ceil(0.95 * len(taken)) - 1]} ms"
    guest.page.get_by_text("The same as a table").click()
    cells = guest.page.locator(".numbers tbody tr td:nth-of-type(4)")
    answered = [cell for cell in cells.all_inner_texts() if cell.endswith(" ms")]
    assert len(answered) == hours > 20
    expect(guest.page.locator("dt", has_text="Failing since")).to_be_visible()


def test_a_day_without_any_response_has_no_chart_of_their_times(guest: Visit, place: Site) -> None:
    webhook = place.webhook(1)
    place.delivery(webhook, HOUR_MS, Status.WAITING, [])
    guest.go(f"#/webhooks/{webhook.id}")
    expect(guest.page.get_by_text("1 delivery: 0 arrived")).to_be_visible()
    assert guest.page.locator("svg.times").count() == 0


def test_events_that_were_filed_ahead_of_now_are_not_in_the_days_figures(
    guest: Visit, place: Site
) -> None:
    webhook = place.webhook(1)
    for _ in range(1100):
        place.delivery(webhook, -24 * 365 * HOUR_MS)
    place.delivery(webhook, HOUR_MS)
    place.delivery(webhook, 2 * HOUR_MS, Status.WAITING, [])
    guest.go(f"#/webhooks/{webhook.id}")
    expect(guest.page.get_by_text("In the last 24 hours 2 deliveries: 1 arrived")).to_be_visible()


def test_a_phone_sees_the_latest_hours_first(
    browser: Browser, place: Site, furnished: dict[str, str]
) -> None:
    with visit(browser, place.url, **pictures.PHONE) as guest:
        guest.sign_in(place.key)
        guest.go(furnished["webhook"])
        left = "(e) => [e.scrollLeft, e.scrollWidth - e.clientWidth]"
        for scroller in guest.page.locator(".scroll").all():
            at, end = scroller.evaluate(left)
            assert end > 0
            assert abs(at - end) <= 1


def test_the_log_is_filtered_and_goes_on(guest: Visit, place: Site) -> None:
    webhook = place.webhook(1)
    for hour in range(45):
        at_ms = place.now_ms - hour * HOUR_MS
        failed = hour % 9 == 0
        attempts = [refused(1, at_ms)] if failed else None
        status = Status.EXHAUSTED if failed else Status.SUCCEEDED
        place.delivery(webhook, hour * HOUR_MS, status, attempts)
    guest.go(f"#/webhooks/{webhook.id}")
    rows = guest.page.locator("table.log tbody tr")
    expect(rows).to_have_count(20)
    guest.press("Show older")
    expect(rows).to_have_count(40)
    expect(rows.nth(20).get_by_role("link")).to_be_focused()
    guest.press("Show older")
    expect(rows).to_have_count(45)
    expect(guest.page.get_by_role("button", name="Show older")).to_have_count(0)
    guest.page.get_by_label("Status").select_option("exhausted")
    expect(rows).to_have_count(5)
    expect(guest.said).to_have_text("5 deliveries shown.")
    since = guest.page.evaluate(
        "ms => { const t = new Date(ms); t.setMinutes(t.getMinutes() - t.getTimezoneOffset());"
        " return t.toISOString().slice(0, 19); }",
        place.now_ms - 10 * HOUR_MS,
    )
    guest.page.get_by_label("Since").fill(since)
    expect(rows).to_have_count(2)
    guest.page.get_by_label("Event", exact=True).and_(guest.page.locator("select")).select_option(
        "email.opened"
    )
    expect(guest.page.get_by_text("No delivery fits the filter.")).to_be_visible()
    guest.press("Clear")
    expect(rows).to_have_count(20)


def test_a_filter_that_cannot_be_is_refused_beside_its_field(guest: Visit, place: Site) -> None:
    webhook = place.webhook(1)
    place.delivery(webhook, HOUR_MS)
    guest.go(f"#/webhooks/{webhook.id}")
    rows = guest.page.locator("table.log tbody tr")
    expect(rows).to_have_count(1)
    until = guest.page.get_by_label("Until")
    guest.page.get_by_label("Since").fill("2027-01-01T00:00:00")
    until.fill("2020-01-01T00:00:00")
    expect(until).to_have_accessible_description("Use a time that is not before since.")
    expect(until).to_have_attribute("aria-invalid", "true")
    expect(rows.first).to_be_hidden()
    expect(guest.page.get_by_role("alert")).to_have_text("Correct the fields that are marked.")
    until.fill("")
    expect(until).not_to_have_attribute("aria-invalid", "true")
    guest.press("Clear")
    expect(rows.first).to_be_visible()


def test_a_deliverys_page_is_complete(guest: Visit, place: Site, furnished: dict[str, str]) -> None:
    guest.go(furnished["delivery"])
    delivery_id = furnished["delivery"].rpartition("/")[2]
    steps = guest.page.locator(".timeline > li")
    expect(steps).to_have_count(4)
    expect(steps.nth(0)).to_contain_text("HTTP 503")
    expect(steps.nth(1)).to_contain_text("No response within 5 seconds")
    expect(steps.nth(1)).to_contain_text("6 seconds after the one before, took 5 s")
    expect(steps.nth(2)).to_contain_text("manual")
    expect(guest.page.locator(".state")).to_contain_text("more follow by the schedule")
    expect(steps.nth(3)).to_contain_text(re.compile("Next attempt.*in [23] minutes"))
    headers = guest.page.locator("table.headers")
    for text in ("X-SendComms-Delivery", delivery_id, "X-SendComms-Attempt", "webhook-timestamp"):
        expect(headers).to_contain_text(text)
    expect(headers).to_contain_text("made with your secret, not kept")
    expect(headers).not_to_contain_text("billing")
    payload = guest.page.locator("pre[aria-label=Payload]")
    expect(payload).to_contain_text('"subject": "Your receipt from Acme"')
    guest.page.get_by_label("The exact bytes").check()
    stored = next(
        each for each in place.fakes.deliveries.deliveries.values() if each.id == delivery_id
    )
    assert payload.text_content() == stored.body.decode()


@pytest.mark.parametrize("width", [1280, 320])
def test_a_check_lists_the_accepted_requests(browser: Browser, place: Site, width: int) -> None:
    webhook = place.webhook(1)
    with visit(browser, place.url, viewport={"width": width, "height": 860}) as guest:
        guest.sign_in(place.key)
        guest.go(f"#/webhooks/{webhook.id}")
        guest.press("Check receiver")
        expect(guest.said).to_have_text("The check is started.")
        report = guest.page.get_by_role("region", name="Check of your receiver")
        expect(report).to_contain_text("are being sent")
        [check] = place.fakes.check_store.jobs.values()
        accepted = Outcome(status_code=200, duration_ms=41)
        answers = {
            **dict.fromkeys(CheckRequest, Outcome(FailureReason.HTTP_STATUS, 401, duration_ms=38)),
            **dict.fromkeys(
                (CheckRequest.VALID, CheckRequest.DUPLICATE, CheckRequest.UNSIGNED), accepted
            ),
            CheckRequest.STALE_TIMESTAMP: Outcome(FailureReason.TIMEOUT, duration_ms=5000),
        }
        place.fakes.check_store.save(check, check.completed(answers, place.now_ms))
        expect(report.locator(".state")).to_contain_text("Not verified")
        expect(report).to_contain_text("correct the failed points")
        rows = report.locator("tbody tr")
        expect(rows.locator(".pill")).to_have_text(
            ["Passed", "Information", "Passed", "Passed", "Failed", "Passed", "Failed"]
            + ["Passed"] * 2
        )
        expect(rows.nth(4)).to_contain_text("refuse requests without one")
        expect(rows.nth(6)).to_contain_text("No response within 5 seconds")
        expect(guest.said).to_have_text("The check is done: not verified.")
        expect(guest.page.get_by_role("button", name="Check receiver")).to_be_focused()
        assert guest.page.evaluate("() => document.documentElement.scrollWidth") <= width
        assert guest.page.evaluate(PROBLEMS) == []
        assert guest.page.evaluate(CONTRASTS)["poor"] == []


def test_a_check_that_is_refused_or_fails_is_said(guest: Visit, place: Site) -> None:
    webhook = place.webhook(1, active=False)
    guest.go(f"#/webhooks/{webhook.id}")
    guest.press("Check receiver")
    expect(guest.said).to_contain_text("This webhook is disabled")
    guest.press("Enable")
    expect(guest.page.get_by_role("button", name="Disable")).to_be_visible()
    guest.press("Check receiver")
    expect(guest.said).to_have_text("The check is started.")
    [check] = place.fakes.check_store.jobs.values()
    place.fakes.check_store.save(check, check.failed("secret_missing", place.now_ms))
    report = guest.page.get_by_role("region", name="Check of your receiver")
    expect(report.get_by_role("alert")).to_contain_text("the webhook has no secret")


def test_what_is_asked_for_during_a_pause_is_said_to_be_sent_after_it(
    guest: Visit, place: Site
) -> None:
    not_before_ms = place.now_ms + 5 * HOUR_MS
    webhook = place.webhook(1, health=Health(not_before_ms=not_before_ms))
    delivery = place.delivery(webhook, HOUR_MS)
    said = "Your server asked for a pause: this is sent after it"
    guest.go(f"#/webhooks/{webhook.id}")
    guest.press("Check receiver")
    report = guest.page.get_by_role("region", name="Check of your receiver")
    expect(report).to_contain_text(said)
    guest.press("Send test event")
    guest.press("Send")
    expect(guest.said).to_contain_text(said)
    guest.go(f"#/webhooks/{webhook.id}/deliveries/{delivery.id}")
    guest.press("Resend")
    expect(guest.said).to_contain_text(said)


@pytest.mark.parametrize(
    ("status", "reason", "meaning"),
    [
        (Status.WAITING, "retry_after", "after the pause"),
        (Status.CANCELLED, "unsubscribed", "no longer subscribed"),
        (Status.CANCELLED, "recipient_erased", "erased with its recipient"),
        (Status.CANCELLED, None, "Its webhook was deleted"),
    ],
)
def test_a_delivery_says_why_it_is_not_sent(
    guest: Visit, place: Site, status: Status, reason: str | None, meaning: str
) -> None:
    webhook = place.webhook(1)
    delivery = place.delivery(webhook, HOUR_MS, status, (), reason=reason)
    guest.go(f"#/webhooks/{webhook.id}")
    expect(guest.page.locator("table.log .pill")).to_have_attribute("title", re.compile(meaning))
    guest.go(f"#/webhooks/{webhook.id}/deliveries/{delivery.id}")
    expect(guest.page.locator("p.state")).to_contain_text(meaning)


def test_a_replay_that_has_ended_says_how_and_nothing_else(guest: Visit, place: Site) -> None:
    webhook = place.webhook(1)
    guest.go(f"#/webhooks/{webhook.id}")
    guest.press("Replay…")
    guest.press("Start")
    section = guest.page.get_by_role("region", name="Replay")
    section.get_by_role("button", name="Cancel the replay").click()
    expect(section).to_contain_text("The replay is cancelled.")
    expect(section).not_to_contain_text("null")


def test_what_cannot_be_found_is_said_and_leads_on(guest: Visit) -> None:
    guest.page.goto(f"{guest.url}#/webhooks/nothing")
    expect(guest.page.get_by_role("alert")).to_contain_text("no such webhook")
    expect(guest.page.locator("main h1")).to_be_focused()
    guest.page.get_by_role("link", name="All webhooks").click()
    expect(guest.heading("Webhooks")).to_be_visible()


def test_a_busy_gateway_is_asked_again(guest: Visit, place: Site) -> None:
    place.webhook(1)
    statuses = iter([429, 503])

    def refuse(route: Route) -> None:
        status = next(statuses, None)
        if status:
            route.fulfill(status=status, body='{"message":"Too Many Requests"}')
        else:
            route.continue_()

    guest.page.route("**/api/v1/webhooks?limit=20", refuse)
    guest.page.reload()
    expect(guest.page.locator(".card")).to_have_count(1)
    guest.complaints.clear()


def test_deletion_asks_first(guest: Visit, place: Site) -> None:
    webhook = place.webhook(1)
    guest.go(f"#/webhooks/{webhook.id}")
    guest.press("Delete…")
    guest.press("Delete")
    expect(guest.dialog.locator(".error")).to_have_text("Tick the box first.")
    guest.page.keyboard.press("Escape")
    expect(guest.page.get_by_role("button", name="Delete…")).to_be_focused()
    assert place.fakes.webhooks.webhooks
    guest.press("Delete…")
    guest.dialog.get_by_label("Delete this webhook for good").check()
    guest.press("Delete")
    expect(guest.page.get_by_text("No webhooks yet")).to_be_visible()
    assert not place.fakes.webhooks.webhooks


def test_the_documentation_has_its_pictures_and_they_are_small() -> None:
    committed = {path.name: path.stat().st_size for path in pictures.IMAGES.glob("dashboard-*.png")}
    assert set(committed) == {f"{name}.png" for name in pictures.PICTURES}
    assert max(committed.values()) < pictures.MAX_BYTES


def test_the_page_itself_comes_without_a_key(place: Site) -> None:
    answer = place.fakes.acme.send(http_api_event("GET", "/dashboard"))
    assert (answer.status, answer.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
