"""The page's modules that need no browser, tested by Node's own runner."""

from __future__ import annotations

import subprocess
from pathlib import Path

HERE = Path(__file__).parent


def test_the_modules_of_the_page_pass_their_own_tests() -> None:
    tests = sorted(str(path) for path in HERE.glob("*.test.js"))
    done = subprocess.run(["node", "--test", *tests], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout
