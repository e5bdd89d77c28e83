"""Jobs that go on when their state machine goes: stopped there, and started on a former one.

A job's progress is in its record, so an execution that is given the job's ids goes on with it. The
former release has no sweep of jobs: a replay, an erasure or a check that it does not get handed
over would stand at `running` for ever. Recoveries it would find by itself, after ten minutes.
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
"""The state machine of the same jobs in the release before."""

_LOOK_SECONDS = 5.0


class Job(NamedTuple):
    """A job that runs: its execution, the ids that it was given, and where it is to go on."""

    execution: str
    state: Mapping[str, Any]
    machine: str

    @property
    def id(self) -> str:
        """The job's own id, which is the last of its ids."""
        [*_, last] = [value for name, value in self.state.items() if name.endswith("_id")]
        return str(last)

    @property
    def name(self) -> str:
        """The name of the execution that goes on with it.

        A name stays taken for 90 days, and another rollback may hand over the same job by then. So
        it is made of the stopped execution's too.
        """
        return f"{self.id}-rollback-{crc32(self.execution.encode()):08x}"


def going(
    outputs: Mapping[str, str], now: Mapping[str, Any], then: Mapping[str, Any]
) -> dict[str, str]:
    """Return the state machines of template `now` that `then` does not have.

    They are ARNs, each with the name of its former state machine. A stack that an earlier rollback
    brought back has none of them any more.
    """
    return {
        outputs[f"{machine}Arn"]: former
        for machine, former in FORMER_MACHINES.items()
        if machine in now["Resources"] and machine not in then["Resources"]
        if f"{machine}Arn" in outputs
    }


def running(states: Any, machines: Mapping[str, str]) -> list[str]:
    """Return the executions that run on state machines that go, as `going` returns them."""
    return [execution for arn in machines for execution in _running(states, arn)]


def _job(states: Any, execution: str, former: str) -> Job:
    return Job(execution, _ids(states.describe_execution(executionArn=execution)["input"]), former)


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
    """Tell whether a stack with these outputs has a machine that template `then` does not have.

    The SAM CLI's exit status does not: it is 0 too where its change set was declined.
    """
    return any(
        f"{machine}Arn" in outputs
        for machine in FORMER_MACHINES
        if machine not in then["Resources"]
    )


def stop(states: Any, job: Job) -> None:
    """Stop a job's execution. One that has ended meanwhile is left as it is."""
    with suppress(states.exceptions.ExecutionDoesNotExist):
        states.stop_execution(
            executionArn=job.execution, error="RolledBack", cause="The former release goes on."
        )


class Stopper:
    """Stops what runs on state machines that go: at once, and until the deployment has ended.

    CloudFormation deletes them after it has changed everything else, and waits for the executions
    that run then. The API, the dispatcher and the worker start jobs until their code is changed, so
    a thread looks every five seconds.
    """

    def __init__(
        self, states: Any, machines: Mapping[str, str], tell: Callable[[str], None]
    ) -> None:
        """Take the state machines that go, as `going` returns them."""
        self._states = states
        self._machines = machines
        self._tell = tell
        self._stopped: dict[str, Job] = {}
        self._ends = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    @property
    def jobs(self) -> Sequence[Job]:
        """The jobs that were stopped."""
        return list(self._stopped.values())

    def __enter__(self) -> Self:
        """Stop what runs now. Raises ClientError where Step Functions refuses a request."""
        self._look()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Return when no more is stopped."""
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
                    self._tell(f"Jobs could not be stopped, and are tried again: {said}")

    def _look(self) -> None:
        for arn, former in self._machines.items():
            with unless_gone():
                for execution in _running(self._states, arn):
                    self._stop(execution, former)

    def _stop(self, execution: str, former: str) -> None:
        # Lists are late: one that was stopped may be listed again.
        job = self._stopped.get(execution) or _job(self._states, execution, former)
        self._stopped[execution] = job
        stop(self._states, job)


def begin(states: Any, outputs: Mapping[str, str], jobs: Iterable[Job]) -> None:
    """Start jobs on the former state machines; one that was started before is left as it is.

    A job that has ended, or that another execution works on, is at its end with the first step.
    """
    for job in {job.id: job for job in jobs}.values():
        with suppress(states.exceptions.ExecutionAlreadyExists):
            states.start_execution(
                stateMachineArn=outputs[f"{job.machine}Arn"],
                name=job.name,
                input=json.dumps(job.state),
            )
