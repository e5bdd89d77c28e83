"""The commands for long jobs: start one, show its progress, report its end."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from cli import tables
from cli.client import ApiClientError
from cli.progress import Progress
from cli.screen import cell

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

    from cli.client import ApiClient
    from cli.screen import Screen

    Job = dict[str, Any]

_CHECK_PATIENCE_SECONDS, _CHECK_POLL_SECONDS = 60.0, 0.5
_POLL_SECONDS = 1.0
_TRIES = 5


def check(api: ApiClient, screen: Screen, options: argparse.Namespace) -> int:
    """Check a receiver; return 1 if it is not verified."""
    path = f"/webhooks/{options.webhook}/check"
    progress = Progress(sys.stderr)
    progress.tell("Sending genuine and forged requests ...")
    made = api.call("POST", path).data
    patient_until = time.monotonic() + _CHECK_PATIENCE_SECONDS
    if "not_before" in made:
        progress.end()
        print(
            f"The receiver asked for a pause until {made['not_before']}. The check starts then, "
            f"and its report is at GET /api/v1{path}s/{made['id']}.",
            file=sys.stderr,
        )
        patient_until = 0.0
    while made["status"] == "running" and time.monotonic() < patient_until:
        time.sleep(_CHECK_POLL_SECONDS)
        made = api.get(f"{path}s/{made['id']}")
    progress.end()
    tables.check(screen, made)
    return 0 if made.get("verified") else 1


def replay(api: ApiClient, screen: Screen, options: argparse.Namespace) -> int:
    """Send the deliveries of a period again; return 1 if a delivery did not arrive."""
    given = {"since": options.since, "until": options.until, "status": options.status}
    body = {name: value for name, value in given.items() if value is not None}
    path = f"/webhooks/{options.webhook}/replay"
    answer = api.call("POST", path, body=body)
    for warning in answer.warnings:
        print(f"webhooks: {cell(warning)}", file=sys.stderr)
    started = answer.data
    if not options.no_wait:
        started = _follow(api, f"{path}s/{started['id']}", started, _replayed)
    tables.thing(screen, started)
    return _status(started, options) or (1 if started["failed"] else 0)


def erase(api: ApiClient, screen: Screen, options: argparse.Namespace) -> int:
    """Erase a recipient; return 1 if the erasure failed."""
    path = f"/recipients/{quote(options.address, safe='')}"
    query = {"include_unsearched": "true"} if options.include_unsearched else {}
    started = api.call("DELETE", path, query=query).data
    if not options.no_wait:
        started = _follow(api, f"/recipients/erasures/{started['id']}", started, _erased)
    tables.thing(screen, started)
    if started["unsearched_count"] and not options.include_unsearched:
        print(
            f"{started['unsearched_count']} payloads took too long to search. "
            "Erase them too with --include-unsearched.",
            file=sys.stderr,
        )
    return _status(started, options)


def _status(job: Job, options: argparse.Namespace) -> int:
    return 0 if job["status"] == "completed" or options.no_wait else 1


def _follow(api: ApiClient, path: str, job: Job, words: Callable[[Job], str]) -> Job:
    """Show a job's progress until it ends; Ctrl-C stops the display, not the job."""
    progress = Progress(sys.stderr)
    failures = 0
    try:
        while job["status"] == "running":
            progress.tell(words(job))
            time.sleep(_POLL_SECONDS)
            try:
                job = api.get(path)
                failures = 0
            except ApiClientError as error:
                failures += 1
                if not error.passing or failures == _TRIES:
                    raise
                time.sleep(error.retry_after_seconds)
    except KeyboardInterrupt:
        progress.end()
        print(f"The job continues: {job['id']}.", file=sys.stderr)
        raise
    finally:
        progress.end()
    return job


def _replayed(job: Job) -> str:
    return (
        f"{job['sent']} sent: {job['succeeded']} arrived, {job['failed']} failed; "
        f"events up to {job['replayed_until']} of {job['until']}"
    )


def _erased(job: Job) -> str:
    return (
        f"{job['examined']} deliveries examined, {job['erased']} erased; "
        "a second pass follows after 90 seconds"
    )
