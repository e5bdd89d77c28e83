"""A receiver's bent answers: each is an outcome, and the next delivery is unharmed."""

from __future__ import annotations

import random
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from fuzz.fuzzing import CASES, SEED
from support.hostile import says
from support.receiver import Answer, Raw, Receiver, local_sender
from webhooks.domain.delivery import FailureReason

if TYPE_CHECKING:
    from collections.abc import Iterator

    from webhooks.adapters.http.sender import GuardedSender

# Two requests a case, which cost as much as fifty of the other tests' cases.
ROUNDS = max(100, CASES // 50)
HEADS = (
    *(b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 204 No\r\n", b"HTTP/1.0 200\r\n", b"HTTP/1.1 304 x\r\n"),
    *(b"HTTP/1.1 ", b"HTTP/2 200\r\n", b"ICY 200 OK\r\n", b"HTTP/1.1 099 x\r\n", b"200\r\n"),
    *(b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 101 Switching\r\n", b"HTTP/1.1 302 Found\r\n"),
)
LINES = (
    *(b"Content-Length: 5\r\n", b"Content-Length: -1\r\n", b"Content-Length: 5, 5\r\n"),
    *(b"Content-Length: 99999999999999999999\r\n", b"Content-Length: \xb2\r\n"),
    *(b"Transfer-Encoding: chunked\r\n", b"Transfer-Encoding: gzip, chunked\r\n"),
    *(b"Connection: close\r\n", b"Connection: keep-alive\r\n", b"Upgrade: h2c\r\n"),
    *(b"Content-Encoding: gzip\r\n", b"Content-Encoding: deflate, br, zstd\r\n"),
    *(
        b"Content-Type: multipart/mixed; boundary=x\r\n",
        b"Content-Type: text/html; charset=\xff\r\n",
    ),
    *(b"Set-Cookie: a=b\r\n", b"Location: http://169.254.169.254/\r\n", b"Trailer: X\r\n"),
    *(b"Retry-After: 99999999999999999999\r\n", b"Retry-After: Fri, 31 Dec 99999 23:59:59 GMT\r\n"),
    *(b" folded\r\n", b": no name\r\n", b"no value\r\n", b"X: \xe2\x28\xa1\r\n", b"X: a\0b\r\n"),
)
BODIES = (
    *(b"\r\n", b"\r\n\r\n", b"\n", b"\r", b"\0", b"hello", b"\x1f\x8b\x08\x00"),
    *(b"5\r\nhello\r\n", b"0\r\n\r\n", b"0\r\nX: y\r\n\r\n", b"ffffffffffffffff\r\n", b"-5\r\n"),
    b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
)


class Answers:
    """A source of raw answers, the same for the same seed: the head of most can be read."""

    def __init__(self, seed: int) -> None:
        """Begin at `seed`."""
        self._chance = random.Random(seed)  # noqa: S311  (a test's cases)

    def one(self) -> bytes:
        chance = self._chance
        head = HEADS[0] if chance.random() < 0.6 else chance.choice(HEADS)
        lines = chance.choices(LINES, k=chance.randrange(5))
        body = chance.choices(BODIES, k=chance.randrange(4))
        end = b"\r\n" if chance.random() < 0.8 else b""
        raw = b"".join((head, *lines, end, *body))
        if chance.random() < 0.3:
            at = chance.randrange(len(raw))
            raw = raw[:at] + bytes([chance.randrange(256)]) + raw[at + 1 :]
        return raw


@pytest.fixture
def sender() -> Iterator[GuardedSender]:
    guarded = local_sender()
    yield guarded
    guarded.close()


@pytest.mark.parametrize("tls", [False, True])
def test_any_answer_is_an_outcome_and_harms_no_other_delivery(
    tls: bool, sender: GuardedSender
) -> None:
    source = Answers(SEED)
    outcomes: Counter[FailureReason | None] = Counter()
    with Receiver(Answer(202), tls=tls) as receiver:
        for number in range(ROUNDS):
            raw = source.one()
            receiver.answer_with(Raw(says(raw)), Answer(202, body=str(number).encode()))
            outcome = sender.post(receiver.url, b"{}", {})
            outcomes[outcome.error] += 1
            following = sender.post(receiver.url, b"{}", {})
            assert (following.status_code, following.response_body) == (202, str(number)), raw
        # One request for each post: a bent answer never causes a second one.
        assert len(receiver.requests) == 2 * ROUNDS
    assert outcomes.keys() <= {None, FailureReason.CONNECTION, FailureReason.HTTP_STATUS}
    assert min(outcomes[None], outcomes[FailureReason.CONNECTION]) > ROUNDS // 10
