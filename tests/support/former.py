"""The template without the additions of `FormerNames`, which `test_former_template` tests alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

CONDITION = "HasFormerNames"


def without_former_names(template: Mapping[str, Any]) -> dict[str, Any]:
    """Return a template without the resources under former names."""
    kept = {
        name: resource
        for name, resource in template["Resources"].items()
        if resource.get("Condition") != CONDITION
    }
    return {**template, "Resources": kept}
