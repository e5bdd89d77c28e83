"""Every sample of `events/` with `sam local invoke`, on the tables of a running local stack.

It needs `make build`'s output in `.aws-sam`, a Docker engine, and the image in which SAM runs
functions; if one is missing the tests are skipped with a message.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from support.stack import ROOT, Account, Stack, checkout

if TYPE_CHECKING:
    from collections.abc import Iterator

IMAGE = "lambda/python:3.13-x86_64"
SAM = ROOT / ".venv-sam" / "bin" / "sam"
FUNCTIONS = {"api": "ApiFunction", "dispatcher": "DispatcherFunction", "worker": "WorkerFunction"}
SAMPLES = sorted(path.stem for path in (ROOT / "events").glob("*.json"))
STATUSES = {
    "api-create-key": 201,
    "api-publish": 202,
    "api-register": 201,
    "api-register-invalid": 422,
    "api-list": 200,
    "api-get": 404,
    "api-delete": 404,
    "api-delete-by-path": 404,
    "api-without-key": 401,
}


def _missing() -> str | None:
    if not (ROOT / ".aws-sam" / "build" / "template.yaml").exists():
        return "nothing is built: run make build"
    if shutil.which("docker") is None or _fails("docker", "info"):
        return "no Docker engine is running"
    listed = ["docker", "images", "--format", "{{.Repository}}:{{.Tag}}"]
    images = subprocess.run(listed, capture_output=True, text=True, check=True).stdout.split()
    if not any(image.endswith(f"/{IMAGE}") for image in images):
        return f"Docker has no image {IMAGE}: run sam local invoke once without --skip-pull-image"
    return None


def _fails(*command: str) -> bool:
    return subprocess.run(command, capture_output=True, check=False).returncode != 0


MISSING = _missing()
pytestmark = pytest.mark.skipif(MISSING is not None, reason=f"sam local: {MISSING}")


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with Stack(checkout(tmp_path_factory.mktemp("stack"))) as running:
        yield running


def invoke(stack: Stack, sample: str) -> Any:
    command = [
        str(SAM),
        "local",
        "invoke",
        FUNCTIONS[sample.partition("-")[0]],
        "--event",
        f"events/{sample}.json",
        "--env-vars",
        str(stack.outputs_file.with_name("env.json")),
    ]
    environment = {
        **os.environ,
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "SAM_CLI_TELEMETRY": "0",
    }
    run = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=120
    )
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout.strip().splitlines()[-1])


@pytest.mark.parametrize("sample", [name for name in SAMPLES if name.startswith("api-")])
def test_a_request_is_answered(stack: Stack, sample: str) -> None:
    answer = invoke(stack, sample)
    assert answer["statusCode"] == STATUSES[sample]
    assert json.loads(answer["body"])["success"] is (answer["statusCode"] < 400)


def test_a_registration_is_seen_by_the_running_stack(stack: Stack) -> None:
    answer = invoke(stack, "api-register")
    registered = json.loads(answer["body"])["data"]["id"]
    account = Account(stack, stack.outputs["AccountId"], stack.outputs["ApiKey"])
    assert account.show(registered)["id"] == registered


@pytest.mark.parametrize("sample", [name for name in SAMPLES if name.startswith("dispatcher-")])
def test_a_batch_is_dealt_with(stack: Stack, sample: str) -> None:
    assert invoke(stack, sample) == {"batchItemFailures": []}


@pytest.mark.parametrize(
    ("sample", "decision"),
    [
        ("worker-attempt", "done"),
        ("worker-resend", "done"),
        ("worker-replay", "done"),
        ("worker-recover", "done"),
        ("worker-erase", "done"),
        ("worker-check", "done"),
        ("worker-unknown-version", "dead_letter"),
    ],
)
def test_a_state_is_decided(stack: Stack, sample: str, decision: str) -> None:
    assert invoke(stack, sample)["decision"] == decision


def test_a_sweep_finds_nothing_overdue(stack: Stack) -> None:
    found = invoke(stack, "worker-sweep")
    assert {"overdue_deliveries", "overdue_recoveries", "overdue_jobs"} <= found.keys()
    assert set(found.values()) == {0}


def test_every_sample_is_named_after_its_function() -> None:
    assert {name.partition("-")[0] for name in SAMPLES} == set(FUNCTIONS)
