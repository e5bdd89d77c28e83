"""Lets the deployed functions send to receivers on loopback, since no test has a public address.

Python runs this module at its start, in each process in which ministack runs a function. The code
is the deployed code, of this release or the former; only its rules differ:
`http://127.0.0.1` is a webhook's url, and its address is public.
"""

from __future__ import annotations

import importlib
import sys
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import PathFinder
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Sequence
    from importlib.machinery import ModuleSpec
    from types import ModuleType

WIRING = {"webhooks.wiring.common": "CommonServices", "webhooks.wiring": "Services"}
"""The module that has the rules, and its class that takes them: of this release and the former."""

HOST = "127.0.0.1"


def loosen(wiring: ModuleType) -> None:
    """Give the services the tests' rules if a deployed function gives none."""
    targets = importlib.import_module("webhooks.domain.targets")

    def parse_url(url: str) -> Any:
        parts = urlsplit(url)
        if (parts.scheme, parts.hostname) == ("http", HOST):
            return targets.Target(parts.scheme, HOST, parts.port, parts.path)
        return targets.parse_url(url)

    def is_public(address: str) -> bool:
        return address == HOST or bool(targets.is_public(address))

    rules = wiring.TargetRules(parse_url=parse_url, is_public=is_public)
    getattr(wiring, WIRING[wiring.__name__]).__init__.__kwdefaults__["rules"] = rules


class _Loader(Loader):
    def __init__(self, loader: Loader) -> None:
        self._loader = loader

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        self._loader.exec_module(module)
        if hasattr(module, WIRING[module.__name__]):
            loosen(module)


class _Finder(MetaPathFinder):
    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name not in WIRING:
            return None
        spec = PathFinder.find_spec(name, path, target)
        if spec and spec.loader:
            spec.loader = _Loader(spec.loader)
        return spec


sys.meta_path.insert(0, _Finder())
