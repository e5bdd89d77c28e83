"""The options and columns of a webhook's fields, as the one table of them says."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cli import arguments
from webhooks.domain.webhook_fields import (
    CHANGEABLE,
    READABLE,
    REGISTERED,
    Kind,
    May,
)

if TYPE_CHECKING:
    import argparse

    from webhooks.domain.webhook_fields import Field

COLUMNS = [(field.name.replace("_", " ").upper(), field.name) for field in READABLE if field.listed]
"""The headings and names of the fields that have a column in the list of webhooks."""

_PAIRS = (Kind.HEADERS, Kind.PAIRS)


def add_to_create(command: argparse.ArgumentParser) -> None:
    """Add what a new webhook may have; its url is no option."""
    command.add_argument("--secret", help="a secret of your own; else one is generated")
    for field in REGISTERED:
        _add(command, field, default="*" if field.kind is Kind.NAMES else None)


def add_to_edit(command: argparse.ArgumentParser) -> None:
    """Add what may be changed, and what may be cleared."""
    command.add_argument("--url", metavar="URL")
    for field in CHANGEABLE:
        _add(command, field)
    command.add_argument(
        "--clear",
        action="append",
        choices=[field.name for field in CHANGEABLE if May.CLEAR in field.may],
        help="take a value away; may be given several times",
    )


def given(options: argparse.Namespace) -> dict[str, Any]:
    """Return the values that a command line gives, by the API's names."""
    values = {}
    for field in (*REGISTERED, *CHANGEABLE):
        value = getattr(options, field.name, None)
        if value is not None:
            values[field.name] = _value(field, value)
    return values | dict.fromkeys(getattr(options, "clear", None) or ())


def _add(command: argparse.ArgumentParser, field: Field, default: str | None = None) -> None:
    option = f"--{field.name.replace('_', '-')}"
    if field.kind is Kind.NAMES:
        command.add_argument(
            option,
            default=default,
            help="types with commas between, or * for all of mail, those to come included",
        )
    elif field.kind is Kind.TEXT:
        command.add_argument(option, help=_help(field))
    elif field.kind in _PAIRS:
        command.add_argument(
            "--header" if field.kind is Kind.HEADERS else option,
            dest=field.name,
            action="append",
            metavar="NAME=VALUE",
            type=arguments.pair,
            help=_help(field),
        )


def _help(field: Field) -> str:
    return field.meaning.rstrip(".").replace("%", "%%")


def _value(field: Field, value: Any) -> Any:
    if field.kind is Kind.NAMES:
        return [name.strip() for name in value.split(",")]
    return dict(value) if field.kind in _PAIRS else value
