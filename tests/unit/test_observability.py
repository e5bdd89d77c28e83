"""The function's lines and counters."""

from __future__ import annotations

import json
import re
import time
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from webhooks.observability import PowertoolsTelemetry

CONTEXT: Any = SimpleNamespace(aws_request_id="request-1", function_name="worker")


def test_the_counters_of_an_invocation_that_fails_are_its_own(
    capsys: pytest.CaptureFixture[str],
) -> None:
    telemetry = PowertoolsTelemetry("worker")
    with pytest.raises(ZeroDivisionError), telemetry.invocation(CONTEXT):
        telemetry.count("Failed")
        _ = 1 / 0
    [line] = capsys.readouterr().out.splitlines()
    assert json.loads(line)["Failed"] == [1.0]
    assert json.loads(line)["request_id"] == "request-1"
    with telemetry.invocation(CONTEXT):
        pass
    assert capsys.readouterr().out == ""


def test_a_lines_time_is_rfc_3339_with_milliseconds_and_zone(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lambda counts a line with any other time as INFO, even an error."""
    monkeypatch.setenv("TZ", "Asia/Kathmandu")
    time.tzset()
    # A name of its own: a logger keeps the output stream of its creation.
    telemetry = PowertoolsTelemetry(f"timed-{uuid4()}")
    before = datetime.now(UTC)
    with telemetry.invocation(CONTEXT):
        telemetry.log("error", "delivery_overdue")
    monkeypatch.undo()
    time.tzset()
    line = json.loads(capsys.readouterr().out)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+00:00", line["timestamp"])
    assert abs(datetime.fromisoformat(line["timestamp"]) - before) < timedelta(minutes=1)
    assert line["level"] == "ERROR"


def test_a_count_of_zero_is_published_too(capsys: pytest.CaptureFixture[str]) -> None:
    telemetry = PowertoolsTelemetry("worker")
    with telemetry.invocation(CONTEXT):
        telemetry.count("OverdueDeliveries", 0)
    assert json.loads(capsys.readouterr().out)["OverdueDeliveries"] == [0.0]


def test_times_are_one_metric_with_a_value_each(capsys: pytest.CaptureFixture[str]) -> None:
    telemetry = PowertoolsTelemetry("dispatcher", "a-stack")
    with telemetry.invocation(CONTEXT):
        for milliseconds in (3, 140, 3):
            telemetry.record_time("DeliveryLatency", milliseconds)
    line = json.loads(capsys.readouterr().out)
    [metrics] = line["_aws"]["CloudWatchMetrics"]
    assert line["DeliveryLatency"] == [3.0, 140.0, 3.0]
    assert metrics["Metrics"] == [{"Name": "DeliveryLatency", "Unit": "Milliseconds"}]
    assert metrics["Dimensions"] == [["service"]]
    assert metrics["Namespace"] == "SendCommsWebhooks/a-stack"


def of_many(
    capsys: pytest.CaptureFixture[str], *, events: int, times: list[int]
) -> tuple[dict[str, Any], str]:
    """Return the one line of an invocation, parsed and as written."""
    telemetry = PowertoolsTelemetry("dispatcher")
    with telemetry.invocation(CONTEXT):
        telemetry.count("Messages", 7)
        for number in range(events):
            telemetry.annotate("event_ids", f"{number:128}".replace(" ", '"'))
        for milliseconds in times:
            telemetry.record_time("DeliveryLatency", milliseconds)
            telemetry.record_time("Another", 1)
    [text] = capsys.readouterr().out.splitlines()
    return json.loads(text), text


@pytest.mark.parametrize("values", [1, 99, 100])
def test_times_that_the_format_takes_are_all_in_the_line(
    values: int, capsys: pytest.CaptureFixture[str]
) -> None:
    line, _ = of_many(capsys, events=1, times=list(range(values)))
    assert line["DeliveryLatency"] == list(range(values))
    assert line["Messages"] == [7.0]


@given(st.lists(st.integers(0, 100_000), min_size=101, max_size=3000))
@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_of_more_times_the_line_has_the_percentiles(
    capsys: pytest.CaptureFixture[str], times: list[int]
) -> None:
    line, _ = of_many(capsys, events=1, times=times)
    shown, ordered = line["DeliveryLatency"], sorted(times)
    assert len(shown) == 100
    for rank in (1, 50, 90, 99, 100):
        percentile = shown[rank - 1]
        # Nearest rank: the least value that as many percent of all do not pass.
        assert 100 * sum(one <= percentile for one in ordered) >= rank * len(ordered)
        assert 100 * sum(one < percentile for one in ordered) < rank * len(ordered)
    assert shown[-1] == ordered[-1]


@pytest.mark.parametrize("events", [500, 501, 40_000])
def test_a_large_invocation_is_one_line_that_cloudwatch_takes(
    events: int, capsys: pytest.CaptureFixture[str]
) -> None:
    line, text = of_many(capsys, events=events, times=list(range(4000)))
    assert len(text.encode()) < 256 * 1024
    assert len(line["event_ids"]) == 500
    assert line.get("event_ids_left_out", 0) == events - 500
    assert all(
        len(line[metric["Name"]]) <= 100
        for metric in line["_aws"]["CloudWatchMetrics"][0]["Metrics"]
    )


def test_what_was_left_out_of_one_line_is_not_left_out_of_the_next(
    capsys: pytest.CaptureFixture[str],
) -> None:
    telemetry = PowertoolsTelemetry("dispatcher")
    for events in (501, 1):
        with telemetry.invocation(CONTEXT):
            telemetry.count("Messages")
            for number in range(events):
                telemetry.annotate("event_ids", f"evt_{number}")
    _, second = map(json.loads, capsys.readouterr().out.splitlines())
    assert second["event_ids"] == ["evt_0"]
    assert "event_ids_left_out" not in second


def test_what_an_invocation_is_about_is_in_its_lines_and_in_no_others(
    capsys: pytest.CaptureFixture[str],
) -> None:
    telemetry = PowertoolsTelemetry("of this test alone")
    with telemetry.invocation(CONTEXT, delivery_id="d-1"):
        telemetry.log("warning", "attempt_failed")
        telemetry.count("FailedAttempts")
        telemetry.annotate("event_ids", "evt_1")
    telemetry.log("warning", "sweeping")
    logged, counted, after = map(json.loads, capsys.readouterr().out.splitlines())
    assert (logged["delivery_id"], logged["request_id"]) == ("d-1", "request-1")
    assert (counted["delivery_id"], counted["event_ids"]) == ("d-1", ["evt_1"])
    assert {"delivery_id", "request_id"}.isdisjoint(after)
