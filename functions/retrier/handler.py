"""The worker under its former name, for executions that the version before began.

Their definitions name this function, and the error that they try again for hours is `Unavailable`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from webhooks import wiring
from webhooks.domain.errors import UnavailableError
from worker import handler as worker

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext


class Unavailable(Exception):
    """The former name of UnavailableError: Step Functions goes by the class's name."""


def lambda_handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Do what the worker does; raises Unavailable where our own side did not answer."""
    return handle(event, context, wiring.services("worker"))


def handle(
    event: dict[str, Any], context: LambdaContext, services: wiring.Services
) -> dict[str, Any]:
    """Do what the worker does, with these services."""
    try:
        return worker.handle(event, context, services)
    except UnavailableError as error:
        raise Unavailable(str(error)) from error
