"""What AWS does in one step, moto does in several: here other threads wait until it is done.

moto's backends know nothing of the threads that its server calls them from. Without this a message
that is sent while another is deleted is lost, two conditional writes of one item both succeed, and
an execution of one name is started twice. Nor does moto know a transaction again that the SDK sends
once more, for want of an answer to the first time: it would find its own writes there, and fail.
"""

from __future__ import annotations

import contextlib
import functools
import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_TABLES = (
    "put_item",
    "update_item",
    "delete_item",
    "transact_write_items",
    "get_item",
    "query",
    "scan",
)
_QUEUES = ("receive_message", "delete_message", "change_message_visibility")


@contextlib.contextmanager
def one_at_a_time() -> Iterator[None]:
    """Make moto's tables, queues and state machines safe for threads, until the end."""
    from moto.dynamodb.models import DynamoDBBackend
    from moto.dynamodb.responses import DynamoHandler
    from moto.sqs.models import SQSBackend
    from moto.stepfunctions.parser.models import StepFunctionsParserBackend

    tables, executions = threading.RLock(), threading.RLock()
    with contextlib.ExitStack() as replaced:
        for name in _TABLES:
            _guard(replaced, DynamoDBBackend, name, lambda *_, **__: tables)
        for name in _QUEUES:
            _guard(replaced, SQSBackend, name, _lock_of_queue)
        _guard(replaced, StepFunctionsParserBackend, "start_execution", lambda *_, **__: executions)
        _once_a_token(replaced, DynamoHandler, "transact_write_items", tables)
        yield


def _lock_of_queue(backend: Any, *arguments: Any, **named: Any) -> Any:
    """Return a queue's own lock, which receiving lets go of while it waits for messages."""
    name = arguments[0] if arguments else named["queue_name"]
    return backend.get_queue(name)._messages_lock


def _once_a_token(
    replaced: contextlib.ExitStack, owner: Any, name: str, lock: threading.RLock
) -> None:
    """Answer a request whose `ClientRequestToken` was there before as that one was answered."""
    original = getattr(owner, name)
    answers: dict[tuple[str, str, str], Any] = {}

    @functools.wraps(original)
    def once(self: Any) -> Any:
        made = self.current_account, self.region, self.body["ClientRequestToken"]
        with lock:
            if made not in answers:
                answers[made] = original(self)
            return answers[made]

    setattr(owner, name, once)
    replaced.callback(setattr, owner, name, original)


def _guard(
    replaced: contextlib.ExitStack, owner: Any, name: str, lock_of: Callable[..., Any]
) -> None:
    original = getattr(owner, name)

    @functools.wraps(original)
    def guarded(self: Any, *arguments: Any, **named: Any) -> Any:
        with lock_of(self, *arguments, **named):
            return original(self, *arguments, **named)

    setattr(owner, name, guarded)
    replaced.callback(setattr, owner, name, original)
