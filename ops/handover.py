"""Moves running jobs to the former state machine when theirs is deleted in a rollback.

A job's progress is in its record, so a new execution with the job's ids continues it. The former
release has no sweep of jobs: a replay, an erasure or a check that is not handed over would stay
`running` for ever. Recoveries are found by its sweep, after ten minutes.
"""

from __future__ import annotations

import json
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple, Self
from zlib import crc32

from botocore.exceptions import BotoCoreError, ClientError

from ops.deployed import unless_gone

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

FORMER_MACHINES = {"JobStateMachine": "RecoveryStateMachine"}
"""The state machine of the same jobs in the former release."""

_LOOK_SECONDS = 5.0


class RunningJob(NamedTuple):
    """A running job: its execution, its ids, and the state machine that is to continue it."""

    execution: str
    state: Mapping[str, Any]
    machine: str

    @property
    def id(self) -> str:
        """The job's own id, the last of its ids."""
        [*_, last] = [value for name, value in self.state.items() if name.endswith("_id")]
        return str(last)

    @property
    def name(self) -> str:
        """The name of the execution that continues the job.

        A name stays taken for 90 days, and another rollback may hand over the same job in that
        time. The name therefore depends on the stopped execution too.
        """
        return f"{self.id}-rollback-{crc32(self.execution.encode()):08x}"


def going(
    outputs: Mapping[str, str], now: Mapping[str, Any], then: Mapping[str, Any]
) -> dict[str, str]:
    """Return the state machines of template `now` that `then` does not have.

    They are ARNs, each with the name of its former state machine. After an earlier rollback the
    stack has none of them.
    """
    return {
        outputs[f"{machine}Arn"]: former
        for machine, former in FORMER_MACHINES.items()
        if machine in now["Resources"] and machine not in then["Resources"]
        if f"{machine}Arn" in outputs
    }


def running(states: Any, machines: Mapping[str, str]) -> list[str]:
    """Return the executions on state machines to be deleted, as `going` returns the machines."""
    return [execution for arn in machines for execution in _running(states, arn)]


def _job(states: Any, execution: str, former: str) -> RunningJob:
    return RunningJob(
        execution, _ids(states.describe_execution(executionArn=execution)["input"]), former
    )


def _running(states: Any, machine_arn: str) -> Iterable[str]:
    pages = states.get_paginator("list_executions").paginate(
        stateMachineArn=machine_arn, statusFilter="RUNNING"
    )
    return [str(one["executionArn"]) for page in pages for one in page["executions"]]


def _ids(text: str) -> dict[str, Any]:
    state = json.loads(text)
    ids = {name: value for name, value in state.items() if name.endswith("_id")}
    return {"version": state["version"], "action": state["action"], **ids, "seconds": 0}


def is_declined(outputs: Mapping[str, str], then: Mapping[str, Any]) -> bool:
    """Return whether a stack with these outputs has a machine that template `then` lacks.

    The SAM CLI's exit status does not show that: it is 0 even if its change set was declined.
    """
    return any(
        f"{machine}Arn" in outputs
        for machine in FORMER_MACHINES
        if machine not in then["Resources"]
    )


def stop(states: Any, job: RunningJob) -> None:
    """Stop a job's execution. An execution that has ended meanwhile is left as it is."""
    with suppress(states.exceptions.ExecutionDoesNotExist):
        states.stop_execution(
            executionArn=job.execution,
            error="RolledBack",
            cause="The former release continues the job.",
        )


class Stopper:
    """Stops the executions on state machines to be deleted: at once, and until the deployment ends.

    CloudFormation deletes the machines after all other changes, and waits for the executions that
    run then. The API, the dispatcher and the worker start jobs until their code is changed, so a
    thread looks for new ones every five seconds.

    `machines` are the ones to be deleted, as `going` returns them.
    """

    def __init__(
        self, states: Any, machines: Mapping[str, str], tell: Callable[[str], None]
    ) -> None:
        self._states = states
        self._machines = machines
        self._tell = tell
        self._stopped: dict[str, RunningJob] = {}
        self._ends = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    @property
    def jobs(self) -> Sequence[RunningJob]:
        """The stopped jobs."""
        return list(self._stopped.values())

    def __enter__(self) -> Self:
        """Stop the running jobs. Raises ClientError if Step Functions refuses a request."""
        self._look()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Return when no further job will be stopped."""
        self._ends.set()
        self._thread.join()

    def _watch(self) -> None:
        said = ""
        while not self._ends.wait(_LOOK_SECONDS):
            try:
                self._look()
            except (BotoCoreError, ClientError) as error:
                # The next look tries again.
                if str(error) != said:
                    said = str(error)
                    self._tell(f"Jobs could not be stopped; trying again: {said}")

    def _look(self) -> None:
        for arn, former in self._machines.items():
            with unless_gone():
                for execution in _running(self._states, arn):
                    self._stop(execution, former)

    def _stop(self, execution: str, former: str) -> None:
        # Listings lag: a stopped execution may be listed again.
        job = self._stopped.get(execution) or _job(self._states, execution, former)
        self._stopped[execution] = job
        stop(self._states, job)


def begin(states: Any, outputs: Mapping[str, str], jobs: Iterable[RunningJob]) -> None:
    """Start jobs on the former state machines; a job that was started before is left as it is.

    If a job has ended, or another execution works on it, the new execution ends at its first step.
    """
    for job in {job.id: job for job in jobs}.values():
        with suppress(states.exceptions.ExecutionAlreadyExists):
            states.start_execution(
                stateMachineArn=outputs[f"{job.machine}Arn"],
                name=job.name,
                input=json.dumps(job.state),
            )
