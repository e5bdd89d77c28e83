"""Sets of parameters that combine the template's conditions.

A fault that needs two conditions shows in a set that has both: the sets have every pair of values
of every two parameters that conditions depend on, as far as the template's rules allow it.
"""

from __future__ import annotations

import itertools
import re
from functools import cache
from typing import TYPE_CHECKING, Any

from local import template
from support.rendering import ACCOUNT, CHINA, COMMERCIAL, Parameters, Place, Rendering

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_EXAMPLES = (
    "operations@example.com",
    "api.example.com",
    "arn:{partition}:acm:{region}:{account}:certificate/0a1b2c3d",
    "arn:{partition}:sns:{region}:{account}:operational-events",
    "Z0123456789ABCDEFGHIJ",
)
"""Values of parameters that may be empty: a parameter uses the first that fits its pattern."""

Pair = frozenset[tuple[str, str]]


@cache
def loaded() -> dict[str, Any]:
    """The transformed template."""
    return template.load()


def values(place: Place) -> dict[str, tuple[str, ...]]:
    """Return the values to try of each parameter of a condition, its default first."""
    declared = loaded()["Parameters"]
    names = {name for name in _referred(loaded()["Conditions"]) if name in declared}
    return {name: _values(declared[name], place) for name in sorted(names)}


def every(place: Place = COMMERCIAL) -> list[Parameters]:
    """Return every set of these values that the template's rules and the partition allow.

    China has no SES.
    """
    names, choices = zip(*values(place).items(), strict=True)
    sets = [dict(zip(names, chosen, strict=True)) for chosen in itertools.product(*choices)]
    rules = Rendering({**loaded(), "Resources": {}, "Outputs": {}}, {}, place)
    allowed = [one for one in sets if _obeys(rules, one)]
    return [one for one in allowed if place != CHINA or one["ConnectSes"] == "false"]


def pairwise(place: Place = COMMERCIAL) -> list[Parameters]:
    """Return few sets that cover every pair of values, with all defaults first."""
    candidates = every(place)
    missing = {pair for one in candidates for pair in _pairs(one)}
    chosen = [candidates[0]]
    missing -= set(_pairs(candidates[0]))
    while missing:
        best = max(candidates, key=lambda one: len(missing & set(_pairs(one))))
        missing -= set(_pairs(best))
        chosen.append(best)
    return chosen


def _obeys(rules: Rendering, parameters: Parameters) -> bool:
    rules.parameters = parameters
    return rules.obeys_the_rules()


def _pairs(parameters: Parameters) -> Iterator[Pair]:
    return (frozenset(pair) for pair in itertools.combinations(parameters.items(), 2))


def _values(declared: Mapping[str, Any], place: Place) -> tuple[str, ...]:
    default = str(declared["Default"])
    if "AllowedValues" in declared:
        return (default, *(one for one in declared["AllowedValues"] if one != default))
    examples = (
        text.format(partition=place.partition, region=place.region, account=ACCOUNT)
        for text in _EXAMPLES
    )
    return (default, next(one for one in examples if re.fullmatch(declared["AllowedPattern"], one)))


def _referred(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if isinstance(value.get("Ref"), str):
            yield value["Ref"]
        value = list(value.values())
    if isinstance(value, list):
        for one in value:
            yield from _referred(one)
