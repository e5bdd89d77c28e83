"""Separate processes for servers and work that would disturb the measured CPU times."""

from __future__ import annotations

import multiprocessing
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from multiprocessing.connection import Connection

Result = TypeVar("Result")

_SPAWN = multiprocessing.get_context("spawn")


class Served:
    """A server in another process. It responds to questions until its `with` block ends."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.first: Any = connection.recv()

    def ask(self, question: object) -> Any:
        """Return the server's response to a question."""
        self.tell(question)
        return self._connection.recv()

    def tell(self, question: object) -> None:
        """Send a question or a command without waiting for a response."""
        self._connection.send(question)

    def told(self) -> list[Any]:
        """Return the messages that the server has sent by itself."""
        said = []
        while self._connection.poll():
            said.append(self._connection.recv())
        return said


@contextmanager
def serving(serve: Callable[..., None], *arguments: Any) -> Iterator[Served]:
    """Run `serve(connection, *arguments)` in a process, which ends on the message `stop`."""
    ours, theirs = _SPAWN.Pipe()
    process = _SPAWN.Process(target=serve, args=(theirs, *arguments), daemon=True)
    process.start()
    try:
        yield Served(ours)
    finally:
        ours.send("stop")
        process.join(10)
        if process.is_alive():
            process.terminate()


def in_process(work: Callable[..., Result], *arguments: Any) -> Result:
    """Return the result of `work(*arguments)` in a new process, with nothing else loaded."""
    with serving(_answer, work, arguments) as served:
        result: Result = served.first
        return result


def _answer(connection: Connection, work: Callable[..., Any], arguments: Any) -> None:
    connection.send(work(*arguments))
    connection.recv()
