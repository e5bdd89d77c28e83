"""The Standard Webhooks library of each language, put where a guide's program finds it.

Those of Node.js, Go and Java come from their registries, in versions that are locked here. Those of
PHP and Ruby are used only where they are installed already.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from e2e.receivers import NODE
from support.slowness import seconds

if TYPE_CHECKING:
    from collections.abc import Callable

LIBRARY = re.compile(r"standard-?webhooks", re.IGNORECASE)
"""The name of the library in a program of any language."""

_HERE = Path(__file__).parent
_FETCH_SECONDS = 100


def bring(language: str, directory: Path) -> str | None:
    """Bring a language's library into a program's directory; return a missing requirement."""
    bringer = _BRINGERS.get(language)
    return bringer(directory) if bringer else None


def link_node_packages(directory: Path, express: str) -> None:
    """Give a program the locked packages under the names by which its reader installs them."""
    directory.mkdir()
    packages = {"express": express, "fastify": "fastify", "standardwebhooks": "standardwebhooks"}
    for name, installed in packages.items():
        if installed:
            (directory / name).symlink_to(NODE / "node_modules" / installed)


def _go(directory: Path) -> str | None:
    for name in ("go.mod", "go.sum"):
        shutil.copy(_HERE / "go" / name, directory)
    return None if _runs("go", "mod", "download", cwd=directory) else "go cannot fetch the library"


def _java(directory: Path) -> str | None:
    if not shutil.which("mvn"):
        return "mvn is not on the PATH"
    fetched = _runs(
        "mvn",
        "--quiet",
        "--batch-mode",
        f"--file={_HERE / 'java' / 'pom.xml'}",
        "dependency:copy-dependencies",
        f"-DoutputDirectory={directory / 'libraries'}",
        cwd=directory,
    )
    return None if fetched else "mvn cannot fetch the library"


def _php(directory: Path) -> str | None:
    vendor = os.environ.get("COMPOSER_VENDOR_DIR")
    if not vendor or not Path(vendor, "autoload.php").exists():
        return "COMPOSER_VENDOR_DIR has no library"
    (directory / "vendor").symlink_to(Path(vendor).resolve())
    return None


def _ruby(directory: Path) -> str | None:
    loads = _runs("ruby", "-r", "standardwebhooks", "-e", "", cwd=directory)
    return None if loads else "the gem standardwebhooks is not installed"


def _runs(*command: str, cwd: Path) -> bool:
    done = subprocess.run(
        command, cwd=cwd, check=False, capture_output=True, timeout=seconds(_FETCH_SECONDS)
    )
    return done.returncode == 0


_BRINGERS: dict[str, Callable[[Path], str | None]] = {
    "go": _go,
    "java": _java,
    "php": _php,
    "ruby": _ruby,
}
