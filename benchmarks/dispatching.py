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
from webhooks.wiring import Services

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Iterator, Sequence

    from benchmarks.processes import Served


class Used(NamedTuple):
    """What invocations took: this process's CPU and the clock's time, in milliseconds each.

    `failures` are the attempts that failed.
    """

    cpu_ms: float
    wall_ms: float
    entered_at: float
    failures: int


def trusting(authority: str) -> ssl.SSLContext:
    """Return the sender's own TLS context, which trusts the receivers' authority too."""
    context = new_ssl_context()
    context.load_verify_locations(cadata=authority)
    return context


def prepare_environment() -> None:
    """Say what a client of AWS asks the environment for."""
    os.environ |= {
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
    }


class Function:
    """A warm dispatcher."""

    def __init__(self, endpoint: str, authority: str) -> None:
        """Build its services, as a new process does."""
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
        self._services = Services("dispatcher", settings, rules=LOOPBACK)
        # A cached property, set before its first use: the receivers' authority is nobody else's.
        vars(self._services)["_sender"] = local_sender(ssl_context=trusting(authority))
        self._numbers = count(time.time_ns())

    def invoke(self, messages: int) -> Used:
        """Have it handle a batch of new events."""
        return self.handle([event_text(next(self._numbers)) for _ in range(messages)])

    def handle(self, bodies: Sequence[str]) -> Used:
        """Have it handle a batch of messages."""
        event = sqs_event(*bodies, group="acc_1")
        entered_at, cpu, wall = time.time(), time.process_time(), time.perf_counter()
        with contextlib.redirect_stdout(io.StringIO()) as log:
            dispatcher.handler.handle(event, lambda_context(), self._services)
        used = time.process_time() - cpu, time.perf_counter() - wall
        failures = log.getvalue().count('"attempt_failed"')
        return Used(used[0] * 1000, used[1] * 1000, entered_at, failures)


def invocations(endpoint: str, authority: str, messages: int, number: int) -> list[Used]:
    """Return what so many invocations took, after one that warms up."""
    function = Function(endpoint, authority)
    return [function.invoke(messages) for _ in range(number + 1)][1:]


class Stand:
    """Receivers in a process, and functions in others."""

    def __init__(self, receivers: Served) -> None:
        """Take the receivers' urls and authority."""
        self._receivers = receivers
        self.urls: dict[str, str] = receivers.first["urls"]
        self.authority: str = receivers.first["authority"]

    def arrivals(self) -> dict[str, list[tuple[str, float]]]:
        """Return when each request came since the last time, by kind of receiver."""
        arrivals: dict[str, list[tuple[str, float]]] = self._receivers.ask("arrivals")
        return arrivals

    def dispatch(self, urls: Sequence[str], messages: int, number: int) -> list[Used]:
        """Return what invocations took whose events go to these urls each."""
        with serving(serve_aws, urls) as aws:
            return in_process(invocations, aws.first, self.authority, messages, number)

    def loop(self, work: Callable[..., Any], *arguments: Any) -> Any:
        """Return what `work(authority, *arguments)` returns in a process of its own."""
        return in_process(work, self.authority, *arguments)


@contextmanager
def receivers() -> Iterator[Stand]:
    """Serve the receivers."""
    with serving(serve_receivers) as served:
        yield Stand(served)
