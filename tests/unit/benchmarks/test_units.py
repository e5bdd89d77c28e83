"""The meter's rules: AWS's units for a read, a write and an execution."""

from __future__ import annotations

import pytest

from benchmarks import machines
from benchmarks.prices import billed_milliseconds, dollars, lambda_dollars
from benchmarks.units import Table, read_units, units_of_change, write_units

TABLE = Table(
    ("owner",),
    {"attention": (("attention", "owner"), frozenset({"owner", "attention", "next"}))},
)


def item(**attributes: str) -> dict[str, dict[str, str]]:
    return {name: {"S": value} for name, value in {"owner": "o", **attributes}.items()}


def test_a_write_is_a_unit_a_kilobyte() -> None:
    overhead = len("owner" + "o" + "body")
    assert write_units(item(body="x" * (1024 - overhead))) == 1
    assert write_units(item(body="x" * (1025 - overhead))) == 2
    assert write_units(None) == 1


def test_a_read_is_a_unit_for_four_kilobytes_and_half_of_it_where_it_may_be_old() -> None:
    assert read_units(0, consistent=True) == 1
    assert read_units(4096, consistent=True) == 1
    assert read_units(4097, consistent=True) == 2
    assert read_units(4097, consistent=False) == 1


@pytest.mark.parametrize(
    ("before", "after", "units"),
    [
        (None, item(), 1),
        (None, item(attention="a"), 2),
        (item(attention="a"), item(), 2),
        (item(attention="a"), item(attention="a", body="b"), 1),
        (item(attention="a"), item(attention="a", next="1"), 2),
        (item(attention="a"), item(attention="b"), 3),
        (item(body="x" * 2000), item(), 2),
    ],
)
def test_a_write_counts_in_each_index_that_it_changes(
    before: dict[str, dict[str, str]] | None, after: dict[str, dict[str, str]], units: int
) -> None:
    assert units_of_change(TABLE, before, after) == units


def test_a_table_is_read_as_the_template_has_it() -> None:
    table = Table.from_properties(
        {
            "KeySchema": [{"AttributeName": "owner", "KeyType": "HASH"}],
            "GlobalSecondaryIndexes": [
                {
                    "IndexName": "attention",
                    "KeySchema": [
                        {"AttributeName": "attention", "KeyType": "HASH"},
                        {"AttributeName": "owner", "KeyType": "RANGE"},
                    ],
                    "Projection": {"ProjectionType": "INCLUDE", "NonKeyAttributes": ["next"]},
                }
            ],
        }
    )
    assert table == TABLE


def test_a_later_attempt_enters_three_states_and_the_end_one_more() -> None:
    retry = machines.definition("retry")
    assert machines.states_entered(retry, ["done"]) == ["Wait", "Attempt", "Decide", "Done"]
    assert len(machines.states_entered(retry, ["wait", "wait", "done"])) == 3 * 3 + 1
    assert machines.states_entered(retry, ["dead_letter"])[3:] == [
        "DeadLetter",
        "NoteDeadLetter",
        "Done",
    ]


def test_decisions_must_be_an_executions_from_its_beginning_to_its_end() -> None:
    retry = machines.definition("retry")
    with pytest.raises(ValueError, match="goes on"):
        machines.states_entered(retry, ["wait"])
    with pytest.raises(ValueError, match="1 decisions to go"):
        machines.states_entered(retry, ["done", "done"])


def test_less_memory_takes_longer_for_the_same_work_and_costs_the_same() -> None:
    small, large = (billed_milliseconds(10, memory_mb) for memory_mb in (256, 1024))
    assert small == pytest.approx(4 * large)
    assert lambda_dollars(256, small) == pytest.approx(lambda_dollars(1024, large))
    assert billed_milliseconds(10, 3538) == 10


def test_a_state_transition_is_worth_a_second_of_a_functions_work() -> None:
    milliseconds = dollars("state transition", 1) / lambda_dollars(1769, 1)
    assert milliseconds == pytest.approx(1085, rel=0.01)
