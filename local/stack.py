"""The whole stack in this process, built from the template: for `make run`, the demo and tests."""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urlsplit

from local.constants import REGION
from local.functions import Handler
from local.gateway import Gateway, GatewayRoute
from local.poller import EventSource, Poller
from local.schedule import Schedule, ScheduleRunner
from local.servers import LOOPBACK, listen, serve

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterable, Iterator
    from types import TracebackType

    from local.functions import LocalFunction
    from local.resources import Resources
    from local.template import Route

MakeHandler = Callable[[str, Mapping[str, str]], Handler]
"""Builds the handler of a dotted name for a function's environment."""

ROOT = Path(__file__).parent.parent
TEMPLATE = ROOT / "template.yaml"
CONTAINERS_HOST = "host.docker.internal"
"""The name of this machine inside containers; on Linux `samconfig.toml` defines it."""

_GRACE_SECONDS = 1.0
_OUTPUTS = "outputs.json"
_SAM_ENVIRONMENT = "env.json"
_FILES = (_OUTPUTS, _SAM_ENVIRONMENT)


@dataclass(frozen=True, slots=True)
class StackOptions:
    """How to run the stack. Port 0 means any free port.

    `aws_hosts` are the addresses of AWS's port. Everything else listens on loopback only, which
    containers do not always reach. `parameters` are the template's. `directory` receives
    `outputs.json`, and `env.json` for `sam local --env-vars`; None writes neither. `account_id` is
    the account of the first API key.
    """

    api_port: int = 0
    aws_port: int = 0
    aws_hosts: Sequence[str] = (LOOPBACK,)
    parameters: Mapping[str, str] | None = None
    directory: Path | None = None
    account_id: str = "acc_demo"
    template: Path = TEMPLATE


class LocalStack:
    """The stack as a context manager: ready when entered, gone without a trace when left.

    A process can run one at a time (RuntimeError). Entering raises PortTakenError if a port is in
    use, and ValueError for a parameter that the template does not have. Tests may give their own
    `make_handler`.
    """

    def __init__(
        self,
        options: StackOptions | None = None,
        make_handler: MakeHandler | None = None,
    ) -> None:
        self._options = options or StackOptions()
        self._make_handler = make_handler
        self._running = contextlib.ExitStack()
        self.outputs: dict[str, str] = {}

    def __enter__(self) -> Self:
        """Start everything; the ports first, so that a taken port is reported at once."""
        with contextlib.ExitStack() as starting:
            options = self._options
            aws: list[socket.socket] = []
            for host in options.aws_hosts:
                port = aws[0].getsockname()[1] if aws else options.aws_port
                listener = listen(host, port, "AWS_PORT")
                aws.append(starting.enter_context(contextlib.closing(listener)))
            api = starting.enter_context(
                contextlib.closing(listen(LOOPBACK, options.api_port, "PORT"))
            )
            self._start(starting, aws, api)
            self._running = starting.pop_all()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        """Stop everything, the newest part first."""
        self._running.close()

    def _start(
        self, starting: contextlib.ExitStack, aws: Sequence[socket.socket], api: socket.socket
    ) -> None:
        from local import resources, template
        from local.aws import aws_server, invoking
        from local.functions import LocalFunction
        from local.handlers import make_handler

        options = self._options
        for name in _FILES:
            # Files of a killed stack would announce that this one is ready.
            if options.directory is not None:
                (options.directory / name).unlink(missing_ok=True)
        endpoint = starting.enter_context(aws_server(aws))
        made = resources.create(template.load(options.template, options.parameters or {}), endpoint)
        functions = {
            logical_id: LocalFunction(
                name=function.name,
                handler=(self._make_handler or make_handler)(
                    function.handler, function.environment | {"AWS_ENDPOINT_URL": endpoint}
                ),
                timeout_seconds=function.timeout_seconds,
                memory_mb=function.memory_mb,
            )
            for logical_id, function in made.functions.items()
        }
        starting.enter_context(invoking(functions.values()))
        gateway = _gateway(template.routes(template.read(options.template)), functions)
        starting.enter_context(serve(api, gateway))
        starting.enter_context(_polling(made, functions))
        starting.enter_context(_scheduled(made, functions))
        self.outputs = self._describe(
            made, endpoint, api_url=f"http://{LOOPBACK}:{api.getsockname()[1]}"
        )
        if options.directory is not None:
            files = {_OUTPUTS: self.outputs, _SAM_ENVIRONMENT: _sam_environment(made, endpoint)}
            starting.enter_context(_written(options.directory, files))

    def _describe(self, made: Resources, endpoint: str, *, api_url: str) -> dict[str, str]:
        account_id = self._options.account_id
        outputs = {
            "ApiUrl": api_url,
            "DashboardUrl": f"{api_url}/dashboard",
            "AccountId": account_id,
            "Region": REGION,
            "AwsEndpointUrl": endpoint,
        }
        outputs |= {f"{name}Url": url for name, url in made.queues.items()}
        outputs |= made.tables
        for name, arn in made.state_machines.items():
            outputs |= {name: arn.rpartition(":")[2], f"{name}Arn": arn}
        if "ApiKeysTable" in made.tables:
            from local.handlers import store_key

            outputs["ApiKey"] = store_key(made.tables["ApiKeysTable"], endpoint, account_id)
        return outputs


def _gateway(routes: Iterable[Route], functions: Mapping[str, LocalFunction]) -> Gateway:
    return Gateway(
        GatewayRoute(route.method, route.path, functions[route.function]) for route in routes
    )


@contextlib.contextmanager
def _polling(made: Resources, functions: Mapping[str, LocalFunction]) -> Iterator[None]:
    import boto3

    sqs = boto3.client("sqs")
    pollers = [
        Poller(
            EventSource.from_properties(
                mapping.properties, made.queues[mapping.queue], functions[mapping.function]
            ),
            sqs,
        )
        for mapping in made.mappings
    ]
    for poller in pollers:
        poller.start()
    try:
        yield
    finally:
        for poller in pollers:
            poller.stop()
        deadline = time.monotonic() + _GRACE_SECONDS
        for poller in pollers:
            poller.join(deadline - time.monotonic())


@contextlib.contextmanager
def _scheduled(made: Resources, functions: Mapping[str, LocalFunction]) -> Iterator[None]:
    clocks = [
        ScheduleRunner(Schedule(functions[schedule.function], schedule.seconds, schedule.event))
        for schedule in made.schedules
    ]
    for clock in clocks:
        clock.start()
    try:
        yield
    finally:
        for clock in clocks:
            clock.stop()


def _sam_environment(made: Resources, endpoint: str) -> dict[str, dict[str, str]]:
    """Return the input of `sam local --env-vars`: each function's variables, by logical id.

    Its containers reach this machine by another name.
    """
    inside = f"http://{CONTAINERS_HOST}:{urlsplit(endpoint).port}"
    return {
        logical_id: {
            name: value.replace(endpoint, inside)
            for name, value in (function.environment | {"AWS_ENDPOINT_URL": endpoint}).items()
        }
        for logical_id, function in made.functions.items()
    }


@contextlib.contextmanager
def _written(directory: Path, files: Mapping[str, Any]) -> Iterator[None]:
    """Keep JSON files in a directory until the context ends; each appears whole, owner-only."""
    directory.mkdir(parents=True, exist_ok=True)
    paths = []
    for name, value in files.items():
        paths.append(directory / name)
        partial = directory / f".{name}.{os.getpid()}"
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(json.dumps(value, indent=2) + "\n")
        partial.replace(paths[-1])
    try:
        yield
    finally:
        for path in paths:
            path.unlink(missing_ok=True)
