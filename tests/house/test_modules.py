"""House rules for modules: what they say first, how long they are, what they are called and what they import."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from tests.house.tree import PACKAGES, ROOT, files, modules, named

LONGEST = 450  # lines
EMPTY_NAMES = {"utils", "util", "helpers", "helper", "common", "services", "service", "misc", "manager", "managers"}
PURE = [
    "marketdata.breaker",
    "marketdata.correlation",
    "marketdata.topics",
    "marketdata.ticks",
    "marketdata.klines",
    "marketdata.backlog",
    "marketdata.feeds.market",
    "marketdata.gate",
    "marketdata.inflow",
    "marketdata.pulse",
    "marketdata.refusals",
    "realtime.codes",
    "realtime.ladder",
    "realtime.protocol",
    "realtime.outbox",
    "realtime.load",
    "project.config",
]
IMPURE = {"django", "channels", "redis", "celery", "rest_framework"}


def first_line(path: Path) -> str:
    return (ast.get_docstring(ast.parse(path.read_text())) or "").partition("\n")[0]


def test_every_module_begins_with_a_sentence():
    assert [named(path) for path in modules() if not first_line(path).endswith(".")] == []


def test_no_file_is_longer_than_a_reader_can_hold():
    lengths = {named(path): len(path.read_text().splitlines()) for path in files(".py", ".js", ".mjs", ".lua", ".css", ".html")}
    assert {name: lines for name, lines in lengths.items() if lines > LONGEST} == {}


def test_modules_are_named_after_what_they_do():
    assert [named(path) for path in modules() if path.stem in EMPTY_NAMES] == []


@pytest.mark.parametrize("module", PURE)
def test_pure_modules_load_no_framework(module):
    program = f"import sys, {module}; print(*sorted({{name.partition('.')[0] for name in sys.modules}} & {IMPURE!r}))"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert (done.stdout.strip(), done.stderr) == ("", "")


def test_imports_only_go_down():
    linter = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run([linter, "--no-cache"], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout


def test_only_the_settings_read_the_environment():
    """One place reads it, so that a bad value is refused by name and the documentation can be complete."""
    readers = [path for path in modules() if path.parts[len(ROOT.parts)] in PACKAGES and "os.environ" in path.read_text()]
    assert {named(path) for path in readers} <= {
        "project/config.py",
        "project/asgi.py",
        "project/celery.py",
        "project/management/commands/up.py",
    }
