"""The README's figures are the results', and the bench's constants the template's."""

from __future__ import annotations

import json
from typing import Any

import pytest

from benchmarks import bill, readme, simulate
from benchmarks.run import RESULTS, Row, coloured, printed
from local import template
from unit.terminal import Terminal


@pytest.mark.parametrize("block", readme.blocks(), ids=lambda block: block.begin)
def test_a_page_has_the_figures_as_measured(block: readme.Block) -> None:
    text = block.page.read_text(encoding="utf-8")
    renewed = readme.with_figures(text, block.made, block.begin, block.end)
    assert renewed == text, "run: make figures"


def test_figures_go_between_the_markers_and_nowhere_else() -> None:
    text = f"a\n{readme.BEGIN}\nold\n{readme.END}\nb\n"
    assert readme.with_figures(text, "new") == f"a\n{readme.BEGIN}\nnew\n{readme.END}\nb\n"
    with pytest.raises(ValueError, match="no markers"):
        readme.with_figures("a", "new")


def test_the_bill_and_the_simulation_are_of_the_template() -> None:
    declared = template.read()
    dispatcher = declared["Resources"]["DispatcherFunction"]["Properties"]
    assert dispatcher["MemorySize"] == bill.MEMORY_MB
    assert dispatcher["Events"]["Events"]["Properties"]["BatchSize"] == simulate.BATCH
    assert declared["Parameters"]["RecoveryRate"]["Default"] == simulate.RECOVERY_RATE
    assert declared["Parameters"]["DispatcherConcurrency"]["Default"] == simulate.DISPATCHERS


def test_the_bills_of_the_golden_units_keep_their_budgets() -> None:
    results = json.loads(RESULTS.read_text(encoding="utf-8"))
    bills = bill.of_scenarios(results["delivery_cpu_ms"])
    for scenario, budget in bill.BUDGETS.items():
        assert bills[str(scenario)]["total"] <= budget


def test_a_dead_webhooks_executions_do_not_grow_with_its_events() -> None:
    dead = simulate.Simulation([simulate.Tenant(1000, down=(0, 300))]).run(300)
    for_longer = simulate.Simulation([simulate.Tenant(1000, down=(0, 900))]).run(900)
    assert dead["executions"] == for_longer["executions"] == 11
    assert dead["deferred"] == 290_000
    assert for_longer["deferred"] == 890_000


def test_the_table_marks_what_is_over_its_budget_and_colours_only_when_asked() -> None:
    rows = [Row("a", 1.0, "x", 2.0), Row("b", 3.0, "x", 2.0), Row("c", 3.0, "x")]
    plain = printed(rows, colours=False).splitlines()
    assert [line.split()[-1] for line in plain] == ["ok", "over", "x"]
    assert "\x1b" not in "".join(plain)
    assert "\x1b[31m" in printed(rows, colours=True)


@pytest.mark.parametrize(
    ("tty", "environment", "expected"),
    [(True, {}, True), (False, {}, False), (True, {"NO_COLOR": "1"}, False)],
)
def test_colours_are_for_terminals_whose_user_wants_them(
    tty: bool, environment: dict[str, str], expected: bool
) -> None:
    stream: Any = Terminal(tty=tty)
    assert coloured(stream, environment) is expected
