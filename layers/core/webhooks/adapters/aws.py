"""AWS clients, and the translation of AWS's errors into ours."""

from __future__ import annotations

import functools
import logging
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import botocore.loaders
import botocore.session
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from webhooks.domain.errors import UnavailableError

if TYPE_CHECKING:
    from collections.abc import Iterator

CHECKS_PARAMETERS = False
"""Whether botocore validates each request against AWS's model, which takes 0.3 ms for ten items.
Only our own code makes requests, and the tests run it with validation."""

_USER_AGENT = "sendcomms-webhooks/1.0"
"""A constant: botocore would compose its own user agent for each request, which takes 0.1 ms."""

READ_TIMEOUT_SECONDS = 2
"""How long to wait for a response. Budgets that count units instead of time may take longer."""

CALL_SECONDS = 9.0
"""A call at its slowest: three tries, a second to connect and `READ_TIMEOUT_SECONDS` each."""

QUICK_CALL_SECONDS = 2.0
"""A call of a quick client at its slowest: one try, a second to connect and one to respond."""

_TRIES = 3
"""Tries of a request, the first included."""

_CONFLICT = "TransactionConflictException"
_CONFLICT_PAUSE_SECONDS = 0.03

_CONNECTIONS = 64
"""As many as the dispatcher's threads, so that recording failures never waits for a connection."""


def client(service: str, endpoint_url: str | None = None, *, quick: bool = False) -> Any:
    """Build a client that gives up soon enough for a Lambda function to react.

    One request takes at most 1 + 2 seconds and is tried three times by the SDK: nine seconds; the
    functions' timeouts in the template are sums of these. A `quick` client is for optional work,
    which is skipped after `QUICK_CALL_SECONDS`.
    """
    config = Config(
        connect_timeout=1,
        read_timeout=1 if quick else READ_TIMEOUT_SECONDS,
        retries={"total_max_attempts": 1 if quick else _TRIES, "mode": "standard"},
        max_pool_connections=_CONNECTIONS,
        parameter_validation=CHECKS_PARAMETERS,
        user_agent=_USER_AGENT,
    )
    # botocore logs the source of its credentials at INFO on every cold start.
    logging.getLogger("botocore.credentials").setLevel(logging.WARNING)
    # A session of botocore: boto3 would also load its transfers to S3 on every cold start.
    session: Any = botocore.session.get_session()
    session.register_component("data_loader", _loader())
    built = session.create_client(service, endpoint_url=endpoint_url, config=config)
    if service == "dynamodb" and not quick:
        built.meta.events.register("needs-retry.dynamodb", _pause_after_conflict)
    return built


def _pause_after_conflict(attempts: int, response: Any = None, **_: Any) -> float | None:
    """Return the seconds before a retry of a write that conflicted with a transaction.

    A plain write is refused while a transaction on the same item is in progress, for some
    milliseconds. The SDK retries it in none of its modes (`botocore.retries`).
    """
    if response is None or attempts >= _TRIES:
        return None
    code = response[1].get("Error", {}).get("Code")
    return _CONFLICT_PAUSE_SECONDS * attempts if code == _CONFLICT else None


@functools.cache
def _loader() -> Any:
    """Return one loader of botocore's data for all clients: each would list and read it again."""
    return botocore.loaders.create_loader()


class LazyClient:
    """A client that is built at its first use: a cold start builds only the clients it needs."""

    def __init__(
        self, service: str, endpoint_url: str | None = None, *, quick: bool = False
    ) -> None:
        self._service = service
        self._endpoint_url = endpoint_url
        self._quick = quick
        self._lock = threading.Lock()
        self._built: Any = None

    def __getattr__(self, name: str) -> Any:
        """Return the client's own attribute."""
        with self._lock:
            if self._built is None:
                self._built = client(self._service, self._endpoint_url, quick=self._quick)
        return getattr(self._built, name)

    def quick(self) -> LazyClient:
        """Return a client of the same service that gives up after `QUICK_CALL_SECONDS`."""
        return LazyClient(self._service, self._endpoint_url, quick=True)


def quick(client: Any) -> Any:
    """Return a quick client for a lazy one; any other client, such as a test's, stays as it is."""
    return client.quick() if isinstance(client, LazyClient) else client


def error_code(error: ClientError) -> str:
    """Return AWS's code of an error, such as `ConditionalCheckFailedException`."""
    return str(error.response.get("Error", {}).get("Code", "Unknown"))


@contextmanager
def unavailable_on_failure(operation: str) -> Iterator[None]:
    """Turn AWS errors raised within into `UnavailableError` with their code and no message.

    AWS's messages can hold keys and values of the request; codes cannot.
    """
    try:
        yield
    except ClientError as error:
        msg = f"{operation}: {error_code(error)}"
        raise UnavailableError(msg) from error
    except BotoCoreError as error:
        msg = f"{operation}: {type(error).__name__}"
        raise UnavailableError(msg) from error
