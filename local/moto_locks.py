"""What AWS does in one step, moto does in several: here other threads wait until it is done.

moto's backends know nothing of the threads that its server calls them from. Without this a message
that is sent while another is deleted is lost, two conditional writes of one item both succeed, and
an execution of one name is started twice. An execution may not even begin: what reads its state
machine's definition keeps its place in a list that all threads share, and raises in the execution's
own thread, of which nobody hears. Nor does moto know a transaction again that the SDK sends
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
_WRITES = ("put_item", "update_item", "delete_item")
_QUEUES = ("receive_message", "delete_message", "change_message_visibility")


@contextlib.contextmanager
def one_at_a_time() -> Iterator[None]:
    """Make moto's tables, queues and state machines safe for threads, until the end."""
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
            # They copy the item before they change it, which a change meanwhile would break.
            _guard(replaced, DynamoHandler, name, lambda *_, **__: tables)
        for name in _QUEUES:
            _guard(replaced, SQSBackend, name, _lock_of_queue)
        _guard(replaced, StepFunctionsParserBackend, "start_execution", lambda *_, **__: executions)
        # A static method, so that the guard's first argument is the definition.
        guarded = _guarded(AmazonStateLanguageParser.parse, lambda *_: definitions)
        _replace(replaced, AmazonStateLanguageParser, "parse", staticmethod(guarded))
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
    """Put something else in an attribute's place, until the end."""
    if name in vars(owner):
        replaced.callback(setattr, owner, name, vars(owner)[name])
    else:
        replaced.callback(delattr, owner, name)
    setattr(owner, name, value)
