"""The short soak: like `make soak`'s long one, a process of its own that prints a table."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from soak.dispatchers import PATHS, ROOT
from soak.ledger import COLUMNS
from soak.outages import Service
from soak.plan import SHORT, Kind
from support.engines import MOTO
from support.stores import DYNAMODBS

if TYPE_CHECKING:
    from pathlib import Path

_LEFT_OUT = re.compile(r"AWS_.*|LOCAL_.*")


def read_table(printed: str) -> dict[str, dict[str, int]]:
    """Return the numbers of the table, by kind of receiver and by column."""
    row = re.compile(r"(\S.{14})" + r"\s+([\d,]+)" * (len(COLUMNS) - 1))
    found = (row.fullmatch(line) for line in printed.splitlines())
    return {
        match[1].strip(): dict(
            zip(COLUMNS[1:], (int(n.replace(",", "")) for n in match.groups()[1:]), strict=True)
        )
        for match in found
        if match
    }


@pytest.mark.timeout(SHORT.deadline_seconds + 120)
@pytest.mark.parametrize("tables", DYNAMODBS)
def test_every_delivery_is_accounted_for(tables: str, tmp_path: Path) -> None:
    log = tmp_path / "soak.log"
    environment = {name: text for name, text in os.environ.items() if not _LEFT_OUT.match(name)}
    if tables == MOTO:
        environment.pop("DYNAMODB_ENDPOINT", None)
    ended = subprocess.run(
        [sys.executable, "-m", "soak", "--short", "--log", str(log)],
        env=environment | {"PYTHONPATH": os.pathsep.join(str(ROOT / path) for path in PATHS)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert ("DynamoDB Local" in ended.stdout) == (tables != MOTO)
    assert int(re.findall(r"([0-9]+) dispatchers were killed", ended.stdout)[0]) > 0
    for service in Service:
        assert f"{service} is out" in ended.stdout

    table = read_table(ended.stdout)
    assert set(table) == {*Kind, "all"}
    assert table["all"]["webhooks"] == sum(SHORT.webhooks.values())
    for kind in Kind:
        row = table[kind]
        assert row["lost"] == 0
        assert row["deliveries"] == sum(
            row[column] for column in ("delivered", "waiting", "exhausted", "retrying")
        )
        if kind.gets_everything:
            assert row["delivered"] == row["deliveries"] > 0
    for kind in (Kind.DEAD, Kind.GONE):
        assert table[kind]["delivered"] == 0
        assert table[kind]["waiting"] > 0
