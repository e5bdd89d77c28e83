"""A watch on the functions' logs: everything that Lambda would keep, and the forbidden values.

The values that a test uses are marked, so that each is found wherever it turns up.
"""

from __future__ import annotations

import io
import json
import logging
import sys
import traceback
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pytest

SECRET = "whsec_" + "5ec0de" * 10 + "abcd"
API_KEY_MARK = "sc_live_"
URL_TOKEN = "url-token-7f3a91"
HEADER_VALUE = "Bearer header-value-42c7"
RECIPIENT = "somebody.private@example.com"
SUBJECT = "A subject of nobody's business"
RECEIVERS_WORDS = "words of the receiver"

FORBIDDEN = {
    "the webhook's secret": SECRET,
    "an API key": API_KEY_MARK,
    "the token in the webhook's url": URL_TOKEN,
    "a header of the webhook": HEADER_VALUE,
    "the recipient's address": RECIPIENT,
    "the email's subject": SUBJECT,
    "the receiver's answer": RECEIVERS_WORDS,
}

_FUNCTIONS = ("api", "dispatcher", "worker")


class LogCapture:
    """The functions' output while it is kept, captured by `capsys`."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys
        self._text = ""

    @property
    def text(self) -> str:
        self._text += "".join(self._capsys.readouterr())
        return self._text

    def lines(self, event: str) -> list[dict[str, Any]]:
        """The structured lines about an event, for example `message_rejected`."""
        parsed = [json.loads(line) for line in self.text.splitlines() if line.startswith("{")]
        return [line for line in parsed if line.get("message") == event]

    def add(self, text: str) -> None:
        """Add text written elsewhere, for example by a process of its own."""
        self._text += text

    def raised(self, error: BaseException) -> None:
        """Add the text of Lambda's runtime about an exception that leaves a handler."""
        self.add(f"[ERROR] {type(error).__name__}: {error}\n")
        self.add("".join(traceback.format_tb(error.__traceback__)))

    def forget(self) -> None:
        """Forget the text so far, but not that there was some."""
        assert self.text
        self._text = "forgotten\n"

    def leaks(self) -> list[str]:
        """The names of the secrets found in the logs."""
        text = self.text
        return [name for name, value in FORBIDDEN.items() if value in text]

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Watch standard output and error, the functions' loggers, and the root at INFO."""
        root = logging.getLogger()
        # moto's server logs every request.
        logging.getLogger("werkzeug").setLevel(logging.ERROR)
        handler = logging.StreamHandler(_CURRENT)
        level = root.level
        root.addHandler(handler)
        root.setLevel(logging.INFO)
        _follow()
        try:
            yield
        finally:
            # A logger that was made meanwhile holds the test's own stream, which is closed by now.
            _follow()
            root.removeHandler(handler)
            root.setLevel(level)


class _Current(io.TextIOBase):
    """The current standard output: pytest changes it with each phase of a test."""

    def write(self, text: str) -> int:
        return sys.stdout.write(text)


_CURRENT = _Current()


def _follow() -> None:
    """Lead the functions' loggers to the present standard output, not to a former one."""
    for name in _FUNCTIONS:
        for handler in logging.getLogger(name).handlers:
            if isinstance(handler, logging.StreamHandler):
                handler.stream = _CURRENT
