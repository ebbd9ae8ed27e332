"""What the documents say about the code is true: settings, dependencies, commands, links."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.core.management import get_commands

from monitoring.management.commands import metrics
from project.config import knobs, load
from project.management.commands.settings import documented
from tests.house.tree import ROOT, files, named

LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)[^)]*\)")
CONSOLE = re.compile(r"^```console\n(.*?)^```", re.MULTILINE | re.DOTALL)
FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
REQUIREMENT = re.compile(r"^([A-Za-z0-9._-]+)(?:\[[\w,]+\])?==(\S+?)(?:;.*)?$")
DOCUMENTS = files(".md")


def text_of(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def anchors(path: Path) -> set[str]:
    """Anchors of the headings, spelled as GitHub does."""
    headings = re.findall(r"^#+ (.+)$", FENCE.sub("", text_of(path)), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def is_broken(page: Path, link: str) -> bool:
    target, _, anchor = link.partition("#")
    found = (page.parent / target).resolve() if target else page
    return not found.exists() or bool(anchor and found.suffix == ".md" and anchor not in anchors(found))


def commands() -> Iterator[tuple[str, str]]:
    """(page, command) of every line behind a prompt."""
    for page in DOCUMENTS:
        for block in CONSOLE.findall(text_of(page)):
            yield from ((named(page), line[2:]) for line in block.splitlines() if line.startswith("$ "))


def requirements() -> list[tuple[str, str]]:
    return [
        (path.name, line)
        for path in sorted(ROOT.glob("requirements*.txt"))
        for line in text_of(path).splitlines()
        if line and not line.startswith(("#", "-r "))
    ]


def test_the_table_of_settings_is_that_of_the_code():
    text = text_of(ROOT / "docs" / "configuration.md")
    assert text == documented(text), "run `make docs`"


def test_the_tables_of_metrics_are_those_of_the_code():
    text = text_of(ROOT / "docs" / "metrics.md")
    assert text == metrics.documented(text), "run `make docs`"


def test_the_example_of_an_env_file_names_settings_only_and_loads():
    lines = re.findall(r"^#? ?([A-Z][A-Z_]+)=(.*)$", text_of(ROOT / ".env.example"), re.MULTILINE)
    known = {item.metadata["env"] for _, item in knobs()}
    assert {name for name, _ in lines} <= known
    load({name: value.strip("'") for name, value in lines})


def test_every_requirement_is_pinned():
    assert [line for line in requirements() if not REQUIREMENT.match(line[1])] == []


def test_every_dependency_is_explained_with_its_version():
    text = text_of(ROOT / "docs" / "dependencies.md")
    pins = [match.groups() for _, line in requirements() if (match := REQUIREMENT.match(line))]
    assert [f"{name} {version}" for name, version in pins if f"| {name} | {version} |" not in text] == []


@pytest.mark.parametrize("page", DOCUMENTS, ids=named)
def test_links_lead_somewhere(page):
    links = [link for link in LINK.findall(FENCE.sub("", text_of(page))) if "://" not in link and not link.startswith("mailto:")]
    assert [link for link in links if is_broken(page, link)] == []


def test_commands_in_the_documents_exist():
    targets = set(re.findall(r"^([a-z][a-z-]*):", text_of(ROOT / "Makefile"), re.MULTILINE))
    known = {"make": targets, "manage.py": set(get_commands())}
    uses = [
        (page, tool, name) for page, line in commands() for tool, name in re.findall(r"\b(make|manage\.py) ([a-z][\w-]*)", line)
    ]
    assert [use for use in uses if use[2] not in known[use[1]]] == []


def test_the_processes_start_commands_that_exist():
    lines = dict(line.split(": ", 1) for line in text_of(ROOT / "Procfile").splitlines())
    assert set(lines) == {"redis", "web", "worker", "beat", "feed"}
    assert all(line.startswith("exec ") for line in lines.values()), "a shell in between would swallow SIGTERM"
    assert set(re.findall(r"manage\.py (\w+)", " ".join(lines.values()))) <= set(get_commands())


def test_no_file_names_a_machine_or_a_registry():
    machines = ["/" + folder + "/" for folder in ("work", "root", "home")]
    registries = [
        ".".join(parts) for parts in (("pypi", "org"), ("pythonhosted", "org"), ("npmjs", "org"), ("deb", "debian", "org"))
    ]
    names = re.compile(
        "|".join(rf"(?<![\w.\-]){re.escape(name)}" for name in machines) + "|" + "|".join(map(re.escape, registries))
    )
    assert [named(path) for path in files() if names.search(path.read_bytes().decode("utf-8", "ignore"))] == []
