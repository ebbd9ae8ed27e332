"""Every knob of Tickwire: name, unit, default and meaning; read once from the environment, refused by name when wrong."""

from __future__ import annotations

import dataclasses
import difflib
import hashlib
import os
import re
import ssl
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from marketdata import addresses
from project.data_dir import DATABASE, keep_private, kept_secret, make_folder, refuse_foreign
from project.knobs import (
    BadSetting,
    json_object,
    key_set,
    knob,
    name_part,
    networks,
    off_or_from,
    one_of,
    read_section,
    redis_address,
    scheme,
    spans,
)
from project.observing import Observing

__all__ = ["BadSetting", "Config", "knobs", "load", "prepare_data_dir"]

ROOT = Path(__file__).resolve().parent.parent
PREFIX = "TICKWIRE_"
SENTINEL_S = 1.0  # what a Sentinel may take to answer Celery
UNIX_PATH_MAX = 100  # bytes; the kernel's limit for a socket address is 108


@dataclass(frozen=True)
class Site:
    """Where this copy lives and who may talk to it."""

    data_dir: str = knob(
        "TICKWIRE_DATA_DIR",
        "var",
        "folder of the database, the private Redis and generated secrets; a relative path begins beside manage.py",
        check=lambda value: None if value.strip() else "must not be empty",
    )
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
    https: bool = knob(
        "TICKWIRE_HTTPS",
        False,
        "visitors come by https: a proxy in front of the server speaks TLS; cookies are for it only, and http is sent there",
    )
    trusted_proxies: list[str] = knob(
        "TICKWIRE_TRUSTED_PROXIES",
        ["127.0.0.1", "::1"],
        "addresses and networks of proxies whose X-Forwarded-For and X-Forwarded-Proto are believed",
        check=networks,
    )
    database_url: str = knob(
        "TICKWIRE_DATABASE_URL",
        "",
        "PostgreSQL as postgresql://user:password@host/name; empty: SQLite in the data folder",
        secret=True,
        check=scheme("postgresql", "postgres", "sqlite"),
    )
    log_level: str = knob(
        "TICKWIRE_LOG_LEVEL", "INFO", "least severity that is logged", check=one_of("DEBUG", "INFO", "WARNING", "ERROR")
    )


@dataclass(frozen=True)
class Bus:
    """Redis: the bus, the store and Celery's broker."""

    redis_url: str = knob(
        "TICKWIRE_REDIS_URL",
        "",
        "redis://, rediss:// or unix:// address, or redis+sentinel:// for Sentinels; empty: a private server in the data folder",
        secret=True,
        check=redis_address,
    )
    broker_url: str = knob(
        "TICKWIRE_BROKER_URL",
        "",
        "Celery's broker when it shall not share the bus's Redis",
        secret=True,
        check=redis_address,
    )
    prefix: str = knob(
        "TICKWIRE_PREFIX", "tickwire", "first part of every Redis key and channel; one per installation", check=name_part
    )
    history_updates: int = knob(
        "TICKWIRE_HISTORY_UPDATES", 1000, "updates kept per topic for repair and replay", unit="updates", low=1, high=100_000
    )
    history_types: list[str] = knob(
        "TICKWIRE_HISTORY_TYPES",
        ["depth=100"],
        "the same for single types, as type=updates or type=updates/seconds; depth has less because its bodies are large",
        check=spans,
    )
    replay_s: float = knob(
        "TICKWIRE_REPLAY_SECONDS",
        300.0,
        "how old the first update may be that a client who resumes still gets; if older, its topic begins with a snapshot",
        unit="s",
        low=1,
        high=86_400,
    )
    resume_ttl_s: int = knob(
        "TICKWIRE_RESUME_TTL_SECONDS",
        300,
        "for how long after its connection ended a session may be resumed",
        unit="s",
        low=10,
        high=86_400,
    )
    trade_ids: int = knob(
        "TICKWIRE_TRADE_IDS",
        1000,
        "newest trades of a symbol among which a repeated one is noticed, whichever process publishes; 10 bytes each",
        unit="trades",
        low=100,
        high=10_000,
    )
    linger_s: float = knob(
        "TICKWIRE_LINGER_SECONDS", 10.0, "how long a group stays joined after its last follower left", unit="s", low=0, high=3600
    )


@dataclass(frozen=True)
class Sources:
    """Feeds and what is derived from them."""

    feeds: list[str] = knob("TICKWIRE_FEEDS", ["demo"], "feeds that run here: demo, replay, ccxt")
    feed_options: str = knob(
        "TICKWIRE_FEED_OPTIONS", "{}", "first options per feed as a JSON object; the admin edits them later", check=json_object
    )
    feed_ticks_per_s: int = knob(
        "TICKWIRE_FEED_TICKS_PER_SECOND",
        10_000,
        "most that a streaming feed brings in where its row says nothing else; beyond it, quotes are conflated, then trades shed",
        unit="ticks/s",
        low=1,
        high=1_000_000,
    )
    poll_tick_s: float = knob(
        "TICKWIRE_POLL_TICK_SECONDS", 0.25, "how often Celery beat asks which polled feeds are due", unit="s", low=0.05, high=60
    )
    backlog_updates: int = knob(
        "TICKWIRE_BACKLOG_UPDATES",
        50_000,
        "ticks that may wait in the feed process while Redis is away; of more, the oldest of latest types are dropped first",
        unit="updates",
        low=1,
        high=10_000_000,
    )
    backlog_bytes: int = knob(
        "TICKWIRE_BACKLOG_BYTES",
        1 << 24,
        "the same in bytes of their bodies; in memory they take some four times as much",
        unit="bytes",
        low=4096,
    )
    stale_after_s: float = knob(
        "TICKWIRE_STALE_AFTER_SECONDS", 30.0, "age of its last update at which a topic is stale", unit="s", low=1
    )


@dataclass(frozen=True)
class Serving:
    """The serving processes and their sockets."""

    workers: int = knob("TICKWIRE_WORKERS", 1, "serving processes", unit="processes", low=1, high=256)
    drain_s: float = knob(
        "TICKWIRE_DRAIN_SECONDS", 20.0, "window over which a stopping process closes its sockets", unit="s", low=0
    )
    flush_floor_ms: float = knob(
        "TICKWIRE_FLUSH_FLOOR_MS", 0.0, "shortest pause between two flushes: saves CPU, costs latency", unit="ms", low=0
    )
    flush_ceiling_ms: float = knob("TICKWIRE_FLUSH_CEILING_MS", 20.0, "longest pause between two flushes", unit="ms", low=1)
    outbox_bytes: int = knob("TICKWIRE_OUTBOX_BYTES", 1 << 20, "most that one slow socket may be owed", unit="bytes", low=4096)
    outbox_updates: int = knob(
        "TICKWIRE_OUTBOX_UPDATES", 256, "most updates of one every topic that a slow socket may be owed", unit="updates", low=1
    )
    slow_notice_s: float = knob("TICKWIRE_SLOW_NOTICE_SECONDS", 2.0, "slow for this long: notice", unit="s", low=0)
    slow_close_s: float = knob("TICKWIRE_SLOW_CLOSE_SECONDS", 10.0, "slow for this long: close 4008", unit="s", low=0)
    auth_deadline_s: float = knob(
        "TICKWIRE_AUTH_DEADLINE_SECONDS", 10.0, "time to authenticate before close 4502", unit="s", low=1
    )
    connection_lease_s: float = knob(
        "TICKWIRE_CONNECTION_LEASE_SECONDS",
        40.0,
        "for so long at most the connections of a crashed process count; renewed nearly three times within it",
        unit="s",
        low=1,
        high=3600,
    )
    address_connections: int = knob(
        "TICKWIRE_ADDRESS_CONNECTIONS", 50, "connections of one address at once, on all nodes; 0: any", unit="sockets", low=0
    )
    address_handshakes: int = knob(
        "TICKWIRE_ADDRESS_HANDSHAKES", 300, "connections that one address may begin in five minutes; 0: any", low=0
    )
    uncounted_addresses: list[str] = knob(
        "TICKWIRE_UNCOUNTED_ADDRESSES",
        ["127.0.0.0/8", "::1/128"],
        "networks whose addresses these two do not count, as those of proxies that hide their visitors",
        check=networks,
    )
    address_dry_run: bool = knob(
        "TICKWIRE_ADDRESS_DRY_RUN", False, "these two refuse nobody; what they would have refused is counted"
    )
    public_address: str = knob(
        "TICKWIRE_PUBLIC_ADDRESS",
        "",
        "where clients reach this process directly, as wss://node-1.example.com; named by nodes/best/",
    )
    metrics_networks: list[str] = knob(
        "TICKWIRE_METRICS_NETWORKS",
        ["127.0.0.0/8", "::1/128", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7"],
        "networks from which /metrics may be read",
        check=networks,
    )
    max_connections: int = knob("TICKWIRE_MAX_CONNECTIONS", 20_000, "sockets per process", unit="sockets", low=1)
    overload_lag_ms: float = knob(
        "TICKWIRE_OVERLOAD_LAG_MS",
        500.0,
        "event loop this late for two seconds: visitors are refused, then updates come less often, then clients of low priority "
        "are let go; 0: never",
        unit="ms",
        low=0,
        check=off_or_from(10),
    )
    most_memory_mb: int = knob(
        "TICKWIRE_MOST_MEMORY_MB",
        0,
        "memory of a serving process above which it does the same, say four fifths of its share of the container's; 0: any",
        unit="MiB",
        low=0,
        check=off_or_from(128),
    )
    usage_s: float = knob(
        "TICKWIRE_USAGE_SECONDS", 10.0, "how often what users use is saved; a crash loses that much", unit="s", low=1, high=3600
    )
    usage_days: int = knob("TICKWIRE_USAGE_DAYS", 400, "how long it is kept", unit="days", low=1, high=10_000)
    default_plan: str = knob("TICKWIRE_DEFAULT_PLAN", "free", "plan of a user to whom none was given")
    dashboard_plan: str = knob(
        "TICKWIRE_DASHBOARD_PLAN", "dashboard", "plan of the built-in page's visitors who did not log in; empty: anonymous"
    )

    def __post_init__(self) -> None:
        if self.flush_floor_ms > self.flush_ceiling_ms:
            raise BadSetting("TICKWIRE_FLUSH_FLOOR_MS: must not be greater than TICKWIRE_FLUSH_CEILING_MS")
        if self.slow_notice_s > self.slow_close_s:
            raise BadSetting("TICKWIRE_SLOW_NOTICE_SECONDS: must not be greater than TICKWIRE_SLOW_CLOSE_SECONDS")


@dataclass(frozen=True)
class Tokens:
    """Signed tokens (JWT) of another party's making as credentials of users, and the end of credentials."""

    secret: str = knob(
        "TICKWIRE_JWT_SECRET",
        "",
        "what tokens are signed with (HS256), 32 bytes or more; empty: none of these are accepted",
        secret=True,
        check=lambda value: None if not value or len(value.encode()) >= 32 else "must have 32 bytes or more",
    )
    jwks: str = knob(
        "TICKWIRE_JWT_JWKS",
        "",
        "public keys of those who sign tokens (RS256): path of a JWKS file, or its https:// address; empty: none are accepted",
        check=key_set,
    )
    audience: str = knob(
        "TICKWIRE_JWT_AUDIENCE", "", "audience that tokens must name; empty: tokens that name any are not for us"
    )
    issuer: str = knob("TICKWIRE_JWT_ISSUER", "", "issuer that tokens must name; empty: anybody with the key")
    leeway_s: float = knob(
        "TICKWIRE_JWT_LEEWAY_SECONDS", 5.0, "by how much the clock of whoever signs tokens may differ", unit="s", low=0, high=60
    )
    grace_s: float = knob(
        "TICKWIRE_TOKEN_GRACE_SECONDS",
        25.0,
        "how long after its credential ended a socket may still renew it before close 4004",
        unit="s",
        low=0,
        high=3600,
    )


@dataclass(frozen=True)
class Tools:
    """Commands that connect to a server as its clients do."""

    api_key: str = knob("TICKWIRE_API_KEY", "", "API key that `manage.py bench_client` shows; empty: a visitor", secret=True)


@dataclass(frozen=True)
class Config:
    """All settings, by section."""

    site: Site
    bus: Bus
    sources: Sources
    serving: Serving
    tokens: Tokens
    tools: Tools
    observing: Observing

    @property
    def data_dir(self) -> Path:
        """Absolute data folder; it exists after `prepare_data_dir`."""
        return (ROOT / Path(self.site.data_dir).expanduser()).resolve()

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
        """Address of the bus and store; the path of a Unix socket is percent-encoded."""
        return self.bus.redis_url or f"unix://{quote(str(self.redis_socket))}"

    @property
    def broker_url(self) -> str:
        """Address of Celery's broker, in kombu's spelling."""
        return _for_kombu(self.bus.broker_url or self.redis_url)

    @property
    def broker_options(self) -> dict[str, Any]:
        """What kombu wants to know besides the address: which service of the Sentinels, and what they ask for."""
        url = self.bus.broker_url or self.redis_url
        if not addresses.is_service(url):
            return {}
        found = addresses.service(url)
        login = {"username": found.sentinel_username, "password": found.sentinel_password, "ssl": found.tls}
        return {"master_name": found.name, "sentinel_kwargs": login | {"socket_timeout": SENTINEL_S}}

    @property
    def broker_tls(self) -> dict[str, Any] | None:
        """How the broker's Redis behind Sentinels is spoken to in secret; a plain address says so itself."""
        url = self.bus.broker_url or self.redis_url
        secret = addresses.is_service(url) and addresses.service(url).tls
        return {"ssl_cert_reqs": ssl.CERT_REQUIRED} if secret else None

    @property
    def secret_key(self) -> str:
        """Django's signing key: from the environment, else generated once into the data folder, readable by its owner only.

        Raises:
            BadSetting: the data folder cannot keep it.
        """
        return self.site.secret_key or kept_secret(self.data_dir / "secret_key")


SECTIONS: dict[str, type] = {
    "site": Site, "bus": Bus, "sources": Sources, "serving": Serving, "tokens": Tokens, "tools": Tools, "observing": Observing,
}  # fmt: skip


def knobs() -> list[tuple[str, dataclasses.Field[Any]]]:
    """Every setting as (section, field), in the order of declaration; what `docs/configuration.md` is checked against."""
    return [(section, item) for section, kind in SECTIONS.items() for item in dataclasses.fields(kind)]


def load(environ: Mapping[str, str] | None = None) -> Config:
    """Read the settings.

    Raises:
        BadSetting: a value is of the wrong type, out of bounds or at odds with another, or a `TICKWIRE_*` name is unknown.
    """
    environ = os.environ if environ is None else environ
    _refuse_unknown(environ)
    return Config(**{name: read_section(kind, environ) for name, kind in SECTIONS.items()})


def _refuse_unknown(environ: Mapping[str, str]) -> None:
    known = [item.metadata["env"] for _, item in knobs()]
    files = [f"{item.metadata['env']}_FILE" for _, item in knobs() if item.metadata["secret"]]
    for name in sorted(environ):
        if name.startswith(PREFIX) and name not in known and name not in files:
            near = [env for env in known if env == name.removeprefix(PREFIX)] or difflib.get_close_matches(name, known, n=1)
            raise BadSetting(f"{name}: no such setting" + (f"; did you mean {near[0]}?" if near else ""))


def _for_kombu(url: str) -> str:
    """kombu has other names for sockets, for their database and for Sentinels, and checks certificates only when told to."""
    if addresses.is_service(url):
        return addresses.service(url).broker_url
    if url.startswith("unix://"):
        return re.sub(r"([?&])db=", r"\1virtual_host=", "redis+socket" + url.removeprefix("unix"))
    if url.startswith("rediss://") and "ssl_cert_reqs=" not in url:
        return f"{url}{'&' if '?' in url else '?'}ssl_cert_reqs=required"
    return url


def prepare_data_dir(config: Config) -> None:
    """Create the data folder and the folder of the private Redis's socket, readable by their owner only.

    Raises:
        BadSetting: one of them cannot be made or written, or belongs to somebody else.
    """
    home, sockets = config.data_dir, config.redis_socket.parent
    make_folder(home)
    if not config.site.database_url:
        keep_private(home / DATABASE)
    if config.private_redis and sockets != home:
        make_folder(sockets)
        refuse_foreign(sockets)
