"""Lets the deployed functions send to receivers on loopback, as the stack on one machine does.

Python runs this module at its start, in each process in which ministack runs a function. The
functions' code is what was deployed; only the address rule that they are wired with is another,
since no receiver of a test has a public address.
"""

from __future__ import annotations

import importlib.util
import sys
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import PathFinder
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from importlib.machinery import ModuleSpec
    from types import ModuleType

WIRING = "webhooks.wiring"
RULE = Path(__file__).parents[3] / "local" / "loopback.py"


class _LoosenTheRule(Loader):
    def __init__(self, loader: Loader) -> None:
        self._loader = loader

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        self._loader.exec_module(module)
        spec = importlib.util.spec_from_file_location("loopback", RULE)
        assert spec and spec.loader
        rule = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(rule)
        rules = module.TargetRules(parse_url=rule.parse_url, is_public=rule.is_allowed)
        module.Services.__init__.__kwdefaults__["rules"] = rules


class _Finder(MetaPathFinder):
    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name != WIRING:
            return None
        spec = PathFinder.find_spec(name, path, target)
        if spec and spec.loader:
            spec.loader = _LoosenTheRule(spec.loader)
        return spec


sys.meta_path.insert(0, _Finder())
