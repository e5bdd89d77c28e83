"""The functions, run in this process like in Lambda: JSON in, JSON or an error out."""

from __future__ import annotations

import json
import logging
import time
import traceback
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

from local.constants import ACCOUNT, REGION
from webhooks.domain.timestamps import to_ms

_LOG = logging.getLogger(__name__)


class Context:
    """The context that a handler gets (Lambda's Python context object)."""

    function_version = "$LATEST"

    def __init__(self, function: LocalFunction) -> None:
        self.function_name = function.name
        self.invoked_function_arn = function.arn
        self.memory_limit_in_mb = function.memory_mb
        self.aws_request_id = str(uuid.uuid4())
        self.log_group_name = f"/aws/lambda/{function.name}"
        self.log_stream_name = f"local/{self.aws_request_id}"
        self._deadline = time.monotonic() + function.timeout_seconds

    def get_remaining_time_in_millis(self) -> int:
        """Return the milliseconds until Lambda would end the invocation."""
        return max(0, to_ms(self._deadline - time.monotonic()))


Handler = Callable[[Any, Context], Any]


class Result(NamedTuple):
    """The result of an invocation: the handler's return value, or Lambda's form of its error."""

    payload: Any
    failed: bool


@dataclass(frozen=True, slots=True)
class LocalFunction:
    """A function of the template, with the handler that runs it here.

    A handler is not stopped at its timeout: Lambda ends a process for that, and threads cannot be
    ended. The context still reports the remaining time correctly.
    """

    name: str
    handler: Handler
    timeout_seconds: int = 3
    memory_mb: int = 128

    @property
    def arn(self) -> str:
        """The function's ARN."""
        return f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:{self.name}"

    def invoke(self, event: Any) -> Result:
        """Run the handler once. An exception becomes a failed result with its class's name."""
        context = Context(self)
        try:
            answer = self.handler(json.loads(json.dumps(event)), context)
            return Result(json.loads(json.dumps(answer)), failed=False)
        except Exception as error:
            # The edge of the process, as in Lambda's own runtime: every exception of a handler
            # becomes the error that the caller sees.
            _LOG.exception("%s failed", self.name)
            return Result(_described(error, context), failed=True)


def _described(error: Exception, context: Context) -> dict[str, Any]:
    return {
        "errorMessage": str(error),
        "errorType": type(error).__name__,
        "requestId": context.aws_request_id,
        "stackTrace": traceback.format_tb(error.__traceback__),
    }
