"""Settings that are insecure, or will not do where the server can be reached."""

from __future__ import annotations

import ipaddress
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from monitoring.doctor.findings import Finding, fail, ok, warn

SHORTEST_KEY = 32
LOCAL_NAMES = {"localhost", "127.0.0.1", "[::1]", "::1"}


@dataclass(frozen=True)
class SiteFacts:
    """What the settings say.

    Attributes:
        host: that is listened on.
        https: whether visitors come by https.
        secret_key_length: characters of Django's signing key.
        key_mode: of the file that has it; None: it is not in a file of ours.
        folder_mode: of the data folder.
        feeds: names of `TICKWIRE_FEEDS`.
    """

    host: str
    https: bool
    debug: bool
    allowed_hosts: Sequence[str]
    secret_key_length: int
    key_mode: int | None
    folder_mode: int
    feeds: Sequence[str] = ()

    @property
    def public(self) -> bool:
        """Whether other machines can reach it."""
        try:
            return not ipaddress.ip_address(self.host.strip("[]")).is_loopback
        except ValueError:
            return self.host != "localhost"


def ask(config: Any) -> SiteFacts:
    """Look at the settings and at what the data folder has.

    Args:
        config: `settings.TICKWIRE`.
    """
    key = config.data_dir / "secret_key"
    return SiteFacts(
        host=config.site.host,
        https=config.site.https,
        debug=config.site.debug,
        allowed_hosts=config.site.allowed_hosts,
        secret_key_length=len(config.secret_key),
        key_mode=_mode(key) if not config.site.secret_key and key.exists() else None,
        folder_mode=_mode(config.data_dir),
        feeds=config.sources.feeds,
    )


def _mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def check(facts: SiteFacts) -> Iterator[Finding]:
    """Judge them."""
    yield _debug(facts)
    yield _hosts(facts)
    yield _tls(facts)
    yield _key(facts)
    yield _folder(facts.folder_mode)
    if facts.public and "demo" in facts.feeds:
        says = "The demo feed runs on a server that others can reach: its prices are made up."
        yield warn("demo feed", says, "TICKWIRE_FEEDS without demo")


def _debug(facts: SiteFacts) -> Finding:
    if not facts.debug:
        return ok("debug", "Django's debug pages are off.")
    says, fix = "Django's debug pages show settings and source to everybody.", "TICKWIRE_DEBUG=false"
    return fail("debug", says, fix) if facts.public else warn("debug", says, fix)


def _hosts(facts: SiteFacts) -> Finding:
    if "*" in facts.allowed_hosts:
        says = "Requests may name any host, which helps to forge links and poison caches."
        return fail("allowed hosts", says, "TICKWIRE_ALLOWED_HOSTS=your.name")
    if facts.public and set(facts.allowed_hosts) <= LOCAL_NAMES:
        says = "Others can reach the server, but every request by its name is refused."
        return warn("allowed hosts", says, "TICKWIRE_ALLOWED_HOSTS=localhost,your.name")
    return ok("allowed hosts", f"Requests may name {', '.join(facts.allowed_hosts)}.")


def _tls(facts: SiteFacts) -> Finding:
    if facts.https:
        return ok("https", "Cookies are for https only.")
    if facts.public:
        says = f"The server listens on {facts.host} without TLS: keys, tickets and cookies can be read on the way."
        fix = "put a proxy with TLS in front, TICKWIRE_HTTPS=true, and TICKWIRE_HOST to an address that only the proxy reaches"
        return fail("https", says, fix)
    return ok("https", "Only this machine can reach the server. Behind a proxy with TLS set TICKWIRE_HTTPS=true.")


def _key(facts: SiteFacts) -> Finding:
    if facts.secret_key_length < SHORTEST_KEY:
        return fail(
            "secret key", "Django's signing key is short enough to be guessed.", "TICKWIRE_SECRET_KEY of 50 random characters"
        )
    if facts.key_mode is not None and facts.key_mode & 0o077:
        says = f"Other users of this machine may read or change the signing key (mode {facts.key_mode:03o})."
        return fail("secret key", says, "chmod 600 secret_key in the data folder, and make a new one if others had access")
    return ok("secret key", "Django's signing key is long, and its owner's alone.")


def _folder(mode: int) -> Finding:
    if mode & 0o077:
        says = f"Other users of this machine may enter the data folder (mode {mode:03o}): database, Redis socket, keys."
        return fail("data folder", says, "chmod 700 on TICKWIRE_DATA_DIR")
    return ok("data folder", "Only its owner enters the data folder.")
