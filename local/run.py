"""`make run`: the whole stack on this machine, with a receiver that shows its deliveries."""

from __future__ import annotations

import contextlib
import faulthandler
import logging
import os
import re
import secrets
import signal
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

from local.handlers import live_secrets
from local.receiver import PATHS, Received, Receiver
from local.servers import LOOPBACK, PortTakenError, docker_bridge_address, listen
from local.stack import ROOT, LocalStack, StackOptions

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import TextIO

DIRECTORY = ROOT / ".local"
LOG = DIRECTORY / "run.log"
_DEFAULT_PORTS = {"PORT": 8080, "AWS_PORT": 4566, "RECEIVER_PORT": 9000}
_PARAMETERS = {
    "RETRY_SCHEDULE": "RetrySchedule",
    "RECOVERY_SCHEDULE": "RecoverySchedule",
    "MAX_EVENTS_PER_MINUTE": "MaxEventsPerMinute",
    "MAX_REQUESTS_PER_HOST": "MaxRequestsPerHost",
    "DOCS_PAGE": "DocsPage",
}
_MAX_PORT = 65535
_TIDYING_SECONDS = 20.0
"""The time for the parts to stop. One second is enough; after this time Ctrl-C ends them all."""

_WAKE_SECONDS = 1.0


class WrongSettingError(Exception):
    """An environment variable has an unusable value; the message names it and its rule."""


def main() -> int:
    """Run until Ctrl-C or SIGTERM; return the process's exit code."""
    # SIGINT too: a shell without job control starts background programs with SIGINT ignored.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    try:
        with contextlib.ExitStack() as running:
            _run(running, sys.stdout, time.monotonic())
    except KeyboardInterrupt:
        return 0
    except (PortTakenError, WrongSettingError) as error:
        print(f"make run: {error}", file=sys.stderr)
        return 1
    return 0


def _run(running: contextlib.ExitStack, screen: TextIO, started: float) -> None:
    ports = {name: _port(name, os.environ) for name in _DEFAULT_PORTS}
    receiver_socket = running.enter_context(
        contextlib.closing(listen(LOOPBACK, ports["RECEIVER_PORT"], "RECEIVER_PORT"))
    )
    print("Starting ...", file=screen, flush=True)
    running.enter_context(_logged())
    options = StackOptions(
        api_port=ports["PORT"],
        aws_port=ports["AWS_PORT"],
        aws_hosts=_aws_hosts(os.environ),
        parameters=_parameters(os.environ),
        directory=DIRECTORY,
    )
    stack = running.enter_context(LocalStack(options))
    secret = f"whsec_{secrets.token_hex(32)}"

    def report(received: Received) -> None:
        # One write per line, because each delivery is reported by its own thread.
        screen.write(f"{time.strftime('%H:%M:%S')}  {received}\n")
        screen.flush()

    def other_secrets() -> list[str]:
        return live_secrets(stack.outputs["WebhooksTable"], stack.outputs["AwsEndpointUrl"])

    receiver = Receiver(secret, report, other_secrets)
    receiver_url = running.enter_context(receiver.serving(receiver_socket))
    running.callback(_begin_to_end)
    seconds = time.monotonic() - started
    print(_banner(stack.outputs, receiver_url, secret, seconds), file=screen, flush=True)
    ended = threading.Event()
    # The system may deliver a signal to another thread. This one acts on it only when it wakes up.
    while not ended.wait(_WAKE_SECONDS):
        pass


@contextlib.contextmanager
def _logged() -> Iterator[None]:
    """Send the output of the functions and of moto to the log: the screen is for deliveries."""
    DIRECTORY.mkdir(exist_ok=True)
    with (
        LOG.open("w", encoding="utf-8", buffering=1) as log,
        contextlib.redirect_stdout(log),
        contextlib.redirect_stderr(log),
    ):
        logging.basicConfig(stream=log, level=logging.WARNING)
        yield


def _begin_to_end() -> None:
    # An impatient second Ctrl-C must not interrupt the shutdown.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    late = threading.Timer(_TIDYING_SECONDS, _end)
    late.daemon = True
    late.start()


def _end() -> None:
    """End the process although a part does not stop; the log shows where each thread is."""
    with LOG.open("a", encoding="utf-8") as log:
        faulthandler.dump_traceback(log, all_threads=True)
    os._exit(0)


def _aws_hosts(environment: Mapping[str, str]) -> list[str]:
    """Return the addresses of AWS's port: LOCAL_HOST, or loopback and Docker's bridge."""
    chosen = environment.get("LOCAL_HOST")
    return [chosen] if chosen else [LOOPBACK, *filter(None, [docker_bridge_address()])]


def _port(name: str, environment: Mapping[str, str]) -> int:
    text = environment.get(name) or str(_DEFAULT_PORTS[name])
    if not text.isdecimal() or int(text) > _MAX_PORT:
        msg = f"{name} must be a port number, or 0 for any free one"
        raise WrongSettingError(msg)
    return int(text)


def _parameters(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the template's parameters in the environment, checked against their patterns."""
    from local import template

    declared = template.read()["Parameters"]
    chosen = {}
    for variable, name in _PARAMETERS.items():
        value = environment.get(variable)
        if value and name in declared:
            complaint = _complaint(declared[name], value)
            if complaint is not None:
                msg = f"{variable} {complaint}"
                raise WrongSettingError(msg)
            chosen[name] = value
    return chosen


def _complaint(declared: Mapping[str, Any], value: str) -> str | None:
    """Return the fault of a value for a parameter of the template; None if it is valid."""
    if not re.search(declared.get("AllowedPattern", ""), value):
        return str(declared["ConstraintDescription"])
    if value not in declared.get("AllowedValues", [value]):
        return f"must be {' or '.join(declared['AllowedValues'])}"
    if declared["Type"] == "Number" and not (
        value.isdecimal() and declared["MinValue"] <= int(value) <= declared["MaxValue"]
    ):
        return f"must be a whole number from {declared['MinValue']} to {declared['MaxValue']}"
    return None


def _banner(outputs: Mapping[str, str], receiver_url: str, secret: str, seconds: float) -> str:
    authorization = f"-H 'Authorization: Bearer {outputs['ApiKey']}'"
    webhooks_url = f"{outputs['ApiUrl']}/api/v1/webhooks"
    paths = "\n".join(f"    {path:<7} {behaviour}" for path, behaviour in PATHS.items())
    return f"""
Ready in {seconds:.1f} seconds. Ctrl-C stops everything.

  API           {outputs["ApiUrl"]}
  Dashboard     {outputs["DashboardUrl"]}  (sign in with the key)
  API key       {outputs["ApiKey"]}  (account {outputs["AccountId"]})
  Events queue  {outputs["EventsQueueUrl"]}
  AWS endpoint  {outputs["AwsEndpointUrl"]}  (any credentials, region {outputs["Region"]})
  Receiver      {receiver_url}
{paths}
  Outputs in .local/outputs.json, the functions' logs in .local/run.log

1. Register a webhook:

curl -X POST {webhooks_url} {authorization} \\
  -H 'Content-Type: application/json' \\
  -d '{{"url": "{receiver_url}/ok", "events": ["*"], "secret": "{secret}"}}'

2. Publish an event (without the AWS CLI: make publish):

AWS_ACCESS_KEY_ID=test AWS_SECRET_ACCESS_KEY=test aws sqs send-message \\
  --endpoint-url {outputs["AwsEndpointUrl"]} --region {outputs["Region"]} \\
  --queue-url {outputs["EventsQueueUrl"]} \\
  --message-body '{{"account_id": "{outputs["AccountId"]}", "event": "email.delivered", \
"data": {{"email_id": "'$(date +%s)'", "to": "recipient@example.com"}}}}'

3. List the webhooks:

curl {webhooks_url} {authorization}

What the receiver gets:
"""


if __name__ == "__main__":
    exit_code = main()
    sys.stdout.flush()
    sys.stderr.flush()
    # Without this, Python would wait for every thread of the functions, up to a receiver's 5
    # seconds.
    os._exit(exit_code)
