"""The function's lines and counters."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest

from webhooks.observability import PowertoolsObserver

CONTEXT: Any = SimpleNamespace(aws_request_id="request-1", function_name="retrier")


def test_the_counters_of_an_invocation_that_fails_are_its_own(
    capsys: pytest.CaptureFixture[str],
) -> None:
    observer = PowertoolsObserver("retrier")
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
    observer = PowertoolsObserver("retrier")
    with observer.invocation(CONTEXT):
        observer.count("OverdueDeliveries", 0)
    assert json.loads(capsys.readouterr().out)["OverdueDeliveries"] == [0.0]
