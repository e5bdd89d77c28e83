"""Output for people: tables, lines and colours; or JSON for scripts."""

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
    """Writes to a stream; in colour if that is a terminal and NO_COLOR is not set.

    With `as_json` the output is for a script.
    """

    def __init__(self, stream: TextIO, environment: Mapping[str, str], *, as_json: bool) -> None:
        self._stream = stream
        self.as_json = as_json
        self._coloured = stream.isatty() and not environment.get("NO_COLOR") and not as_json

    def json(self, value: Any) -> None:
        """Write a value as JSON."""
        self.line(json.dumps(value, indent=2, ensure_ascii=False))

    def json_line(self, value: Any) -> None:
        """Write a value as one line of JSON."""
        self.line(json.dumps(value, ensure_ascii=False))

    def line(self, text: str = "") -> None:
        """Write a line and flush, so that a pipe gets it at once."""
        self._stream.write(f"{text}\n")
        self._stream.flush()

    def fields(self, values: Mapping[str, Any]) -> None:
        """Write names and values, one per line; None is left out."""
        shown = {cell(name): value for name, value in _flat(values) if value is not None}
        width = max(map(len, shown), default=0)
        for name, value in shown.items():
            self.line(f"{name:<{width}}  {self.paint(cell(value))}")

    def table(self, headings: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        """Write rows below their headings; `none` without rows."""
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
        """Return a word in the colour of its meaning, padded to a width."""
        return self.colour(f"{text:<{width}}", _COLOURS.get(text))

    def outcome(self, text: str, *, good: bool) -> str:
        """Return a text in the colour of success or failure."""
        return self.colour(text, _GREEN if good else _RED)

    def colour(self, text: str, colour: str | None) -> str:
        """Return a text in a colour if the screen has colours."""
        return f"\033[{colour}m{text}\033[0m" if self._coloured and colour else text


def cell(value: Any) -> str:
    """Return a value as one line, escaped: stored texts must not control the terminal."""

    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
    return escaped(text)


def _flat(values: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield names and values; a nested value is named `outer.inner`."""
    for name, value in values.items():
        if isinstance(value, dict):
            yield from ((f"{name}.{inner}", each) for inner, each in value.items())
        else:
            yield name, value


def _row(cells: Sequence[str], widths: Sequence[int]) -> str:
    return "  ".join(f"{text:<{width}}" for text, width in zip(cells, widths, strict=True)).rstrip()
