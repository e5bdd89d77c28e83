"""The worker under its former name, for executions that the previous release began.

Their definitions name this function and, for the error that they retry for hours, the class
`Unavailable`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from webhooks.domain.errors import UnavailableError
from worker import handler as worker

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext

    from webhooks.wiring.worker import WorkerServices


class Unavailable(Exception):
    """The former name of UnavailableError: Step Functions matches the class's name."""


def lambda_handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Run the worker; raises Unavailable if one of our own services did not respond."""
    return handle(event, context, worker.deployed_services())


def handle(
    event: dict[str, Any], context: LambdaContext, services: WorkerServices
) -> dict[str, Any]:
    """Run the worker with the given services."""
    try:
        return worker.handle(event, context, services)
    except UnavailableError as error:
        raise Unavailable(str(error)) from error
