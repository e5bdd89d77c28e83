"""The dispatcher as a function runs it, in this process, with AWS and the receivers in others."""

from __future__ import annotations

import contextlib
import io
import os
import time
from contextlib import contextmanager
from itertools import count
from typing import TYPE_CHECKING, Any, NamedTuple

import dispatcher.handler
from benchmarks.events import event_text
from benchmarks.processes import in_process, serving
from benchmarks.servers import serve_aws, serve_receivers
from support.backend import LOOPBACK, lambda_context, sqs_event
from support.receiver import local_sender
from webhooks.adapters.http.connection import new_ssl_context
from webhooks.settings import Settings
from webhooks.wiring.dispatcher import DispatcherServices

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Iterator, Sequence

    from benchmarks.processes import Served


class Used(NamedTuple):
    """The cost of invocations: this process's CPU and the elapsed time, in milliseconds each.

    `failures` is the number of failed attempts.
    """

    cpu_ms: float
    wall_ms: float
    entered_at: float
    failures: int


def trusting(authority: str) -> ssl.SSLContext:
    """Return the sender's own TLS context, which also trusts the receivers' authority."""
    context = new_ssl_context()
    context.load_verify_locations(cadata=authority)
    return context


def prepare_environment() -> None:
    """Set the environment variables that a client of AWS needs."""
    os.environ |= {
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
    }


class Function:
    """A warm dispatcher."""

    def __init__(self, endpoint: str, authority: str) -> None:
        prepare_environment()
        settings = Settings(
            webhooks_table="WebhooksTable",
            deliveries_table="DeliveriesTable",
            events_queue_url=f"{endpoint}/events",
            events_dead_letter_queue_url=f"{endpoint}/rejected",
            retry_state_machine_arn="arn:aws:states:us-east-1:123456789012:stateMachine:retry",
            job_state_machine_arn="arn:aws:states:us-east-1:123456789012:stateMachine:recover",
            aws_endpoint_url=endpoint,
        )
        self._services = DispatcherServices(settings, rules=LOOPBACK)
        # A cached property, set before its first use: only this sender trusts the receivers'
        # authority.
        vars(self._services)["_sender"] = local_sender(ssl_context=trusting(authority))
        self._numbers = count(time.time_ns())

    def invoke(self, messages: int) -> Used:
        """Handle a batch of new events."""
        return self.handle([event_text(next(self._numbers)) for _ in range(messages)])

    def handle(self, bodies: Sequence[str]) -> Used:
        """Handle a batch of messages."""
        event = sqs_event(*bodies, group="acc_1")
        entered_at, cpu, wall = time.time(), time.process_time(), time.perf_counter()
        with contextlib.redirect_stdout(io.StringIO()) as log:
            dispatcher.handler.handle(event, lambda_context(), self._services)
        used = time.process_time() - cpu, time.perf_counter() - wall
        failures = log.getvalue().count('"attempt_failed"')
        return Used(used[0] * 1000, used[1] * 1000, entered_at, failures)


def invocations(endpoint: str, authority: str, messages: int, number: int) -> list[Used]:
    """Return the cost of this many invocations, after a first one as warm-up."""
    function = Function(endpoint, authority)
    return [function.invoke(messages) for _ in range(number + 1)][1:]


class DispatchBench:
    """Receivers in one process, and functions in others."""

    def __init__(self, receivers: Served) -> None:
        self._receivers = receivers
        self.urls: dict[str, str] = receivers.first["urls"]
        self.authority: str = receivers.first["authority"]

    def arrivals(self) -> dict[str, list[tuple[str, float]]]:
        """Return the arrivals of requests since the last call, by kind of receiver."""
        arrivals: dict[str, list[tuple[str, float]]] = self._receivers.ask("arrivals")
        return arrivals

    def dispatch(self, urls: Sequence[str], messages: int, number: int) -> list[Used]:
        """Return the cost of invocations whose events go to all of these urls."""
        with serving(serve_aws, urls) as aws:
            return in_process(invocations, aws.first, self.authority, messages, number)

    def loop(self, work: Callable[..., Any], *arguments: Any) -> Any:
        """Return the result of `work(authority, *arguments)` in a process of its own."""
        return in_process(work, self.authority, *arguments)


@contextmanager
def receivers() -> Iterator[DispatchBench]:
    """Serve the receivers."""
    with serving(serve_receivers) as served:
        yield DispatchBench(served)
