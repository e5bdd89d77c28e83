"""Moto without its detours: called in the tests' process, and quick with what tables answer."""

from __future__ import annotations

from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, Any
from unittest import mock

from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from botocore.httpsession import URLLib3Session

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@contextmanager
def called_in_process(server: str) -> Iterator[None]:
    """Have this process's requests to moto's server at a url call moto, and not the server.

    Over HTTP a request takes three times as long. The processes that a test starts use the server:
    it has the same tables, queues and state machines.
    """
    send = _in_process(server)
    with quick(), mock.patch.object(URLLib3Session, "send", send):
        yield


@contextmanager
def serving_in_process() -> Iterator[str]:
    """Serve moto as the local stack does, and have this process call it; yields its url."""
    from local.aws import aws_server
    from local.servers import listen

    with aws_server([listen("127.0.0.1", 0, "AWS_PORT")]) as url, called_in_process(url):
        yield url


@contextmanager
def quick() -> Iterator[None]:
    """Spare moto half of its time: it tries all ten types for each attribute of an item.

    For each request it also lists the methods of its class, which stay the same.
    """
    from moto.core import responses
    from moto.core.serialize import BaseJSONSerializer
    from moto.core.utils import method_names_from_class

    structure: Any = BaseJSONSerializer._serialize_type_structure

    def serialize(self: Any, serialized: Any, value: Any, shape: Any, key: str) -> None:
        if shape.name != "AttributeValue" or not isinstance(value, dict):
            structure(self, serialized, value, shape, key)
            return
        serialized[key] = {}
        for kind, content in value.items():
            self._serialize(serialized[key], content, shape.members[kind], kind)

    with (
        mock.patch.object(BaseJSONSerializer, "_serialize_type_structure", serialize),
        mock.patch.object(responses, "method_names_from_class", cache(method_names_from_class)),
    ):
        yield


def _in_process(server: str) -> Callable[[URLLib3Session, Any], Any]:
    """Return a replacement of the method with which botocore sends a request."""
    from moto.core.botocore_stubber import BotocoreStubber, MockRawResponse

    moto, over_http = BotocoreStubber(), URLLib3Session.send

    def send(session: URLLib3Session, request: Any) -> Any:
        if not request.url.startswith(server):
            return over_http(session, request)
        # The server finds the service in the signature, and the stubber in the host.
        region, service = request.headers["Authorization"].decode().split("/")[2:4]
        path = request.url.removeprefix(server)
        url = f"https://{service}.{region}.amazonaws.com{path}"
        answer: Any = moto.process_request(
            AWSPreparedRequest(
                request.method, url, request.headers, request.body, stream_output=False
            )
        )
        status, headers, body = answer
        return AWSResponse(request.url, status, headers, MockRawResponse(body))

    return send
