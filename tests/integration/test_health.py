"""What makes a process unready beside the bus: a database that is not there."""

from __future__ import annotations

from pathlib import Path

import pytest
from django.db import DatabaseError, connections
from django.db.backends.sqlite3.base import DatabaseWrapper

from monitoring import health


@pytest.mark.django_db
def test_a_file_of_sqlite_that_is_gone_is_no_database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = DatabaseWrapper({**connections["default"].settings_dict, "NAME": str(tmp_path / "gone.sqlite3")}, "gone")
    gone.inc_thread_sharing()
    monkeypatch.setattr(health, "connection", gone)
    try:
        with pytest.raises(DatabaseError, match="django_migrations"):
            health._ask_database()
    finally:
        gone.close()


@pytest.mark.django_db
def test_a_database_that_is_there_says_so() -> None:
    health._ask_database()
