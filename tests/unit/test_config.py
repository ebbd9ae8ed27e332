"""Settings: refused by name when wrong, secrets kept, the data folder guarded."""

from __future__ import annotations

import os
import ssl
import stat
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from project import config as config_module
from project.config import ROOT, BadSetting, Config, load, prepare_data_dir

REDIS = ("redis", "rediss", "unix", "redis+sentinel", "rediss+sentinel")


def refusal(**environ: str) -> str:
    with pytest.raises(BadSetting) as caught:
        load(environ)
    return str(caught.value)


def at(folder: Path, **environ: str) -> Config:
    return load({"TICKWIRE_DATA_DIR": str(folder), **environ})


def test_an_empty_environment_gives_the_defaults():
    config = load({})
    assert (config.site.port, config.bus.prefix, config.sources.feeds) == (8000, "tickwire", ["demo"])


def test_lists_are_split_at_commas():
    assert load({"TICKWIRE_FEEDS": "demo, replay,"}).sources.feeds == ["demo", "replay"]


@pytest.mark.parametrize(
    ("text", "value"), [("1", True), ("Yes", True), ("on", True), ("0", False), ("FALSE", False), ("off", False)]
)
def test_booleans_have_several_spellings(text, value):
    assert load({"TICKWIRE_DEBUG": text}).site.debug is value


def test_an_unknown_name_is_refused_with_the_nearest_known_one():
    assert refusal(TICKWIRE_WORKRES="2") == "TICKWIRE_WORKRES: no such setting; did you mean TICKWIRE_WORKERS?"


def test_the_port_is_found_under_its_own_name():
    assert refusal(TICKWIRE_PORT="1") == "TICKWIRE_PORT: no such setting; did you mean PORT?"


@pytest.mark.parametrize(
    ("name", "text", "wrong"),
    [
        ("PORT", "http", "must be a whole number"),
        ("PORT", "8000.5", "must be a whole number"),
        ("PORT", "0", "must be at least 1"),
        ("PORT", "65536", "must be at most 65535"),
        ("TICKWIRE_DEBUG", "maybe", "must be true or false"),
        ("TICKWIRE_STALE_AFTER_SECONDS", "soon", "must be a number"),
        ("TICKWIRE_STALE_AFTER_SECONDS", "nan", "must be finite"),
        ("TICKWIRE_STALE_AFTER_SECONDS", "inf", "must be finite"),
        ("TICKWIRE_OVERLOAD_LAG_MS", "5", "must be 0 or at least 10"),
        ("TICKWIRE_OVERLOAD_LAG_MS", "-1", "must be at least 0"),
        ("TICKWIRE_TRADE_IDS", "0", "must be at least 100"),
        ("TICKWIRE_BACKLOG_UPDATES", "0", "must be at least 1"),
        ("TICKWIRE_BACKLOG_BYTES", "0", "must be at least 4096"),
        ("TICKWIRE_MOST_MEMORY_MB", "64", "must be 0 or at least 128"),
        ("TICKWIRE_LOG_LEVEL", "LOUD", "must be one of DEBUG, INFO, WARNING, ERROR"),
        ("TICKWIRE_DATA_DIR", " ", "must not be empty"),
        ("TICKWIRE_HTTPS", "https", "must be true or false"),
        (
            "TICKWIRE_TRUSTED_PROXIES",
            "127.0.0.1,proxy",
            "must be addresses or networks: 'proxy' does not appear to be an IPv4 or IPv6 network",
        ),
        ("TICKWIRE_TRUSTED_PROXIES", "*", "must be addresses or networks: '*' does not appear to be an IPv4 or IPv6 network"),
        ("TICKWIRE_TRUSTED_PROXIES", "10.0.0.1/8", "must be addresses or networks: 10.0.0.1/8 has host bits set"),
        ("TICKWIRE_FEED_OPTIONS", "[1]", "must be a JSON object"),
        ("TICKWIRE_FEED_OPTIONS", "{", "must be a JSON object"),
        ("TICKWIRE_PREFIX", "a:b", "must be 1 to 32 letters, digits, '_', '.' or '-'"),
        ("TICKWIRE_REDIS_URL", "localhost:6379", f"must begin with one of {', '.join(f'{name}://' for name in REDIS)}"),
        ("TICKWIRE_REDIS_URL", "redis+sentinel://host", "must be redis+sentinel://[user:password@]host[:port],…/service[/db]"),
        ("TICKWIRE_REDIS_URL", "redis+sentinel://a,b:c/ticks", "names a Sentinel that is not host[:port]"),
        ("TICKWIRE_REDIS_URL", "redis+sentinel://a:99999/ticks", "names a Sentinel that is not host[:port]"),
        (
            "TICKWIRE_BROKER_URL",
            "redis+sentinel://a/ticks?db=1",
            "takes no options but sentinel_username and sentinel_password",
        ),
        ("TICKWIRE_REDIS_URL", "redis://[::1", "is not a well-formed address"),
        ("TICKWIRE_DATABASE_URL", "mysql://host/name", "must begin with one of postgresql://, postgres://, sqlite://"),
    ],
)
def test_a_bad_value_is_refused_by_name(name, text, wrong):
    assert refusal(**{name: text}) == f"{name}: {wrong}"


def test_a_password_never_appears_in_a_refusal():
    assert "hunter2" not in refusal(TICKWIRE_REDIS_URL="redis://user:hunter2/0@host")


def test_a_sentinels_password_never_appears_in_a_refusal():
    assert "hunter2" not in refusal(TICKWIRE_REDIS_URL="redis+sentinel://user:hunter2@host:/ticks?sentinel=hunter2")


def test_two_settings_at_odds_are_refused():
    assert refusal(TICKWIRE_FLUSH_FLOOR_MS="60").startswith("TICKWIRE_FLUSH_FLOOR_MS: ")
    assert refusal(TICKWIRE_SLOW_NOTICE_SECONDS="11").startswith("TICKWIRE_SLOW_NOTICE_SECONDS: ")


def test_a_secret_is_read_from_a_file(tmp_path):
    (tmp_path / "key").write_text("hunter2\n")
    assert load({"TICKWIRE_SECRET_KEY_FILE": str(tmp_path / "key")}).secret_key == "hunter2"


def test_a_missing_secret_file_is_refused_by_name(tmp_path):
    assert refusal(TICKWIRE_SECRET_KEY_FILE=str(tmp_path / "none")) == "TICKWIRE_SECRET_KEY_FILE: No such file or directory"


def test_a_secret_given_twice_is_refused(tmp_path):
    (tmp_path / "key").write_text("x")
    assert "given twice" in refusal(TICKWIRE_SECRET_KEY="y", TICKWIRE_SECRET_KEY_FILE=str(tmp_path / "key"))


def test_only_secrets_are_read_from_files():
    assert refusal(TICKWIRE_FEEDS_FILE="/dev/null").startswith("TICKWIRE_FEEDS_FILE: no such setting")


def test_the_repr_hides_secrets():
    secrets = {"TICKWIRE_SECRET_KEY": "hunter2", "TICKWIRE_DATABASE_URL": "postgresql://me:hunter2@db/x"}
    urls = {"TICKWIRE_REDIS_URL": "redis://:hunter2@bus", "TICKWIRE_BROKER_URL": "redis://:hunter2@broker"}
    assert "hunter2" not in repr(load({**secrets, **urls}))


def test_defaults_are_not_shared_between_configurations():
    load({}).sources.feeds.append("more")
    assert load({}).sources.feeds == ["demo"]


def test_a_relative_data_folder_begins_beside_manage_py(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert load({}).data_dir == ROOT / "var"


def test_the_private_redis_has_its_socket_in_the_data_folder(tmp_path):
    assert at(tmp_path).redis_url == f"unix://{tmp_path}/redis.sock"


def test_the_path_of_the_socket_is_percent_encoded(tmp_path):
    assert at(tmp_path / "my data #1").redis_url == f"unix://{tmp_path}/my%20data%20%231/redis.sock"


def test_the_broker_of_a_socket_has_its_name_and_database_in_kombus_spelling():
    assert (
        load({"TICKWIRE_REDIS_URL": "unix:///run/redis.sock?db=3"}).broker_url == "redis+socket:///run/redis.sock?virtual_host=3"
    )


def test_the_broker_asks_the_same_sentinels_in_kombus_spelling():
    config = load({"TICKWIRE_REDIS_URL": "redis+sentinel://me:p%40ss@one,[::1]:7000/ticks/2?sentinel_password=s"})
    assert config.broker_url == "sentinel://me:p%40ss@one:26379/2;sentinel://me:p%40ss@[::1]:7000/2"
    assert config.broker_options["master_name"] == "ticks"
    assert config.broker_options["sentinel_kwargs"]["password"] == "s"
    assert config.broker_tls is None
    assert load({"TICKWIRE_REDIS_URL": "rediss+sentinel://one/ticks"}).broker_tls == {"ssl_cert_reqs": ssl.CERT_REQUIRED}


def test_the_broker_checks_certificates():
    assert load({"TICKWIRE_BROKER_URL": "rediss://host/1"}).broker_url == "rediss://host/1?ssl_cert_reqs=required"


def test_the_data_folder_is_its_owners_alone(tmp_path):
    prepare_data_dir(at(tmp_path / "var"))
    assert stat.S_IMODE((tmp_path / "var").stat().st_mode) == 0o700


def test_a_data_folder_that_cannot_be_made_is_refused_by_name(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(BadSetting, match="^TICKWIRE_DATA_DIR: .*file/var: Not a directory"):
        prepare_data_dir(at(tmp_path / "file" / "var"))


@pytest.fixture
def long_path(tmp_path, monkeypatch) -> Config:
    """A data folder whose path is too long for a socket."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return at(tmp_path / ("long" * 30))


def test_a_path_too_long_for_a_socket_is_replaced_by_a_private_temporary_one(long_path, tmp_path):
    prepare_data_dir(long_path)
    folder = long_path.redis_socket.parent
    assert folder.parent == tmp_path
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_a_temporary_socket_folder_open_to_others_is_refused(long_path):
    long_path.redis_socket.parent.mkdir(mode=0o700)
    long_path.redis_socket.parent.chmod(0o755)
    with pytest.raises(BadSetting, match="^TICKWIRE_DATA_DIR: .*open to others"):
        prepare_data_dir(long_path)


def test_a_temporary_socket_folder_of_somebody_else_is_refused(long_path, monkeypatch):
    long_path.redis_socket.parent.mkdir(mode=0o700)
    socket = long_path.redis_socket
    monkeypatch.setattr(config_module.Config, "redis_socket", socket)  # its name holds the user's number, which changes now
    monkeypatch.setattr(os, "getuid", lambda: 12345)
    with pytest.raises(BadSetting, match="^TICKWIRE_DATA_DIR: .*open to others"):
        prepare_data_dir(long_path)


def test_a_link_in_place_of_the_temporary_socket_folder_is_refused(long_path, tmp_path):
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    long_path.redis_socket.parent.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(BadSetting, match="^TICKWIRE_DATA_DIR: .*open to others"):
        prepare_data_dir(long_path)


def test_the_signing_key_is_generated_once_by_many_at_once(tmp_path):
    config = at(tmp_path)
    with ThreadPoolExecutor(16) as pool:
        keys = list(pool.map(lambda _: config.secret_key, range(64)))
    assert len(set(keys)) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["secret_key"]


def test_the_signing_key_is_readable_by_its_owner_only(tmp_path):
    assert len(at(tmp_path).secret_key) >= 50
    assert stat.S_IMODE((tmp_path / "secret_key").stat().st_mode) == 0o600


def test_a_signing_key_that_cannot_be_kept_is_refused_by_name(tmp_path):
    (tmp_path / "secret_key").mkdir()
    with pytest.raises(BadSetting, match="^TICKWIRE_SECRET_KEY: "):
        _ = at(tmp_path).secret_key


def test_a_bad_setting_ends_every_command_with_one_line(tmp_path):
    environ = {**os.environ, "TICKWIRE_DATA_DIR": str(tmp_path), "PORT": "nine"}
    done = subprocess.run(
        [sys.executable, "manage.py", "check"], cwd=ROOT, env=environ, capture_output=True, text=True, timeout=60
    )
    assert done.returncode != 0
    assert done.stderr == "tickwire: bad setting: PORT: must be a whole number\n"


def test_a_short_secret_for_tokens_is_refused_and_not_repeated():
    assert refusal(TICKWIRE_JWT_SECRET="hunter2" * 4) == "TICKWIRE_JWT_SECRET: must have 32 bytes or more"
    assert load({"TICKWIRE_JWT_SECRET": "é" * 16}).tokens.secret == "é" * 16


@pytest.mark.parametrize(
    "text",
    ["http://login.example/keys", "ftp://login.example/keys", "https://", "https://[", "http://localhost.evil.example/keys"],
)
def test_keys_of_tokens_come_from_where_nobody_can_change_them_on_the_way(text):
    assert refusal(TICKWIRE_JWT_JWKS=text) == "TICKWIRE_JWT_JWKS: must be a file or an https:// address"


@pytest.mark.parametrize("text", ["https://login.example/keys", "http://127.0.0.1:8080/keys", ""])
def test_keys_of_tokens_may_have_an_address(text):
    assert load({"TICKWIRE_JWT_JWKS": text}).tokens.jwks == text


def test_a_file_of_keys_must_be_one(tmp_path):
    good, bad = tmp_path / "good.json", tmp_path / "bad.json"
    good.write_text('{"keys": []}')
    bad.write_text("[]")
    assert load({"TICKWIRE_JWT_JWKS": str(good)}).tokens.jwks == str(good)
    assert refusal(TICKWIRE_JWT_JWKS=str(bad)) == "TICKWIRE_JWT_JWKS: is no JWKS"
    assert "No such file" in refusal(TICKWIRE_JWT_JWKS=str(tmp_path / "none.json"))
