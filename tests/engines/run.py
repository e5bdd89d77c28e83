"""Runs a command together with engines that stand in for AWS, and stops them at its end.

`python tests/engines/run.py ENGINE ... -- COMMAND ...` starts each of the named engines, gives the
command their addresses and returns its exit code:

- `dynamodb-local`: DynamoDB Local, AWS's own, in `DYNAMODB_ENDPOINT`
- `elasticmq`: ElasticMQ, which has SQS's interface, in `SQS_ENDPOINT`
- `ministack`: ministack, which has many services' interfaces, in `MINISTACK_ENDPOINT`

All keep their data in memory. The Makefile fetches them first.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

_ROOT = Path(__file__).parents[2]
_CACHE = _ROOT / ".cache"
_START_SECONDS = 60
_STOP_SECONDS = 10


@dataclass(frozen=True)
class Start:
    """The command that starts an engine, and its environment."""

    command: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)


def _dynamodb_local(port: int) -> Start:
    jars = _CACHE / "dynamodb-local"
    main = "software.amazon.dynamodb.services.local.main.ServerRunner"
    options = ("-inMemory", "-disableTelemetry", "-port", str(port))
    return Start(["java", f"-Djava.library.path={jars}", "-cp", f"{jars}/*", main, *options])


def _elasticmq(port: int) -> Start:
    options = {
        "rest-sqs.bind-hostname": "127.0.0.1",
        "rest-sqs.bind-port": str(port),
        # The queues' urls begin with it.
        "node-address.host": "127.0.0.1",
        "node-address.port": str(port),
        "rest-stats.enabled": "false",
    }
    given = [f"-D{name}={value}" for name, value in options.items()]
    classes = f"{_CACHE / 'elasticmq'}/*"
    return Start(["java", *given, "-cp", classes, "org.elasticmq.server.Main"])


def _ministack(port: int) -> Start:
    environment = {
        "BIND_HOST": "127.0.0.1",
        "GATEWAY_PORT": str(port),
        "MINISTACK_HOST": "127.0.0.1",
        "MINISTACK_ACCOUNT_ID": "123456789012",
        # Functions are processes here. No container is looked for, and only HTTP is served.
        "LAMBDA_EXECUTOR": "local",
        "DOCKER_HOST": "unix:///nonexistent",
        "IOT_MTLS_ENABLED": "false",
        "SFTP_ENABLED": "false",
        "LOG_LEVEL": "WARNING",
    }
    return Start([str(_ROOT / ".venv-ministack/bin/ministack")], environment)


ENGINES: Mapping[str, tuple[str, Callable[[int], Start]]] = {
    "dynamodb-local": ("DYNAMODB_ENDPOINT", _dynamodb_local),
    "elasticmq": ("SQS_ENDPOINT", _elasticmq),
    "ministack": ("MINISTACK_ENDPOINT", _ministack),
}
"""Each engine's variable, and the function that starts it on a port."""


def main(arguments: Sequence[str]) -> int:
    """Run the command after `--` with the engines named before it; returns its exit code."""
    end = arguments.index("--")
    # Like Ctrl-C, so that every way out of here stops the engines.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with running(arguments[:end]) as addresses:
            environment = {**os.environ, **addresses}
            return subprocess.run(arguments[end + 1 :], env=environment, check=False).returncode
    except KeyboardInterrupt:
        return 128 + signal.SIGINT


@contextmanager
def running(names: Sequence[str]) -> Iterator[dict[str, str]]:
    """Give the addresses of engines, by their variables, while the block runs."""
    with ExitStack() as started:
        ports = {name: started.enter_context(_started(name)) for name in names}
        for name, (process, port, said) in ports.items():
            _wait_until_it_answers(name, process, port, said)
        yield {ENGINES[name][0]: f"http://127.0.0.1:{port}" for name, (_, port, _) in ports.items()}


@contextmanager
def _started(name: str) -> Iterator[tuple[subprocess.Popen[bytes], int, IO[bytes]]]:
    port = _free_port()
    start = ENGINES[name][1](port)
    with tempfile.TemporaryFile() as said, tempfile.TemporaryDirectory() as folder:
        process = subprocess.Popen(
            start.command,
            # Some write files into their working directory.
            cwd=folder,
            env={**os.environ, **start.environment},
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=subprocess.STDOUT,
        )
        try:
            yield process, port, said
        finally:
            _stop(process)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def _wait_until_it_answers(
    name: str, process: subprocess.Popen[bytes], port: int, said: IO[bytes]
) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while not _answers(port):
        if process.poll() is not None or time.monotonic() > deadline:
            said.seek(0)
            sys.exit(f"{name} did not start:\n{said.read().decode(errors='replace')}")
        time.sleep(0.1)


def _answers(port: int) -> bool:
    """True if something speaks HTTP there; any answer will do."""
    connection = HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/")
        connection.getresponse()
    except (OSError, HTTPException):
        return False
    else:
        return True
    finally:
        connection.close()


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
