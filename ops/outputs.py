"""The outputs of a stack, on this machine or deployed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import boto3
from botocore.exceptions import BotoCoreError, ClientError

if TYPE_CHECKING:
    from collections.abc import Mapping

FILE = Path(__file__).parent.parent / ".local" / "outputs.json"


class NoStackError(Exception):
    """The stack cannot be used; the message says what to do."""


def of_local(file: Path = FILE) -> Mapping[str, str]:
    """Return the outputs of the stack on this machine. Raises NoStackError."""
    try:
        outputs: Mapping[str, str] = json.loads(file.read_text(encoding="utf-8"))
        return dict(outputs)
    except (OSError, ValueError, TypeError) as error:
        msg = "the local stack is not running: start it with `make run`, or name a deployed STACK"
        raise NoStackError(msg) from error


def of_deployed(stack: str) -> Mapping[str, str]:
    """Return the CloudFormation outputs of a deployed stack. Raises NoStackError."""
    try:
        described = boto3.client("cloudformation").describe_stacks(StackName=stack)
    except (BotoCoreError, ClientError) as error:
        msg = f"the stack {stack} cannot be described: {error}"
        raise NoStackError(msg) from error
    return {
        output["OutputKey"]: output["OutputValue"]
        for output in described["Stacks"][0].get("Outputs", [])
    }
