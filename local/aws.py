"""AWS on this machine: moto on one port, adapted to run our functions from state machines."""

from __future__ import annotations

import contextlib
import datetime
import functools
import json
import logging
import os
import sys
import threading
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from local.constants import ACCOUNT, REGION
from local.moto_locks import one_at_a_time
from local.servers import LOOPBACK, serve

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from local.functions import LocalFunction

ANY_ADDRESS = "0.0.0.0"  # noqa: S104  compared with, not listened on

_CREDENTIALS = {"aws_access_key_id": "test", "aws_secret_access_key": "test"}
_BUSY_SERVICES = ("dynamodb", "lambda", "sqs", "stepfunctions")
_UNWANTED_VARIABLES = (
    "AWS_DEFAULT_PROFILE",
    "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS",
    "AWS_PROFILE",
    "AWS_SESSION_TOKEN",
)
_RUNNING_AT_MOST_ONCE = threading.Lock()


@contextlib.contextmanager
def aws_server(listeners: Sequence[socket.socket]) -> Iterator[str]:
    """Serve moto on listening sockets; yield the first one's url, as this machine reaches it.

    moto keeps its state in module globals, so a process can run one instance at a time: a second
    one raises RuntimeError. The process's environment names the endpoint and dummy credentials
    until the end, so that no client created here can reach the real AWS.
    """
    if not _RUNNING_AT_MOST_ONCE.acquire(blocking=False):
        msg = "a local stack is running in this process already"
        raise RuntimeError(msg)
    try:
        host, port = listeners[0].getsockname()[:2]
        endpoint = f"http://{LOOPBACK if host == ANY_ADDRESS else host}:{port}"
        with _environment(_pointing_at(endpoint)), _moto(), contextlib.ExitStack() as serving:
            serving.enter_context(serving_moto(listeners))
            yield endpoint
    finally:
        _RUNNING_AT_MOST_ONCE.release()


@contextlib.contextmanager
def serving_moto(listeners: Iterable[socket.socket]) -> Iterator[None]:
    """Serve moto's backends, as they are, on sockets that listen."""
    from moto.moto_server.werkzeug_app import (
        DomainDispatcherApplication,
        MotoRequestHandler,
        create_backend_app,
    )

    application = DomainDispatcherApplication(create_backend_app)
    # moto looks for its own modules on the disk at every request, one request at a time.
    find_backend = functools.cache(application.get_backend_for_host)
    with _replaced(application, "get_backend_for_host", find_backend), contextlib.ExitStack() as on:
        for listener in listeners:
            on.enter_context(serve(listener, application, handler=MotoRequestHandler))
        yield


def aws_client(service: str, endpoint: str) -> Any:
    """Return a boto3 client of a service at an endpoint, with dummy credentials."""
    import boto3

    session: Any = boto3.session.Session(region_name=REGION)
    return session.client(service, endpoint_url=endpoint, **_CREDENTIALS)


@contextlib.contextmanager
def invoking(functions: Iterable[LocalFunction]) -> Iterator[None]:
    """Make moto's Lambda, and so its state machines, invoke these functions by name."""
    from moto.awslambda.models import LambdaFunction

    by_name = {function.name: function for function in functions}

    def invoke(self: LambdaFunction, event: Any = None) -> tuple[str, bool, str]:
        result = by_name[self.function_name].invoke({} if event is None else event)
        return json.dumps(result.payload), result.failed, ""

    with _replaced(LambdaFunction, "_invoke_lambda", invoke):
        yield


@contextlib.contextmanager
def _moto() -> Iterator[None]:
    """Prepare moto's globals; empty and restore them at the end."""
    from moto.core.config import default_user_config
    from moto.core.routing import get_service_router
    from moto.moto_api._internal.models import moto_api_backend
    from moto.stepfunctions.parser.models import stepfunctions_parser_backends

    for service in _BUSY_SERVICES:
        # Load it now: otherwise each of many simultaneous first requests would load it.
        get_service_router(service)
    before = default_user_config["stepfunctions"]
    default_user_config["stepfunctions"] = {"execute_state_machine": True}
    moto_api_backend.reset()
    try:
        with _cached_task_clients(), one_at_a_time():
            yield
    finally:
        for machine in stepfunctions_parser_backends[ACCOUNT][REGION].state_machines:
            _stop_executions(machine)
        moto_api_backend.reset()
        default_user_config["stepfunctions"] = before


def _stop_executions(machine: Any) -> None:
    for execution in machine.executions:
        if execution.status == "RUNNING" and execution.exec_worker.env is not None:
            execution.stop(datetime.datetime.now(tz=datetime.UTC), "Stopped", "the stack stopped")


@contextlib.contextmanager
def _cached_task_clients() -> Iterator[None]:
    """Give the state machine interpreter one client per service.

    moto creates a client for each task from boto3's default session, which is neither safe in
    threads nor cheap: with a hundred executions at once, tasks fail.
    """
    import boto3
    from moto.stepfunctions.parser.asl.utils import boto_client

    lock = threading.Lock()

    @functools.cache
    def client(service: str, region: str) -> Any:
        session: Any = boto3.session.Session()
        made = session.client(service, region_name=region)
        made.meta.events.register("provide-client-params.sfn.StartExecution", _sdk_names)
        return made

    def boto_client_for(region: str, service: str, state_credentials: Any = None) -> Any:
        del state_credentials
        with lock:
            return client(service, region)

    original = boto_client.boto_client_for
    with contextlib.ExitStack() as stack:
        for name, module in list(sys.modules.items()):
            if name.startswith("moto.stepfunctions.") and (
                getattr(module, "boto_client_for", None) is original
            ):
                stack.enter_context(_replaced(module, "boto_client_for", boto_client_for))
        yield


def _sdk_names(params: Mapping[str, Any], **_: object) -> dict[str, Any]:
    """Spell parameters like the SDK: moto passes them in the state machine language's spelling."""
    return {name[0].lower() + name[1:]: value for name, value in params.items()}


@contextlib.contextmanager
def _replaced(owner: Any, name: str, value: Any) -> Iterator[None]:
    before = getattr(owner, name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, before)


def _pointing_at(endpoint: str) -> dict[str, str]:
    here = (os.environ.get("NO_PROXY"), LOOPBACK, "localhost", urlsplit(endpoint).hostname)
    direct = ",".join(filter(None, here))
    return {
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": REGION,
        "AWS_REGION": REGION,
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
        "NO_PROXY": direct,
        "no_proxy": direct,
    }


@contextlib.contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
    before = dict(os.environ)
    for name in before:
        # A single service's endpoint would override the common endpoint.
        if name in _UNWANTED_VARIABLES or name.startswith("AWS_ENDPOINT_URL_"):
            del os.environ[name]
    os.environ.update(variables)
    # moto's server logs every request.
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
