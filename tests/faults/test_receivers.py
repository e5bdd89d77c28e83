"""Rows 30 to 43, 46, 57, 62 and 63: what a receiver can do, and what its delivery comes to."""

from __future__ import annotations

import gzip
import time
import tracemalloc
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from ssl import TLSVersion
from typing import TYPE_CHECKING, Any

import certifi
import pytest

from support import watch
from support.certificates import authority, server_context, unknown_authority
from support.hostile import INTERIM, drips, for_ever, resets, says, silent
from support.receiver import Answer, Early, Raw, local_sender
from webhooks.adapters.connection import new_ssl_context
from webhooks.domain.delivery import FailureReason, Status

if TYPE_CHECKING:
    import socket
    import threading
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from support.receiver import Receiver, Script, Wire
    from support.stand import Case, Stand
    from webhooks.domain.delivery import Delivery
    from webhooks.wiring import Services

    MakeReceiver = Callable[..., Receiver]

HEAD = b"HTTP/1.1 200 OK\r\n"
DRIP = [b"x"] * 400
"""Longer than anything may take, but no test hangs on it."""

HASTY_SECONDS = 0.8


@pytest.fixture(scope="module")
def hasty(stand: Stand) -> Services:
    """A dispatcher that waits less than five seconds; the rule is the same."""
    made = stand.fresh("dispatcher")
    made._sender = local_sender(timeout_seconds=HASTY_SECONDS)
    return made


def assert_failed(delivery: Delivery, error: FailureReason, status_code: int | None = None) -> None:
    """Assert that the delivery failed once, for this reason, and is to be tried again."""
    [attempt] = delivery.attempts
    assert (attempt.error, attempt.status_code) == (error, status_code)
    assert delivery.status is Status.RETRYING


def assert_scheduled(case: Case) -> None:
    """Assert that each of the account's failed deliveries has its execution."""
    waiting = {(one["delivery_id"], one["attempt"]) for one in case.executions()}
    failed = [one for one in case.deliveries() if one.status is not Status.SUCCEEDED]
    assert waiting == {(one.id, 2) for one in failed}


def fails(case: Case, hook: Receiver, error: FailureReason, status_code: int | None = None) -> None:
    """Have an event sent to a receiver and assert that it failed, and what follows from that."""
    case.webhook(hook)
    assert case.dispatch(case.message()) == []
    assert_failed(case.delivery(), error, status_code)
    assert_scheduled(case)


def succeeds(case: Case, hook: Receiver) -> Delivery:
    """Have an event sent to a receiver and assert that it arrived."""
    case.webhook(hook)
    assert case.dispatch(case.message()) == []
    delivery = case.delivery()
    assert delivery.status is Status.SUCCEEDED
    assert case.executions() == []
    return delivery


def next_one_arrives(case: Case, hook: Receiver) -> None:
    """Assert that the receiver's next event is not disturbed by what came of the last one."""
    hook.answer_with(Answer(202))
    assert case.dispatch(case.message("txn_next")) == []
    assert hook.requests[-1].json["transaction_id"] == "txn_next"
    [following] = [one for one in case.deliveries() if one.transaction_id == "txn_next"]
    assert [attempt.status_code for attempt in following.attempts] == [202]


def test_row_30_a_silent_receiver_is_given_up_after_five_seconds(
    case: Case, receiver: MakeReceiver
) -> None:
    before_tls = receiver(on_connect=silent(), tls=True)
    after_tls = receiver(Raw(silent()), tls=True)
    case.webhook(before_tls, 1)
    case.webhook(after_tls, 2)
    started = time.monotonic()
    assert case.dispatch(case.message()) == []
    assert 5 <= time.monotonic() - started < 8
    for delivery in case.deliveries():
        assert_failed(delivery, FailureReason.TIMEOUT)
        assert 5000 <= delivery.attempts[0].duration_ms < 6500
    assert_scheduled(case)
    assert (len(before_tls.requests), len(after_tls.requests)) == (0, 1)


def test_row_31_a_handshake_that_trickles_is_given_up(
    case: Case, receiver: MakeReceiver, hasty: Services
) -> None:
    trickle = drips(b"\x16\x03\x03\x40\x00", [b"\x02"] * 400)
    hook = receiver(on_connect=trickle, tls=True)
    case.webhook(hook)
    assert case.dispatch(case.message(), services=hasty) == []
    assert_failed(case.delivery(), FailureReason.TIMEOUT)
    assert HASTY_SECONDS * 1000 <= case.delivery().attempts[0].duration_ms < 3000
    assert_scheduled(case)
    assert hook.requests == []


@pytest.mark.parametrize(
    ("act", "error"),
    [
        (drips(HEAD + b"X-Header: ", DRIP), FailureReason.TIMEOUT),
        (drips(b"", [INTERIM] * 200, 0.1), FailureReason.TIMEOUT),
        (for_ever(b"", INTERIM), FailureReason.TIMEOUT),
        (drips(HEAD + b"Content-Length: 999\r\n\r\n", DRIP, 0.1), None),
    ],
    ids=["header drip", "100 Continue drip", "endless 100 Continue", "body drip"],
)
def test_row_32_a_drip_ends_in_time(
    case: Case, receiver: MakeReceiver, hasty: Services, act: Wire, error: FailureReason | None
) -> None:
    hook = receiver(Raw(act), tls=True)
    case.webhook(hook)
    started = time.monotonic()
    assert case.dispatch(case.message(), services=hasty) == []
    # The whole of it, since an attempt's own time stops at the head.
    assert time.monotonic() - started < 10
    if error:
        assert_failed(case.delivery(), error)
    else:
        assert case.delivery().status is Status.SUCCEEDED
    assert case.delivery().attempts[0].duration_ms < 3000
    assert_scheduled(case)
    assert len(hook.requests) == 1


@pytest.mark.parametrize(
    "framing",
    [b"Content-Length: 999\r\n\r\n", b"Transfer-Encoding: chunked\r\n\r\n3e7\r\n", b"\r\n"],
    ids=["length", "chunk", "neither"],
)
def test_row_32_a_body_that_drips_is_waited_for_half_a_second(
    case: Case, receiver: MakeReceiver, framing: bytes
) -> None:
    """Not for the five seconds that an answer has, however many of its bytes come in time."""
    hook = receiver(Raw(drips(HEAD + framing, DRIP)), tls=True)
    # What is loaded once is loaded, and the bystander's connection is open.
    assert case.dispatch() == []
    case.webhook(hook)
    started = time.monotonic()
    assert case.dispatch(case.message()) == []
    took = time.monotonic() - started
    assert case.delivery().status is Status.SUCCEEDED
    # Far from five, on the busiest machine.
    assert 0.5 <= took < 3


def many_bytes() -> Script:
    """400 MB of body, as fast as they are taken."""
    head = HEAD + f"Content-Length: {400 << 20}\r\n\r\n".encode()
    return Raw(for_ever(head, watch.RECEIVERS_WORDS.encode() * 3000))


def bomb() -> Script:
    """300 KB of gzip that are 300 MB unpacked."""
    member = gzip.compress(bytes(10 << 20))
    return Answer(headers={"Content-Encoding": "gzip"}, body=member * 30)


@pytest.mark.parametrize("make", [many_bytes, bomb])
def test_row_33_of_a_huge_body_only_the_beginning_is_read(
    case: Case, receiver: MakeReceiver, make: Callable[[], Script]
) -> None:
    hook = receiver(make())
    case.webhook(hook)
    # The first one loads what there is to load.
    assert case.dispatch(case.message("txn_before")) == []
    tracemalloc.start()
    assert case.dispatch(case.message()) == []
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    # The moto server of the same process is in this, too.
    assert peak_bytes < 32 << 20
    for delivery in case.deliveries():
        assert delivery.status is Status.SUCCEEDED
        assert len(delivery.attempts[0].response_body.encode()) <= 1024


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
    case: Case, receiver: MakeReceiver, status: int, location: str
) -> None:
    other = receiver()
    hook = receiver()
    where = location.replace("{other}", other.url).replace("{self}", hook.url)
    hook.answer_with(Answer(status, {"Location": where}))
    fails(case, hook, FailureReason.HTTP_STATUS, status)
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
    case: Case, receiver: MakeReceiver, said: bytes, stays: bool
) -> None:
    """Of one that `stays` the connection is there still, and must not be used again."""
    hook = receiver(Raw(says(said, then_silent=stays)))
    case.webhook(hook)
    assert case.dispatch(case.message()) == []
    delivery = case.delivery()
    [attempt] = delivery.attempts
    switching = b" 101 " in said
    assert attempt.error is (FailureReason.HTTP_STATUS if switching else FailureReason.CONNECTION)
    assert attempt.status_code == (101 if switching else None)
    assert delivery.status is Status.RETRYING
    assert_scheduled(case)
    next_one_arrives(case, hook)
    assert [one.connection for one in hook.requests] == [1, 2]


@pytest.mark.parametrize("status", [200, 201, 202, 204, 205, 206, 299])
def test_row_36_any_2xx_is_success(case: Case, receiver: MakeReceiver, status: int) -> None:
    hook = receiver(Answer(status, body=b"" if status in {204, 205} else b"{}"))
    delivery = succeeds(case, hook)
    assert delivery.attempts[0].status_code == status
    assert len(hook.requests) == 1


@pytest.mark.parametrize("status", [300, 304, 400, 401, 404, 407])
def test_row_37_3xx_and_4xx_are_retried_by_the_schedule(
    case: Case, receiver: MakeReceiver, status: int
) -> None:
    fails(case, receiver(Answer(status)), FailureReason.HTTP_STATUS, status)
    [state] = case.executions()
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
    case: Case, receiver: MakeReceiver, status: int, asked: Callable[[], str], seconds: range
) -> None:
    hook = receiver(Answer(status, {"Retry-After": asked()}))
    fails(case, hook, FailureReason.HTTP_STATUS, status)
    [state] = case.executions()
    assert state["seconds"] in seconds


@pytest.mark.parametrize("status", [500, 502, 504])
def test_row_40_5xx_are_retried_by_the_schedule(
    case: Case, receiver: MakeReceiver, status: int
) -> None:
    fails(
        case,
        receiver(Answer(status, {"Retry-After": "600"})),
        FailureReason.HTTP_STATUS,
        status,
    )
    [state] = case.executions()
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
    case: Case, receiver: MakeReceiver, said: bytes, error: FailureReason | None, stays: bool
) -> None:
    """Of one that `stays` the connection is there still, and must not be used again."""
    hook = receiver(Raw(says(said, then_silent=stays)))
    if error:
        fails(case, hook, error)
    else:
        succeeds(case, hook)
    next_one_arrives(case, hook)
    assert [one.connection for one in hook.requests] == [1, 2]


def test_row_41_a_head_that_breaks_off_is_no_answer(case: Case, receiver: MakeReceiver) -> None:
    hook = receiver(Raw(says(HEAD + b"Content-Length: 0\r\n")))
    fails(case, hook, FailureReason.CONNECTION)
    next_one_arrives(case, hook)


def half_read(head: bytes, more: bytes) -> Wire:
    """Send as much of a body as is read of one; what another request would read comes later."""

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
    case: Case, receiver: MakeReceiver, framing: bytes, tls: bool
) -> None:
    forged = HEAD + b"Content-Length: 6\r\n\r\nforged"
    hook = receiver(Raw(half_read(HEAD + framing, forged)), tls=tls)
    delivery = succeeds(case, hook)
    assert delivery.attempts[0].response_body == "x" * 1024
    next_one_arrives(case, hook)
    assert [one.connection for one in hook.requests] == [1, 2]


@pytest.mark.parametrize(
    ("act", "requests"), [(resets(), 1), (says(), 1)], ids=["reset", "closed without an answer"]
)
@pytest.mark.parametrize("tls", [False, True])
def test_row_42_a_connection_that_breaks_after_the_request(
    case: Case, receiver: MakeReceiver, act: Wire, requests: int, tls: bool
) -> None:
    hook = receiver(Raw(act), tls=tls)
    fails(case, hook, FailureReason.CONNECTION)
    assert len(hook.requests) == requests


def test_row_42_a_connection_that_is_reset_before_tls(case: Case, receiver: MakeReceiver) -> None:
    hook = receiver(on_connect=resets(), tls=True)
    case.webhook(hook)
    assert case.dispatch(case.message()) == []
    [attempt] = case.delivery().attempts
    # The reset meets the handshake before or after its first byte.
    assert attempt.error in {FailureReason.CONNECTION, FailureReason.TLS}
    assert case.delivery().status is Status.RETRYING
    assert_scheduled(case)
    assert hook.requests == []


@pytest.fixture
def with_own_context(
    stand: Stand, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[Services]:
    """A dispatcher with the TLS context of every deployed one, but for whom it trusts."""
    trusted = tmp_path / "authorities.pem"
    trusted.write_text(authority().pem)
    monkeypatch.setattr(certifi, "where", lambda: str(trusted))
    made = stand.fresh("dispatcher")
    sender = made._sender = local_sender(ssl_context=None)
    yield made
    sender.close()


@pytest.mark.parametrize("own", [False, True], ids=["the tests' context", "our own context"])
@pytest.mark.parametrize(
    "options",
    [
        {"signed_by": unknown_authority},
        {"self_signed": True},
        {"names": ("other.example.com",)},
        {"expired": True},
        {"only_tls_1_0": True},
        {"only_tls_1_1": True},
    ],
    ids=["unknown authority", "self-signed", "wrong name", "expired", "TLS 1.0", "TLS 1.1"],
)
def test_row_43_a_certificate_that_proves_nothing(
    case: Case,
    receiver: MakeReceiver,
    with_own_context: Services,
    options: dict[str, object],
    own: bool,
) -> None:
    made = {name: one() if callable(one) else one for name, one in options.items()}
    hook = receiver(tls=server_context(**made))
    case.webhook(hook)
    assert case.dispatch(case.message(), services=with_own_context if own else None) == []
    assert_failed(case.delivery(), FailureReason.TLS)
    assert_scheduled(case)
    assert hook.requests == []


def test_row_43_a_certificate_of_an_authority_that_is_known(
    case: Case, receiver: MakeReceiver, with_own_context: Services
) -> None:
    hook = receiver(tls=True)
    case.webhook(hook)
    assert case.dispatch(case.message(), services=with_own_context) == []
    assert case.delivery().status is Status.SUCCEEDED
    # It takes nothing older itself, whatever the machine's OpenSSL would.
    assert new_ssl_context().minimum_version is TLSVersion.TLSv1_2


def test_row_43_a_self_signed_certificate_with_the_authorities_of_the_deployed(
    case: Case, receiver: MakeReceiver
) -> None:
    deployed = case.stand.fresh("dispatcher")
    sender = deployed._sender = local_sender(ssl_context=None)
    hook = receiver(tls=server_context(self_signed=True))
    case.webhook(hook)
    assert case.dispatch(case.message(), services=deployed) == []
    sender.close()
    assert_failed(case.delivery(), FailureReason.TLS)
    assert hook.requests == []


def test_row_43_plain_http_on_the_port_of_tls(case: Case, receiver: MakeReceiver) -> None:
    hook = receiver()
    case.webhook(hook.url.replace("http:", "https:"))
    assert case.dispatch(case.message()) == []
    [attempt] = case.delivery().attempts
    assert attempt.error in {FailureReason.TLS, FailureReason.CONNECTION, FailureReason.TIMEOUT}
    assert case.delivery().status is Status.RETRYING
    assert_scheduled(case)
    assert not any(one.method == "POST" for one in hook.requests)


def test_row_46_a_cookie_is_not_sent_back(case: Case, receiver: MakeReceiver) -> None:
    hook = receiver(Answer(200, {"Set-Cookie": "session=1; Path=/"}), tls=True)
    case.webhook(hook)
    for number in range(3):
        assert case.dispatch(case.message(f"txn_{number}")) == []
    assert len(hook.requests) == 3
    # The same connection, too: were there a jar, it would have been used.
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
    case: Case, receiver: MakeReceiver, status: int, body: bytes, shown: str
) -> None:
    case.webhook(receiver(Answer(status, body=body)))
    assert case.dispatch(case.message()) == []
    [attempt] = case.delivery().attempts
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
    case: Case, receiver: MakeReceiver, header: bytes, error: FailureReason | None
) -> None:
    said = HEAD + header + b"\r\nContent-Length: 2\r\n\r\nok"
    case.webhook(receiver(Raw(says(said))))
    assert case.dispatch(case.message()) == []
    [attempt] = case.delivery().attempts
    assert attempt.error is error


LARGE = {"html": "x" * 60_000}
"""More than a receiver's first read takes, so that the rest is unread when it closes."""


@pytest.mark.parametrize(
    "options",
    [{"tls": True}, {"tls": True, "window_bytes": 4096}, {}],
    ids=["TLS", "slow", "plain"],
)
@pytest.mark.parametrize(
    ("status", "expected"),
    [(401, Status.RETRYING), (410, Status.WAITING), (413, Status.RETRYING), (429, Status.RETRYING)],
)
def test_row_62_a_response_before_the_body_is_read_counts(
    case: Case,
    receiver: MakeReceiver,
    status: int,
    expected: Status,
    options: dict[str, Any],
) -> None:
    answer = Answer(status, {"Retry-After": "120", "Connection": "close"})
    hook = receiver(Early(says(answer.encode())), **options)
    case.webhook(hook)
    assert case.dispatch(case.message(data=LARGE)) == []
    delivery = case.delivery()
    [attempt] = delivery.attempts
    assert (attempt.error, attempt.status_code) == (FailureReason.HTTP_STATUS, status)
    assert delivery.status is expected
    if status == 429:
        [state] = case.executions()
        assert 119 <= state["seconds"] <= 121
    assert len(hook.requests) == 1


def test_row_62_an_early_response_on_a_kept_connection_is_not_asked_for_again(
    case: Case, receiver: MakeReceiver
) -> None:
    early = Early(says(Answer(429, {"Connection": "close"}).encode()))
    hook = receiver(Answer(), early, Answer(202), tls=True)
    case.webhook(hook)
    assert case.dispatch(case.message("txn_before")) == []
    assert case.dispatch(case.message(data=LARGE)) == []
    [refused] = [one for one in case.deliveries() if one.transaction_id == "txn_1"]
    assert [attempt.status_code for attempt in refused.attempts] == [429]
    assert [one.connection for one in hook.requests] == [1, 1]
    next_one_arrives(case, hook)


@pytest.mark.parametrize("act", [says(), resets()], ids=["closes", "resets"])
def test_row_62_no_early_response_is_a_failed_connection_and_not_one_of_tls(
    case: Case, receiver: MakeReceiver, act: Wire
) -> None:
    hook = receiver(Early(act), tls=True)
    case.webhook(hook)
    assert case.dispatch(case.message(data=LARGE)) == []
    assert_failed(case.delivery(), FailureReason.CONNECTION)
    assert len(hook.requests) == 1


@pytest.mark.parametrize("tls", [True, False])
@pytest.mark.parametrize("act", [says(), resets()], ids=["closed", "reset"])
def test_row_63_a_kept_connection_that_has_ended_costs_no_attempt(
    case: Case, receiver: MakeReceiver, act: Wire, tls: bool
) -> None:
    """Both requests are of attempt 1: the receiver may have worked on the first of them."""
    hook = receiver(Answer(), Raw(act), Answer(202), tls=tls)
    case.webhook(hook)
    assert case.dispatch(case.message("txn_before")) == []
    assert case.dispatch(case.message()) == []
    [arrived] = [one for one in case.deliveries() if one.transaction_id == "txn_1"]
    assert [attempt.status_code for attempt in arrived.attempts] == [202]
    _, first, second = hook.requests
    assert (first.connection, second.connection) == (1, 2)
    assert first.headers == second.headers
    assert first.body == second.body
    assert second.headers["x-sendcomms-attempt"] == "1"
