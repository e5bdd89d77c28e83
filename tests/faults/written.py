"""Every public method of an adapter that writes to AWS, found in the source.

An operation of a client is a write unless it is listed as a read.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass, field
from pathlib import Path

ADAPTERS = Path(__file__).parents[2] / "layers/core/webhooks/adapters"

READS = {"get_item", "batch_get_item", "query", "describe_execution"}
_NO_OPERATIONS = {"quick"}
_CLIENTS = {"client", "_client"}


@dataclass
class _Method:
    writes: bool
    own: set[str]
    """Methods of its own class, or of classes above or below it, that it calls or hands on."""
    named: set[str]
    """Functions and classes of the adapters that it names."""


@dataclass
class _Class:
    name: str
    bases: list[str]
    methods: dict[str, _Method] = field(default_factory=dict)


def writing_methods() -> set[str]:
    """Return the names of the methods, for example `DynamoDBHealthStore.open`.

    A class that others inherit from, or that a method of another makes for the time of a call, is a
    part of those. Of a class with a base of other software's, the methods that the base calls are
    public: the overriding methods that nothing in the class calls.
    """
    classes, functions = _read()
    bases = {base for each in classes.values() for base in each.bases}
    found = _Reach(classes, functions)
    parts = bases | {
        name
        for each in classes.values()
        for method, what in each.methods.items()
        if method != "__init__"
        for name in what.named & classes.keys()
    }
    return {
        f"{each.name}.{method}"
        for each in classes.values()
        if each.name not in parts
        for method in _public(found.methods_of(each), {*each.bases} - {*classes, "Generic"})
        if found.writes(each, method)
    }


def _public(methods: dict[str, _Method], outside: set[str]) -> set[str]:
    public = {name for name in methods if not name.startswith("_")}
    if outside:
        called = {name for what in methods.values() for name in what.own}
        public |= {name for name in methods if not name.startswith("__")} - called
    return public


class _Reach:
    """The reach of a method, through private methods, functions and classes that it makes."""

    def __init__(self, classes: dict[str, _Class], functions: dict[str, _Method]) -> None:
        self._classes = classes
        self._functions = functions

    def methods_of(self, each: _Class) -> dict[str, _Method]:
        """Return a class's methods, inherited ones too."""
        methods: dict[str, _Method] = {}
        for base in each.bases:
            if base in self._classes:
                methods |= self.methods_of(self._classes[base])
        return methods | each.methods

    def writes(self, each: _Class, method: str) -> bool:
        """True if a method writes."""
        return self._writes((each.name, method), set())

    def _writes(self, place: tuple[str, str], seen: set[tuple[str, str]]) -> bool:
        if place in seen:
            return False
        seen.add(place)
        owner, name = place
        if not owner:
            what = self._functions.get(name)
        else:
            what = self.methods_of(self._classes[owner]).get(name)
        if what is None:
            return False
        if what.writes or any(self._writes((owner, own), seen) for own in what.own if owner):
            return True
        return any(self._names_a_write(named, seen) for named in what.named)

    def _names_a_write(self, name: str, seen: set[tuple[str, str]]) -> bool:
        if name in self._classes:
            return any(self._writes((name, method), seen) for method in self._classes[name].methods)
        return self._writes(("", name), seen)


def _read() -> tuple[dict[str, _Class], dict[str, _Method]]:
    classes: dict[str, _Class] = {}
    functions: dict[str, _Method] = {}
    for path in sorted(ADAPTERS.rglob("*.py")):
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.FunctionDef):
                assert node.name.startswith("_") or node.name not in functions, node.name
                before = functions.get(node.name)
                functions[node.name] = _merged(before, _method(node))
            elif isinstance(node, ast.ClassDef):
                made = _Class(node.name, [_name(base) for base in node.bases])
                for each in node.body:
                    if isinstance(each, ast.FunctionDef):
                        made.methods[each.name] = _method(each)
                        made.methods[each.name].named.discard(node.name)
                classes[node.name] = made
    return classes, functions


def _merged(before: _Method | None, new: _Method) -> _Method:
    """Merge private functions of one name in two modules: rather a write too many."""
    if before is None:
        return new
    return _Method(before.writes or new.writes, before.own | new.own, before.named | new.named)


def _name(base: ast.expr) -> str:
    if isinstance(base, ast.Subscript):
        base = base.value
    return base.attr if isinstance(base, ast.Attribute) else getattr(base, "id", "")


def _method(node: ast.FunctionDef) -> _Method:
    found = _Method(writes=False, own=set(), named=set())
    for each in ast.walk(node):
        if isinstance(each, ast.Name):
            found.named.add(each.id)
        elif isinstance(each, ast.Attribute):
            owner = each.value
            name = owner.attr if isinstance(owner, ast.Attribute) else getattr(owner, "id", "")
            if name in _CLIENTS:
                found.writes |= each.attr not in READS | _NO_OPERATIONS
            elif name == "self":
                found.own.add(each.attr)
            else:
                found.named.add(each.attr)
    return found
