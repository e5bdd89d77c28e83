"""Closing a stack before its deletion, and opening it again, on a fake of AWS."""

from __future__ import annotations

import pytest

from ops import executions
from ops.destroying import QUIET_SECONDS, NotDestroyedError
from unit.ops.deleting import AtOnce, Operator, with_retries
from unit.ops.fake_deletion import (
    API,
    STACK,
    WORKER,
    FakeAws,
)

REGIONS = ["eu-central-1", "us-east-1"]


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(executions, "ThreadPoolExecutor", AtOnce)


def test_undoing_opens_what_was_closed_and_leaves_a_reservation_of_the_operators() -> None:
    aws = with_retries(3000)
    aws.time.interrupts_at = 50.0
    Operator(aws).destroy()
    assert (aws.mapping, aws.sweeps, aws.concurrency[API]) == ("Disabled", False, 0)
    aws.concurrency[WORKER] = 20
    operator = Operator(aws)
    assert operator.undo() == 0
    assert (aws.mapping, aws.sweeps, aws.concurrency[API]) == ("Enabled", True, None)
    assert aws.concurrency[WORKER] == 20
    assert f"{STACK} is open" in operator.text


def test_a_deletion_that_has_begun_cannot_be_undone() -> None:
    aws = with_retries(1)
    aws.delete()
    with pytest.raises(NotDestroyedError, match="cannot be undone"):
        Operator(aws).undo()


@pytest.mark.parametrize(
    ("interrupts_at", "reason", "status"),
    [(None, "did not become Enabled", 1), (20.0, "open: interrupted.", 130)],
)
def test_an_undoing_that_stops_says_so(
    interrupts_at: float | None, reason: str, status: int
) -> None:
    aws = FakeAws()
    aws.mapping = "Updating"
    aws.time.interrupts_at = interrupts_at
    operator = Operator(aws)
    assert operator.undo() == status
    assert "only partly open" in operator.text
    assert reason in operator.text


def test_a_mapping_that_is_disabled_already_is_left_as_it_is() -> None:
    aws = with_retries(1)
    aws.mapping = "Disabled"
    assert Operator(aws).destroy() == 0
    assert "close a-mapping" not in aws.changes


def test_a_mapping_that_does_not_become_disabled_ends_the_run() -> None:
    aws = with_retries(1)
    aws.mapping = "Updating"
    operator = Operator(aws)
    assert operator.destroy() == 1
    assert "a-mapping did not become Disabled" in operator.text
    assert aws.status == "CREATE_COMPLETE"
    assert aws.running() == 1


def test_a_stack_whose_creation_failed_has_nothing_to_close() -> None:
    aws = FakeAws()
    aws.status = "ROLLBACK_COMPLETE"
    assert Operator(aws).destroy() == 0
    assert aws.changes == []
    assert aws.time.seconds < QUIET_SECONDS


@pytest.mark.parametrize("status", ["UPDATE_IN_PROGRESS", "UPDATE_COMPLETE_CLEANUP_IN_PROGRESS"])
def test_a_stack_that_is_changing_is_refused_before_anything_is_closed(status: str) -> None:
    aws = with_retries(1)
    aws.status = status
    with pytest.raises(NotDestroyedError, match=f"{status}: wait"):
        Operator(aws).destroy()
    assert aws.changes == []


def test_protection_is_told_before_anything_is_closed() -> None:
    aws = with_retries(1)
    aws.protected_tables = {"the-deliveries", "the-responses"}
    with pytest.raises(NotDestroyedError, match="the-responses has deletion protection"):
        Operator(aws).destroy()
    aws.protected_tables = {"the-deliveries"}
    aws.termination_protection = True
    with pytest.raises(NotDestroyedError, match="termination protection"):
        Operator(aws).destroy()
    assert aws.changes == []
