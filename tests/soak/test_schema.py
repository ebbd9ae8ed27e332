"""The API against its schema at length: forty times the examples of `make test`, others each time."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.system.conftest import Tickwire
from tests.system.test_schema import CREDENTIALS, examined, staffed

__all__ = ["staffed"]
EXAMPLES = 200

pytestmark = [pytest.mark.soak, pytest.mark.timeout(1200)]


@pytest.mark.parametrize("who", CREDENTIALS)
def test_every_answer_is_as_the_schema_says(staffed: Tickwire, tmp_path: Path, who: str) -> None:
    done = examined(staffed, tmp_path, who, "--max-examples", str(EXAMPLES))
    assert done.returncode == 0, done.stdout + done.stderr
