"""The cost of a short retry, against its budget and AWS's own example."""

from __future__ import annotations

import json

import pytest

from benchmarks import short_retries
from benchmarks.scenarios import GOLDEN, Scenario
from webhooks.domain.retry import DEFAULT_SCHEDULE


@pytest.mark.parametrize("events_a_second", short_retries.EVENTS_A_SECOND)
@pytest.mark.parametrize("attempt_ms", short_retries.ATTEMPTS_MS)
def test_a_million_deliveries_keep_the_budget_of_step_functions(
    events_a_second: float, attempt_ms: float
) -> None:
    cost = short_retries.of_a_million(events_a_second, attempt_ms)
    assert cost <= short_retries.BUDGET_DOLLARS
    assert cost < short_retries.standard_of_a_million() / 8


def test_a_duration_is_billed_in_steps_and_waiting_counts() -> None:
    assert short_retries.billed_ms(5_001) == 5_100
    assert DEFAULT_SCHEDULE[0] * 1000 == short_retries.WAIT_MS
    million = short_retries.express_dollars(1_000_000, 5_300)
    assert million == pytest.approx(6.52, abs=0.01)


def test_more_gb_hours_are_cheaper_each() -> None:
    few = short_retries.of_a_million(1, 5_200)
    many = short_retries.of_a_million(4_000, 5_200)
    assert few == pytest.approx(0.116, abs=0.001)
    assert many == pytest.approx(0.048, abs=0.001)


def test_the_golden_units_have_one_express_execution_and_no_transition() -> None:
    golden = json.loads(GOLDEN.read_text(encoding="utf-8"))
    units = golden[str(Scenario(1, 10, 1))]
    assert (units["executions"], units["short_executions"], units["transitions"]) == (1, 1, 0)
