"""The load of a new function: CPU and modules of its import, compared with a bare botocore client.

The built artifacts are measured under Lambda's version of Python if both exist and the build is of
these sources (`make build`, `make bench`). Otherwise the sources are measured, compiled beforehand.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

ROOT = Path(__file__).parents[1]
BUILD = ROOT / ".aws-sam" / "build"
FUNCTIONS = ("dispatcher", "worker", "api")
FLOOR = "bare client, requests and Powertools"
ROUNDS = 6
LAMBDA_PYTHON = ROOT / ".venv-lambda" / "bin" / "python"
"""Lambda's version of Python, with the botocore of its runtime."""

_COMPILING = ("PYTHONDONTWRITEBYTECODE", "PYTHONPYCACHEPREFIX")

_BARE = (
    "import botocore.session\n"
    "botocore.session.get_session().create_client('dynamodb', region_name='us-east-1')\n"
)
_LIBRARIES = (
    "import requests.adapters\n"
    "import certifi\n"
    "from aws_lambda_powertools.logging import Logger\n"
    "from aws_lambda_powertools.metrics import EphemeralMetrics, MetricUnit\n"
    "Logger(service='x', location=None)\n"
)
"""The dispatcher's libraries without its own code: the floor of its import."""

_FUNCTION = (
    "import {name}.handler\n"
    "from webhooks.wiring.{name} import {services}\n"
    "made = {services}.deployed()\n"
    "{first_use}\n"
    "made._dynamodb.meta\n"
)
_FIRST_USE = {
    "dispatcher": "made.batches",
    "worker": "made.retrier",
    "api": "made.webhook_service",
}
_TELL = (
    "\nimport json, sys, time\n"
    "taken = time.process_time(), time.time() - began\n"
    "print(json.dumps([taken[0] * 1000, len(sys.modules), taken[1] * 1000]))\n"
)


class Code(NamedTuple):
    """The origin of a function's code in words, and its Python and import path."""

    origin: str
    python: str
    path: list[str]


def code() -> Code:
    """Return the code to measure."""
    layer = BUILD / "CoreLayer" / "python"
    built = [BUILD / f"{name.title()}Function" for name in FUNCTIONS]
    originals = [
        (ROOT / "layers" / "core" / "webhooks", layer / "webhooks"),
        *(
            (ROOT / "functions" / name, BUILD / f"{name.title()}Function" / name)
            for name in FUNCTIONS
        ),
    ]
    if LAMBDA_PYTHON.exists() and all(_same(*pair) for pair in originals):
        path = [str(one) for one in [*built, layer]]
        return Code("the built artifacts", str(LAMBDA_PYTHON), path)
    path = [str(ROOT / "functions"), str(ROOT / "layers" / "core")]
    return Code("the sources", sys.executable, path)


def _same(source: Path, built: Path) -> bool:
    """Return whether a package was built from exactly these sources."""
    files = {path.relative_to(source) for path in source.rglob("*.py")}
    return files == {path.relative_to(built) for path in built.rglob("*.py")} and all(
        (source / file).read_bytes() == (built / file).read_bytes() for file in files
    )


def measure() -> dict[str, Any]:
    """Return import and first client of each function and of the bare client, the best of six.

    The interpreter's own start is part of every figure.
    """
    found = code()
    programs = {
        "bare botocore client": _BARE,
        FLOOR: _BARE + _LIBRARIES,
        **{name: _program(name) for name in FUNCTIONS},
    }
    taken: dict[str, list[tuple[float, int]]] = {name: [] for name in programs}
    with TemporaryDirectory() as cache:
        for number in range(ROUNDS + 1):
            for name, program in programs.items():
                cpu_ms, modules, _ = _told(f"began = 0\n{program}", found, cache)
                if number:  # the first round compiles what is not compiled
                    taken[name].append((cpu_ms, int(modules)))
    measured: dict[str, Any] = {}
    for name, rounds in taken.items():
        cpu_ms, modules = min(rounds)
        measured[name] = {"cpu_ms": cpu_ms, "modules": modules}
    bare = measured["bare botocore client"]["cpu_ms"]
    for values in measured.values():
        values["ratio"] = values["cpu_ms"] / bare
    version = subprocess.run(
        [found.python, "-c", "import platform; print(platform.python_version())"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    return {"from": found.origin, "python": version, **measured}


def wall_ms(name: str, group: Path) -> float:
    """Return the milliseconds until a new function is ready with a group's share of a CPU."""
    join = f"open({str(group / 'cgroup.procs')!r}, 'w').write('0')\n"
    program = f"{join}import time\nbegan = time.time()\n{_program(name)}"
    with TemporaryDirectory() as cache:
        # Compile beforehand, outside of the group.
        _told(f"began = 0\n{_program(name)}", code(), cache)
        return _told(program, code(), cache)[2]


def _program(name: str) -> str:
    return _FUNCTION.format(
        name=name, services=f"{name.title()}Services", first_use=_FIRST_USE[name]
    )


def _told(program: str, found: Code, cache: str) -> list[float]:
    """Return the output of `_TELL` after a program that sets `began`.

    Built artifacts contain their compiled files; those of sources are kept in `cache`.
    """
    environment = {name: text for name, text in os.environ.items() if name not in _COMPILING}
    if found.python != str(LAMBDA_PYTHON):
        environment["PYTHONPYCACHEPREFIX"] = cache
    environment |= {
        "PYTHONPATH": os.pathsep.join(found.path),
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "CURSOR_KEY": "a key for cursors",
        "EVENTS_QUEUE_URL": "https://sqs.us-east-1.amazonaws.com/1/events",
        "EVENTS_DEAD_LETTER_QUEUE_URL": "https://sqs.us-east-1.amazonaws.com/1/rejected",
    }
    done = subprocess.run(
        [found.python, "-c", program + _TELL],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    told: list[float] = json.loads(done.stdout)
    return told
