"""The stand of the fault matrix, and the asserts that every row shares."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import uuid4

import pytest

from support import fault_harness as stands
from support import sightings
from support.fault_harness import PATH, Case
from support.log_capture import Watch
from support.receiver import Receiver
from webhooks.services.dispatch import batches

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from support.fault_harness import Stand
    from support.receiver import Script


@pytest.fixture(autouse=True)
def _seen(request: pytest.FixtureRequest) -> None:
    """Count the sightings of the test and its fixtures for its row."""
    sightings.begin(request.node.name)


@pytest.fixture(scope="module")
def stand() -> Iterator[Stand]:
    """AWS and the functions, once for a module: starting them takes longer than most tests."""
    with pytest.MonkeyPatch.context() as patch, stands.stand(patch) as made:
        yield made


@pytest.fixture
def log(capsys: pytest.CaptureFixture[str]) -> Iterator[Watch]:
    """The functions' log, in which no secret may appear."""
    watch = Watch(capsys)
    with watch.kept():
        yield watch
    assert watch.text, "no function logged anything during the test: the watch is empty"
    assert watch.leaks() == []


@pytest.fixture
def case(stand: Stand, log: Watch) -> Iterator[Case]:
    """An account of the test's own."""
    yield Case(stand, log)
    stand.faults.clear()
    stand.empty_the_queue()


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
