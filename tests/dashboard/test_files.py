"""The dashboard's files, as served and as written; no browser needed."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest

from api import dashboard_page
from support.http_api import ApiOnFakes, http_api_event

NAMES = sorted(dashboard_page.files())
MAX_BYTES = 100_000
"""All files together, before compression."""

# Code that turns a string into markup or a program, or stores something beyond the tab. The policy
# forbids the first to the browser; here it may not even be written.
FORBIDDEN = (
    r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|DOMParser|createContextualFragment"
    r"|\beval\b|new Function|localStorage|document\.cookie|\.setAttribute\(\"(on|style)"
)


@pytest.fixture(scope="module")
def api() -> ApiOnFakes:
    return ApiOnFakes()


class Tags(HTMLParser):
    """The tags of a page, with their attributes."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


@pytest.mark.parametrize("name", NAMES)
def test_a_file_needs_no_key_and_says_its_type_its_version_and_its_policy(
    api: ApiOnFakes, name: str
) -> None:
    answer = api.acme.send(http_api_event("GET", f"/dashboard/{name}"))
    kind = {"html": "text/html", "css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}
    assert answer.status == 200
    assert answer.headers["Content-Type"].startswith(kind[name.rpartition(".")[2]])
    assert answer.headers["Content-Security-Policy"] == dashboard_page.POLICY
    assert answer.headers["Cache-Control"] == "no-cache"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.text == dashboard_page.files()[name].text


def test_a_file_that_the_browser_has_is_not_sent_again(api: ApiOnFakes) -> None:
    first = api.acme.send(http_api_event("GET", "/dashboard"))
    known = {"If-None-Match": f'W/"other", {first.headers["ETag"]}', "Accept-Encoding": "gzip"}
    again = api.acme.send(http_api_event("GET", "/dashboard", headers=known))
    assert again.status == 304
    assert not again.text
    assert again.headers["ETag"] == first.headers["ETag"]
    assert "Content-Encoding" not in again.headers
    other = api.acme.send(http_api_event("GET", "/dashboard/app.js", headers=known))
    assert other.status == 200


def test_files_of_the_api_itself_cannot_be_had(api: ApiOnFakes) -> None:
    for name in ("app.py", "..%2Fapp.py", "..", "index.html%00", "__init__.py"):
        answer = api.acme.send(http_api_event("GET", f"/dashboard/{name}"))
        assert answer.status == 404, name


def test_the_policy_leaves_no_way_to_run_or_send_anything_else() -> None:
    policy = dict(part.partition(" ")[::2] for part in dashboard_page.POLICY.split("; "))
    assert policy["default-src"] == "'none'"
    assert {policy[name] for name in ("script-src", "style-src", "connect-src")} == {"'self'"}
    assert policy["require-trusted-types-for"] == "'script'"
    assert policy["trusted-types"] == policy["frame-ancestors"] == "'none'"


def test_the_page_names_only_files_that_there_are_and_has_nothing_inline() -> None:
    page = Tags(dashboard_page.files()[dashboard_page.PAGE].text)
    loaded = [
        str(attributes.get("src") or attributes["href"])
        for tag, attributes in page.found
        if tag in {"link", "script", "img"}
    ]
    assert {path.removeprefix("/dashboard/") for path in loaded} <= set(NAMES)
    assert len(loaded) == 4
    assert not [tag for tag, _ in page.found if tag == "style"]
    assert not [name for _, attributes in page.found for name in attributes if name[:2] == "on"]
    imported = {
        name
        for file in dashboard_page.files().values()
        for name in re.findall(r'from "\./([^"]+)"', file.text)
    }
    assert imported | {"app.js"} == {name for name in NAMES if name.endswith(".js")}


@pytest.mark.parametrize("name", NAMES)
def test_no_file_makes_markup_of_text_or_keeps_what_it_should_not(name: str) -> None:
    assert re.findall(FORBIDDEN, dashboard_page.files()[name].text) == []


def test_the_dashboard_stays_small() -> None:
    assert sum(len(file.text.encode()) for file in dashboard_page.files().values()) < MAX_BYTES
