"""ministack on free ports of loopback, and the project deployed to it by its own command.

::

    with Engine() as engine:
        engine.deploy(RetrySchedule="1,2")
        account = engine.stack.account("acme")

The stack is the template's, built by `make build`: its functions run from their zips and layers in
the functions' version of Python, each with the credentials of its role, and every call
beyond a role's policies is denied. Within the `with` block the tests' own AWS clients are the
engine's root.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from functools import cached_property
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import TYPE_CHECKING, Self

from e2e.guides import free_port
from support.stack import ROOT, AnyStack, outputs_of

if TYPE_CHECKING:
    from collections.abc import Mapping

PYTHON = ROOT / ".venv-ministack" / "bin" / "python"
SAM = ROOT / ".venv-sam" / "bin" / "sam"
SERVER = Path(__file__).with_name("server.py")
STACK = "sendcomms-webhooks-dev"
"""The stack of the stage `dev`."""

FEW_PROCESSES = {"DispatcherConcurrency": "2"}
"""The fewest dispatchers that the template allows: each is a process of its own here."""

START_SECONDS = 120
COMMAND_SECONDS = 600


class Engine:
    """A ministack of its own, empty at first, for as long as its `with` block."""

    def __init__(self) -> None:
        self.port, self.api_port = free_port(), free_port()
        self._directory = tempfile.TemporaryDirectory(prefix="ministack-")
        self._said = Path(self._directory.name) / "said"
        self._before: dict[str, str | None] = {}

    @cached_property
    def environment(self) -> Mapping[str, str]:
        """The variables that lead the AWS CLI, boto3 and the SAM CLI to the engine alone."""
        return {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{self.port}",
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_SESSION_TOKEN": "",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            "AWS_EC2_METADATA_DISABLED": "true",
            "SAM_CLI_TELEMETRY": "0",
        }

    @property
    def api_url(self) -> str:
        return f"http://127.0.0.1:{self.api_port}"

    @property
    def stack(self) -> AnyStack:
        """The deployed stack, with its outputs as they are now."""
        return AnyStack(lambda: outputs_of(STACK, self.api_url))

    @property
    def said(self) -> str:
        """The output of the emulator and the functions."""
        return self._said.read_text(encoding="utf-8", errors="replace")

    @property
    def denied(self) -> list[str]:
        """The refusals of IAM so far: a role, an action and a resource each."""
        return [line for line in self.said.splitlines() if line.startswith("DENIED ")]

    def deploy(self, **parameters: str) -> None:
        """Make or change the stack with `make deploy`'s command."""
        given = " ".join(f"{name}={value}" for name, value in (FEW_PROCESSES | parameters).items())
        self._deployment("deploy", "--parameters", given)

    def destroy(self) -> None:
        """Delete the stack with `make destroy`'s command."""
        self._deployment("destroy")

    def deploy_other(self, root: Path, **parameters: str) -> None:
        """Build and deploy another version of the project, given its root, in the same way."""
        given = [f"{name}={value}" for name, value in (FEW_PROCESSES | parameters).items()]
        self.run(str(SAM), "build", directory=root)
        self.run(
            *(str(SAM), "deploy", "--stack-name", STACK, "--resolve-s3"),
            *("--capabilities", "CAPABILITY_IAM", "--no-confirm-changeset"),
            *("--parameter-overrides", *given),
            directory=root,
        )

    def run(self, *command: str, directory: Path = ROOT, **variables: str) -> str:
        """Run a command that must succeed; returns its output."""
        done = subprocess.run(
            command,
            cwd=directory,
            env={**os.environ, **variables},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            timeout=COMMAND_SECONDS,
            check=False,
        )
        assert done.returncode == 0, done.stdout
        return done.stdout

    def _deployment(self, command: str, *options: str) -> None:
        module = (sys.executable, "-m", "ops.deployment", command)
        self.run(*module, "--stage", "dev", "--sam", str(SAM), "--yes", *options)

    def __enter__(self) -> Self:
        self._before = {name: os.environ.get(name) for name in self.environment}
        # The emulator's own root is `test` if its environment names no other.
        inherited = {name: value for name, value in os.environ.items() if name[:4] != "AWS_"}
        with self._said.open("wb") as said:
            self._process = subprocess.Popen(
                [str(PYTHON), str(SERVER), str(self.port), str(self.api_port)],
                cwd=self._directory.name,
                # The directory into which it unpacks functions and layers, which it leaves behind.
                env={**inherited, "TMPDIR": self._directory.name},
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=subprocess.STDOUT,
                # Its functions are processes too, and end with it.
                start_new_session=True,
            )
        try:
            self._wait_until_it_answers()
        except BaseException:
            self._stop()
            raise
        os.environ.update(self.environment)
        return self

    def __exit__(self, *_: object) -> None:
        for name, value in self._before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
        self._stop()

    def _wait_until_it_answers(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        while not self._answers():
            ended = self._process.poll() is not None
            assert not ended and time.monotonic() < deadline, self.said
            time.sleep(0.2)

    def _answers(self) -> bool:
        connection = HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            connection.request("GET", "/_ministack/health")
            return connection.getresponse().status == 200
        except (OSError, HTTPException):
            return False
        finally:
            connection.close()

    def _stop(self) -> None:
        # It keeps nothing; therefore nothing needs an orderly shutdown.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._directory.cleanup()
