"""Command-line options and list columns of a webhook's fields, from the domain's table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cli import arguments
from webhooks.domain.webhook_fields import (
    CHANGEABLE,
    READABLE,
    REGISTERED,
    FieldKind,
    May,
)

if TYPE_CHECKING:
    import argparse

    from webhooks.domain.webhook_fields import Field

COLUMNS = [(field.name.replace("_", " ").upper(), field.name) for field in READABLE if field.listed]
"""Headings and names of the fields with a column in the list of webhooks."""

_PAIRS = (FieldKind.HEADERS, FieldKind.PAIRS)


def add_to_create(command: argparse.ArgumentParser) -> None:
    """Add the options of a new webhook; its url is a positional argument."""
    command.add_argument("--secret", help="your own secret; default: a generated one")
    for field in REGISTERED:
        _add(command, field, default="*" if field.kind is FieldKind.NAMES else None)


def add_to_edit(command: argparse.ArgumentParser) -> None:
    """Add options for the fields that can be changed or cleared."""
    command.add_argument("--url", metavar="URL")
    for field in CHANGEABLE:
        _add(command, field)
    command.add_argument(
        "--clear",
        action="append",
        choices=[field.name for field in CHANGEABLE if May.CLEAR in field.may],
        help="clear this field; may be repeated",
    )


def given(options: argparse.Namespace) -> dict[str, Any]:
    """Return the values on a command line, by the API's names."""
    values = {}
    for field in (*REGISTERED, *CHANGEABLE):
        value = getattr(options, field.name, None)
        if value is not None:
            values[field.name] = _value(field, value)
    return values | dict.fromkeys(getattr(options, "clear", None) or ())


def _add(command: argparse.ArgumentParser, field: Field, default: str | None = None) -> None:
    option = f"--{field.name.replace('_', '-')}"
    if field.kind is FieldKind.NAMES:
        command.add_argument(
            option,
            default=default,
            help="event types, separated by commas; * means all email types, future ones included",
        )
    elif field.kind is FieldKind.TEXT:
        command.add_argument(option, help=_help(field))
    elif field.kind in _PAIRS:
        command.add_argument(
            "--header" if field.kind is FieldKind.HEADERS else option,
            dest=field.name,
            action="append",
            metavar="NAME=VALUE",
            type=arguments.pair,
            help=_help(field),
        )


def _help(field: Field) -> str:
    return field.meaning.rstrip(".").replace("%", "%%")


def _value(field: Field, value: Any) -> Any:
    if field.kind is FieldKind.NAMES:
        return [name.strip() for name in value.split(",")]
    return dict(value) if field.kind in _PAIRS else value
