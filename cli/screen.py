"""What a person sees: tables, lines and colours; or JSON for a script."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from webhooks.domain.texts import escaped

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from typing import TextIO

_GREEN, _YELLOW, _RED = "32", "33", "31"
_COLOURS = {
    "healthy": _GREEN,
    "recovering": _YELLOW,
    "failing": _YELLOW,
    "down": _RED,
    "succeeded": _GREEN,
    "pending": _YELLOW,
    "retrying": _YELLOW,
    "waiting": _YELLOW,
    "passed": _GREEN,
    "completed": _GREEN,
    "running": _YELLOW,
    "information": _YELLOW,
    "failed": _RED,
    "disabled": _RED,
    "exhausted": _RED,
    "cancelled": _RED,
}


class Screen:
    """Writes to a stream, in colour where that is a terminal whose user has not set NO_COLOR."""

    def __init__(self, stream: TextIO, environment: Mapping[str, str], *, as_json: bool) -> None:
        """Take the stream, and whether a script reads it."""
        self._stream = stream
        self.as_json = as_json
        self._coloured = stream.isatty() and not environment.get("NO_COLOR") and not as_json

    def json(self, value: Any) -> None:
        """Write a value for a script."""
        self.line(json.dumps(value, indent=2, ensure_ascii=False))

    def json_line(self, value: Any) -> None:
        """Write a value as one line of many."""
        self.line(json.dumps(value, ensure_ascii=False))

    def line(self, text: str = "") -> None:
        """Write a line at once, so that a pipe sees it as it happens."""
        self._stream.write(f"{text}\n")
        self._stream.flush()

    def fields(self, values: Mapping[str, Any]) -> None:
        """Write names and values, one a line; those that are None are left out."""
        shown = {cell(name): value for name, value in _flat(values) if value is not None}
        width = max(map(len, shown), default=0)
        for name, value in shown.items():
            self.line(f"{name:<{width}}  {self.paint(cell(value))}")

    def table(self, headings: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        """Write rows below their headings; a note where there are none."""
        if not rows:
            self.line("none")
            return
        cells = [[cell(value) for value in row] for row in rows]
        widths = [max(map(len, column)) for column in zip(headings, *cells, strict=True)]
        self.line(_row(headings, widths))
        for row in cells:
            padded = [self.paint(text, width) for text, width in zip(row, widths, strict=True)]
            self.line("  ".join(padded).rstrip())

    def paint(self, text: str, width: int = 0) -> str:
        """Return a word in the colour of what it says, padded to a width."""
        return self.colour(f"{text:<{width}}", _COLOURS.get(text))

    def outcome(self, text: str, *, good: bool) -> str:
        """Return a text as good or bad news."""
        return self.colour(text, _GREEN if good else _RED)

    def colour(self, text: str, colour: str | None) -> str:
        """Return a text in a colour, where there are any."""
        return f"\033[{colour}m{text}\033[0m" if self._coloured and colour else text


def cell(value: Any) -> str:
    """Return a value as one line: nothing that was stored may steer a terminal."""

    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
    return escaped(text)


def _flat(values: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield names and values, what is in a part of its own as `part.name`."""
    for name, value in values.items():
        if isinstance(value, dict):
            yield from ((f"{name}.{inner}", each) for inner, each in value.items())
        else:
            yield name, value


def _row(cells: Sequence[str], widths: Sequence[int]) -> str:
    return "  ".join(f"{text:<{width}}" for text, width in zip(cells, widths, strict=True)).rstrip()
