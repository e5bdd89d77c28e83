"""An operator who deletes a stack, on a fake of AWS whose clock only jumps."""

from __future__ import annotations

from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from ops.destroying import Destruction
from unit.ops.fake_deletion import (
    RETRIES,
    STACK,
    FakeAws,
)

if TYPE_CHECKING:
    from collections.abc import Callable

REGIONS = ["eu-central-1", "us-east-1"]


class AtOnce:
    """A substitute for threads, which run at another pace than a clock that only jumps."""

    def __init__(self, _: int) -> None: ...

    def submit(self, function: Callable[..., Any], *arguments: Any) -> Future[Any]:
        future: Future[Any] = Future()
        try:
            future.set_result(function(*arguments))
        except ClientError as error:
            future.set_exception(error)
        return future

    def shutdown(self, *, cancel_futures: bool) -> None:
        assert cancel_futures


class Operator:
    """The operator who deletes the stack: the answer, and the output."""

    def __init__(self, aws: FakeAws, answer: str | None = STACK) -> None:
        self.aws = aws
        self.answer = answer
        self.told: list[str] = []
        self.progress: list[str] = []

    def destruction(self) -> Destruction:
        return Destruction(
            STACK,
            self.aws.region,
            self.aws.clients(),
            self._ask if self.answer else None,
            self.told.append,
            self.progress.append,
            self.aws.delete,
            "make destroy STAGE=dev",
            self.aws.time.clock(),
        )

    def destroy(self) -> int:
        return self.destruction().destroy()

    def undo(self) -> int:
        return self.destruction().undo()

    @property
    def text(self) -> str:
        return "\n".join(self.told)

    def _ask(self, question: str) -> str:
        self.told.append(question)
        return str(self.answer)


def with_retries(number: int, region: str = "eu-central-1", **options: Any) -> FakeAws:
    aws = FakeAws(region, **options)
    aws.wait_in(RETRIES, number)
    return aws
