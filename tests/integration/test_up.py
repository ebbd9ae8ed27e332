"""What `make run` checks and prepares before it starts anything."""

from __future__ import annotations

import os
import shutil
import socket
import sys
from pathlib import Path

import pytest
from django.contrib.auth import get_user_model
from django.core.management.base import CommandError

from project import redis_server
from project.config import Config, load, prepare_data_dir
from project.management.commands.up import banner, ensure_administrator, environment, lines, migrate, refuse_taken
from realtime.models import Account
from tests.running import ROOT, Run


def settings(folder: Path, **environ: str) -> Config:
    config = load({"TICKWIRE_DATA_DIR": str(folder), **environ})
    prepare_data_dir(config)
    return config


@pytest.fixture
def taken_port():
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.fixture
def free_port() -> str:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return str(server.getsockname()[1])


def test_a_taken_port_is_refused_by_name(tmp_path, taken_port):
    with pytest.raises(CommandError, match=f"^PORT: cannot listen on 127.0.0.1:{taken_port}: Address already in use"):
        refuse_taken(settings(tmp_path, PORT=str(taken_port)))


def test_a_host_of_another_machine_is_refused(tmp_path):
    with pytest.raises(CommandError, match="cannot listen on 192.0.2.1:8000"):
        refuse_taken(settings(tmp_path, TICKWIRE_HOST="192.0.2.1"))


def test_a_data_folder_in_use_is_refused_by_name(tmp_path, free_port):
    config = settings(tmp_path, PORT=free_port)
    lock = redis_server.claim(config)
    with pytest.raises(CommandError, match=f"^TICKWIRE_DATA_DIR: {tmp_path}: another copy .* runs in it"):
        refuse_taken(config)
    os.close(lock)


@pytest.mark.django_db
def test_the_first_administrator_has_a_password_and_the_plan_pro():
    password = ensure_administrator()
    admin = get_user_model().objects.get(username="admin")
    assert admin.is_superuser
    assert admin.check_password(password)
    assert Account.objects.get(user=admin).plan.name == "pro"


@pytest.mark.django_db
def test_an_administrator_keeps_the_password():
    ensure_administrator()
    assert ensure_administrator() is None


@pytest.mark.django_db
def test_tables_that_are_up_to_date_are_left_alone(monkeypatch):
    monkeypatch.setattr("project.management.commands.up.call_command", pytest.fail)
    migrate()


def test_a_database_that_cannot_be_used_is_refused_by_name(tmp_path, free_port):
    environ = {"TICKWIRE_DATA_DIR": str(tmp_path), "TICKWIRE_DATABASE_URL": f"sqlite:///{tmp_path}/none/db", "PORT": free_port}
    run = Run([sys.executable, "manage.py", "up"], env=environ)
    assert run.end(60) == 1
    assert "TICKWIRE_DATABASE_URL: the database cannot be used: unable to open database file" in run.output


def test_redis_is_not_started_where_another_is_set(tmp_path):
    assert list(lines(settings(tmp_path))) == ["redis", "web", "worker", "beat", "feed"]
    assert list(lines(settings(tmp_path, TICKWIRE_REDIS_URL="redis://host"))) == ["web", "worker", "beat", "feed"]


def test_processes_see_the_values_that_the_procfile_names(tmp_path):
    environ = environment(settings(tmp_path, PORT="9000"))
    assert (environ["PORT"], environ["TICKWIRE_DATA_DIR"]) == ("9000", str(tmp_path))
    assert environ["PATH"].startswith(str(Path(sys.executable).parent))


@pytest.mark.parametrize(("host", "shown"), [("0.0.0.0", "localhost"), ("::1", "[::1]"), ("127.0.0.1", "127.0.0.1")])
def test_the_addresses_can_be_opened(tmp_path, host, shown):
    text = banner(settings(tmp_path, TICKWIRE_HOST=host), None)
    assert f"http://{shown}:8000/\n" in text
    assert "Password" not in text


def test_an_env_file_beside_manage_py_is_read_beneath_the_environment(tmp_path):
    shutil.copy(ROOT / "manage.py", tmp_path)
    (tmp_path / ".env").write_text("PORT=9123\nTICKWIRE_HOST=::1\nTICKWIRE_FEED_OPTIONS='{\"demo\": {}}'\n")
    run = Run([sys.executable, "manage.py", "settings"], cwd=tmp_path, env={"TICKWIRE_HOST": "127.0.0.2"})
    assert run.end(30) == 0
    shown = dict(line[2:].split(maxsplit=1) for line in run.output.splitlines() if len(line[2:].split()) > 1)
    assert (shown["PORT"], shown["TICKWIRE_HOST"], shown["TICKWIRE_FEED_OPTIONS"]) == ("9123", "127.0.0.2", '{"demo": {}}')


def test_the_settings_in_force_are_shown_without_secrets():
    run = Run([sys.executable, "manage.py", "settings"], env={"TICKWIRE_SECRET_KEY": "hunter2"})
    assert run.end(30) == 0
    assert "hunter2" not in run.output
    assert "* TICKWIRE_SECRET_KEY              (hidden)" in run.output


@pytest.mark.parametrize(("asked", "form"), [("auto", "console"), ("json", "json"), ("console", "console")])
def test_people_read_the_log_of_all_unless_json_is_asked_for(tmp_path, asked, form):
    assert environment(settings(tmp_path, TICKWIRE_LOG_FORMAT=asked))["TICKWIRE_LOG_FORMAT"] == form
