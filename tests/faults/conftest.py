"""The harness of the fault matrix, and the asserts that every row shares."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import uuid4

import pytest

from faults import fault_harness
from faults.fault_harness import PATH, Tenant
from faults.log_capture import LogCapture
from support import sightings
from support.receiver import Receiver
from webhooks.services.dispatch import batches

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from faults.fault_harness import FaultHarness
    from support.receiver import Script


@pytest.fixture(autouse=True)
def _seen(request: pytest.FixtureRequest) -> None:
    """Count the sightings of the test and its fixtures for its row."""
    sightings.begin(request.node.name)


@pytest.fixture(scope="module")
def harness() -> Iterator[FaultHarness]:
    """AWS and the functions, once for a module: starting them takes longer than most tests."""
    with pytest.MonkeyPatch.context() as patch, fault_harness.harness(patch) as made:
        yield made


@pytest.fixture
def log(capsys: pytest.CaptureFixture[str]) -> Iterator[LogCapture]:
    """The functions' log, in which no secret may appear."""
    capture = LogCapture(capsys)
    with capture.kept():
        yield capture
    assert capture.text, "no function logged anything during the test: the watch is empty"
    assert capture.leaks() == []


@pytest.fixture
def tenant(harness: FaultHarness, log: LogCapture) -> Iterator[Tenant]:
    """An account of the test's own."""
    yield Tenant(harness, log)
    harness.faults.clear()
    # Everything on the events queue, with the messages that wait there with a delay.
    url = harness.aws.settings.events_queue_url
    harness.aws.clients["sqs"].delete_queue(QueueUrl=url)
    harness.aws.clients["sqs"].create_queue(QueueName=url.rpartition("/")[2])


@pytest.fixture
def receiver() -> Iterator[Callable[..., Receiver]]:
    """Make receivers that run until the end of the test, at a url that holds a token."""
    running: list[Receiver] = []

    def make(*answers: Script, **options: object) -> Receiver:
        path = f"{PATH}/{uuid4().hex}"
        made = Receiver(*answers, path=path, own_path=True, **options)  # type: ignore[arg-type]
        running.append(made.__enter__())
        return made

    yield make
    for made in running:
        made.__exit__()


@pytest.fixture(autouse=True)
def _others_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """A suspect is handled after the others of its batch, which go back to the queue by chance."""
    monkeypatch.setattr(batches, "SUSPECTS_FIRST", 0.0)
