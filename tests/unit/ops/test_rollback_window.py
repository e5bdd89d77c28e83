"""The minutes in which a rollback deploys: the work that begins then, and the sweep."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError
from moto import mock_aws

from ops import handover
from ops.deployment import DeploymentError
from ops.rollback import Rollback
from unit.ops.rollback_fixture import RollbackFixture

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.fixture(autouse=True)
def aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
    with mock_aws():
        yield


class Deploying(Rollback):
    """A rollback with an event during its deployment."""

    during: Callable[[], int]

    def _run(self, directory: Path, *words: str) -> int:
        return self.during() if words[0] == "deploy" else super()._run(directory, *words)


def deploying(fixture: RollbackFixture, during: Callable[[], int]) -> Rollback:
    rollback = Deploying(**fixture.rollback.__dict__)
    object.__setattr__(rollback, "during", during)
    return rollback


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handover, "_LOOK_SECONDS", 0.02)


def ends(fixture: RollbackFixture) -> bool:
    """Wait like CloudFormation for the last execution of the machine that it deletes."""
    ends_at = time.monotonic() + 10
    while fixture.running("JobStateMachine"):
        if time.monotonic() > ends_at:
            return False
        time.sleep(0.02)
    return True


@pytest.mark.usefixtures("quick")
def test_a_job_that_begins_during_the_deployment_keeps_no_machine_and_is_handed_over(
    tmp_path: Path,
) -> None:
    fixture = RollbackFixture(tmp_path, "y")
    fixture.start("r1")

    def during() -> int:
        assert not fixture.sweeps
        assert fixture.running("JobStateMachine") == []
        for name in ("r2", "r3"):
            fixture.start(name)
            assert ends(fixture)
        fixture.goes_back()
        return 0

    assert deploying(fixture, during).deploy("v1", fixture.root, {}) == 0
    handed = {state["replay_id"] for state in fixture.running("RecoveryStateMachine")}
    assert handed == {"r1", "r2", "r3"}
    assert fixture.sweeps


@pytest.mark.usefixtures("quick")
def test_a_look_that_fails_is_said_once_and_repeated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fixture = RollbackFixture(tmp_path, "y")
    listed = handover._running
    looks: list[str] = []

    def running(states: Any, arn: str) -> Any:
        looks.append(arn)
        if len(looks) <= 3:
            raise ClientError({"Error": {"Code": "ThrottlingException"}}, "ListExecutions")
        return listed(states, arn)

    def during() -> int:
        monkeypatch.setattr(handover, "_running", running)
        fixture.start()
        assert ends(fixture)
        fixture.goes_back()
        return 0

    assert deploying(fixture, during).deploy("v1", fixture.root, {}) == 0
    assert len(fixture.running("RecoveryStateMachine")) == 1
    assert sum("could not be stopped" in line for line in fixture.told) == 1


@pytest.mark.parametrize(
    ("ending", "status"),
    [
        (0, 1),
        (3, 3),
        (KeyboardInterrupt(), 130),
        (ClientError({"Error": {"Code": "ExpiredToken"}}, "DescribeStacks"), 1),
    ],
)
def test_the_sweep_is_enabled_again_in_every_ending(
    tmp_path: Path, ending: int | BaseException, status: int
) -> None:
    fixture = RollbackFixture(tmp_path, "y")

    def during() -> int:
        assert not fixture.sweeps
        if isinstance(ending, BaseException):
            raise ending
        return ending

    assert deploying(fixture, during).deploy("v1", fixture.root, {}) == status
    assert fixture.sweeps
    assert "Disabling the schedule Sweep" in fixture.told


def test_the_sweep_is_enabled_again_where_jobs_cannot_be_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fixture = RollbackFixture(tmp_path, "y")
    fixture.start()

    def denied(*_: object) -> None:
        assert not fixture.sweeps
        raise ClientError({"Error": {"Code": "AccessDeniedException"}}, "StopExecution")

    monkeypatch.setattr(handover, "stop", denied)
    assert fixture.rollback.deploy("v1", fixture.root, {}) == 1
    assert fixture.calls == ["build"]
    assert fixture.sweeps


def test_a_sweep_that_cannot_be_enabled_is_reported(tmp_path: Path) -> None:
    fixture = RollbackFixture(tmp_path, "y")
    fixture.events = Denied(fixture.events)
    assert fixture.rollback.deploy("v1", fixture.root, {}) == 1
    assert any("make destroy STAGE=dev UNDO=1" in line for line in fixture.told)


class Denied:
    """EventBridge, which refuses to enable a rule."""

    def __init__(self, events: Any) -> None:
        self._events = events

    def __getattr__(self, name: str) -> Any:
        return getattr(self._events, name)

    def enable_rule(self, **_: str) -> None:
        raise ClientError({"Error": {"Code": "AccessDeniedException"}}, "EnableRule")


def test_the_sweep_stays_where_jobs_keep_their_machine(tmp_path: Path) -> None:
    fixture = RollbackFixture(tmp_path, "y", "y")
    assert fixture.rollback.deploy("v1", fixture.root, {}) == 0
    fixture.told.clear()
    assert fixture.rollback.deploy("v1", fixture.root, {}) == 0
    assert not any("schedule" in line for line in fixture.told)


def test_a_stack_that_a_deletion_has_closed_is_opened_first(tmp_path: Path) -> None:
    fixture = RollbackFixture(tmp_path, "y")
    fixture.functions.reserved = {"ReservedConcurrentExecutions": 0}
    with pytest.raises(DeploymentError, match="the function api"):
        fixture.rollback.deploy("v1", fixture.root, {})
    assert fixture.calls == []
