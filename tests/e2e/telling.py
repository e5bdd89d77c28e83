"""What a stack tells whoever may look at it, and what must not be in that."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from support.stack import Stack

CANARY = "canarybird"
"""In every value that must not be told. It appears in no id, no code and no name of ours."""

SHAPES = {
    "an API key": r"sc_live_[A-Za-z0-9_-]{16,}",
    "a generated secret": r"whsec_[0-9a-f]{16,}",
    "a signature": r"sha256=[0-9a-f]{16,}|v1,[A-Za-z0-9+/]{16,}",
    "an email address": r"[\w.+-]+@[\w-]+\.\w+",
    "a subject": r"Welcome to our platform",
    # A queue's own address is in the state machines' steps, and tells nothing.
    "a url of a webhook": r"https?://(?!sqs\.us-east-1\.amazonaws\.com/\d{12}/)",
}
"""What every test puts through the same stack."""


def assert_nothing_secret(told: Mapping[str, str]) -> None:
    """Fail where one of the texts holds what must not be told, and show where in it."""
    patterns = {"what the canary's test marked": CANARY, **SHAPES}
    for where, text in told.items():
        assert text, f"{where}: nothing was looked at"
        for what, pattern in patterns.items():
            assert not re.search(pattern, text), (where, what, surroundings(text, pattern))


def log(stack: Stack) -> str:
    """What the functions printed, with AWS's address here under another name.

    On a busy machine their calls to AWS time out. The tracebacks name that address, which looks
    like a webhook's on loopback.
    """
    text = stack.outputs_file.with_name("run.log").read_text(encoding="utf-8")
    return text.replace(stack.outputs["AwsEndpointUrl"], "AWS")


def executions(stack: Stack) -> str:
    """The input, output and history of every execution so far."""
    client = stack.client("stepfunctions")
    texts = []
    for machine in ("RetryStateMachineArn", "ShortRetryStateMachineArn", "JobStateMachineArn"):
        pages = client.get_paginator("list_executions").paginate(
            stateMachineArn=stack.outputs[machine]
        )
        for execution in [one for page in pages for one in page["executions"]]:
            arn = execution["executionArn"]
            texts.append(json.dumps(client.describe_execution(executionArn=arn), default=str))
            texts.append(json.dumps(client.get_execution_history(executionArn=arn), default=str))
    return "".join(texts)


def surroundings(text: str, pattern: str) -> str:
    """Where it was found, for whoever has to find out why."""
    found = re.search(pattern, text)
    return "" if found is None else text[max(0, found.start() - 300) : found.end() + 100]
