"""Redis addresses as the settings have them: a server, a socket, or a service that Sentinels watch over.

What a server's address looks like is redis-py's affair (`redis://`, `rediss://`, `unix://`). It knows none for Sentinels; the
spelling here is the one on which most of those who needed it have settled:
`redis+sentinel://[user:password@]host[:port][,host[:port]…]/service[/db][?sentinel_username=…&sentinel_password=…]`.
With `rediss+sentinel://` all is encrypted, the talk with the Sentinels, too.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, quote, unquote

SERVERS = ("redis", "rediss", "unix")
SENTINELS = ("redis+sentinel", "rediss+sentinel")
SENTINEL_PORT = 26379

_FORM = re.compile(
    r"redis(?P<tls>s?)\+sentinel://(?:(?P<credentials>[^@/?#]*)@)?(?P<hosts>[^@/?#]+)/(?P<service>[\w.-]+)"
    r"(?:/(?P<db>\d{0,5}))?(?:\?(?P<query>[^#]*))?"
)
_HOST = re.compile(r"(?:\[(?P<six>[0-9a-fA-F:.]+)\]|(?P<name>[^\[\]:\s]+))(?::(?P<port>\d{1,5}))?")
_OPTIONS = ("sentinel_username", "sentinel_password")


@dataclass(frozen=True)
class Service:
    """What Sentinels watch over: a master that may be another one at any moment.

    Attributes:
        name: as the Sentinels call it.
        sentinels: host and port of each.
        db: number of the database.
        username, password: for Redis; None where it asks for none.
        sentinel_username, sentinel_password: for the Sentinels.
        tls: whether connections to all of them are encrypted.
    """

    name: str
    sentinels: tuple[tuple[str, int], ...]
    db: int = 0
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    sentinel_username: str | None = None
    sentinel_password: str | None = field(default=None, repr=False)
    tls: bool = False

    @property
    def broker_url(self) -> str:
        """The address in kombu's spelling; the service's name goes into `broker_options`."""
        login = f"{quote(self.username or '', safe='')}:{quote(self.password, safe='')}@" if self.password else ""
        hosts = (f"[{host}]" if ":" in host else host for host, _ in self.sentinels)
        ports = (port for _, port in self.sentinels)
        return ";".join(f"sentinel://{login}{host}:{port}/{self.db}" for host, port in zip(hosts, ports, strict=True))


def is_service(url: str) -> bool:
    """Whether an address is one of Sentinels."""
    return url.startswith(tuple(f"{scheme}://" for scheme in SENTINELS))


def service(url: str) -> Service:
    """Read the address of a service.

    Raises:
        ValueError: it is malformed; the message says how, and repeats no part of it, which may be a secret.
    """
    form = _FORM.fullmatch(url)
    if form is None:
        raise ValueError("must be redis+sentinel://[user:password@]host[:port],…/service[/db]")
    username, colon, password = (form["credentials"] or "").partition(":")
    options = _options(form["query"] or "")
    return Service(
        form["service"],
        tuple(_sentinel(host) for host in form["hosts"].split(",")),
        int(form["db"] or 0),
        unquote(username) or None,
        unquote(password) if colon else None,
        options.get("sentinel_username"),
        options.get("sentinel_password"),
        bool(form["tls"]),
    )


def _sentinel(text: str) -> tuple[str, int]:
    found = _HOST.fullmatch(text)
    port = int(found["port"] or SENTINEL_PORT) if found else 0
    if found is None or not 0 < port < 65536:
        raise ValueError("names a Sentinel that is not host[:port]")
    return found["six"] or found["name"], port


def _options(query: str) -> dict[str, str]:
    options = dict(parse_qsl(query, keep_blank_values=True))
    if options.keys() - set(_OPTIONS):
        raise ValueError(f"takes no options but {' and '.join(_OPTIONS)}")
    return options
