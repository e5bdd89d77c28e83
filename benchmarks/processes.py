"""Processes of their own for what must not share a CPU clock with what is measured."""

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
    """A server in another process. It answers questions until its `with` block ends."""

    def __init__(self, connection: Connection) -> None:
        """Take what it says first: where it is."""
        self._connection = connection
        self.first: Any = connection.recv()

    def ask(self, question: object) -> Any:
        """Return its answer to a question that it knows."""
        self.tell(question)
        return self._connection.recv()

    def tell(self, question: object) -> None:
        """Ask, without waiting for the answer."""
        self._connection.send(question)

    def told(self) -> list[Any]:
        """Return what it has said since, unasked."""
        said = []
        while self._connection.poll():
            said.append(self._connection.recv())
        return said


@contextmanager
def serving(serve: Callable[..., None], *arguments: Any) -> Iterator[Served]:
    """Run `serve(connection, *arguments)` in a process, which ends when it is told `stop`."""
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
    """Return what `work(*arguments)` returns in a new process, with nothing else loaded there."""
    with serving(_answer, work, arguments) as served:
        result: Result = served.first
        return result


def _answer(connection: Connection, work: Callable[..., Any], arguments: Any) -> None:
    connection.send(work(*arguments))
    connection.recv()
