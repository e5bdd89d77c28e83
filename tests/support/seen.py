"""The engines that each row of the fault matrix was seen on, checked by every run of its tests.

`engines.json` says for each row which engine answered for each of AWS's services, and which other
parts its tests had: a receiver on loopback, a process that is killed, fakes of the ports. A run in
which all of a row's tests passed must have used just these engines, and fails otherwise; with
`RECORD_ENGINES=1` it records them instead. A run that skips a row's test fails too: the row's entry
would be of other runs. Run as a module it writes the page's column from the file (`make engines`
does all of it).
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

from support import engines, sightings

if TYPE_CHECKING:
    from collections.abc import Iterator

SEEN = dict[str, dict[str, list[str]]]
"""By row, then by service or `else`: the engines, or the other parts."""

FILE = Path(__file__).parents[1] / "data" / "engines.json"
PAGE = Path(__file__).parents[2] / "docs" / "faults.md"

COLUMN = "Seen on"
_HEAD = ["Row", "Fault", "What comes of it", COLUMN, "Tests"]
_PLACE = _HEAD.index(COLUMN)
_ORDER = {
    engines.MOTO: "moto",
    engines.DYNAMODB_LOCAL: "DynamoDB Local",
    engines.ELASTICMQ: "ElasticMQ",
    engines.MINISTACK: "ministack",
    sightings.LOOPBACK: "loopback",
    sightings.PROCESS: "a killed process",
    sightings.FAKES: "fakes",
}
"""The column's name of each, in its order."""

_SERVICES = {
    "DynamoDB_20120810": "dynamodb",
    "AmazonSQS": "sqs",
    "AWSStepFunctions": "stepfunctions",
    "AWSEvents": "events",
}
_SEND = "_send"
_RECORDING = "RECORD_ENGINES"


def cell(seen: dict[str, list[str]]) -> str:
    """Return the column's text for a row, for example `moto, DynamoDB Local, loopback`."""
    names = {name for each in seen.values() for name in each}
    return ", ".join(text for name, text in _ORDER.items() if name in names) or "the code alone"


def cells(line: str) -> list[str]:
    """Return the cells of a line of a table, none of any other."""
    return [one.strip() for one in line.strip("|").split(" | ")] if line.startswith("| ") else []


def written(page: str, seen: SEEN) -> str:
    """Return the page with the column of `seen`, which it may not have yet."""
    lines = []
    for line in page.splitlines():
        found = cells(line)
        if found[:1] == _HEAD[:1]:
            lines += [_line(_HEAD), "|---" * len(_HEAD) + "|"]
        elif line.strip("|-") == "" and lines and lines[-1].startswith("|---"):
            continue
        elif found and found[0] in seen:
            kept = found if len(found) < len(_HEAD) else found[:_PLACE] + found[_PLACE + 1 :]
            lines.append(_line([*kept[:_PLACE], cell(seen[found[0]]), *kept[_PLACE:]]))
        else:
            lines.append(line)
    return "\n".join(lines) + "\n"


def _line(row: list[str]) -> str:
    return f"| {' | '.join(row)} |"


def recorded() -> SEEN:
    """Return the contents of `engines.json`."""
    found: SEEN = json.loads(FILE.read_text(encoding="utf-8"))
    return found


class Seen:
    """A plugin of pytest that compares the engines of the rows' tests with the recorded ones."""

    def __init__(self) -> None:
        self._seen = sightings.so_far()
        self._passed: defaultdict[str, set[str]] = defaultdict(set)
        self._not_passed: set[str] = set()
        self._skipped: set[str] = set()

    def pytest_collection_modifyitems(
        self, config: pytest.Config, items: list[pytest.Item]
    ) -> None:
        """Watch the requests of the rows' tests; on second engines, deselect tests without one."""
        if any(sightings.row_of(item.name) for item in items):
            watch_requests()
        if not engines.addresses() or os.environ.get(_RECORDING) or not FILE.exists():
            return
        kinds = {row: {*each} - {sightings.ELSE} for row, each in recorded().items()}
        without = [one for one in items if kinds.get(sightings.row_of(one.name) or "") == set()]
        config.hook.pytest_deselected(items=without)
        items[:] = [one for one in items if one not in without]

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Iterator[None]:
        """Note whether a row's test passed."""
        report: Any = yield
        row = sightings.row_of(item.name)
        if row is not None and not report.passed:
            self._not_passed.add(row)
            if report.skipped:
                self._skipped.add(row)
        elif row is not None and call.when == "call":
            self._passed[row].add(item.name.partition("[")[0])
        return report  # type: ignore[no-any-return]

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_teardown(self) -> None:
        """Stop watching at the end of a test."""
        sightings.end()

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Send the controller of several processes the sightings, or compare them with the file."""
        output = getattr(session.config, "workeroutput", None)
        if output is not None:
            output["seen"] = {row: sorted(seen) for row, seen in self._seen.items()}
            output["passed"] = {row: sorted(names) for row, names in self._passed.items()}
            output["not_passed"] = sorted(self._not_passed)
            output["skipped"] = sorted(self._skipped)
            return
        if session.config.getoption("keyword") or any("::" in one for one in session.config.args):
            return
        whole = {row for row in self._passed if self._is_whole(row)} - self._not_passed
        now = {row: _by_kind(self._seen[row]) for row in whole}
        recording = bool(os.environ.get(_RECORDING))
        wrong = [] if recording else differences(now, recorded())
        if recording and whole:
            _write(now)
        # Elsewhere a test may be skipped for the system that it runs on.
        if recording or sys.platform == "linux":
            wrong += [f"Row {row} was not seen: a test of it was skipped" for row in self._skipped]
        if wrong:
            print("\n" + "\n".join(wrong))
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        """Receive the sightings of one of several processes."""
        output = getattr(node, "workeroutput", {})
        for row, seen in output.get("seen", {}).items():
            self._seen[row] |= {(kind, name) for kind, name in seen}
        for row, names in output.get("passed", {}).items():
            self._passed[row] |= {*names}
        self._not_passed |= {*output.get("not_passed", [])}
        self._skipped |= {*output.get("skipped", [])}

    def _is_whole(self, row: str) -> bool:
        return self._passed[row] >= _tests().get(row, {""})


def differences(now: SEEN, before: SEEN) -> list[str]:
    """Return the rows whose engines in this run differ from the recorded ones.

    A run sees one engine of each service: entries of other engines do not count.
    """
    wrong = []
    for row in sorted(now, key=int):
        seen, held = _here(now[row]), _here(before.get(row, {}))
        if held != seen:
            wrong.append(
                f"Row {row} was seen on {seen}, and engines.json says {held}: "
                "`make engines` writes down what is seen"
            )
    return wrong


def _here(seen: dict[str, list[str]]) -> dict[str, list[str]]:
    found = {kind: _of_this_run(kind, names) for kind, names in seen.items()}
    return {kind: names for kind, names in found.items() if names}


def _of_this_run(kind: str, names: list[str]) -> list[str]:
    if kind == sightings.ELSE:
        return names
    here = {engines.engine_of(kind)}
    if engines.address(engines.MINISTACK):
        # It has queues of its own, to which a state machine in it sends.
        here.add(engines.MINISTACK)
    return [name for name in names if name in here]


def _write(now: SEEN) -> None:
    before = recorded() if FILE.exists() else {}
    for row, seen in now.items():
        here = _here(seen)
        other = {
            kind: [name for name in names if name not in _of_this_run(kind, names)]
            for kind, names in before.get(row, {}).items()
        }
        merged = {
            kind: sorted({*other.get(kind, []), *here.get(kind, [])}) for kind in {*other, *here}
        }
        before[row] = {kind: merged[kind] for kind in sorted(merged) if merged[kind]}
    lines = [f'"{row}": {json.dumps(before[row])}' for row in sorted(before, key=int)]
    FILE.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")


def _by_kind(seen: set[tuple[str, str]]) -> dict[str, list[str]]:
    found: defaultdict[str, list[str]] = defaultdict(list)
    for kind, name in sorted(seen):
        found[kind].append(name)
    return dict(found)


def _tests() -> dict[str, set[str]]:
    """Return the names of the rows' tests, by row, from their files."""
    found: defaultdict[str, set[str]] = defaultdict(set)
    for path in (FILE.parents[1] / "faults").glob("test_*.py"):
        for name in re.findall(r"^def (test_row_\w+)\(", path.read_text(), re.MULTILINE):
            found[str(sightings.row_of(name))].add(name)
    return found


def watch_requests() -> None:
    """From now on note the engine that each request to AWS of this process reaches.

    It is done before any test injects a fault: a request that a fault keeps back reaches none.
    """
    # A run without a row, for example of one unit file, does not wait for these to load.
    from botocore.endpoint import Endpoint
    from moto.core.botocore_stubber import BotocoreStubber

    send: Any = getattr(Endpoint, _SEND)
    process: Any = BotocoreStubber.process_request

    def sent(endpoint: Any, request: Any) -> Any:
        _note(request, _engine(request.url))
        return send(endpoint, request)

    def processed(stubber: Any, request: Any) -> Any:
        _note(request, engines.MOTO)
        return process(stubber, request)

    setattr(Endpoint, _SEND, sent)
    BotocoreStubber.process_request = processed  # type: ignore[method-assign,assignment]


def _engine(url: str) -> str:
    there = {urlsplit(str(engines.address(name))).netloc: name for name in engines.VARIABLES}
    return there.get(urlsplit(url).netloc, engines.MOTO)


def _note(request: Any, engine: str) -> None:
    target = request.headers.get("X-Amz-Target", b"")
    name = target.decode() if isinstance(target, bytes) else str(target)
    service = _SERVICES.get(name.partition(".")[0])
    if service is not None:
        sightings.add(service, engine)


if __name__ == "__main__":
    PAGE.write_text(written(PAGE.read_text(encoding="utf-8"), recorded()), encoding="utf-8")
