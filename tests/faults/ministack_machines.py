"""One of the template's state machines in ministack, whose interpreter is not moto's.

Its task is a function there that hands each event to the test's own task, over HTTP, and fails as
that does. The machine's messages go to a queue of ministack's own.
"""

from __future__ import annotations

import io
import json
import threading
import zipfile
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

from local import template
from local.aws import aws_client
from local.resources import Resources
from support.engines import unique
from support.state_machines import hurried

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_ROLE = "arn:aws:iam::123456789012:role/any"
_FORWARDER = """#!/usr/bin/env python3
import json, os, urllib.request

RUNTIME = f"http://{os.environ['AWS_LAMBDA_RUNTIME_API']}/2018-06-01/runtime/invocation"

def sent(url, body=None):
    with urllib.request.urlopen(url, data=body) as answer:
        return answer.headers.get("Lambda-Runtime-Aws-Request-Id"), answer.read()

while True:
    invocation, event = sent(f"{RUNTIME}/next")
    answer = json.loads(sent(os.environ["TASK"], event)[1])
    end = "error" if "errorType" in answer else "response"
    sent(f"{RUNTIME}/{invocation}/{end}", json.dumps(answer).encode())
"""
"""A runtime of its own: ministack reports every error of a function in Python as
`Runtime.HandlerError`, not by its class."""


@contextmanager
def made_on_ministack(
    task: Callable[[Any, Any], Any], machine: str, endpoint: str
) -> Iterator[Resources]:
    """Make a machine, hurried, whose function is `task`; yields it, and its queue."""
    lambdas, sqs, states = (
        aws_client(service, endpoint) for service in ("lambda", "sqs", "stepfunctions")
    )
    with _served(task) as url:
        function = lambdas.create_function(
            FunctionName=unique("worker"),
            Runtime="provided.al2023",
            Handler="bootstrap",
            Role=_ROLE,
            Code={"ZipFile": _zipped()},
            Environment={"Variables": {"TASK": url}},
            Timeout=60,
        )["FunctionArn"]
        queue = sqs.create_queue(QueueName=unique("dead-letters"))["QueueUrl"]
        resource = hurried(template.load(), machine)["Resources"][machine]
        known = {"WorkerFunction": function, "DeadLetterQueue": queue, "AWS::Partition": "aws"}
        given = {
            name: known[_referred(expression)]
            for name, expression in resource["Properties"]["DefinitionSubstitutions"].items()
        }
        made = states.create_state_machine(
            name=unique(machine), definition=template.definition(resource, given), roleArn=_ROLE
        )
        yield Resources(
            queues={"DeadLetterQueue": queue},
            state_machines={machine: made["stateMachineArn"]},
            tables={},
            functions={},
            mappings=[],
            schedules=[],
        )


@contextmanager
def _served(task: Callable[[Any, Any], Any]) -> Iterator[str]:
    """Serve a task to the forwarder; yields its url."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            event = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            try:
                answer = task(event, None)
            except Exception as error:
                answer = {"errorType": type(error).__name__, "errorMessage": "its text"}
            body = json.dumps(answer).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Log no request."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        serving = threading.Thread(target=server.serve_forever)
        serving.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}/"
        finally:
            server.shutdown()
            serving.join()


def _referred(expression: Any) -> str:
    """Return the logical id that an expression refers to."""
    [value] = expression.values()
    return value if isinstance(value, str) else str(value[0])


def _zipped() -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        bootstrap = zipfile.ZipInfo("bootstrap")
        bootstrap.external_attr = 0o755 << 16
        archive.writestr(bootstrap, _FORWARDER)
    return content.getvalue()
