"""What deliveries cost in AWS's units is what the golden file says, so that a change shows."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import pytest

from benchmarks.prices import dollars, lambda_dollars
from benchmarks.scenarios import GOLDEN
from support.stack import ROOT
from support.translated_template import of_type

LOG_BYTES = "log_bytes"
TOLERANCE = 0.02
"""A line's length depends on how many digits a duration has."""

WRITES = "dynamodb.BatchWriteItem"
"""Successes are recorded together with those of the same quarter of a second, so a slow machine
makes more of these requests; what is billed is their items, whose units are exact."""


@pytest.mark.timeout(300)
def test_every_scenario_costs_the_units_of_the_golden_file() -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    run = subprocess.run(
        [sys.executable, "-m", "benchmarks.scenarios"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    measured: dict[str, dict[str, Any]] = json.loads(run.stdout)
    golden: dict[str, dict[str, Any]] = json.loads(GOLDEN.read_text(encoding="utf-8"))
    for units, expected in zip(measured.values(), golden.values(), strict=False):
        assert units.pop(LOG_BYTES) == pytest.approx(expected.pop(LOG_BYTES), rel=TOLERANCE)
        most = 2 * expected["requests"].pop(WRITES, 0)
        assert units["requests"].pop(WRITES, 0) <= most
    assert measured == golden, "if it is meant to cost this, run: make units"


SWEEPS_A_MONTH = 43_800
SWEEP_MILLISECONDS = 300
"""Nineteen queries of ten milliseconds, and what a small share of a CPU takes beside them."""


def test_an_idle_stacks_sweeps_cost_less_than_fifteen_cents_a_month() -> None:
    sweep = json.loads(GOLDEN.read_text(encoding="utf-8"))["a sweep that finds nothing"]
    memory_mb = of_type("AWS::Lambda::Function")["WorkerFunction"]["MemorySize"]
    cost = (
        dollars("read unit", sweep["read_units"])
        + dollars("write unit", sweep["write_units"])
        + dollars("invocation", sweep["invocations"])
        + dollars("log byte", sweep["log_bytes"])
        + lambda_dollars(memory_mb, SWEEP_MILLISECONDS)
    )
    assert cost * SWEEPS_A_MONTH < 0.15
