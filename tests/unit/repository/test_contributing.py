"""The pages and forms for who changes something: they name what there is, and read as YAML."""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from support.stack import ROOT

if TYPE_CHECKING:
    from pathlib import Path

CHANGES = ROOT / "docs" / "changes.md"
CONTRIBUTING = ROOT / "CONTRIBUTING.md"
SUBJECTS = ROOT / ".ci" / "commit_subject.py"
CORE = "layers/core/webhooks/"
CORES_FOLDERS = ("domain/", "services/", "adapters/", "ports/", "wiring/")
FORMS = sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml"))
NOT_COMMITTED = {".local/outputs.json", ".venv", "uv.lock"}
"""Files that a command makes, or that other projects have."""

INPUTS = {"checkboxes", "dropdown", "input", "markdown", "textarea"}


def named_paths(page: Path) -> list[tuple[str, bool]]:
    """Each path in code of a page, and whether it is said to be new."""
    text = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.M | re.S)
    found = re.findall(r"`([^`\s*<>]+)`( \(new\))?", text)
    roots = (*CORES_FOLDERS, "functions/", "tests/", "cli/", "local/", "ops/", "docs/", "layers/")
    named = [
        (path, bool(new))
        for path, new in found
        if path.startswith((*roots, "."))
        or re.fullmatch(r"[\w-]+\.(yaml|toml|md|json|in|lock)", path)
    ]
    return [(path, new) for path, new in named if path not in NOT_COMMITTED | {".expected.json"}]


def place_of(path: str) -> Path:
    return ROOT / (f"{CORE}{path}" if path.startswith(CORES_FOLDERS) else path)


@pytest.mark.parametrize("page", [CHANGES, CONTRIBUTING], ids=lambda page: page.name)
def test_every_file_that_the_page_names_exists_unless_it_is_new(page: Path) -> None:
    named = named_paths(page)
    assert len(named) >= 8
    for path, new in named:
        assert place_of(path).exists() != new, path


def test_every_name_in_a_row_of_one_file_is_in_that_file() -> None:
    """`domain/retry.py`, `next_delay`: a renamed function is found as a moved file is."""
    rows = re.findall(r"`([\w./]+\.(?:py|yaml))`, `(\w+)`", CHANGES.read_text(encoding="utf-8"))
    assert len(rows) >= 10
    for path, name in rows:
        assert re.search(rf"\b{name}\b", place_of(path).read_text(encoding="utf-8")), (path, name)


def test_every_class_that_the_page_names_is_one_of_the_code() -> None:
    named = set(re.findall(r"`([A-Z][a-z]+(?:[A-Z][a-z]+)*)[.`]", CHANGES.read_text("utf-8")))
    code = "\n".join(
        path.read_text(encoding="utf-8")
        for folder in ("layers", "functions", "local", "ops", "cli")
        for path in (ROOT / folder).rglob("*.py")
    )
    template = (ROOT / "template.yaml").read_text() + (ROOT / "monitoring.yaml").read_text()
    named -= {"ExportJob", "ExportService"}  # the page's example of a new job
    assert len(named) > 8
    assert {name for name in named if not re.search(rf"\b{name}\b", code + template)} == set()


def test_the_table_of_changes_has_every_section_and_a_file_to_begin_in() -> None:
    text = CHANGES.read_text(encoding="utf-8")
    others = {"Smaller changes", "Names that stay"}
    sections = [title for title in re.findall(r"^## (.+)$", text, re.M) if title not in others]
    rows = re.findall(r"^\| \[(.+?)\]\(#[\w-]+\) \| .+ \| `(.+)` \|$", text, re.MULTILINE)
    assert [f"{title[0].lower()}{title[1:]}" for title in sections] == [row[0] for row in rows]
    assert len(rows) == 12
    for _, beginning in rows:
        assert place_of(beginning).exists(), beginning


def test_the_table_of_suites_has_every_command_of_the_gates() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    gate = re.findall(r"^make ([\w-]+)$", (ROOT / ".ci" / "run").read_text(encoding="utf-8"), re.M)
    everything = re.search(r"^check: (.+?) ##", makefile, re.MULTILINE)
    rest = re.search(r"^check-rest: (.+)$", makefile, re.MULTILINE)
    assert everything
    assert rest
    row = re.compile(r"^\| `make ([\w-]+)` \| .+? \| ([^|]+) \| [^|]+ \|$", re.MULTILINE)
    table = dict(row.findall(CONTRIBUTING.read_text(encoding="utf-8")))
    in_both = {*gate, *rest[1].split()}
    assert {name for name, where in table.items() if where == "both"} == in_both
    assert {name for name, where in table.items() if where == "`make check`"} == (
        set(everything[1].split()) - in_both
    )


# The commits


def problems(subject: str) -> list[str]:
    spec = importlib.util.spec_from_file_location("commit_subject", SUBJECTS)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    found: list[str] = module.problems(subject)
    return found


@pytest.mark.parametrize(
    "subject",
    [
        "fix(retries): give up on a 404 at once",
        "chore(release): 1.2.0",
        "test: plan the reader's fault by its new name",
        "feat(api, cli)!: name webhooks by their ids",
        "Merge branch 'main' into a branch with a very long name for one subject of git",
        f"docs: {'x' * 54}",
    ],
)
def test_a_subject_with_an_area_passes(subject: str) -> None:
    assert problems(subject) == []


@pytest.mark.parametrize(
    ("subject", "said"),
    [
        ("give up on a 404 at once", "names no area"),
        ("retries: give up", "names no area"),
        ("fix(retries) give up", "names no area"),
        ("", "names no area"),
        (f"docs: {'x' * 55}", "has 61 characters"),
        ("docs: say so.", "full stop"),
    ],
)
def test_a_subject_that_breaks_a_rule_is_refused(subject: str, said: str) -> None:
    [problem] = problems(subject)
    assert said in problem


@pytest.mark.parametrize(("subject", "code"), [("fix(api): a", 0), ("more work", 1)])
def test_the_hook_reads_the_first_line_that_is_no_comment(
    tmp_path: Path, subject: str, code: int
) -> None:
    message = tmp_path / "COMMIT_EDITMSG"
    message.write_text(f"# a comment\n{subject}\n\nThe body.\n", encoding="utf-8")
    ran = subprocess.run(
        [sys.executable, SUBJECTS, message], capture_output=True, text=True, check=False
    )
    assert ran.returncode == code
    assert bool(ran.stderr) == bool(code)


def test_the_hooks_run_programs_of_this_project() -> None:
    [local] = loaded(ROOT / ".pre-commit-config.yaml")["repos"]
    assert local["repo"] == "local"
    lint = (ROOT / "Makefile").read_text(encoding="utf-8").replace("$(BIN)", ".venv/bin")
    for hook in local["hooks"]:
        assert hook["language"] == "system"
        program, *words = hook["entry"].split()
        if program == ".ci/commit_subject.py":
            assert hook["stages"] == ["commit-msg"]
        elif program == ".venv/bin/python":
            assert place_of(words[1].replace(".", "/") + ".py").exists()
        else:
            assert f"{program} {words[0]}" in lint


# The forms


def loaded(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("path", [one for one in FORMS if one.name != "config.yml"], ids=str)
def test_a_form_has_the_fields_that_github_asks_for(path: Path) -> None:
    form = loaded(path)
    assert {"name", "description", "body"} <= set(form) <= {"name", "description", "labels", "body"}
    inputs = [one for one in form["body"] if one["type"] != "markdown"]
    ids = [one["id"] for one in inputs]
    assert len(set(ids)) == len(ids) >= 3
    assert {one["type"] for one in form["body"]} <= INPUTS
    assert all(one["attributes"]["label"] for one in inputs)
    assert all(re.fullmatch(r"[a-z][a-z-]*", one) for one in ids)
    for one in inputs:
        if one["type"] in {"dropdown", "checkboxes"}:
            assert len(one["attributes"]["options"]) > 1


def test_a_weakness_is_not_reported_as_an_issue() -> None:
    [config] = [loaded(one) for one in FORMS if one.name == "config.yml"]
    assert config["blank_issues_enabled"] is False
    assert ["SECURITY.md" in link["about"] for link in config["contact_links"]] == [True]
    bug = (ROOT / ".github" / "ISSUE_TEMPLATE" / "bug.yml").read_text(encoding="utf-8")
    assert "SECURITY.md" in bug


def test_renovate_finds_every_file_that_it_is_configured_for() -> None:
    config = json.loads((ROOT / "renovate.json").read_text(encoding="utf-8"))
    files = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()

    def matched(manager: str) -> set[str]:
        patterns = [one.strip("/") for one in config[manager]["managerFilePatterns"]]
        assert all(any(re.search(one, file) for file in files) for one in patterns)
        return {file for file in files for one in patterns if re.search(one, file)}

    locks = {file for file in files if re.fullmatch(r"requirements-\w+\.lock", file)}
    assert matched("pip-compile") == {*locks, "layers/core/requirements.txt"}
    assert len(matched("maven")) == 3
