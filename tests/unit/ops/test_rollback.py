"""Going back to a release, and out of an update that failed."""

from __future__ import annotations

import json
import subprocess
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from moto import mock_aws

from local import template
from ops import rollback
from ops.deployment import DeploymentError
from ops.outputs import NoStackError
from ops.rollback import not_going_back, unpack
from unit.ops.rollback_fixture import STACK, STATE, RollbackFixture

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(autouse=True)
def aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
    with mock_aws():
        yield


def test_a_release_is_built_and_deployed_with_its_own_files(tmp_path: Path) -> None:
    fixture = RollbackFixture(tmp_path, "y")
    assert fixture.rollback.deploy("v1", fixture.root, {"RetentionDays": "30"}) == 0
    assert fixture.calls == [
        "build",
        "deploy --config-env dev --parameter-overrides Stage=dev RetentionDays=30",
    ]
    text = "\n".join(fixture.told)
    assert "FormerNames=true is dropped" in text
    assert "ConfigurationSetAccounts is ''" in text
    assert "EncryptionKey (AWS::KMS::Key) leaves the stack" in text
    assert "make rollback STAGE=dev PARTS=1" in text


def test_what_a_releases_template_includes_is_inserted_before_its_build(tmp_path: Path) -> None:
    fixture = RollbackFixture(tmp_path, "y")
    file, part = fixture.root / "template.yaml", fixture.root / "part.yaml"
    whole = template.read(file)
    outside, inside = dict(whole["Resources"]), {}
    inside["ErrorsQuery"] = outside.pop("ErrorsQuery")
    include = {"Name": "AWS::Include", "Parameters": {"Location": part.name}}
    lint = {"config": {"ignore_checks": ["W8001"]}}
    divided = {
        **whole,
        "Metadata": {**whole["Metadata"], "cfn-lint": lint},
        "Resources": {**outside, "Fn::Transform": include},
    }
    file.write_text(json.dumps(divided), encoding="utf-8")
    part.write_text(json.dumps(inside), encoding="utf-8")
    assert fixture.rollback.deploy("v1", fixture.root, {}) == 0
    assert json.loads(file.read_text(encoding="utf-8")) == whole


def test_jobs_go_on_where_the_former_release_has_them(tmp_path: Path) -> None:
    fixture = RollbackFixture(tmp_path, "y")
    fixture.start()
    assert fixture.rollback.deploy("v1", fixture.root, {}) == 0
    assert fixture.running("JobStateMachine") == []
    assert fixture.running("RecoveryStateMachine") == [
        {name: value for name, value in STATE.items() if name != "run"}
    ]
    assert "Jobs under way, to be stopped and restarted: 1." in fixture.told


def test_a_rollback_of_a_stack_that_is_back_already_is_one(tmp_path: Path) -> None:
    fixture = RollbackFixture(tmp_path, "y", "y")
    assert fixture.rollback.deploy("v1", fixture.root, {}) == 0
    assert fixture.rollback.deploy("v1", fixture.root, {}) == 0


def test_a_job_is_handed_over_in_each_rollback(tmp_path: Path) -> None:
    fixture = RollbackFixture(tmp_path, "y", "y")
    arn = fixture.outputs["RecoveryStateMachineArn"]
    for _ in range(2):
        fixture.start()
        assert fixture.rollback.deploy("v1", fixture.root, {}) == 0
        [listed] = fixture.states.list_executions(stateMachineArn=arn, statusFilter="RUNNING")[
            "executions"
        ]
        fixture.states.stop_execution(executionArn=listed["executionArn"])
        fixture.is_updated()


def test_a_job_that_begins_during_the_build_is_handed_over(tmp_path: Path) -> None:
    fixture = RollbackFixture(tmp_path)

    def ask(_: str) -> str:
        fixture.start()
        return "y"

    assert replace(fixture.rollback, ask=ask).deploy("v1", fixture.root, {}) == 0
    assert len(fixture.running("RecoveryStateMachine")) == 1


def test_a_declined_change_set_hands_nothing_over(tmp_path: Path) -> None:
    fixture = RollbackFixture(tmp_path, "y")
    fixture.start()
    fixture.sam_exits(0, declined=True)
    assert fixture.rollback.deploy("v1", fixture.root, {}) == 1
    assert fixture.running("RecoveryStateMachine") == []
    assert "Nothing was rolled back" in fixture.told[-1]


@pytest.mark.parametrize(
    ("error", "status"), [(KeyboardInterrupt(), 130), (NoStackError("no answer"), 1)]
)
def test_jobs_that_were_stopped_are_named_where_it_does_not_end(
    tmp_path: Path, error: BaseException, status: int
) -> None:
    fixture = RollbackFixture(tmp_path, "y")
    fixture.start()

    def outputs(_: str) -> Any:
        if fixture.is_back:
            raise error
        return fixture.outputs

    assert replace(fixture.rollback, outputs=outputs).deploy("v1", fixture.root, {}) == status
    assert any("start-execution --name r1-rollback-" in line for line in fixture.told)
    assert fixture.running("JobStateMachine") == []


@pytest.mark.parametrize("answer", ["n", "", "no"])
def test_nothing_is_done_without_a_confirmation(tmp_path: Path, answer: str) -> None:
    fixture = RollbackFixture(tmp_path, answer)
    fixture.start()
    with pytest.raises(DeploymentError, match="not confirmed"):
        fixture.rollback.deploy("v1", fixture.root, {})
    assert fixture.calls == ["build"]
    assert fixture.running("JobStateMachine")


def test_a_deployment_that_fails_starts_nothing(tmp_path: Path) -> None:
    fixture = RollbackFixture(tmp_path, "y")
    fixture.start()
    fixture.sam_exits(3)
    assert fixture.rollback.deploy("v1", fixture.root, {}) == 3
    assert fixture.running("RecoveryStateMachine") == []
    assert "sweep restarts the stopped jobs" in fixture.told[-1]


def test_a_release_that_fails_to_build_is_not_deployed(tmp_path: Path) -> None:
    fixture = RollbackFixture(tmp_path, "y")
    fixture.sam_exits(2, "build")
    with pytest.raises(DeploymentError, match="could not be built"):
        fixture.rollback.deploy("v1", fixture.root, {})
    assert fixture.calls == ["build"]


def test_without_a_terminal_nothing_is_asked(tmp_path: Path) -> None:
    fixture = RollbackFixture(tmp_path)
    assert fixture.rollback.deploy("v1", fixture.root, {}) == 0
    assert fixture.calls[-1] == "deploy --config-env dev --no-confirm-changeset"


def test_a_template_that_would_replace_a_table_is_refused(tmp_path: Path) -> None:
    fixture = RollbackFixture(tmp_path, "y")
    file = fixture.root / "template.yaml"
    text = file.read_text(encoding="utf-8")
    file.write_text(
        text.replace(
            "AttributeName: webhook_id, KeyType: RANGE", "AttributeName: id, KeyType: RANGE"
        )
    )
    assert file.read_text() != text
    with pytest.raises(DeploymentError, match="WebhooksTable is replaced"):
        fixture.rollback.deploy("v1", fixture.root, {})
    assert fixture.calls == []


def test_an_update_that_is_under_way_is_no_time_for_a_release(tmp_path: Path) -> None:
    fixture = RollbackFixture(tmp_path, "y", status="UPDATE_ROLLBACK_FAILED")
    with pytest.raises(DeploymentError, match="run this without REF first"):
        fixture.rollback.deploy("v1", fixture.root, {})


@pytest.mark.parametrize(
    "status", ["UPDATE_COMPLETE_CLEANUP_IN_PROGRESS", "UPDATE_ROLLBACK_IN_PROGRESS"]
)
def test_a_stack_that_changes_by_itself_is_waited_for(tmp_path: Path, status: str) -> None:
    fixture = RollbackFixture(tmp_path, "y", status=status)
    with pytest.raises(DeploymentError, match=f"{status}: wait until"):
        fixture.rollback.deploy("v1", fixture.root, {})
    with pytest.raises(DeploymentError, match=f"{status}: wait until"):
        fixture.rollback.recover()


def test_an_update_that_is_under_way_is_cancelled(tmp_path: Path) -> None:
    fixture = RollbackFixture(tmp_path, "y", status="UPDATE_IN_PROGRESS")
    assert fixture.rollback.recover() == 0
    assert fixture.cloudformation.did == [
        f"cancel {STACK}",
        "stack_rollback_complete",
        f"wait {STACK}",
    ]


def test_a_rollback_that_failed_is_continued_and_its_reason_said(tmp_path: Path) -> None:
    fixture = RollbackFixture(tmp_path, "y", status="UPDATE_ROLLBACK_FAILED")
    assert fixture.rollback.recover() == 0
    assert fixture.cloudformation.did[0] == f"continue {STACK}"
    assert fixture.told[0] == "  RetryStateMachine: the quota of state machines is used up"
    assert not any("OfLongAgo" in line for line in fixture.told)


def test_where_no_update_failed_a_release_must_be_named(tmp_path: Path) -> None:
    fixture = RollbackFixture(tmp_path, "y")
    with pytest.raises(DeploymentError, match="REF="):
        fixture.rollback.recover()
    assert fixture.cloudformation.did == []


def test_parameters_that_stay_are_not_mentioned() -> None:
    now: Any = {"Parameters": {}, "Resources": {}}
    then: Any = {"Parameters": {"Stage": {"Default": "dev"}}, "Resources": {}}
    assert list(not_going_back(now, then, {"Stage": "dev"})) == []


def test_a_release_is_taken_out_of_the_repository(tmp_path: Path) -> None:
    repository, target = tmp_path / "repository", tmp_path / "target"
    repository.mkdir()
    (repository / "template.yaml").write_text("of this commit")
    author = ["-c", "user.name=a", "-c", "user.email=a@example.com"]
    for command in (["init", "-q"], ["add", "."], [*author, "commit", "-qm", "one"]):
        subprocess.run(["git", *command], cwd=repository, check=True)
    (repository / "template.yaml").write_text("of later")
    assert (unpack("HEAD", target, repository) / "template.yaml").read_text() == "of this commit"
    with pytest.raises(DeploymentError, match="no release v9"):
        unpack("v9", target, repository)


def test_the_command_asks_for_a_confirmation(capsys: pytest.CaptureFixture[str]) -> None:
    assert rollback.main(["--stage", "dev"]) == 1
    assert "set YES=1" in capsys.readouterr().err
