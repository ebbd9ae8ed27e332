"""A stand-in for Binance on loopback: it serves recorded raw messages to an unmodified client library, over HTTP and WebSocket.

What a live exchange does that matters to a client is here: markets, subscriptions by name with numbered replies, a diff stream of
the book with update ids, and a snapshot of the book by REST, which is always that of the moment at which it is asked for.
Playing pauses while fewer than `streams` streams of a symbol are subscribed. On streams of which a slow client sees only the
newest message, each waits until the one before it was `taken`: so a test compares one by one, at the speed of the client.
"""

from __future__ import annotations

import asyncio
import gzip
import json
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiohttp import WSMsgType, web

from marketdata.ticks import Depth, Quote, Tick

DEPTH = "depth@100ms"
LEVELS = 1000  # in a snapshot


def messages(*paths: Path) -> Iterator[tuple[str, str]]:
    """The raw messages of recordings, each with its stream; the stream of a REST snapshot is empty."""
    for path in paths:
        with gzip.open(path, "rt") as lines:
            for line in lines:
                raw = line.split(" ", 1)[1].strip()
                yield raw.split('"', 4)[3] if raw.startswith('{"stream":"') else "", raw


@dataclass
class Book:
    """A book rebuilt in the plainest way: what a snapshot said, then what each update said."""

    last: int = 0  # update id; 0 before the snapshot
    sides: dict[str, dict[str, str]] = field(default_factory=lambda: {"b": {}, "a": {}})
    early: list[dict[str, Any]] = field(default_factory=list)

    def reset(self, snapshot: dict[str, Any]) -> None:
        self.last = snapshot["lastUpdateId"]
        self.sides = {"b": dict(snapshot["bids"]), "a": dict(snapshot["asks"])}
        for data in self.early:  # a snapshot may fall into the middle of an update that was sent before it
            self.update(data)

    def update(self, data: dict[str, Any]) -> None:
        if not self.last:
            self.early.append(data)
        if not 0 < self.last < data["u"]:
            return
        self.last = data["u"]
        for name, side in self.sides.items():
            side |= dict(data[name])
            for price, size in data[name]:
                if not float(size):
                    del side[price]

    def snapshot(self) -> dict[str, Any]:
        bids = sorted(self.sides["b"].items(), key=lambda level: -float(level[0]))
        asks = sorted(self.sides["a"].items(), key=lambda level: float(level[0]))
        return {"lastUpdateId": self.last, "bids": bids[:LEVELS], "asks": asks[:LEVELS]}


@dataclass
class StandIn:
    """One exchange; make it with `serving`.

    Attributes:
        streams: how many streams of a symbol must be subscribed before it is played.
        urls: what a client must use instead of the real addresses.
        subscribed: every stream that was asked for, in order.
        snapshots: how many snapshots of books were served.
        connections: how many there were.
        losing: that many of the next updates of books are not sent.
        refuses: answer HTTP requests as Binance does to those who send too many.
    """

    streams: int
    urls: dict[str, Any] = field(default_factory=dict)
    subscribed: list[str] = field(default_factory=list)
    snapshots: int = 0
    connections: int = 0
    losing: int = 0
    refuses: bool = False

    def __post_init__(self) -> None:
        self._sockets: dict[web.WebSocketResponse, web.Request] = {}
        self._followers: dict[str, set[web.WebSocketResponse]] = defaultdict(set)
        self._books: dict[str, Book] = defaultdict(Book)
        self._sent: dict[str, dict[str, Any]] = {}
        self._taken: dict[str, asyncio.Event] = defaultdict(asyncio.Event)
        self._changed = asyncio.Condition()

    def taken(self, tick: Tick) -> None:
        """Say what the client has."""
        name = tick.symbol.replace("-", "").lower()
        if isinstance(tick, Quote):
            self._taken[f"{name}@bookTicker"].set()
        elif isinstance(tick, Depth) and self._sent.get(f"{name}@{DEPTH}", {}).get("E") == tick.ts // 1000:
            self._taken[f"{name}@{DEPTH}"].set()

    def drop(self) -> None:
        """Lose every connection at once, and with them what was not taken."""
        for request in list(self._sockets.values()):
            assert request.transport is not None
            request.transport.abort()
        for event in self._taken.values():
            event.set()

    async def say(self, text: str) -> None:
        """Send any text to every connection."""
        for socket in list(self._sockets):
            await socket.send_str(text)

    async def exchange_info(self, request: web.Request) -> web.Response:
        """GET /api/v3/exchangeInfo"""
        if self.refuses:
            return web.json_response({"code": -1003, "msg": "Way too much request weight used"}, status=418)
        return web.json_response({"symbols": [_market(base) for base in ("BTC", "ETH")]})

    async def depth(self, request: web.Request) -> web.Response:
        """GET /api/v3/depth"""
        symbol = request.query["symbol"]
        stream, book = f"{symbol.lower()}@{DEPTH}", self._books[symbol]
        async with self._changed:
            await self._changed.wait_for(lambda: book.last)
        if self._sent.get(stream, {}).get("u") == book.last:
            self._taken[stream].set()  # the snapshot holds it: no client will show it by itself
        self.snapshots += 1
        return web.json_response(book.snapshot())

    async def stream(self, request: web.Request) -> web.WebSocketResponse:
        """GET /stream/ws/<number>"""
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        self._sockets[socket] = request
        self.connections += 1
        try:
            async for message in socket:
                if message.type is WSMsgType.TEXT:
                    await self._subscribe(socket, message.json())
        finally:
            del self._sockets[socket]
            for followers in self._followers.values():
                followers.discard(socket)
        return socket

    async def _subscribe(self, socket: web.WebSocketResponse, command: dict[str, Any]) -> None:
        assert command["method"] == "SUBSCRIBE"
        await socket.send_json({"result": None, "id": command["id"]})
        async with self._changed:
            for stream in command["params"]:
                self.subscribed.append(stream)
                self._followers[stream].add(socket)
            self._changed.notify_all()

    async def play(self, paths: list[Path]) -> None:
        """Play recordings of one symbol one after the other."""
        symbol = paths[0].name.split("_")[1].upper()
        for stream, raw in messages(*paths):
            if stream:
                await self._send(symbol, stream, raw)
            else:
                async with self._changed:
                    self._books[symbol].reset(json.loads(raw))
                    self._changed.notify_all()

    async def _send(self, symbol: str, stream: str, raw: str) -> None:
        if not self._ready(symbol):
            async with self._changed:
                await self._changed.wait_for(lambda: self._ready(symbol))
        is_depth = stream.endswith(DEPTH)
        if not is_depth and not self._followers[stream]:
            return
        data, book, taken = json.loads(raw)["data"], self._books[symbol], self._taken[stream]
        expected = 0 < book.last < data["u"] if is_depth else stream.endswith("bookTicker")
        taken.clear()
        if is_depth:
            book.update(data)
        if is_depth and self.losing:
            self.losing -= 1
            return
        self._sent[stream] = data
        for socket in list(self._followers[stream]):
            try:
                await socket.send_str(raw)
            except ConnectionError:
                return
        if expected and self._followers[stream]:
            await taken.wait()

    def _ready(self, symbol: str) -> bool:
        streams = [stream for stream, who in self._followers.items() if who and stream.startswith(symbol.lower() + "@")]
        return len(streams) >= self.streams


def _market(base: str) -> dict[str, Any]:
    filters = [
        {"filterType": "PRICE_FILTER", "minPrice": "0.01000000", "maxPrice": "1000000.00000000", "tickSize": "0.01000000"},
        {"filterType": "LOT_SIZE", "minQty": "0.00001000", "maxQty": "9000.00000000", "stepSize": "0.00001000"},
    ]
    return {
        "symbol": f"{base}USDT",
        "status": "TRADING",
        "baseAsset": base,
        "baseAssetPrecision": 8,
        "quoteAsset": "USDT",
        "quotePrecision": 8,
        "isSpotTradingAllowed": True,
        "isMarginTradingAllowed": False,
        "filters": filters,
        "permissions": ["SPOT"],
    }


@asynccontextmanager
async def serving(*recordings: list[Path], streams: int = 1) -> AsyncIterator[StandIn]:
    """Run a stand-in that plays recordings side by side, each a list of files of one symbol that follow each other."""
    exchange = StandIn(streams)
    app = web.Application()
    app.router.add_get("/api/v3/exchangeInfo", exchange.exchange_info)
    app.router.add_get("/api/v3/depth", exchange.depth)
    app.router.add_get("/stream/ws/{number}", exchange.stream)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    exchange.urls = {"api": {"public": f"http://{host}:{port}/api/v3", "ws": {"spot": f"ws://{host}:{port}/stream/ws"}}}
    playing = [asyncio.create_task(exchange.play(paths)) for paths in recordings]
    try:
        yield exchange
    finally:
        for task in playing:
            task.cancel()
        done = await asyncio.gather(*playing, return_exceptions=True)
        await runner.cleanup()
    for failure in done:
        if isinstance(failure, Exception):  # being cancelled is none
            raise failure
