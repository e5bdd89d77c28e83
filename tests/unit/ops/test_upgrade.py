"""Two templates after each other: the replacements, refusals and deletions by CloudFormation."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import pytest

from local import template
from ops.upgrade import changes
from support.former_release import unpack

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Edit = Callable[[dict[str, Any]], None]

INDEX = {
    "IndexName": "another",
    "KeySchema": [{"AttributeName": "due", "KeyType": "HASH"}],
    "Projection": {"ProjectionType": "KEYS_ONLY"},
}


@pytest.fixture
def former(tmp_path: Path) -> dict[str, Any]:
    return template.read(unpack(tmp_path) / "template.yaml")


def refused(now: dict[str, Any], then: dict[str, Any]) -> list[str]:
    return [change.sentence for change in changes(now, then) if change.refused]


def test_this_template_follows_that_of_the_release_before(former: dict[str, Any]) -> None:
    assert refused(former, template.read()) == []


def test_that_of_the_release_before_follows_this_one(former: dict[str, Any]) -> None:
    assert refused(template.read(), former) == []


def test_one_index_of_a_table_may_be_made() -> None:
    now = template.read()
    then = edited(now, lambda resources: indexes(resources).append(INDEX))
    assert [change.sentence for change in changes(now, then)] == [
        "DeliveriesTable's index another is created"
    ]
    assert refused(now, then) == []


def edited(now: dict[str, Any], edit: Edit) -> dict[str, Any]:
    then = copy.deepcopy(now)
    edit(then["Resources"])
    return then


def properties(resources: dict[str, Any], name: str) -> dict[str, Any]:
    found: dict[str, Any] = resources[name]["Properties"]
    return found


def indexes(resources: dict[str, Any]) -> list[Any]:
    found: list[Any] = properties(resources, "DeliveriesTable")["GlobalSecondaryIndexes"]
    return found


def two_indexes(resources: dict[str, Any]) -> None:
    indexes(resources).extend([INDEX, {**INDEX, "IndexName": "more"}])


def other_projection(resources: dict[str, Any]) -> None:
    indexes(resources)[0]["Projection"] = {"ProjectionType": "ALL"}


def other_key(resources: dict[str, Any]) -> None:
    properties(resources, "WebhooksTable")["KeySchema"].pop()


def express(resources: dict[str, Any]) -> None:
    properties(resources, "RetryStateMachine")["Type"] = "EXPRESS"


def first_in_first_out(resources: dict[str, Any]) -> None:
    properties(resources, "EventsQueue")["FifoQueue"] = True


def no_queue(resources: dict[str, Any]) -> None:
    del resources["DeadLetterQueue"]


def other_type(resources: dict[str, Any]) -> None:
    resources["EventsQueue"]["Type"] = "AWS::SNS::Topic"


def name_of_another(resources: dict[str, Any]) -> None:
    properties(resources, "ShortRetryStateMachineLogs")["LogGroupName"] = properties(
        resources, "RetryStateMachineLogs"
    )["LogGroupName"]


@pytest.mark.parametrize(
    ("edit", "word"),
    [
        (two_indexes, "index more is created"),
        (other_projection, "changes: delete it first"),
        (other_key, "its KeySchema changes"),
        (express, "its Type changes"),
        (first_in_first_out, "its FifoQueue changes"),
        (no_queue, "DeadLetterQueue (AWS::SQS::Queue) is gone"),
        (other_type, "of another type"),
        (name_of_another, "takes the name"),
    ],
)
def test_a_loss_or_a_failure_is_refused(edit: Edit, word: str) -> None:
    now = template.read()
    found = refused(now, edited(now, edit))
    assert any(word in sentence for sentence in found), found
