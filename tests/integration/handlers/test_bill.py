"""The cost of deliveries in AWS's units equals the golden file, so that a change shows."""

from __future__ import annotations

import json
import math
import os
import re
import subprocess
import sys
from typing import Any

import pytest

from benchmarks import idle
from benchmarks.scenarios import GOLDEN
from local import template
from support.service_fixture import ServiceFixture
from support.stack import ROOT
from support.translated_template import of_type

LOG_BYTES = "log_bytes"
TOLERANCE = 0.02
"""A line's length depends on how many digits a duration has."""

WRITES = "dynamodb.BatchWriteItem"
"""Successes are recorded together with others of the same quarter of a second, so a slow machine
makes more of these requests; AWS bills their items, whose units are exact."""


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


def test_an_idle_stacks_sweeps_cost_less_than_fifteen_cents_a_month() -> None:
    [sweeps] = [item for item in idle.items() if item.name.startswith("The sweep,")]
    assert 0.05 < sweeps.beyond_free < sweeps.listed < 0.15


def test_an_idle_stacks_bill_counts_what_the_template_has() -> None:
    """Each metric of an alarm is billed; alarms that only some parameters make are not counted."""
    alarms = of_type("AWS::CloudWatch::Alarm")
    undelivered = {name: {"Properties": alarms[name]} for name in alarms if "Undelivered" in name}
    every = {
        name: {"Type": "AWS::CloudWatch::Alarm", "Properties": alarm}
        for name, alarm in alarms.items()
    }
    assert len(undelivered) == 1
    metrics = idle.alarm_metrics(every) - 1
    assert any(item.name == f"CloudWatch alarms, {metrics} metrics" for item in idle.items())
    assert len(of_type("AWS::KMS::Key")) == len(of_type("AWS::CloudWatch::Dashboard")) == 1


def test_a_sweep_that_finds_nothing_publishes_the_metrics_that_are_billed() -> None:
    services = ServiceFixture()
    services.sweep_job.sweep(lambda: 60.0)
    assert sorted(services.telemetry.counts) == sorted(idle.SWEEP_METRICS)


@pytest.mark.parametrize("page", ["README.md", "docs/architecture.md"])
def test_the_pages_tell_the_price_of_an_idle_stack(page: str) -> None:
    words = " ".join((ROOT / page).read_text(encoding="utf-8").split())
    told = re.search(
        r"idle stack costs \[?\$(\d\.\d\d) a month.*?\$(\d\.\d\d) without alarms", words
    )
    assert told, page
    totals = idle.totals()
    assert told.groups() == (f"{totals.beyond_free:.2f}", f"{totals.without_alarms:.2f}")


def test_the_parameter_that_leaves_alarms_out_names_their_price() -> None:
    said = template.read()["Parameters"]["Alarms"]["Description"]
    [alarms] = [item for item in idle.items() if item.name.startswith("CloudWatch alarms")]
    assert f"up to ${math.ceil(alarms.listed)} a month" in said
