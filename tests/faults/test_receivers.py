"""Rows 34 to 41, 46 and 57: a receiver's answers, and the results of its deliveries."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import TYPE_CHECKING

import pytest

from faults.attempts import HEAD, assert_scheduled, fails, next_one_arrives, succeeds
from support.hostile import says
from support.receiver import Answer, Raw
from webhooks.domain.delivery import FailureReason, Status

if TYPE_CHECKING:
    import socket
    import threading
    from collections.abc import Callable

    from faults.fault_harness import Tenant
    from support.receiver import Receiver, Wire

    MakeReceiver = Callable[..., Receiver]


@pytest.mark.parametrize(
    ("status", "location"),
    [
        (301, "{other}"),
        (302, "/elsewhere"),
        (303, "{self}"),
        (307, "http://169.254.169.254/latest/meta-data/"),
        (308, "{other}"),
        (302, "//{other}"),
    ],
)
def test_row_34_a_redirect_is_not_followed(
    tenant: Tenant, receiver: MakeReceiver, status: int, location: str
) -> None:
    other = receiver()
    hook = receiver()
    where = location.replace("{other}", other.url).replace("{self}", hook.url)
    hook.answer_with(Answer(status, {"Location": where}))
    fails(tenant, hook, FailureReason.HTTP_STATUS, status)
    assert len(hook.requests) == 1
    assert other.connections == 0


JUDGED_AT_ONCE = [
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\n\r\n",
    b"HTTP/1.1 000 Zero\r\n\r\n",
    b"HTTP/1.1 99999 Many\r\n\r\n",
    b"HTTP/0.9 200 OK\r\n\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"\x00\xff\x00garbage\r\n\r\n",
]
WAITED_FOR = [
    b"HTTP/1.1 103 Early Hints\r\n\r\n",
    b"HTTP/1.1 199 Odd\r\n\r\n",
    b"<html>200 OK</html>",
]


@pytest.mark.parametrize(
    ("said", "stays"),
    [
        *((said, stays) for said in JUDGED_AT_ONCE for stays in (False, True)),
        *((said, False) for said in WAITED_FOR),
    ],
)
def test_row_35_what_is_no_final_http_answer_is_a_failed_attempt(
    tenant: Tenant, receiver: MakeReceiver, said: bytes, stays: bool
) -> None:
    """With `stays` the connection is still open, and must not be used again."""
    hook = receiver(Raw(says(said, then_silent=stays)))
    tenant.webhook(hook)
    assert tenant.dispatch(tenant.message()) == []
    delivery = tenant.delivery()
    [attempt] = delivery.attempts
    switching = b" 101 " in said
    assert attempt.error is (FailureReason.HTTP_STATUS if switching else FailureReason.CONNECTION)
    assert attempt.status_code == (101 if switching else None)
    assert delivery.status is Status.RETRYING
    assert_scheduled(tenant)
    next_one_arrives(tenant, hook)
    assert [one.connection for one in hook.requests] == [1, 2]


@pytest.mark.parametrize("status", [200, 201, 202, 204, 205, 206, 299])
def test_row_36_any_2xx_is_success(tenant: Tenant, receiver: MakeReceiver, status: int) -> None:
    hook = receiver(Answer(status, body=b"" if status in {204, 205} else b"{}"))
    delivery = succeeds(tenant, hook)
    assert delivery.attempts[0].status_code == status
    assert len(hook.requests) == 1


@pytest.mark.parametrize("status", [300, 304, 400, 401, 404, 407])
def test_row_37_3xx_and_4xx_are_retried_by_the_schedule(
    tenant: Tenant, receiver: MakeReceiver, status: int
) -> None:
    fails(tenant, receiver(Answer(status)), FailureReason.HTTP_STATUS, status)
    [state] = tenant.executions()
    assert 5 <= state["seconds"] <= 6


def in_seconds(seconds: float) -> str:
    """Return an HTTP date so far from now."""
    return format_datetime(datetime.now(UTC) + timedelta(seconds=seconds), usegmt=True)


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize(
    ("asked", "seconds"),
    [
        (lambda: "120", range(119, 121 + 1)),
        (lambda: "1", range(5, 6 + 1)),
        (lambda: "59.01", range(60, 60 + 1)),
        (lambda: f"{time.time() + 600:.2f}", range(597, 601 + 1)),
        (lambda: str(int(time.time() * 1000) + 600_000), range(597, 601 + 1)),
        (lambda: str(int(time.time()) - 600), range(5, 6 + 1)),
        (lambda: in_seconds(600), range(597, 601 + 1)),
        (lambda: in_seconds(-600), range(5, 6 + 1)),
        (lambda: "-5", range(5, 6 + 1)),
        (lambda: "99999999999", range(86_399, 86_401 + 1)),
        (lambda: "1e9", range(5, 6 + 1)),
        (lambda: "Thu, 99 Foo 2026", range(5, 6 + 1)),
        (lambda: "soon", range(5, 6 + 1)),
    ],
    ids=[
        "seconds",
        "less",
        "fraction",
        "time",
        "time in milliseconds",
        "past time",
        "date",
        "past",
        "negative",
        "absurd",
        "float",
        "no date",
        "garbage",
    ],
)
def test_row_39_retry_after_moves_the_next_attempt_later_only(
    tenant: Tenant, receiver: MakeReceiver, status: int, asked: Callable[[], str], seconds: range
) -> None:
    hook = receiver(Answer(status, {"Retry-After": asked()}))
    fails(tenant, hook, FailureReason.HTTP_STATUS, status)
    [state] = tenant.executions()
    assert state["seconds"] in seconds


@pytest.mark.parametrize("status", [500, 502, 504])
def test_row_40_5xx_are_retried_by_the_schedule(
    tenant: Tenant, receiver: MakeReceiver, status: int
) -> None:
    fails(
        tenant,
        receiver(Answer(status, {"Retry-After": "600"})),
        FailureReason.HTTP_STATUS,
        status,
    )
    [state] = tenant.executions()
    assert 5 <= state["seconds"] <= 6


@pytest.mark.parametrize("stays", [False, True], ids=["hangs up", "stays"])
@pytest.mark.parametrize(
    ("said", "error"),
    [
        (HEAD + b"X: " + b"y" * 70_000 + b"\r\n\r\n", FailureReason.RESPONSE_TOO_LARGE),
        (HEAD + b"X: y\r\n" * 101 + b"\r\n", FailureReason.RESPONSE_TOO_LARGE),
        (
            HEAD + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\nok",
            FailureReason.CONNECTION,
        ),
        (HEAD + b"Content-Length: 2\r\nContent-Length: 2\r\n\r\nok", None),
        (HEAD + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", None),
        (HEAD + b"Content-Length: +2\r\n\r\nok", None),
        (HEAD + b"Content-Length: 2\r\n\r\nok" + HEAD + b"\r\n", None),
        (HEAD + b"Content-Length: -5\r\n\r\nok", None),
        (HEAD + b"Content-Length: 99\r\n\r\nok", None),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n", None),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n5\r\nok", None),
    ],
    ids=[
        "long line",
        "101 headers",
        "two lengths",
        "one length twice",
        "length and chunks",
        "signed length",
        "two answers",
        "negative length",
        "truncated",
        "bad chunk",
        "truncated chunk",
    ],
)
def test_row_41_an_answer_of_odd_size_or_framing_is_judged_by_its_head(
    tenant: Tenant, receiver: MakeReceiver, said: bytes, error: FailureReason | None, stays: bool
) -> None:
    """With `stays` the connection is still open, and must not be used again."""
    hook = receiver(Raw(says(said, then_silent=stays)))
    if error:
        fails(tenant, hook, error)
    else:
        succeeds(tenant, hook)
    next_one_arrives(tenant, hook)
    assert [one.connection for one in hook.requests] == [1, 2]


def test_row_41_a_head_that_breaks_off_is_no_answer(tenant: Tenant, receiver: MakeReceiver) -> None:
    hook = receiver(Raw(says(HEAD + b"Content-Length: 0\r\n")))
    fails(tenant, hook, FailureReason.CONNECTION)
    next_one_arrives(tenant, hook)


def half_read(head: bytes, more: bytes) -> Wire:
    """Send as much of a body as the sender reads, and later another request's part."""

    def act(connection: socket.socket, stop: threading.Event) -> None:
        connection.sendall(head + b"x" * 4096)
        if connection.recv(1):
            connection.sendall(more)
            stop.wait(10)

    return act


@pytest.mark.parametrize("tls", [False, True])
@pytest.mark.parametrize(
    "framing",
    [b"Content-Length: 8192\r\n\r\n", b"Transfer-Encoding: chunked\r\n\r\n2000\r\n"],
    ids=["length", "chunk"],
)
def test_row_41_what_is_left_of_a_body_is_no_answer_to_the_next_request(
    tenant: Tenant, receiver: MakeReceiver, framing: bytes, tls: bool
) -> None:
    forged = HEAD + b"Content-Length: 6\r\n\r\nforged"
    hook = receiver(Raw(half_read(HEAD + framing, forged)), tls=tls)
    delivery = succeeds(tenant, hook)
    assert delivery.attempts[0].response_body == "x" * 1024
    next_one_arrives(tenant, hook)
    assert [one.connection for one in hook.requests] == [1, 2]


def test_row_46_a_cookie_is_not_sent_back(tenant: Tenant, receiver: MakeReceiver) -> None:
    hook = receiver(Answer(200, {"Set-Cookie": "session=1; Path=/"}), tls=True)
    tenant.webhook(hook)
    for number in range(3):
        assert tenant.dispatch(tenant.message(f"txn_{number}")) == []
    assert len(hook.requests) == 3
    # The same connection, too: a cookie jar, if there were one, would have been used.
    assert len({one.connection for one in hook.requests}) == 1
    assert not any("cookie" in one.headers for one in hook.requests)


@pytest.mark.parametrize("status", [200, 500])
@pytest.mark.parametrize(
    ("body", "shown"),
    [
        (b"a\x00b\x1b[31m", r"a\x00b\x1b[31m"),
        (b"\xff\xfe\xc3", r"\xff\xfe\xc3"),
        ("\u202egnp.exe\u2028".encode(), r"\u202egnp.exe\u2028"),
        (b"\xed\xa0\x80", r"\xed\xa0\x80"),
        ("\u00e9".encode() * 5000, "\u00e9" * 512),
    ],
    ids=["NUL and escape", "no UTF-8", "right to left", "surrogate", "long"],
)
def test_row_57_an_odd_body_is_stored_escaped_and_capped(
    tenant: Tenant, receiver: MakeReceiver, status: int, body: bytes, shown: str
) -> None:
    tenant.webhook(receiver(Answer(status, body=body)))
    assert tenant.dispatch(tenant.message()) == []
    [attempt] = tenant.delivery().attempts
    assert attempt.status_code == status
    assert attempt.response_body == shown


@pytest.mark.parametrize(
    ("header", "error"),
    [
        (b"X: a\x00b", None),
        (b"X: \xff\xfe", None),
        (b"X: " + b"y" * 100_000, FailureReason.RESPONSE_TOO_LARGE),
    ],
    ids=["NUL", "no UTF-8", "100 KB"],
)
def test_row_57_an_odd_header_keeps_no_record_from_being_written(
    tenant: Tenant, receiver: MakeReceiver, header: bytes, error: FailureReason | None
) -> None:
    said = HEAD + header + b"\r\nContent-Length: 2\r\n\r\nok"
    tenant.webhook(receiver(Raw(says(said))))
    assert tenant.dispatch(tenant.message()) == []
    [attempt] = tenant.delivery().attempts
    assert attempt.error is error
