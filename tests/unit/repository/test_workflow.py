"""The workflow on GitHub: pinned, with the fewest rights, and only about existing files."""

from __future__ import annotations

import os
import re
from typing import Any

import pytest
import yaml

from ops.deployment import stage_of
from support.stack import ROOT

WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
EXPRESSION = re.compile(r"\$\{\{\s*(.*?)\s*\}\}")


class Loader(yaml.SafeLoader):
    """YAML 1.2's reading of `on`, which 1.1 reads as true."""


Loader.yaml_implicit_resolvers = {
    letter: [(tag, pattern) for tag, pattern in found if tag != "tag:yaml.org,2002:bool"]
    for letter, found in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def text() -> str:
    [file] = WORKFLOWS
    return file.read_text(encoding="utf-8")


def workflow() -> dict[str, Any]:
    found: dict[str, Any] = yaml.load(text(), Loader)  # noqa: S506  a safe one's child
    return found


def jobs() -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = workflow()["jobs"]
    return found


def steps() -> list[dict[str, Any]]:
    return [step for job in jobs().values() for step in job["steps"]]


def commands() -> list[str]:
    return [step["run"] for step in steps() if "run" in step]


def test_every_action_is_pinned_to_a_commit_and_says_which_release_that_is() -> None:
    used = re.findall(r"uses: (.+)$", text(), re.MULTILINE)
    assert len(used) == sum("uses" in step for step in steps()) > 0
    for action in used:
        assert re.fullmatch(r"[\w.-]+/[\w.-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", action), action


def test_one_action_is_pinned_to_one_commit() -> None:
    pins: dict[str, set[str]] = {}
    for step in steps():
        name, _, commit = step.get("uses", "").partition("@")
        pins.setdefault(name, set()).add(commit)
    assert {name: len(commits) for name, commits in pins.items() if len(commits) > 1} == {}


def test_the_gate_is_the_script_that_everybody_runs() -> None:
    assert [step.get("run") for step in jobs()["gate"]["steps"] if "run" in step] == [".ci/run"]
    assert os.access(ROOT / ".ci" / "run", os.X_OK)


def test_it_runs_on_pull_requests_and_main_and_deploys_main_alone() -> None:
    assert workflow()["on"] == {"push": {"branches": ["main"]}, "pull_request": None}
    deploy = jobs()["deploy"]
    assert deploy["needs"] == "gate"
    assert deploy["if"] == "github.event_name == 'push' && github.ref == 'refs/heads/main'"
    assert deploy["environment"] == "dev"


def test_only_the_deployment_may_ask_for_a_token_and_nothing_may_write() -> None:
    everywhere = workflow()["permissions"]
    assert everywhere == {"contents": "read"}
    given = {name: job.get("permissions", everywhere) for name, job in jobs().items()}
    assert given == {
        "gate": {"contents": "read"},
        "deploy": {"contents": "read", "id-token": "write"},
    }


def test_no_secret_is_kept_and_no_expression_reaches_a_shell() -> None:
    expressions = EXPRESSION.findall(text())
    assert not [one for one in expressions if one.startswith("secrets.")]
    assert not [command for command in commands() if "${{" in command]
    for checkout in (step for step in steps() if "checkout@" in step.get("uses", "")):
        assert str(checkout["with"]["persist-credentials"]) == "false"


@pytest.mark.parametrize("command", commands())
def test_a_command_is_the_gate_or_a_target_of_make(command: str) -> None:
    if command == ".ci/run":
        return
    make, target, *variables = command.split()
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert make == "make"
    assert re.search(rf"^{target}:", makefile, re.MULTILINE)
    for name in (variable.partition("=")[0] for variable in variables):
        assert f"$({name})" in makefile, name


def test_the_stack_that_is_tried_is_the_one_that_was_deployed() -> None:
    deployed = [re.search(r"make deploy STAGE=(\w+)", command) for command in commands()]
    tried = [re.search(r"make e2e STACK=(\S+)", command) for command in commands()]
    [stage] = [match[1] for match in deployed if match]
    assert [match[1] for match in tried if match] == [stage_of(stage).stack]
