"""`make demo`: the whole pipeline in under a minute, on a stack of its own."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import secrets
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from local.aws import aws_client
from local.publishing import EVENT_TYPES, publish, sample
from local.receiver import Received, Receiver
from local.servers import LOOPBACK, listen
from local.stack import ROOT, TEMPLATE, LocalStack, StackOptions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

_SCHEDULE = "1,1"
_ATTEMPTS = 3
_PATIENCE_SECONDS = 60.0
"""How long a step may take on a busy machine. On an idle one each takes a few seconds."""

_SES_SAMPLE = ROOT / "events" / "dispatcher-ses-bounce.json"


class Step(NamedTuple):
    """An expected result, and whether it happened."""

    what: str
    happened: bool


class Demo:
    """Three webhooks (a good, a flaky and a dead one) and the results of events for them.

    `outputs` are a stack's, `receiver` is served at `receiver_url`, and each step may take
    `patience_seconds`.
    """

    def __init__(
        self,
        outputs: Mapping[str, str],
        receiver: Receiver,
        receiver_url: str,
        patience_seconds: float,
    ) -> None:
        self._outputs = outputs
        self._sqs = aws_client("sqs", outputs["AwsEndpointUrl"])
        self._receiver = receiver
        self._receiver_url = receiver_url
        self._patience_seconds = patience_seconds

    def run(self, secret: str) -> Iterator[Step]:
        """Run the pipeline; yield each step when it is over."""
        yield self._register("/ok", ["*"], secret)
        yield self._register("/flaky", ["email.opened"], secret)
        yield self._register("/fail", ["email.complained"], secret)
        for name in EVENT_TYPES:
            message = sample(f"email.{name}", self._outputs["AccountId"], f"{name}@example.com")
            publish(self._sqs, self._outputs, message)
        types = len(EVENT_TYPES)
        yield Step(f"{types} events published to the events queue, one of each type", happened=True)
        publish(self._sqs, self._outputs, ses_bounce())
        yield Step("one SES bounce published to the events queue", happened=True)
        yield self._wait(
            f"all {types + 1} arrive, verified",
            lambda r: len({x.delivery_id for x in _succeeded(r, "/ok")}) == types + 1,
        )
        yield self._wait(
            "the flaky receiver fails twice and is retried until it returns 200",
            lambda r: [x.attempt for x in _succeeded(r, "/flaky")] == [_ATTEMPTS],
        )
        yield self._wait(
            f"the failing receiver gets {_ATTEMPTS} attempts",
            lambda r: [x.attempt for x in r if x.path == "/fail"] == [1, 2, 3],
        )
        yield self._dead_lettered()

    def _register(self, path: str, events: list[str], secret: str) -> Step:
        request = urllib.request.Request(  # noqa: S310  the api's own address
            f"{self._outputs['ApiUrl']}/api/v1/webhooks",
            data=json.dumps(
                {"url": f"{self._receiver_url}{path}", "events": events, "secret": secret}
            ).encode(),
            headers={
                "Authorization": f"Bearer {self._outputs['ApiKey']}",
                "Content-Type": "application/json",
            },
        )
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310
                registered = json.load(answer)["success"]
        except urllib.error.URLError:
            registered = False
        return Step(f"webhook registered for {path}: {', '.join(events)}", registered)

    def _wait(self, what: str, condition: Callable[[list[Received]], bool]) -> Step:
        return Step(what, self._receiver.wait(condition, self._patience_seconds))

    def _dead_lettered(self) -> Step:
        deadline = time.monotonic() + self._patience_seconds
        messages: list[Any] = []
        while not messages and time.monotonic() < deadline:
            messages = self._sqs.receive_message(
                QueueUrl=self._outputs["DeadLetterQueueUrl"], WaitTimeSeconds=1
            ).get("Messages", [])
        if not messages:
            return Step("the failed delivery is in the dead-letter queue", happened=False)
        dead = json.loads(messages[0]["Body"])
        failed = {x.delivery_id for x in self._receiver.received if x.path == "/fail"}
        return Step(
            f"delivery {dead['delivery_id']} is in the dead-letter queue: {dead['reason']} "
            f"after {dead.get('attempts')} attempts",
            failed == {dead["delivery_id"]},
        )


def ses_bounce() -> str:
    """Return the sample of an SES bounce, in the form that SNS sends; its tag names the account."""
    event = json.loads(_SES_SAMPLE.read_text(encoding="utf-8"))
    return str(event["Records"][0]["body"])


def _succeeded(received: list[Received], path: str) -> list[Received]:
    return [x for x in received if x.path == path and x.verified and x.status == 200]


def main(template: Path = TEMPLATE, patience_seconds: float = _PATIENCE_SECONDS) -> int:
    """Run the demo; return 0 if every step happened within the patience."""
    screen = sys.stdout
    started = time.monotonic()
    secret = f"whsec_{secrets.token_hex(32)}"

    def show(line: str) -> None:
        # One write per line, because receivers' threads write too.
        screen.write(f"{time.monotonic() - started:5.1f}s  {line}\n")
        screen.flush()

    show(f"starting the stack on free ports, with the retry schedule {_SCHEDULE} (seconds)")
    with contextlib.ExitStack() as running:
        running.enter_context(_silenced())
        options = StackOptions(parameters={"RetrySchedule": _SCHEDULE}, template=template)
        stack = running.enter_context(LocalStack(options))
        receiver = Receiver(secret, lambda received: show(f"    {received}"))
        listener = listen(LOOPBACK, 0, "RECEIVER_PORT")
        receiver_url = running.enter_context(receiver.serving(listener))
        show(f"the api is at {stack.outputs['ApiUrl']}, the receiver at {receiver_url}")
        demo = Demo(stack.outputs, receiver, receiver_url, patience_seconds)
        steps = []
        for step in demo.run(secret):
            show(f"{'ok    ' if step.happened else 'FAILED'} {step.what}")
            steps.append(step)
    failed = sum(not step.happened for step in steps)
    show(f"{len(steps) - failed} of {len(steps)} steps happened")
    return 1 if failed else 0


@contextlib.contextmanager
def _silenced() -> Iterator[None]:
    """Keep the output of the functions and of moto off the screen."""
    with (
        Path(os.devnull).open("w", encoding="utf-8") as nowhere,
        contextlib.redirect_stdout(nowhere),
        contextlib.redirect_stderr(nowhere),
    ):
        logging.basicConfig(stream=nowhere)
        yield


if __name__ == "__main__":
    try:
        exit_code = main()
    except KeyboardInterrupt:
        exit_code = 130
    sys.stdout.flush()
    # Without this, Python would wait for every thread of the functions.
    os._exit(exit_code)
