"""The outputs of a stack (log, executions, events), and the secrets that none of them may hold."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from support.stack import Stack

CANARY = "canarybird"
"""A mark in every secret value. It appears in no id, no code and no name of ours."""

SHAPES = {
    "an API key": r"sc_live_[A-Za-z0-9_-]{16,}",
    "a generated secret": r"whsec_[0-9a-f]{16,}",
    "a signature": r"sha256=[0-9a-f]{16,}|v1,[A-Za-z0-9+/]{16,}",
    "an email address": r"[\w.+-]+@[\w-]+\.\w+",
    "a subject": r"Welcome to our platform",
    # A queue's own address is in the state machines' steps, and is no secret.
    "a url of a webhook": r"https?://(?!sqs\.us-east-1\.amazonaws\.com/\d{12}/)",
}
"""The shapes of the values that every test sends through the same stack."""


def assert_nothing_secret(told: Mapping[str, str]) -> None:
    """Fail if one of the texts holds a secret, and show where."""
    patterns = {"a value that the canary's test marked": CANARY, **SHAPES}
    for where, text in told.items():
        assert text, f"{where}: the text is empty"
        for what, pattern in patterns.items():
            assert not re.search(pattern, text), (where, what, surroundings(text, pattern))


def log(stack: Stack) -> str:
    """The functions' output, with AWS's address here under another name.

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
    """The text around the first match, for the failure's message."""
    found = re.search(pattern, text)
    return "" if found is None else text[max(0, found.start() - 300) : found.end() + 100]
