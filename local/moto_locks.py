"""Makes moto's operations atomic, as AWS's are: other threads wait until an operation is done.

moto's backends are not safe for the threads of moto's server. Without these locks, a message that
is sent while another is deleted gets lost, two conditional writes of one item both succeed, and an
execution of one name starts twice. An execution may even fail to begin: the parser of a state
machine's definition keeps its position in a list that all threads share, and its error is raised in
the execution's own thread, where no caller sees it. moto also does not recognize a transaction that
the SDK repeats after a lost response: the repetition would meet its own writes and fail.
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
_WRITES = ("put_item", "update_item", "delete_item")
_QUEUES = ("receive_message", "delete_message", "change_message_visibility")


@contextlib.contextmanager
def one_at_a_time() -> Iterator[None]:
    """Make moto's tables, queues and state machines safe for threads, until the context ends."""
    from moto.dynamodb.models import DynamoDBBackend
    from moto.dynamodb.responses import DynamoHandler
    from moto.sqs.models import SQSBackend
    from moto.stepfunctions.parser.asl.parse.asl_parser import AmazonStateLanguageParser
    from moto.stepfunctions.parser.models import StepFunctionsParserBackend

    tables, executions, definitions = threading.RLock(), threading.RLock(), threading.RLock()
    with contextlib.ExitStack() as replaced:
        for name in _TABLES:
            _guard(replaced, DynamoDBBackend, name, lambda *_, **__: tables)
        for name in _WRITES:
            # These copy the item before they change it; a change in between would be lost.
            _guard(replaced, DynamoHandler, name, lambda *_, **__: tables)
        for name in _QUEUES:
            _guard(replaced, SQSBackend, name, _lock_of_queue)
        _guard(replaced, StepFunctionsParserBackend, "start_execution", lambda *_, **__: executions)
        # A static method: the guard's first argument is the definition.
        guarded = _guarded(AmazonStateLanguageParser.parse, lambda *_: definitions)
        _replace(replaced, AmazonStateLanguageParser, "parse", staticmethod(guarded))
        _once_a_token(replaced, DynamoHandler, "transact_write_items", tables)
        yield


def _lock_of_queue(backend: Any, *arguments: Any, **named: Any) -> Any:
    """Return a queue's own lock, which `receive` releases while it waits for messages."""
    name = arguments[0] if arguments else named["queue_name"]
    return backend.get_queue(name)._messages_lock


def _once_a_token(
    replaced: contextlib.ExitStack, owner: Any, name: str, lock: threading.RLock
) -> None:
    """Repeat the stored response for a request whose `ClientRequestToken` was used before."""
    original = getattr(owner, name)
    answers: dict[tuple[str, str, str], Any] = {}

    @functools.wraps(original)
    def once(self: Any) -> Any:
        made = self.current_account, self.region, self.body["ClientRequestToken"]
        with lock:
            if made not in answers:
                answers[made] = original(self)
            return answers[made]

    _replace(replaced, owner, name, once)


def _guard(
    replaced: contextlib.ExitStack, owner: Any, name: str, lock_of: Callable[..., Any]
) -> None:
    _replace(replaced, owner, name, _guarded(getattr(owner, name), lock_of))


def _guarded(original: Callable[..., Any], lock_of: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def guarded(*arguments: Any, **named: Any) -> Any:
        with lock_of(*arguments, **named):
            return original(*arguments, **named)

    return guarded


def _replace(replaced: contextlib.ExitStack, owner: Any, name: str, value: Any) -> None:
    """Replace an attribute until the context ends."""
    if name in vars(owner):
        replaced.callback(setattr, owner, name, vars(owner)[name])
    else:
        replaced.callback(delattr, owner, name)
    setattr(owner, name, value)
