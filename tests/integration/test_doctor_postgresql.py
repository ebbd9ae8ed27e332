"""The doctor once more, where the database is a PostgreSQL."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import postgresql

ROOT = Path(__file__).parents[2]


@pytest.mark.skipif(postgresql.missing() is not None, reason=str(postgresql.missing()))
def test_a_postgresql_is_asked_for_its_version_its_connections_and_its_clock(redis_url: str, tmp_path: Path) -> None:
    with postgresql.server() as url:
        environ = {**os.environ, "TICKWIRE_DATABASE_URL": url, "TICKWIRE_DATA_DIR": str(tmp_path), "TICKWIRE_WORKERS": "40"}
        command = [sys.executable, "manage.py", "doctor", "--json"]
        done = subprocess.run(command, env=environ, cwd=ROOT, capture_output=True, text=True, timeout=60)
    found = {finding["about"]: finding for finding in json.loads(done.stdout)["findings"]}
    verdicts = {
        about: found[about]["verdict"] for about in ("migrations", "postgresql version", "clock of database", "postgresql pool")
    }
    assert verdicts == {"migrations": "fail", "postgresql version": "ok", "clock of database": "ok", "postgresql pool": "warn"}
    assert "max_connections = " in found["postgresql pool"]["fix"]
