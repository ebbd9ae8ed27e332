"""A server somewhere, as one who puts load on it finds it: its address, its instruments, and the door for trades."""

from __future__ import annotations

import http.client
import ssl
import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self
from urllib.parse import urlsplit

import msgspec

SOCKET_PATH = "/ws/v1/market"
TIMEOUT_S = 10.0
PAGE = 500  # instruments in an answer
BATCH_S = 0.02  # from one batch of trades to the next
MOST_TRADES = 1000  # in a batch


class Unusable(Exception):
    """The server is away, or does not do what is asked; the message says which and why."""


@dataclass(frozen=True)
class Remote:
    """A server.

    Attributes:
        secure: it is spoken to through TLS.
        host, port, path: where its socket is.
        api_key: who we are; empty for a visitor.
    """

    secure: bool
    host: str
    port: int
    path: str
    api_key: str = ""

    @classmethod
    def of(cls, url: str, api_key: str = "") -> Self:
        """The server of a socket's address.

        Raises:
            Unusable: it is no address of a socket.
        """
        try:
            parts = urlsplit(url)
            host, port, secure = parts.hostname, parts.port, parts.scheme == "wss"
        except ValueError as error:
            raise Unusable(str(error)) from None
        if parts.scheme not in ("ws", "wss") or not host:
            raise Unusable("does not begin with ws://HOST or wss://HOST")
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        return cls(secure, host, port or (443 if secure else 80), path, api_key)

    @property
    def netloc(self) -> str:
        """Host and port, as requests name them."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def tls(self) -> ssl.SSLContext | None:
        """How its certificate is checked; None without TLS."""
        return ssl.create_default_context() if self.secure else None

    def rest(self) -> http.client.HTTPConnection:
        """A connection for `ask`."""
        if self.secure:
            return http.client.HTTPSConnection(self.host, self.port, timeout=TIMEOUT_S)
        return http.client.HTTPConnection(self.host, self.port, timeout=TIMEOUT_S)

    def ask(self, connection: http.client.HTTPConnection, path: str, body: bytes | None = None) -> Any:
        """GET an endpoint of REST, or POST to it.

        Args:
            connection: from `rest`; it may be used again.
            path: behind `/api/v1/`.
            body: what to post.

        Raises:
            Unusable: the server is away, or refuses.
        """
        headers = {"Authorization": f"Bearer {self.api_key}"} if self.api_key else {}
        headers |= {"Content-Type": "application/json"} if body is not None else {}
        where = self.path.partition("?")[0].removesuffix(SOCKET_PATH).rstrip("/") + "/api/v1/" + path
        try:
            connection.request("GET" if body is None else "POST", where, body, headers)
            answer = connection.getresponse()
            text = answer.read()
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            raise Unusable(f"{where} does not answer: {getattr(error, 'strerror', None) or repr(error)}") from None
        if answer.status != 200:
            raise Unusable(f"{where} answers {answer.status}{_complaint(text)}")
        return msgspec.json.decode(text)

    def symbols(self) -> list[str]:
        """The symbols of all active instruments.

        Raises:
            Unusable: the server is away, or refuses.
        """
        found: list[str] = []
        connection, page, more = self.rest(), 1, True
        try:
            while more:
                answer = self.ask(connection, f"instruments/?page_size={PAGE}&page={page}")
                found += [instrument["symbol"] for instrument in answer["results"]]
                page, more = page + 1, answer["next"] is not None
        finally:
            connection.close()
        return found


def _complaint(text: bytes) -> str:
    """What an error of ours says; nothing, when somebody else answered."""
    try:
        return f": {msgspec.json.decode(text)['error']['message']}"
    except (msgspec.DecodeError, KeyError, TypeError):
        return ""


class Trades:
    """Posts trades at a rate, each with this machine's clock in its `ts`.

    Args:
        remote: the server that takes them.
        symbols: whose trades, in turn.
        rate: trades per second.

    Attributes:
        symbols, rate: as given.
        accepted: trades that the server took.
        refused: why → trades that it did not take.
    """

    def __init__(self, remote: Remote, symbols: Sequence[str], rate: float) -> None:
        self.accepted = 0
        self.refused: Counter[str] = Counter()
        self._remote = remote
        self.symbols = symbols
        self.rate = rate
        self._made = 0
        self._run = time.time_ns()  # makes the ids of two runs differ
        self._stop = threading.Event()

    def check(self) -> None:
        """See whether the server takes trades from us.

        Raises:
            Unusable: it does not.
        """
        connection = self._remote.rest()
        try:
            self._remote.ask(connection, "ingest/", b'{"ticks":[]}')
        finally:
            connection.close()

    def run(self) -> None:
        """Post until `stop` is called, from another thread."""
        connection, began = self._remote.rest(), time.monotonic()
        while not self._stop.wait(BATCH_S):
            due = int((time.monotonic() - began) * self.rate) - self._made
            if due > 0:
                self._post(connection, self._make(min(due, MOST_TRADES)))
        connection.close()

    def stop(self) -> None:
        """Post no more."""
        self._stop.set()

    def _make(self, count: int) -> list[dict[str, Any]]:
        numbers = range(self._made, self._made + count)
        self._made += count
        ts, size = time.time_ns() // 1000, len(self.symbols)
        return [
            {
                "type": "trade", "symbol": self.symbols[number % size], "ts": ts, "id": f"{self._run}-{number}",
                "price": "100.00", "size": "1", "side": "buy",
            }
            for number in numbers
        ]  # fmt: skip

    def _post(self, connection: http.client.HTTPConnection, trades: list[dict[str, Any]]) -> None:
        try:
            answer = self._remote.ask(connection, "ingest/", msgspec.json.encode({"ticks": trades}))
        except Unusable as error:
            self.refused[str(error)] += len(trades)
            return
        self.accepted += answer["accepted"]
        self.refused.update(rejected["message"] for rejected in answer["rejected"])
