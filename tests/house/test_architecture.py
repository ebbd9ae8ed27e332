"""`docs/architecture.md` names every module: a newcomer finds the home of anything from that page."""

from __future__ import annotations

import re

import pytest

from tests.house.tree import ROOT

TEXT = (ROOT / "docs" / "architecture.md").read_text()
PAGE = set(re.findall(r"[a-z_]+(?:\.lua)?", TEXT))
PACKAGES = ("project", "marketdata", "marketdata/feeds", "realtime", "monitoring")


@pytest.mark.parametrize("package", PACKAGES)
def test_every_module_is_named(package: str) -> None:
    stems = {path.stem for path in (ROOT / package).glob("*.py")} - {"__init__"}
    assert stems - PAGE == set()
