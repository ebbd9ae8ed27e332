"""Every knob of Tickwire: name, unit, default and meaning; read once from the environment, refused by name when wrong."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import re
import secrets
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

PREFIX = "TICKWIRE_"
UNIX_PATH_MAX = 100  # bytes; the kernel's limit for a socket address is 108


class BadSetting(Exception):
    """A setting that cannot be used; the message begins with its name."""


def knob(
    env: str,
    default: Any,
    meaning: str,
    *,
    unit: str = "",
    low: float | None = None,
    high: float | None = None,
    secret: bool = False,
    check: Callable[[Any], str | None] | None = None,
) -> Any:
    """Declare one setting.

    Args:
        env: name of the environment variable; a secret may also come from the file named by `<env>_FILE`.
        default: value when the variable is absent; its type is the setting's type.
        meaning: one sentence for `docs/configuration.md`.
        unit: unit of the value, as written in the documentation.
        low, high: inclusive bounds of a number.
        secret: never shown in a repr; readable from a file.
        check: returns what is wrong with a value, or None.
    """
    metadata = {"env": env, "meaning": meaning, "unit": unit, "low": low, "high": high, "secret": secret, "check": check}
    if isinstance(default, (list, dict)):
        return field(default_factory=lambda: default, metadata=metadata, repr=not secret)
    return field(default=default, metadata=metadata, repr=not secret)


def _scheme(*allowed: str) -> Callable[[str], str | None]:
    def check(value: str) -> str | None:
        if value and urlsplit(value).scheme not in allowed:
            return "must begin with one of " + ", ".join(f"{name}://" for name in allowed)
        return None

    return check


def _one_of(*allowed: str) -> Callable[[str], str | None]:
    return lambda value: None if value in allowed else "must be one of " + ", ".join(allowed)


def _prefix(value: str) -> str | None:
    return None if re.fullmatch(r"[a-zA-Z0-9_.-]{1,32}", value) else "must be 1 to 32 letters, digits, '_', '.' or '-'"


def _json_object(value: str) -> str | None:
    try:
        return None if isinstance(json.loads(value), dict) else "must be a JSON object"
    except ValueError:
        return "must be a JSON object"


@dataclass(frozen=True)
class Site:
    """Where this copy lives and who may talk to it."""

    data_dir: str = knob("TICKWIRE_DATA_DIR", "var", "folder of the database, the private Redis and generated secrets")
    port: int = knob("PORT", 8000, "TCP port of the web processes", low=1, high=65535)
    host: str = knob("TICKWIRE_HOST", "127.0.0.1", "address that the web processes listen on")
    debug: bool = knob("TICKWIRE_DEBUG", False, "Django's debug pages; never in production")
    secret_key: str = knob(
        "TICKWIRE_SECRET_KEY", "", "Django's signing key; generated once into the data folder when empty", secret=True
    )
    allowed_hosts: list[str] = knob(
        "TICKWIRE_ALLOWED_HOSTS", ["localhost", "127.0.0.1", "[::1]"], "host names that HTTP requests may name"
    )
    trusted_origins: list[str] = knob(
        "TICKWIRE_TRUSTED_ORIGINS", [], "further origins (scheme://host) from which cookies are accepted"
    )
    database_url: str = knob(
        "TICKWIRE_DATABASE_URL",
        "",
        "PostgreSQL as postgresql://user:password@host/name; empty: SQLite in the data folder",
        secret=True,
        check=_scheme("postgresql", "postgres", "sqlite"),
    )
    log_level: str = knob(
        "TICKWIRE_LOG_LEVEL", "INFO", "least severity that is logged", check=_one_of("DEBUG", "INFO", "WARNING", "ERROR")
    )


@dataclass(frozen=True)
class Bus:
    """Redis: the bus, the store and Celery's broker."""

    redis_url: str = knob(
        "TICKWIRE_REDIS_URL",
        "",
        "redis://, rediss:// or unix:// address; empty: a private server in the data folder",
        secret=True,
        check=_scheme("redis", "rediss", "unix"),
    )
    broker_url: str = knob(
        "TICKWIRE_BROKER_URL",
        "",
        "Celery's broker when it shall not share the bus's Redis",
        secret=True,
        check=_scheme("redis", "rediss", "unix"),
    )
    prefix: str = knob(
        "TICKWIRE_PREFIX", "tickwire", "first part of every Redis key and channel; one per installation", check=_prefix
    )
    history_updates: int = knob(
        "TICKWIRE_HISTORY_UPDATES", 1000, "updates kept per topic for repair and replay", unit="updates", low=1, high=100_000
    )
    history_depth_updates: int = knob(
        "TICKWIRE_HISTORY_DEPTH_UPDATES", 100, "the same for depth topics, whose bodies are large", unit="updates", low=1
    )
    linger_s: float = knob(
        "TICKWIRE_LINGER_SECONDS", 10.0, "how long a group stays joined after its last follower left", unit="s", low=0, high=3600
    )


@dataclass(frozen=True)
class Sources:
    """Feeds and what is derived from them."""

    feeds: list[str] = knob("TICKWIRE_FEEDS", ["demo"], "feeds that run here: demo, replay, ccxt")
    feed_options: str = knob(
        "TICKWIRE_FEED_OPTIONS", "{}", "first options per feed as a JSON object; the admin edits them later", check=_json_object
    )
    poll_tick_s: float = knob(
        "TICKWIRE_POLL_TICK_SECONDS", 0.25, "how often Celery beat asks which polled feeds are due", unit="s", low=0.05, high=60
    )
    stale_after_s: float = knob(
        "TICKWIRE_STALE_AFTER_SECONDS", 30.0, "age of its last update at which a topic is stale", unit="s", low=1
    )


@dataclass(frozen=True)
class Serving:
    """The serving processes and their sockets."""

    workers: int = knob("TICKWIRE_WORKERS", 1, "serving processes", unit="processes", low=1, high=256)
    drain_s: float = knob("TICKWIRE_DRAIN_SECONDS", 20.0, "window over which a stopping process closes its sockets", unit="s", low=0)
    flush_floor_ms: float = knob("TICKWIRE_FLUSH_FLOOR_MS", 1.0, "shortest pause between two flushes", unit="ms", low=0)
    flush_ceiling_ms: float = knob("TICKWIRE_FLUSH_CEILING_MS", 50.0, "longest pause between two flushes", unit="ms", low=1)
    outbox_bytes: int = knob("TICKWIRE_OUTBOX_BYTES", 1 << 20, "most that one slow socket may be owed", unit="bytes", low=4096)
    outbox_updates: int = knob(
        "TICKWIRE_OUTBOX_UPDATES", 256, "most updates of one every topic that a slow socket may be owed", unit="updates", low=1
    )
    slow_notice_s: float = knob("TICKWIRE_SLOW_NOTICE_SECONDS", 2.0, "slow for this long: notice", unit="s", low=0)
    slow_close_s: float = knob("TICKWIRE_SLOW_CLOSE_SECONDS", 10.0, "slow for this long: close 4008", unit="s", low=0)
    auth_deadline_s: float = knob("TICKWIRE_AUTH_DEADLINE_SECONDS", 10.0, "time to authenticate before close 4502", unit="s", low=1)
    max_connections: int = knob("TICKWIRE_MAX_CONNECTIONS", 20_000, "sockets per process", unit="sockets", low=1)
    default_plan: str = knob("TICKWIRE_DEFAULT_PLAN", "free", "plan of a user to whom none was given")
    dashboard_plan: str = knob(
        "TICKWIRE_DASHBOARD_PLAN", "dashboard", "plan of the built-in page's visitors who did not log in; empty: anonymous"
    )


@dataclass(frozen=True)
class Config:
    """All settings, by section."""

    site: Site
    bus: Bus
    sources: Sources
    serving: Serving

    @property
    def data_dir(self) -> Path:
        """Absolute data folder; it exists after `prepare_data_dir`."""
        return Path(self.site.data_dir).expanduser().resolve()

    @property
    def private_redis(self) -> bool:
        """True when Tickwire runs a Redis of its own."""
        return not self.bus.redis_url

    @property
    def redis_socket(self) -> Path:
        """Unix socket of the private Redis: in the data folder, or in the temporary folder where that path is too long."""
        inside = self.data_dir / "redis.sock"
        if len(os.fsencode(inside)) <= UNIX_PATH_MAX:
            return inside
        digest = hashlib.sha256(os.fsencode(self.data_dir)).hexdigest()[:16]
        return Path(tempfile.gettempdir()) / f"tickwire-{os.getuid()}-{digest}" / "redis.sock"

    @property
    def redis_url(self) -> str:
        """Address of the bus and store."""
        return self.bus.redis_url or f"unix://{self.redis_socket}"

    @property
    def broker_url(self) -> str:
        """Address of Celery's broker, in kombu's spelling."""
        return re.sub(r"^unix://", "redis+socket://", self.bus.broker_url or self.redis_url)

    @property
    def secret_key(self) -> str:
        """Django's signing key: from the environment, else generated once into the data folder, readable by its owner only."""
        return self.site.secret_key or _kept_secret(self.data_dir / "secret_key")


SECTIONS: dict[str, type] = {"site": Site, "bus": Bus, "sources": Sources, "serving": Serving}


def knobs() -> list[tuple[str, dataclasses.Field[Any]]]:
    """Every setting as (section, field), in the order of declaration; what `docs/configuration.md` is checked against."""
    return [(section, item) for section, kind in SECTIONS.items() for item in dataclasses.fields(kind)]


def load(environ: Mapping[str, str] | None = None) -> Config:
    """Read the settings.

    Raises:
        BadSetting: a value is of the wrong type or out of bounds, or a `TICKWIRE_*` name is unknown.
    """
    environ = os.environ if environ is None else environ
    known = {item.metadata["env"] for _, item in knobs()}
    files = {f"{item.metadata['env']}_FILE" for _, item in knobs() if item.metadata["secret"]}
    unknown = sorted(name for name in environ if name.startswith(PREFIX) and name not in known | files)
    if unknown:
        raise BadSetting(f"{unknown[0]}: no such setting")
    sections = {name: kind(**_section(kind, environ)) for name, kind in SECTIONS.items()}
    return Config(**sections)


def _section(kind: type, environ: Mapping[str, str]) -> dict[str, Any]:
    values = {}
    for item in dataclasses.fields(kind):
        text = _text(item, environ)
        if text is not None:
            values[item.name] = _value(item, text)
    return values


def _text(item: dataclasses.Field[Any], environ: Mapping[str, str]) -> str | None:
    env = item.metadata["env"]
    path = environ.get(f"{env}_FILE") if item.metadata["secret"] else None
    if path is None:
        return environ.get(env)
    if env in environ:
        raise BadSetting(f"{env}: given twice, as {env} and as {env}_FILE")
    try:
        return Path(path).read_text().strip()
    except OSError as error:
        raise BadSetting(f"{env}_FILE: {error.strerror or error}") from None


def _value(item: dataclasses.Field[Any], text: str) -> Any:
    env, default = item.metadata["env"], _default(item)
    try:
        value = _parse(type(default), text)
    except ValueError as error:
        raise BadSetting(f"{env}: {error}") from None
    low, high, check = (item.metadata[key] for key in ("low", "high", "check"))
    if low is not None and value < low:
        raise BadSetting(f"{env}: must be at least {low}")
    if high is not None and value > high:
        raise BadSetting(f"{env}: must be at most {high}")
    if check and (wrong := check(value)):
        raise BadSetting(f"{env}: {wrong}")
    return value


def _default(item: dataclasses.Field[Any]) -> Any:
    return item.default_factory() if item.default_factory is not dataclasses.MISSING else item.default


def _parse(kind: type, text: str) -> Any:
    if kind is bool:
        if text.lower() not in {"1", "true", "yes", "on", "0", "false", "no", "off"}:
            raise ValueError("must be true or false")
        return text.lower() in {"1", "true", "yes", "on"}
    if kind is list:
        return [part.strip() for part in text.split(",") if part.strip()]
    if kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            raise ValueError(f"must be {'a whole number' if kind is int else 'a number'}") from None
    return text


def prepare_data_dir(config: Config) -> None:
    """Create the data folder and the folder of the private Redis's socket, readable by their owner only."""
    for folder in (config.data_dir, config.redis_socket.parent):
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)


def _kept_secret(path: Path) -> str:
    try:
        return path.read_text()
    except FileNotFoundError:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        draft = path.with_name(f"{path.name}.{os.getpid()}")
        draft.touch(mode=0o600)
        draft.write_text(secrets.token_urlsafe(50))
        try:
            os.link(draft, path)  # the first process wins, whoever else is starting
        except FileExistsError:
            pass
        draft.unlink()
        return path.read_text()
