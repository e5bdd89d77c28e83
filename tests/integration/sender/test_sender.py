"""The sender against a real receiver on loopback that mostly behaves."""

from __future__ import annotations

import logging
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import TYPE_CHECKING, Any

import pytest

from support.certificates import server_context, unknown_authority
from support.hostile import resets, says
from support.receiver import Answer, Raw, Receiver, local_sender
from webhooks.adapters.http import connection
from webhooks.adapters.http.sender import printable, retry_after_seconds
from webhooks.domain.delivery import FailureReason

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterator

    from support.receiver import Request, Script
    from webhooks.adapters.http.sender import GuardedSender

BODY = '{"event":"email.sent","data":{"to":"zoë@example.com"}}'.encode()
HEADERS = {"Content-Type": "application/json", "X-SendComms-Event": "email.sent"}


@contextmanager
def sender(**options: Any) -> Iterator[GuardedSender]:
    guarded = local_sender(**options)
    yield guarded
    guarded.close()


@pytest.mark.parametrize("tls", [False, True])
def test_the_receiver_gets_these_very_bytes_and_headers(tls: bool) -> None:
    with Receiver(tls=tls) as receiver, sender() as guarded:
        outcome = guarded.post(f"{receiver.url}?a=%2Fb&c", BODY, HEADERS)
    assert outcome.succeeded
    assert outcome.status_code == 200
    assert outcome.response_body == '{"received":true}'
    (request,) = receiver.requests
    assert (request.method, request.path, request.body) == ("POST", "/hook?a=%2Fb&c", BODY)
    assert request.headers["host"] == f"127.0.0.1:{receiver.port}"
    assert request.headers["content-type"] == "application/json"
    assert request.headers["accept-encoding"] == "identity"
    assert request.headers["content-length"] == str(len(BODY))


@pytest.mark.parametrize("tls", [False, True])
@pytest.mark.parametrize(
    "target",
    [
        "/a%2fb%2Fc%7e~%41?q=%c3%a9&r=%C3%A9",
        "/h?",
        "/h??a=?",
        "//double//slash//",
        "/a/./b/../c/..",
        "/a;v=1,2:3@4!$&'()*+=?a;b",
        "/h?to=https://example.com/a%20b+c",
        "/%25%32%66",
        "/",
        # This machine's rule alone; the deployed rule refuses them.
        '/{tenant}/x|y"z^`<>?a[]=%zz\\',
    ],
)
def test_path_and_query_are_sent_byte_for_byte(target: str, tls: bool) -> None:
    lines: list[str] = []

    def note(request: Request) -> Answer:
        lines.append(request.path)
        return Answer()

    with Receiver(note, tls=tls, path=target) as receiver, sender() as guarded:
        # The second goes over the connection that the first one opened.
        assert [guarded.post(receiver.url, BODY, HEADERS).status_code for _ in range(2)] == [
            200
        ] * 2
    assert lines == [target, target]
    assert receiver.connections == 1


def test_a_request_that_is_made_again_has_its_very_target_too() -> None:
    with (
        Receiver(Answer(), Raw(resets()), Answer(), path="/a%2fb") as receiver,
        sender() as guarded,
    ):
        for _ in range(2):
            assert guarded.post(receiver.url, BODY, HEADERS).succeeded
    assert {request.path for request in receiver.requests} == {"/a%2fb"}
    assert receiver.connections == 2


@pytest.mark.parametrize("status", [200, 201, 202, 204, 205, 206, 299])
def test_every_2xx_is_success(status: int) -> None:
    with Receiver(Answer(status, body=b"")) as receiver, sender() as guarded:
        outcome = guarded.post(receiver.url, BODY, HEADERS)
    assert outcome.succeeded
    assert outcome.status_code == status


@pytest.mark.parametrize(
    "status", [300, 301, 304, 400, 401, 404, 407, 410, 429, 500, 502, 503, 504, 600, 999]
)
def test_every_other_status_is_a_failed_attempt(status: int) -> None:
    with Receiver(Answer(status, body=b"no")) as receiver, sender() as guarded:
        outcome = guarded.post(receiver.url, BODY, HEADERS)
    assert outcome.error == FailureReason.HTTP_STATUS
    assert outcome.status_code == status
    assert len(receiver.requests) == 1


def test_an_interim_answer_is_passed_over() -> None:
    early = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + Answer(202).encode()
    with Receiver(Raw(says(early))) as receiver, sender() as guarded:
        assert guarded.post(receiver.url, BODY, HEADERS).status_code == 202


@pytest.mark.parametrize("tls", [False, True])
@pytest.mark.parametrize(
    "interim",
    [
        b"HTTP/1.1 100 Continue\r\n\r\n" * 2000,
        b"HTTP/1.1 102 Processing\r\n" + b"X-Progress: yes\r\n" * 90 + b"\r\n",
        (b"HTTP/1.1 103 Early Hints\r\n" + b"Link: </a>\r\n" * 90 + b"\r\n") * 20,
        (b"HTTP/1.1 103 Early Hints\r\nLink: " + b"a" * 60_000 + b"\r\n\r\n") * 4,
        b"HTTP/1.1 100 Continue\n\nHTTP/1.1 199 Odd\nA: b\n\n",
    ],
    ids=["many", "long", "many and long", "wide", "bare line feeds"],
)
def test_no_number_of_interim_answers_ends_an_attempt(interim: bytes, tls: bool) -> None:
    said = interim + Answer(202, {f"X-{n}": "y" for n in range(90)}).encode()
    with Receiver(Raw(says(said)), tls=tls) as receiver, sender() as guarded:
        assert guarded.post(receiver.url, BODY, HEADERS).status_code == 202


def test_a_cookie_is_not_sent_back() -> None:
    answer = Answer(headers={"Set-Cookie": "id=1; Path=/"})
    with Receiver(answer, tls=True) as receiver, sender() as guarded:
        for _ in range(2):
            assert guarded.post(receiver.url, BODY, HEADERS).succeeded
    assert "cookie" not in receiver.requests[1].headers


def test_a_clean_connection_is_used_again() -> None:
    with Receiver(tls=True) as receiver, sender() as guarded:
        for _ in range(5):
            assert guarded.post(receiver.url, BODY, HEADERS).succeeded
    assert receiver.connections == 1


def test_a_chunked_answer_read_to_its_end_leaves_the_connection_clean() -> None:
    chunked = Answer(headers={"Transfer-Encoding": "chunked"}, body=b"2\r\nok\r\n0\r\n\r\n")
    with Receiver(chunked) as receiver, sender() as guarded:
        for _ in range(2):
            outcome = guarded.post(receiver.url, BODY, HEADERS)
            assert (outcome.response_body, outcome.status_code) == ("ok", 200)
    assert receiver.connections == 1


@pytest.mark.parametrize(
    "answer",
    [
        Answer(headers={"Connection": "close"}),
        Answer(body=b"x" * 4097),
        Answer(101, headers={"Upgrade": "websocket"}, body=b""),
        Answer(headers={"Content-Length": "2"}, body=b"ok" + Answer().encode()),
        Answer(headers={"Transfer-Encoding": "chunked"}, body=b"0\r\n\r\n" + Answer().encode()),
        Answer(headers={"Content-Length": "+2"}, body=b"ok"),
        Answer(headers={"Content-Length": "2", "Transfer-Encoding": "chunked"}, body=b"0\r\n\r\n"),
        Answer(headers={"Content-Length": "2\r\nno colon here"}, body=b"ok"),
    ],
    ids=[
        "close",
        "long",
        "101",
        "surplus",
        "chunks and more",
        "odd length",
        "two framings",
        "malformed head",
    ],
)
@pytest.mark.parametrize("tls", [False, True])
def test_a_connection_left_in_doubt_is_not_used_again(answer: Answer, tls: bool) -> None:
    with Receiver(answer, Answer(202), tls=tls) as receiver, sender() as guarded:
        first = guarded.post(receiver.url, BODY, HEADERS)
        second = guarded.post(receiver.url, BODY, HEADERS)
    assert first.status_code == answer.status
    assert second.status_code == 202
    assert [request.connection for request in receiver.requests] == [1, 2]


def test_an_old_connection_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "MAX_CONNECTION_AGE_SECONDS", 0.0)
    with Receiver() as receiver, sender() as guarded:
        for _ in range(2):
            assert guarded.post(receiver.url, BODY, HEADERS).succeeded
    assert receiver.connections == 2


@pytest.mark.parametrize("ending", [says(), resets()], ids=["closed", "reset"])
def test_a_kept_connection_found_dead_is_replaced_once_in_the_same_attempt(ending: Any) -> None:
    answers: list[Script] = [Answer(), Raw(ending), Answer(202)]
    with Receiver(*answers) as receiver, sender() as guarded:
        assert guarded.post(receiver.url, BODY, HEADERS).succeeded
        assert guarded.post(receiver.url, BODY, HEADERS).status_code == 202
    assert [request.connection for request in receiver.requests] == [1, 1, 2]


@pytest.mark.parametrize(
    "ending", [says(), resets(), says(b"HTTP/1.1 2")], ids=["closed", "reset", "begun"]
)
def test_a_fresh_connection_that_fails_is_not_replaced(ending: Any) -> None:
    with Receiver(Raw(ending)) as receiver, sender() as guarded:
        assert guarded.post(receiver.url, BODY, HEADERS).error == FailureReason.CONNECTION
    assert len(receiver.requests) == 1


def test_an_answer_that_has_begun_is_never_asked_for_twice() -> None:
    with Receiver(Answer(), Raw(says(b"HTTP/1.1 2"))) as receiver, sender() as guarded:
        assert guarded.post(receiver.url, BODY, HEADERS).succeeded
        assert guarded.post(receiver.url, BODY, HEADERS).error == FailureReason.CONNECTION
    assert len(receiver.requests) == 2


@pytest.mark.parametrize(
    "context",
    [
        server_context(signed_by=unknown_authority()),
        server_context(("other.example.org",)),
        server_context(expired=True),
        server_context(only_tls_1_1=True),
    ],
    ids=["unknown authority", "wrong name", "expired", "TLS 1.1"],
)
def test_a_receiver_that_cannot_prove_its_name_is_told_nothing(context: ssl.SSLContext) -> None:
    with Receiver(tls=context) as receiver, sender() as guarded:
        assert guarded.post(receiver.url, BODY, HEADERS).error == FailureReason.TLS
    assert receiver.requests == []


def test_plain_http_behind_an_https_url_is_a_tls_failure() -> None:
    plain = says(Answer().encode())
    with Receiver(on_connect=plain, tls=True) as receiver, sender() as guarded:
        assert guarded.post(receiver.url, BODY, HEADERS).error == FailureReason.TLS
    assert receiver.requests == []


def test_a_reset_before_tls_is_a_failed_connection() -> None:
    with Receiver(on_connect=resets(), tls=True) as receiver, sender() as guarded:
        assert guarded.post(receiver.url, BODY, HEADERS).error == FailureReason.CONNECTION


def test_a_port_where_nobody_listens_is_a_failed_connection() -> None:
    with Receiver() as receiver:
        pass
    with sender() as guarded:
        assert guarded.post(receiver.url, BODY, HEADERS).error == FailureReason.CONNECTION


def test_many_threads_share_one_sender() -> None:
    with Receiver(tls=True) as receiver, sender() as guarded, ThreadPoolExecutor(32) as threads:
        bodies = [str(number).encode() for number in range(200)]
        outcomes = threads.map(lambda body: guarded.post(receiver.url, body, HEADERS), bodies)
        assert all(outcome.succeeded for outcome in outcomes)
    assert sorted(request.body for request in receiver.requests) == sorted(bodies)


def test_a_closed_sender_leaves_no_thread_behind() -> None:
    before = threading.active_count()
    with Receiver() as receiver, sender() as guarded:
        assert guarded.post(receiver.url, BODY, HEADERS).succeeded
    assert threading.active_count() == before


def test_no_log_at_any_level_holds_the_url(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    malformed = Answer(headers={"Content-Length": "2\r\nno colon here"}, body=b"ok")
    answers: list[Script] = [malformed, Raw(says(b"?"))]
    with Receiver(*answers, path="/canary?t=canary") as receiver, sender() as guarded:
        for _ in answers:
            guarded.post(receiver.url, BODY, HEADERS)
    assert len(receiver.requests) == 2
    assert "canary" not in caplog.text


@pytest.mark.parametrize(
    ("asked", "seconds"),
    [
        ("120", 120.0),
        ("0", 0.0),
        ("9" * 400, 31_536_000.0),
        (" 120\t", 120.0),
        ("-5", None),
        ("soon", None),
        ("59.99", 60.0),
        ("0.2", 1.0),
        ("1.0", 1.0),
        ("0.0", 0.0),
        (".5", None),
        ("1.", None),
        ("1.5s", None),
        ("+1", None),
        ("1e3", None),
        ("1000000000", 31_536_000.0),
        ("9" * 400 + ".5", 31_536_000.0),
        ("٣", None),
        ("", None),
        ("Fri, 31 Dec 9999 23:59:59 GMT", 31_536_000.0),
        ("Fri, 31 Dec 99999 23:59:59 GMT", None),
        ("Thu, 01 Jan 1970 00:16:50 GMT", 10.0),
        ("Thu, 01 Jan 1970 00:16:50 -0000", 10.0),
        ("Thu, 01 Jan 1970 00:00:00 GMT", None),
        ("Mon, 99 Foo 2020 99:99:99 GMT", None),
    ],
)
def test_retry_after_is_read_as_seconds_or_a_date(asked: str, seconds: float | None) -> None:
    assert retry_after_seconds(asked, now=1000.0) == seconds


@pytest.mark.parametrize(
    ("asked", "seconds"),
    [
        ("1766313060", 60.0),
        ("1766313059.25", 60.0),
        ("1766313000.001", 1.0),
        ("1766313000", None),
        ("1766312999", None),
        ("1000000001", None),
        ("1797849001", 31_536_000.0),
        ("100000000000", 31_536_000.0),
        ("100000000001", None),
        ("1766313060000", 60.0),
        ("1766313059250", 60.0),
        ("1766313000001.5", 1.0),
        ("1766313000000", None),
        ("1766312940000", None),
        ("1797849000001", 31_536_000.0),
    ],
)
def test_a_large_number_in_a_retry_after_is_a_time(asked: str, seconds: float | None) -> None:
    assert retry_after_seconds(asked, now=1_766_313_000.0) == seconds


def test_a_busy_receivers_retry_after_is_passed_on() -> None:
    later = format_datetime(datetime.now(UTC) + timedelta(minutes=10), usegmt=True)
    answers = [Answer(429, {"Retry-After": "7"}), Answer(503, {"Retry-After": later})]
    with Receiver(*answers) as receiver, sender() as guarded:
        assert guarded.post(receiver.url, BODY, HEADERS).retry_after_seconds == 7
        asked = guarded.post(receiver.url, BODY, HEADERS).retry_after_seconds
    assert asked is not None
    assert 500 < asked <= 600


@pytest.mark.parametrize(
    ("body", "shown"),
    [
        (b'{"received":true}', '{"received":true}'),
        ("zoë ✓".encode(), "zoë ✓"),
        (b"a\x00b\nc\x1b[31m", r"a\x00b\nc\x1b[31m"),
        (b"\xff\xfe", r"\xff\xfe"),
        (b"\xed\xa0\x80", r"\xed\xa0\x80"),
        ("\u202e\ufeff".encode(), r"\u202e\ufeff"),
        (b"", ""),
    ],
)
def test_an_answer_is_kept_printable(body: bytes, shown: str) -> None:
    assert printable(body) == shown


@pytest.mark.parametrize("body", [b"x" * 4096, "é".encode() * 2048, b"\x00" * 4096])
def test_an_answer_is_kept_short(body: bytes) -> None:
    shown = printable(body)
    assert 1020 <= len(shown.encode()) <= 1024
    assert shown.isprintable()
