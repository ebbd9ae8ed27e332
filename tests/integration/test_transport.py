"""What `manage.py check --deploy` says of a copy, by the names that it answers to and by how visitors come."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.house.tree import ROOT

ABOUT_TRANSPORT = {"security.W004", "security.W008", "security.W012", "security.W016"}


def warnings(folder: Path, **rules: str) -> tuple[int, set[str]]:
    """Exit code and ids."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith("TICKWIRE_")}
    done = subprocess.run(
        [sys.executable, str(ROOT / "manage.py"), "check", "--deploy", "--fail-level", "WARNING"],
        env=ours | {"TICKWIRE_DATA_DIR": str(folder)} | rules, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    return done.returncode, set(re.findall(r"\((\w+\.[EW]\d+)\)", done.stderr))


def test_https_with_a_real_name_is_clean(tmp_path: Path) -> None:
    assert warnings(tmp_path, TICKWIRE_HTTPS="true", TICKWIRE_ALLOWED_HOSTS="market.example.com") == (0, set())


@pytest.mark.parametrize("hosts", [None, "localhost,127.8.0.1,[::1],tickwire.localhost"])
def test_a_copy_for_this_machine_alone_is_clean(tmp_path: Path, hosts: str | None) -> None:
    assert warnings(tmp_path, **({"TICKWIRE_ALLOWED_HOSTS": hosts} if hosts else {})) == (0, set())


@pytest.mark.parametrize("hosts", ["localhost,market.example.com", "192.0.2.7", "*", "localhost.example.com"])
def test_a_real_name_without_https_is_warned_of(tmp_path: Path, hosts: str) -> None:
    assert warnings(tmp_path, TICKWIRE_ALLOWED_HOSTS=hosts) == (1, ABOUT_TRANSPORT)
