"""The dashboard works by keyboard, by screen reader, on a phone and in dark mode.

The rules are the part of WCAG 2.2 that a program can check: names, labels, contrast, headings,
landmarks, targets, focus.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from playwright.sync_api import expect

from dashboard.browsing import Visit, visit

if TYPE_CHECKING:
    from playwright.sync_api import Browser

    from dashboard.site import Site

pytestmark = pytest.mark.browser

VIEWS = ("webhooks", "webhook", "down", "delivery")
DIALOGS = ("Send test event", "Replay…", "Edit…", "Rotate secret…", "Delete…")

# Returns the violations: [rule, element] pairs.
PROBLEMS = """() => {
  const shown = (e) => e.checkVisibility();
  const all = (selector) => [...document.querySelectorAll(selector)].filter(shown);
  const problems = [];
  const wrong = (rule, e) => problems.push([rule, e.outerHTML.slice(0, 120)]);
  const text = (id) => document.getElementById(id)?.textContent.trim();
  for (const e of all("input, select")) {
    const labelled = [...e.labels].some((label) => label.textContent.trim());
    if (!labelled && !e.ariaLabel) wrong("a control has a label", e);
    const described = e.getAttribute("aria-describedby")?.split(" ") ?? [];
    if (described.some((id) => !document.getElementById(id))) wrong("a description exists", e);
  }
  for (const e of all("button, a, summary")) {
    if (!e.textContent.trim() && !e.ariaLabel) wrong("a control has a name", e);
    const box = e.getBoundingClientRect();
    const inline = getComputedStyle(e).display === "inline";
    if (!inline && (box.height < 24 || box.width < 24)) wrong("a target is 24 pixels", e);
  }
  for (const e of all("section, dialog")) {
    if (!text(e.getAttribute("aria-labelledby"))) wrong("a region has a name", e);
  }
  for (const e of all("[role=img], progress, pre, nav")) {
    if (!e.ariaLabel) wrong("a picture has words", e);
  }
  for (const e of all("table")) {
    if (!e.querySelector("th[scope]")) wrong("a table has headings", e);
  }
  const ids = [...document.querySelectorAll("[id]")].map((e) => e.id);
  if (new Set(ids).size !== ids.length) problems.push(["ids are unique", ids.join(" ")]);
  if (all("main").length !== 1 || all("h1").length !== 1) problems.push(["one main, one h1", ""]);
  let level = 0;
  for (const e of all("h1, h2, h3, h4, h5, h6")) {
    const next = Number(e.tagName[1]);
    if (next > level + 1) wrong("headings skip no level", e);
    level = next;
  }
  if (!document.documentElement.lang || !document.title) problems.push(["language, title", ""]);
  return problems;
}"""

# Returns the worst contrasts of text with its background: [ratio, least, text] triples.
CONTRASTS = """() => {
  const channel = (v) => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
  const parse = (color) => color.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => 0.2126 * channel(r) + 0.7152 * channel(g) + 0.0722 * channel(b);
  const behind = (e) => {
    for (; e; e = e.parentElement) {
      const color = parse(getComputedStyle(e).backgroundColor);
      if (color[3] === undefined || color[3] === 1) return color;
    }
    return [255, 255, 255];
  };
  const poor = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  let seen = 0;
  while (walker.nextNode()) {
    const node = walker.currentNode;
    const e = node.parentElement;
    if (!node.data.trim() || !e.checkVisibility() || e.closest("option")) continue;
    const style = getComputedStyle(e);
    const ink = e.closest("svg") ? style.fill : style.color;
    const [one, other] = [light(parse(ink)), light(behind(e))];
    const ratio = (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05);
    const size = parseFloat(style.fontSize);
    const large = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700);
    seen += 1;
    if (ratio < (large ? 3 : 4.5)) poor.push([ratio, node.data.trim().slice(0, 60)]);
  }
  return { seen, poor };
}"""


def problems(guest: Visit) -> Any:
    return guest.page.evaluate(PROBLEMS)


@pytest.mark.parametrize("view", VIEWS)
def test_everything_has_a_name_a_label_and_a_place(
    guest: Visit, furnished: dict[str, str], view: str
) -> None:
    guest.go(furnished[view])
    assert problems(guest) == []


def test_the_rules_would_find_what_breaks_them(guest: Visit) -> None:
    guest.page.evaluate(
        """() => {
          const main = document.querySelector("main");
          const add = (name) => main.appendChild(document.createElement(name));
          add("input");
          const tiny = add("button");
          tiny.style.width = "9px";
          tiny.style.padding = 0;
          add("section");
          add("h5").textContent = "Too deep";
          const pale = add("p");
          pale.textContent = "pale";
          pale.style.color = "rgb(200, 200, 200)";
        }"""
    )
    found = {rule for rule, _ in problems(guest)}
    assert found >= {
        "a control has a label",
        "a control has a name",
        "a target is 24 pixels",
        "a region has a name",
        "headings skip no level",
    }
    assert [text for _, text in guest.page.evaluate(CONTRASTS)["poor"]] == ["pale"]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_all_text_can_be_read_in_light_and_dark(
    browser: Browser, place: Site, furnished: dict[str, str], scheme: Any
) -> None:
    backgrounds = {"light": "rgb(246, 247, 249)", "dark": "rgb(15, 19, 26)"}
    with visit(browser, place.url, color_scheme=scheme) as guest:
        guest.page.goto(place.url)
        guest.press("Sign in")
        expect(guest.page.get_by_role("alert")).to_be_visible()
        assert guest.page.evaluate(CONTRASTS)["poor"] == []
        guest.sign_in(place.key)
        expect(guest.page.locator("body")).to_have_css("background-color", backgrounds[scheme])
        for view in VIEWS:
            guest.go(furnished[view])
            found = guest.page.evaluate(CONTRASTS)
            assert found["poor"] == [], view
            assert found["seen"] > 20
        guest.go(furnished["webhook"])
        for name in DIALOGS:
            guest.press(name)
            expect(guest.dialog).to_be_visible()
            assert guest.page.evaluate(CONTRASTS)["poor"] == [], name
            guest.press("Cancel")


@pytest.mark.parametrize("name", DIALOGS)
def test_a_dialog_takes_the_focus_keeps_it_and_gives_it_back(
    guest: Visit, furnished: dict[str, str], name: str
) -> None:
    guest.go(furnished["webhook"])
    opener = guest.page.get_by_role("button", name=name, exact=True)
    opener.focus()
    guest.page.keyboard.press("Enter")
    expect(guest.dialog).to_be_visible()
    inside = "() => document.querySelector('dialog').contains(document.activeElement)"
    outside = "() => document.activeElement !== document.body"
    for _ in range(12):
        assert guest.page.evaluate(inside) or not guest.page.evaluate(outside)
        guest.page.keyboard.press("Tab")
    assert problems(guest) == []
    guest.page.keyboard.press("Escape")
    expect(guest.dialog).to_have_count(0)
    expect(opener).to_be_focused()


def test_the_way_from_the_list_to_a_resend_needs_no_mouse(
    guest: Visit, furnished: dict[str, str]
) -> None:
    guest.page.reload()
    guest.settle()
    expect(guest.heading("Webhooks")).to_be_focused()
    keys = guest.page.keyboard

    def tab_to(name: str) -> None:
        for _ in range(40):
            keys.press("Tab")
            if guest.page.evaluate("() => document.activeElement.textContent") == name:
                return
        pytest.fail(f"the focus does not reach {name}")

    tab_to("https://hooks.acme.com/webhooks/email")
    keys.press("Enter")
    expect(guest.page.locator("h1.url")).to_be_focused()
    guest.settle()
    expect(guest.page.locator("table.log tbody tr").first).to_be_visible()
    tab_to("email.delivered")
    keys.press("Enter")
    expect(guest.heading("email.delivered")).to_be_focused()
    tab_to("Resend")


def test_the_skip_link_leads_past_the_head(guest: Visit) -> None:
    guest.page.reload()
    guest.settle()
    guest.page.locator(".skip").focus()
    expect(guest.page.locator(".skip")).to_be_in_viewport()
    guest.page.keyboard.press("Enter")
    expect(guest.page.locator("main")).to_be_focused()
    expect(guest.heading("Webhooks")).to_be_visible()


@pytest.mark.parametrize("view", VIEWS)
def test_a_phone_shows_all_of_it_without_scrolling_sideways(
    browser: Browser, place: Site, furnished: dict[str, str], view: str
) -> None:
    phone = {"viewport": {"width": 320, "height": 640}, "is_mobile": True, "has_touch": True}
    with visit(browser, place.url, **phone) as guest:
        guest.sign_in(place.key)
        guest.go(furnished[view])
        width = guest.page.evaluate("() => document.documentElement.scrollWidth")
        assert width <= 320
        assert problems(guest) == []


def test_a_very_long_url_is_cut_off_where_it_stands_in_the_way(
    browser: Browser, place: Site
) -> None:
    url = f"https://hooks.example.com/{'very-long/' * 150}"
    webhook = place.webhook(1, url=url)
    delivery = place.delivery(webhook, 1000)
    path = f"#/webhooks/{webhook.id}"
    with visit(browser, place.url, viewport={"width": 320, "height": 640}) as guest:
        guest.sign_in(place.key)
        guest.settle()

        def height(selector: str) -> float:
            box = guest.page.locator(selector).bounding_box()
            assert box is not None
            return box["height"]

        assert height(".brand") < 60
        link = guest.page.get_by_role("link", name=url)
        assert height(".card h2 a") < 100
        link.click()
        expect(guest.page.locator("h1")).to_have_text(url)
        guest.press("Delete…")
        assert height("dialog .clamped") < 100
        guest.press("Cancel")
        guest.go(f"{path}/deliveries/{delivery.id}")
        assert height(".crumbs") < 40
        assert problems(guest) == []


def test_nothing_moves_for_who_asked_for_that(browser: Browser, place: Site) -> None:
    styles = {}
    for motion in ("reduce", "no-preference"):
        with visit(browser, place.url, reduced_motion=motion) as guest:
            guest.sign_in(place.key)
            guest.press("Sign out")
            expect(guest.said).not_to_be_empty()
            name = "() => getComputedStyle(document.getElementById('announcer')).animationName"
            styles[motion] = guest.page.evaluate(name)
    assert styles == {"reduce": "none", "no-preference": "rise"}


@pytest.mark.parametrize("width", [320, 1200])
def test_the_page_of_the_api_does_not_scroll_sideways(
    browser: Browser, place: Site, width: int
) -> None:
    with visit(browser, place.url, viewport={"width": width, "height": 640}) as guest:
        guest.page.goto(place.url.replace("/dashboard", "/docs"))
        expect(guest.page.locator("h1")).to_be_visible()
        assert guest.page.evaluate("() => document.documentElement.scrollWidth") <= width
