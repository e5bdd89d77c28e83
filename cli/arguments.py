"""Converters of command-line words to values; their errors name the expected form."""

from __future__ import annotations

import argparse
import re

from webhooks.domain.headers import header_problems

_LOCAL_ADDRESS = re.compile(
    r"(?:(?:http://)?(?:127\.0\.0\.1|localhost):)?([0-9]{1,5})(/[!-\"$-~]*)?"
)
_MIN_INTERVAL_SECONDS, _MAX_INTERVAL_SECONDS = 0.2, 60.0


def identifier(text: str) -> str:
    """Return an id; letters, digits, `_` and `-` only."""
    if not re.fullmatch(r"[\w-]+", text, re.ASCII):
        msg = f"{text!r} is not an id"
        raise argparse.ArgumentTypeError(msg)
    return text


def pair(text: str) -> tuple[str, str]:
    """Return the name and the value of a header or of metadata, written NAME=VALUE."""
    name, equals, value = text.partition("=")
    if not equals:
        msg = f"{text!r} is not of the form NAME=VALUE"
        raise argparse.ArgumentTypeError(msg)
    return name, value


def header(text: str) -> tuple[str, str]:
    """Return the name and the value of a header that a webhook may send."""

    name, value = pair(text)
    for problem in header_problems({name: value}):
        raise argparse.ArgumentTypeError(f"{name!r}: {problem.message}")
    return name, value


def positive(text: str) -> int:
    """Return a whole number of at least 1."""
    if whole(text) < 1:
        msg = f"{text!r} is not a whole number of at least 1"
        raise argparse.ArgumentTypeError(msg)
    return int(text)


def whole(text: str) -> int:
    """Return a whole number of at least 0, in ASCII digits."""
    if not re.fullmatch(r"[0-9]{1,18}", text):
        msg = f"{text!r} is not a whole number"
        raise argparse.ArgumentTypeError(msg)
    return int(text)


def local_url(text: str) -> str:
    """Return the address on this machine for PORT or PORT/PATH."""
    match = _LOCAL_ADDRESS.fullmatch(text)
    if match is None or not 1 <= int(match[1]) <= 65535:
        msg = f"{text!r} is not of the form PORT or PORT/PATH, for example 3000/webhooks"
        raise argparse.ArgumentTypeError(msg)
    return f"http://127.0.0.1:{match[1]}{match[2] or '/'}"


def interval(text: str) -> float:
    """Return the seconds between two polls."""
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not _MIN_INTERVAL_SECONDS <= seconds <= _MAX_INTERVAL_SECONDS:
        msg = f"{text!r} is not {_MIN_INTERVAL_SECONDS} to {_MAX_INTERVAL_SECONDS:.0f} seconds"
        raise argparse.ArgumentTypeError(msg)
    return seconds
