"""What the page about operational events says, held against what the code announces."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from support import samples
from support.world import World
from webhooks.adapters.eventbridge import EventBridgeAnnouncer
from webhooks.domain.operational_event import AnnouncementType
from webhooks.domain.delivery import Status
from webhooks.domain.health import DISABLE_AFTER_MS, WARN_AFTER_MS

DOCS = Path(__file__).parents[2] / "docs"
SCHEMA = json.loads((DOCS / "operational-events.schema.json").read_text())


class Bus:
    """EventBridge's client, which keeps what it was given."""

    def __init__(self) -> None:
        self.entries: list[dict[str, Any]] = []

    def put_events(self, Entries: list[dict[str, Any]]) -> dict[str, Any]:
        self.entries += Entries
        return {"FailedEntryCount": 0, "Entries": [{}]}


@pytest.fixture
def announced() -> dict[str, dict[str, Any]]:
    """The details of everything that a webhook's long decline announces."""
    bus = Bus()
    world = World(announcer=EventBridgeAnnouncer(bus, "stack"))  # type: ignore[arg-type]
    world.add()
    failed = [samples.attempt(number) for number in range(1, 11)]
    world.health.report(world.webhook(), failed)
    world.health.report(world.webhook(), [samples.attempt(error=None, status_code=200)])
    world.health.report(world.webhook(), failed[:1])
    for passed_ms in (WARN_AFTER_MS, DISABLE_AFTER_MS):
        world.now_ms = samples.NOW_MS + passed_ms
        world.health.report(world.webhook(), failed[:1])
    world.health.exhausted(samples.delivery(status=Status.EXHAUSTED))
    return {entry["DetailType"]: json.loads(entry["Detail"]) for entry in bus.entries}


def test_each_event_is_announced_as_its_schema_says(announced: dict[str, dict[str, Any]]) -> None:
    assert set(announced) == {kind.value for kind in AnnouncementType}
    for detail in announced.values():
        jsonschema.validate(detail, SCHEMA, format_checker=jsonschema.FormatChecker())


def test_no_event_holds_a_url_a_secret_or_a_payload(announced: dict[str, dict[str, Any]]) -> None:
    text = json.dumps(announced)
    assert samples.SECRET not in text
    assert samples.webhook().url not in text
    assert "@" not in text


def test_the_page_lists_the_fields_of_each(announced: dict[str, dict[str, Any]]) -> None:
    page = (DOCS / "operational-events.md").read_text()
    rows = dict(re.findall(r"^\| `([a-z.]+)` \| [^|]+ \| (.+) \|$", page, re.MULTILINE))
    common = {"version", "stack", "type", "account_id", "webhook_id", "at"}
    for kind, detail in announced.items():
        assert common | set(re.findall(r"`([a-z_]+)`", rows[kind])) - {"failing", "gone"} == set(
            detail
        )


def test_the_pages_example_is_one(announced: dict[str, dict[str, Any]]) -> None:
    page = (DOCS / "operational-events.md").read_text()
    example = json.loads(re.findall(r"```json\n(.*?)```", page, re.DOTALL)[0])
    jsonschema.validate(example["detail"], SCHEMA)
    assert example["detail"].keys() == announced[example["detail-type"]].keys()
