"""The documentation's links lead somewhere, and it names only existing things."""

from __future__ import annotations

import ast
import json
import re
import subprocess
from functools import cache
from pathlib import Path

import pytest

from api.rate_limit_errors import RATE_LIMITS
from local import template
from webhooks.domain.catalog import catalog
from webhooks.domain.delivery import FailureReason, Status
from webhooks.domain.retry import DEFAULT_SCHEDULE

ROOT = Path(__file__).parents[3]
DOCS = ROOT / "docs"
INDEX = DOCS / "README.md"
PAGES = sorted(DOCS.rglob("*.md"))
OF_THE_ROOT = ("README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md")
DOCUMENTS = [*(ROOT / name for name in OF_THE_ROOT), *PAGES]
MIGRATING = sorted((DOCS / "migrating").glob("*.md"))

EVENT_TYPES = [entry.type.value for entry in catalog()]
OPERATIONS = (DOCS / "operations.md").read_text(encoding="utf-8")
SECONDS = {"s": 1, "min": 60, "h": 3600}
A_DOCUMENT = pytest.mark.parametrize(
    "document", [pytest.param(path, id=str(path.relative_to(ROOT))) for path in DOCUMENTS]
)


@cache
def text_of(document: Path) -> str:
    return document.read_text(encoding="utf-8")


def prose_of(document: Path) -> str:
    """The text without code, in which brackets are no links and hashes no headings."""
    without_blocks = re.sub(r"^```.*?^```$", "", text_of(document), flags=re.M | re.S)
    return re.sub(r"`[^`\n]*`", lambda code: re.sub(r"[\[\]()]", "", code[0]), without_blocks)


def code_of(document: Path) -> list[str]:
    """Each block of code, and each piece of code in a sentence."""
    text = text_of(document)
    blocks = re.findall(r"^```\w*\n(.*?)^```$", text, re.M | re.S)
    spans = re.findall(r"`([^`\n]+)`", re.sub(r"^```.*?^```$", "", text, flags=re.M | re.S))
    return [*blocks, *spans]


def links_of(document: Path) -> list[tuple[Path, str]]:
    """Each relative link as the file that it leads to and the anchor, empty where it has none."""
    found = re.findall(r"\]\(([^)\s]+)\)", prose_of(document))
    relative = [target for target in found if not re.match(r"[a-z]+:", target)]
    parts = [target.partition("#") for target in relative]
    return [
        ((document.parent / path).resolve() if path else document, anchor)
        for path, _, anchor in parts
    ]


def anchors_of(document: Path) -> set[str]:
    """The anchors that GitHub makes of a document's headings."""
    anchors: set[str] = set()
    for heading in re.findall(r"^#+ (.+)$", prose_of(document), re.MULTILINE):
        slug = re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")
        repeats = sum(1 for one in anchors if re.fullmatch(rf"{re.escape(slug)}(-\d+)?", one))
        anchors.add(f"{slug}-{repeats}" if repeats else slug)
    return anchors


def rows_of(document: Path) -> list[list[str]]:
    """The cells of every row of every table, without the lines below the tables' heads."""
    lines = [line for line in text_of(document).splitlines() if line.startswith("|")]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return [row for row in rows if not all(re.fullmatch(r":?-+:?", cell) for cell in row)]


def in_code(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


def seconds_of(text: str) -> list[float]:
    """The times of a text in order, for example `5 s, 5 min and 2 h`."""
    times = re.findall(r"\b(\d+) (s|min|h)\b", text)
    return [float(number) * SECONDS[unit] for number, unit in times]


@cache
def operations() -> set[str]:
    """Each call of the API as `GET /api/v1/webhooks/{}`."""
    paths = json.loads(text_of(DOCS / "openapi.json"))["paths"]
    return {f"{method.upper()} {without_names(path)}" for path in paths for method in paths[path]}


def without_names(path: str) -> str:
    return re.sub(r"\{\w+\}", "{}", path)


def calls_in(cells: list[str]) -> set[str]:
    """The calls in pieces of code, in the form of `operations`."""
    pattern = r"(GET|POST|PUT|PATCH|DELETE) (/(?:api/v1/[\w/{}.-]+|docs|dashboard[\w/{}]*))"
    named = [match for cell in cells if (match := re.fullmatch(pattern, cell.partition("?")[0]))]
    return {f"{match[1]} {without_names(match[2])}" for match in named}


@A_DOCUMENT
def test_every_relative_link_leads_to_a_file_and_a_heading(document: Path) -> None:
    for target, anchor in links_of(document):
        assert target.exists(), target
        assert not anchor or anchor in anchors_of(target), f"{target.name}#{anchor}"


@A_DOCUMENT
def test_every_make_target_that_is_named_exists(document: Path) -> None:
    targets = set(re.findall(r"^([a-z][\w-]*):", text_of(ROOT / "Makefile"), re.MULTILINE))
    named = {
        name
        for code in code_of(document)
        for name in re.findall(r"(?:^|[^\w-])make ([a-z][\w-]*)", code)
    }
    assert named <= targets


def test_every_page_can_be_reached_from_the_index() -> None:
    reached: set[Path] = set()
    ahead = [INDEX]
    while ahead:
        page = ahead.pop()
        if page not in reached and page.suffix == ".md" and page.is_relative_to(DOCS):
            reached.add(page)
            ahead += [target for target, _ in links_of(page)]
    assert reached == set(PAGES)
    assert INDEX in {target for target, _ in links_of(ROOT / "README.md")}


def test_the_index_has_every_page_itself() -> None:
    assert {target for target, _ in links_of(INDEX)} >= set(PAGES) - {INDEX}


@A_DOCUMENT
def test_no_table_says_a_thing_twice(document: Path) -> None:
    table: list[str] = []
    for line in [*text_of(document).splitlines(), ""]:
        if line.startswith("| "):
            assert line not in table, line
            table.append(line)
        elif not line.startswith("|"):
            table.clear()


@A_DOCUMENT
def test_every_call_that_is_named_exists(document: Path) -> None:
    # Svix's own paths begin like ours.
    named = {call for call in calls_in(code_of(document)) if " /api/v1/app/" not in call}
    assert named <= operations()


def test_the_page_on_the_api_has_every_call() -> None:
    assert calls_in(code_of(DOCS / "api.md")) == operations()


def test_the_page_on_the_api_has_every_error_with_its_status() -> None:
    tree = ast.parse(text_of(ROOT / "functions" / "api" / "errors.py"))
    raised = {
        (call.args[0].value, call.args[1].value)
        for call in ast.walk(tree)
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Name)
        if call.func.id == "ApiError" and isinstance(call.args[0], ast.Constant)
        if isinstance(call.args[1], ast.Constant)
    }
    rate_limits = {(429, code) for code, _ in RATE_LIMITS.values()} | {(429, "too_many_replays")}
    assert len(raised) >= 20
    assert len(rate_limits) >= 5
    assert {
        (int(row[0]), code)
        for row in rows_of(DOCS / "api.md")
        if row[0].isdecimal()
        for code in in_code(row[1])
    } == raised | rate_limits


def test_the_page_on_retries_has_the_schedule_and_every_error() -> None:
    page = DOCS / "retries.md"
    [attempts, after] = [row for row in rows_of(page) if len(row) > 10]
    assert attempts[1:] == [str(number) for number in range(1, len(DEFAULT_SCHEDULE) + 2)]
    assert seconds_of(" | ".join(after)) == list(DEFAULT_SCHEDULE)
    assert f"{sum(DEFAULT_SCHEDULE) / 3600:.1f} hours" in text_of(page)
    first_cells = {code for row in rows_of(page) for code in in_code(row[0])}
    assert first_cells >= set(FailureReason)


def test_whoever_else_tells_the_schedule_tells_it_alike() -> None:
    retries = text_of(ROOT / "README.md").partition("## Retries\n")[2].partition("\n\n## ")[0]
    assert seconds_of(retries)[: len(DEFAULT_SCHEDULE)] == list(DEFAULT_SCHEDULE)
    told = [row[2] for page in MIGRATING for row in rows_of(page) if row[0] == "Retries after"]
    assert len(told) == 2
    assert all(seconds_of(cell) == list(DEFAULT_SCHEDULE) for cell in told)


def test_every_alarm_has_a_section_that_says_what_to_look_at_and_what_to_run() -> None:
    alarms = set(template.of_type(template.read(), "AWS::CloudWatch::Alarm"))
    sections = dict(re.findall(r"^## (\w+Alarm)\n(.*?)(?=^## |\Z)", OPERATIONS, re.M | re.S))
    assert set(sections) == alarms
    assert set(re.findall(r"^\| \[(\w+Alarm)\]", OPERATIONS, re.MULTILINE)) == alarms
    for alarm, section in sections.items():
        assert re.search(r"^ *```\n.*?(?:make|aws|webhooks) .*?^ *```$", section, re.M | re.S), (
            alarm
        )
    resources = set(template.read()["Resources"])
    assert set(re.findall(r"\$\(resource (\w+)\)", OPERATIONS)) <= resources


def test_the_operators_commands_are_shell() -> None:
    policies = re.compile(r"^```json\n.*?^```$", re.M | re.S)
    blocks = re.findall(r"^ *```\n(.*?)^ *```$", policies.sub("", OPERATIONS), re.M | re.S)
    assert len(blocks) > 10
    for block in blocks:
        subprocess.run(["sh", "-n", "-c", block], check=True)


def test_the_concepts_are_all_statuses_and_event_types() -> None:
    first = [code for row in rows_of(DOCS / "concepts.md") for code in in_code(row[0])]
    assert first == [*EVENT_TYPES, *Status]


@pytest.mark.parametrize("page", [pytest.param(page, id=page.stem) for page in MIGRATING])
def test_a_migrations_tables_name_only_events_of_ours(page: Path) -> None:
    ours = {code for row in rows_of(page) for code in in_code(row[1]) if "email." in code}
    if page.stem == "resend":  # the names are ours, by the row
        ours |= {c for row in rows_of(page) if row[1] == "the same" for c in in_code(row[0])}
        ours = {code for code in ours if code.startswith("email.")}
    assert ours <= set(EVENT_TYPES)
    if page.stem != "svix":  # it has no types of its own to be mapped
        assert ours == set(EVENT_TYPES)


def test_the_common_page_of_migrations_lists_the_event_types() -> None:
    [row] = [row for row in rows_of(DOCS / "migrating.md") if row[0] == "Type"]
    assert in_code(row[1])[1:] == EVENT_TYPES
