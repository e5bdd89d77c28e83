"""Runs a command beside DynamoDB Local, AWS's own engine, and ends the engine with it.

`python tests/dynamodb_local/run.py COMMAND ...` gives the command the engine's address in
`DYNAMODB_ENDPOINT` and returns its exit code. `make test-dynamodb` fetches the engine first.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

JARS = Path(__file__).parents[2] / ".cache" / "dynamodb-local"
_MAIN = "software.amazon.dynamodb.services.local.main.ServerRunner"
_START_SECONDS = 60
_STOP_SECONDS = 10


def main(command: Sequence[str]) -> int:
    """Run `command` beside the engine; returns its exit code."""
    # As Ctrl-C does, so that the engine is stopped by every way out of here.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with engine() as endpoint:
            environment = {**os.environ, "DYNAMODB_ENDPOINT": endpoint}
            return subprocess.run(command, env=environment, check=False).returncode
    except KeyboardInterrupt:
        return 128 + signal.SIGINT


@contextmanager
def engine() -> Iterator[str]:
    """Give the address of an engine that holds its tables in memory, for as long as the block."""
    port = _free_port()
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(
            [
                "java",
                f"-Djava.library.path={JARS}",
                "-cp",
                f"{JARS}/*",
                _MAIN,
                "-inMemory",
                "-disableTelemetry",
                "-port",
                str(port),
            ],
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=subprocess.STDOUT,
        )
        try:
            _wait_until_it_answers(process, port, said)
            yield f"http://127.0.0.1:{port}"
        finally:
            _stop(process)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def _wait_until_it_answers(process: subprocess.Popen[bytes], port: int, said: IO[bytes]) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while not _answers(port):
        if process.poll() is not None or time.monotonic() > deadline:
            said.seek(0)
            sys.exit(f"DynamoDB Local did not start:\n{said.read().decode(errors='replace')}")
        time.sleep(0.1)


def _answers(port: int) -> bool:
    """Tell whether something speaks HTTP there; any answer will do."""
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
