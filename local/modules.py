"""`python -m local.modules` writes docs/modules.md: each module, and its first line."""

from __future__ import annotations

import ast
from pathlib import Path

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "modules.md"

_PACKAGES = (
    "layers/core/webhooks",
    "functions",
    "local",
    "ops",
    "cli",
    "benchmarks",
    "tests/support",
)
_HEAD = """# Modules

Every module of the code with the first line of its docstring. `python -m local.modules` writes
this page. The [architecture](architecture.md#packages) has the packages and the direction of their
imports, and [CONTRIBUTING](../CONTRIBUTING.md) the files of the ten most frequent changes.
"""


def summary(path: Path) -> str:
    """Return the first paragraph of a module's docstring as one line, empty if it has none."""
    docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    return " ".join(docstring.partition("\n\n")[0].split()).replace("|", "\\|")


def page() -> str:
    """Return the page of the present code."""
    parts = [_HEAD]
    for package in _PACKAGES:
        directories = sorted({path.parent for path in (ROOT / package).rglob("*.py")})
        for directory in directories:
            modules = {path.name: summary(path) for path in sorted(directory.glob("*.py"))}
            of_package = modules.pop("__init__.py", "")
            rows = [f"| `{name}` | {text} |" for name, text in modules.items() if text]
            if rows:
                parts.append(f"## {directory.relative_to(ROOT)}\n")
                if of_package:
                    parts.append(f"{of_package}\n")
                parts.append("\n".join(["| Module | |", "|---|---|", *rows]) + "\n")
    return "\n".join(parts)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
