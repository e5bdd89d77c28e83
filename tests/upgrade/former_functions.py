"""The functions of the release before, which run in a program of their own."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from local.aws import _pointing_at
from support.program import Program
from support.stack import call

if TYPE_CHECKING:
    from collections.abc import Mapping

    from local.resources import Resources

_PROGRAM = Path(__file__).with_name("former_program.py")


class Former:
    """The program of the release before."""

    def __init__(self, root: Path, environment: Mapping[str, str]) -> None:
        paths = [root / "functions", root / "layers" / "core"]
        self._program = Program(
            sys.executable,
            str(_PROGRAM),
            cwd=root,
            environment={**environment, "PYTHONPATH": ":".join(str(path) for path in paths)},
        )
        self._url = ""

    def call(self, path: str, event: Any) -> Any:
        """Call a function of the program; raises its error, under the name of its class."""
        answer = call(self._url, "POST", f"/{path}", body=json.dumps(event))
        result = answer.json
        if "error" in result:
            raise type(result["error"], (Exception,), {})(result["message"])
        return result["payload"]

    def __enter__(self) -> Former:
        port = self._program.wait_for(
            lambda lines: next((one.split()[1] for one in lines if one.startswith("port ")), None),
            "the former release's program is ready",
        )
        self._url = f"http://127.0.0.1:{port}"
        return self

    def __exit__(self, *_: object) -> None:
        self._program.close()


def former_environment(
    made: Resources, endpoint: str, variables: Mapping[str, str]
) -> dict[str, str]:
    """Return the environment of all of its functions, on resources of this release's template."""

    tables = {"WEBHOOKS": "Webhooks", "DELIVERIES": "Deliveries", "API_KEYS": "ApiKeys"}
    tables["IDEMPOTENCY"] = "Idempotency"
    return {
        **_pointing_at(endpoint),
        **variables,
        **{f"{name}_TABLE": made.tables[f"{table}Table"] for name, table in tables.items()},
        "EVENTS_QUEUE_URL": made.queues["EventsQueue"],
        "EVENTS_DEAD_LETTER_QUEUE_URL": made.queues["EventsDeadLetterQueue"],
        "RETRY_STATE_MACHINE_ARN": made.state_machines["RetryStateMachine"],
        "RECOVERY_STATE_MACHINE_ARN": made.state_machines["RecoveryStateMachine"],
        "POWERTOOLS_SERVICE_NAME": "former",
        "POWERTOOLS_METRICS_NAMESPACE": "former",
    }
