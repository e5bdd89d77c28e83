"""The function's lines and counters."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest

from webhooks.observability import PowertoolsObserver

CONTEXT: Any = SimpleNamespace(aws_request_id="request-1", function_name="worker")


def test_the_counters_of_an_invocation_that_fails_are_its_own(
    capsys: pytest.CaptureFixture[str],
) -> None:
    observer = PowertoolsObserver("worker")
    with pytest.raises(ZeroDivisionError), observer.invocation(CONTEXT):
        observer.count("Failed")
        _ = 1 / 0
    [line] = capsys.readouterr().out.splitlines()
    assert json.loads(line)["Failed"] == [1.0]
    assert json.loads(line)["request_id"] == "request-1"
    with observer.invocation(CONTEXT):
        pass
    assert capsys.readouterr().out == ""


def test_a_count_of_zero_is_told_too(capsys: pytest.CaptureFixture[str]) -> None:
    observer = PowertoolsObserver("worker")
    with observer.invocation(CONTEXT):
        observer.count("OverdueDeliveries", 0)
    assert json.loads(capsys.readouterr().out)["OverdueDeliveries"] == [0.0]


def test_times_are_one_metric_with_a_value_each(capsys: pytest.CaptureFixture[str]) -> None:
    observer = PowertoolsObserver("dispatcher", "a-stack")
    with observer.invocation(CONTEXT):
        for milliseconds in (3, 140, 3):
            observer.measure("DeliveryLatency", milliseconds)
    line = json.loads(capsys.readouterr().out)
    [metrics] = line["_aws"]["CloudWatchMetrics"]
    assert line["DeliveryLatency"] == [3.0, 140.0, 3.0]
    assert metrics["Metrics"] == [{"Name": "DeliveryLatency", "Unit": "Milliseconds"}]
    assert metrics["Dimensions"] == [["service"]]
    assert metrics["Namespace"] == "SendCommsWebhooks/a-stack"


@pytest.mark.parametrize("values", [99, 100, 101, 250])
def test_no_line_has_more_values_of_a_metric_than_the_format_takes(
    values: int, capsys: pytest.CaptureFixture[str]
) -> None:
    observer = PowertoolsObserver("dispatcher")
    with observer.invocation(CONTEXT):
        observer.count("Messages", 7)
        observer.trace("event_ids", "evt_1")
        for milliseconds in range(values):
            observer.measure("DeliveryLatency", milliseconds)
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    times = [line["DeliveryLatency"] for line in lines]
    assert all(len(some) <= 100 for some in times)
    assert [each for some in times for each in some] == list(range(values))
    assert [line["Messages"] for line in lines if "Messages" in line] == [[7.0]]
    assert all(line["event_ids"] == ["evt_1"] for line in lines)
    assert all(line["request_id"] == "request-1" for line in lines)


def test_what_an_invocation_is_about_is_in_its_lines_and_in_no_others(
    capsys: pytest.CaptureFixture[str],
) -> None:
    observer = PowertoolsObserver("of this test alone")
    with observer.invocation(CONTEXT, delivery_id="d-1"):
        observer.log("warning", "attempt_failed")
        observer.count("FailedAttempts")
        observer.trace("event_ids", "evt_1")
    observer.log("warning", "sweeping")
    logged, counted, after = map(json.loads, capsys.readouterr().out.splitlines())
    assert (logged["delivery_id"], logged["request_id"]) == ("d-1", "request-1")
    assert (counted["delivery_id"], counted["event_ids"]) == ("d-1", ["evt_1"])
    assert {"delivery_id", "request_id"}.isdisjoint(after)
