"""Receivers in the frameworks of Node.js, on ordinary and odd events (`make frameworks`).

Each program of docs/receivers/node-frameworks.md accepts every event. The contract's own receiver,
on the body that each framework parsed, behaves as docs/verifying.md says.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from e2e.guides import PATH, framework_programs, serving
from e2e.test_odd_events import assert_takes_every_event, post, refused
from support import samples
from support.odd_events import odd_events, ordinary_event
from support.samples import SECRET
from support.stack import ROOT
from webhooks.domain.jobs.check import CheckRequest
from webhooks.domain.jobs.check_requests import sample

if TYPE_CHECKING:
    from collections.abc import Sequence

HERE = Path(__file__).parent
PACKAGES = HERE / "node_modules"
GENUINE, PROGRAMS = framework_programs()
H3_1 = "h3 1, Nitro and Nuxt"

OWN_SERVER = """
import { createServer } from 'node:http';
import { handler } from './receiver.mjs';
createServer(async (req, res) => {
  const body = Buffer.concat(await req.toArray()).toString(process.env.BODY_ENCODING);
  const isBase64Encoded = process.env.BODY_ENCODING === 'base64';
  const answer = await handler({ headers: req.headers, body, isBase64Encoded }, {});
  res.writeHead(answer.statusCode).end(answer.body);
}).listen(Number(process.env.PORT), '127.0.0.1');
"""
"""A server that calls a Lambda handler in API Gateway's place."""

CHANGED: dict[str, tuple[int, set[str]]] = {
    "Express": (200, set()),
    "Hono": (200, set()),
    "h3 2": (200, set()),
    "restify": (200, set()),
    "Fastify": (
        400,
        {"the key __proto__", "an object under __proto__", "a prototype under constructor"},
    ),
    "Hapi": (400, {"the key __proto__", "an object under __proto__"}),
    "koa-bodyparser": (400, {"the key __proto__", "an object under __proto__"}),
    "@koa/bodyparser": (400, {"the key __proto__", "an object under __proto__"}),
    "koa-body": (400, {"the key __proto__", "an object under __proto__"}),
    "h3 1": (
        400,
        {
            *("the key __proto__", "an object under __proto__"),
            *("the key constructor", "a prototype under constructor"),
        },
    ),
    "middy": (
        422,
        {"the key __proto__", "an object under __proto__", "a prototype under constructor"},
    ),
    "xss-clean": (401, {"HTML", "a template"}),
    "express-mongo-sanitize": (401, {"keys with dollars and dots", "keys past an index"}),
}
"""The answer of the contract's receiver to a check's valid request, and the odd events that it
refuses, with each framework's own parser."""


@pytest.fixture(scope="session", autouse=True)
def packages() -> None:
    """Install the locked packages, unless they are."""
    lock, installed = HERE / "package-lock.json", PACKAGES / ".package-lock.json"
    if not installed.exists() or installed.stat().st_mtime < lock.stat().st_mtime:
        command = ["npm", "ci", "--ignore-scripts", "--omit=optional", "--no-audit", "--no-fund"]
        subprocess.run(command, cwd=HERE, check=True, timeout=600)


def prepared(directory: Path, framework: str, raw: str = "", parsed: str = "") -> Sequence[str]:
    """Put a framework's program into a directory the reader's way; returns its command.

    With `raw` it verifies the `parsed` body instead, like the contract's receiver.
    """
    program = PROGRAMS[framework].replace(raw, f"JSON.stringify({parsed})") if raw else ""
    assert program != PROGRAMS[framework]
    program = program or PROGRAMS[framework]
    modules = directory / "node_modules"
    if framework == H3_1:
        modules.mkdir()
        (modules / "h3").symlink_to(PACKAGES / "h3-1")
    else:
        modules.symlink_to(PACKAGES)
    (directory / "genuine.mjs").write_text(GENUINE)
    if framework == "NestJS":
        (directory / "receiver.mts").write_text(program)
        options = ["--noCheck", "--experimentalDecorators", "--module", "nodenext"]
        compiler = PACKAGES / "typescript" / "bin" / "tsc"
        compile_it = ["node", str(compiler), *options, "--target", "es2022", "receiver.mts"]
        subprocess.run(compile_it, cwd=directory, check=True, timeout=100)
        return ["node", "receiver.mjs"]
    (directory / "receiver.mjs").write_text(program)
    if framework == "AdonisJS":
        shutil.copy(HERE / "adonis_app.mjs", directory)
        return ["node", "adonis_app.mjs"]
    if framework == "middy":
        (directory / "server.mjs").write_text(OWN_SERVER)
        return ["node", "server.mjs"]
    return ["node", "receiver.mjs"]


@pytest.mark.parametrize("framework", PROGRAMS)
def test_a_documented_receiver_takes_every_event(framework: str, tmp_path: Path) -> None:
    command = prepared(tmp_path, framework)
    with serving(command, tmp_path, SECRET) as running:
        assert_takes_every_event(running)
        without = {"content-type": "application/json"}
        assert running.status(without, ordinary_event()) == 401
        odd = {**without, "x-sendcomms-signature": "é" * 71}
        assert running.status(odd, ordinary_event()) == 401
        assert running.status(odd, b"") in {400, 401}
        valid = sample(samples.webhook(), CheckRequest.VALID, "evt_1", samples.NOW_MS).body
        assert post(running.url, SECRET, valid) == 200


def test_middys_receiver_takes_a_body_in_base64(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BODY_ENCODING", "base64")
    with serving(prepared(tmp_path, "middy"), tmp_path, SECRET) as running:
        assert_takes_every_event(running)


@pytest.mark.parametrize("framework", CHANGED)
def test_what_a_framework_does_to_a_parsed_body_is_what_the_page_says(framework: str) -> None:
    status, changed = CHANGED[framework]
    with serving(["node", "parsed_receiver.mjs", framework], HERE, SECRET) as running:
        assert post(running.url, SECRET, ordinary_event()) == 200
        assert set(refused(running.url, SECRET)) == changed
        valid = sample(samples.webhook(), CheckRequest.VALID, "evt_1", samples.NOW_MS).body
        assert post(running.url, SECRET, valid) == status


@pytest.mark.parametrize(
    ("framework", "raw_and_parsed", "status", "changed"),
    [
        ("NestJS", ("req.rawBody", "req.body"), 200, set()),
        (
            "AdonisJS",
            ("request.raw()", "request.body()"),
            401,
            {
                *("an empty text", "a prototype under constructor"),
                *("the key __proto__", "an object under __proto__"),
            },
        ),
    ],
)
def test_what_a_larger_framework_does_to_a_parsed_body_is_what_the_page_says(
    framework: str,
    raw_and_parsed: tuple[str, str],
    status: int,
    changed: set[str],
    tmp_path: Path,
) -> None:
    command = prepared(tmp_path, framework, *raw_and_parsed)
    with serving(command, tmp_path, SECRET) as running:
        assert post(running.url, SECRET, ordinary_event()) == 200
        assert set(refused(running.url, SECRET)) == changed
        valid = sample(samples.webhook(), CheckRequest.VALID, "evt_1", samples.NOW_MS).body
        assert post(running.url, SECRET, valid) == status


def test_the_page_names_every_framework_that_changes_a_body() -> None:
    page = (ROOT / "docs" / "verifying.md").read_text(encoding="utf-8")
    section = page.partition("### Frameworks that change what they parse")[2].partition("\n#")[0]
    named = ", ".join(re.findall(r"^\| ([^|]+) \|", section, re.MULTILINE))
    changing = {name for name, (status, _) in CHANGED.items() if status != 200}
    assert [name for name in (*changing, "AdonisJS", "Nuxt") if name not in named] == []
    assert PATH in (ROOT / "docs" / "receivers" / "node-frameworks.md").read_text(encoding="utf-8")
    assert len(odd_events()) >= 57
