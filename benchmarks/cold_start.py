"""What a new function loads: CPU and modules of its import, against a bare botocore client."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
BUILD = ROOT / ".aws-sam" / "build"
FUNCTIONS = ("dispatcher", "retrier", "api")
ROUNDS = 5

_BARE = (
    "import botocore.session\n"
    "botocore.session.get_session().create_client('dynamodb', region_name='us-east-1')\n"
)
_FUNCTION = (
    "import {name}.handler\n"
    "from webhooks.wiring import services\n"
    "made = services('{name}')\n"
    "{first_use}\n"
    "made._dynamodb.meta\n"
)
_FIRST_USE = {
    "dispatcher": "made.dispatcher",
    "retrier": "made.retrier",
    "api": "made.registry",
}
_TELL = (
    "\nimport json, sys, time\n"
    "taken = time.process_time(), time.time() - began\n"
    "print(json.dumps([taken[0] * 1000, len(sys.modules), taken[1] * 1000]))\n"
)


def sources() -> tuple[str, list[str]]:
    """Return where the code is taken from: the built artifacts, where they can run here."""
    layer = BUILD / "CoreLayer" / "python"
    built = [BUILD / f"{name.title()}Function" for name in FUNCTIONS]
    if sys.version_info[:2] == (3, 13) and all(path.is_dir() for path in [layer, *built]):
        return "built artifacts", [str(path) for path in [*built, layer]]
    return "sources", [str(ROOT / "functions"), str(ROOT / "layers" / "core")]


def measure() -> dict[str, Any]:
    """Return each function's import and first client, and the bare client's, the best of five.

    The interpreter's own start is part of every figure.
    """
    origin, path = sources()
    programs = {"bare botocore client": _BARE} | {name: _program(name) for name in FUNCTIONS}
    taken: dict[str, list[tuple[float, int]]] = {name: [] for name in programs}
    for _ in range(ROUNDS):
        for name, program in programs.items():
            taken[name].append(_run(program, path))
    measured: dict[str, Any] = {}
    for name, rounds in taken.items():
        cpu_ms, modules = min(rounds)
        measured[name] = {"cpu_ms": cpu_ms, "modules": modules}
    bare = measured["bare botocore client"]["cpu_ms"]
    for values in measured.values():
        values["ratio"] = values["cpu_ms"] / bare
    return {"from": origin, **measured}


def wall_ms(name: str, group: Path) -> float:
    """Return how long a new function takes to be ready with a group's share of a CPU."""
    join = f"open({str(group / 'cgroup.procs')!r}, 'w').write('0')\n"
    return _told(f"{join}import time\nbegan = time.time()\n{_program(name)}", sources()[1])[2]


def _program(name: str) -> str:
    return _FUNCTION.format(name=name, first_use=_FIRST_USE[name])


def _run(program: str, path: list[str]) -> tuple[float, int]:
    cpu_ms, modules, _ = _told(f"began = 0\n{program}", path)
    return cpu_ms, int(modules)


def _told(program: str, path: list[str]) -> list[float]:
    """Return what `_TELL` prints after a program that says when it `began`."""
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(path),
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "CURSOR_KEY": "a key for cursors",
        "EVENTS_DEAD_LETTER_QUEUE_URL": "https://sqs.us-east-1.amazonaws.com/1/rejected",
    }
    done = subprocess.run(
        [sys.executable, "-c", program + _TELL],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    told: list[float] = json.loads(done.stdout)
    return told
