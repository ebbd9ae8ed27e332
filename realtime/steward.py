"""Carries out, in one serving process, the orders that are given to all of them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

import msgspec

from marketdata.backoff import Backoff
from marketdata.errors import StoreUnavailable
from marketdata.kept import KeptTask
from marketdata.redis_errors import areachable
from realtime import census, orders, protocol
from realtime.codes import Close
from realtime.drain import Drain
from realtime.hub import Hub
from realtime.rates import Rates
from realtime.taps import Taps
from realtime.warden import Warden

logger = logging.getLogger(__name__)

LONGEST_S = 5.0  # between two tries to listen
ENDED = "an operator ended this connection"


class Steward:
    """Listens for orders.

    Args:
        hub: whose connections; its bus brings the orders, its store takes the answers.
        name: of this process.
        warden: is told what changed.
        drain: of this process.
        drain_s: over how long it goes when it is ordered.

    Attributes:
        task: what listens.
        taps: of this process.
        others: kinds of orders that somebody above carries out → what answers them; without it they stay unanswered.
    """

    def __init__(self, hub: Hub, name: str, warden: Warden, drain: Drain, drain_s: float) -> None:
        self.hub = hub
        self.name = name
        self.warden = warden
        self.drain = drain
        self.drain_s = drain_s
        self.taps = Taps(hub, name)
        self.rates = Rates(hub)
        self.others: dict[type[Any], Callable[[Any], object]] = {}
        self.task = KeptTask("orders", self._listen, logger)

    async def _listen(self) -> None:
        channel = orders.channel(self.hub.layout.prefix).encode()
        trying = Backoff("listening for orders", logger, longest_s=LONGEST_S)
        await trying.until_done(lambda: self.hub.bus.follow({channel: self._hear}), StoreUnavailable)
        self.warden.listens()
        await asyncio.Event().wait()

    def _hear(self, payload: bytes) -> None:
        try:
            order = orders.read_order(payload)
        except msgspec.DecodeError as error:
            self.hub.counts["orders_unread"] += 1
            logger.warning("an order that cannot be read: %s", error)
            return
        self.hub.counts["orders"] += 1
        match order:
            case orders.Changed():
                self.warden.hear(order)
            case orders.FindConnections():
                self._answer(order.reply_to, census.connections(self.hub, self.name, order.wanted))
            case orders.FindTopics():
                self.hub.spawn(self._tell_topics(order))
            case orders.Disconnect():
                self._disconnect(order)
            case orders.Drain() if order.node == self.name:
                self._drain(order)
            case orders.Shed() if order.node == self.name:
                self.hub.spawn(self.drain.shed(order.count, order.over_s))
                self._answer(order.reply_to, True)
            case orders.Tap():
                self._answer(order.reply_to, self.taps.begin(order.key, order.session, order.topic, order.for_s))
            case orders.Untap():
                self.taps.end(order.key)
            case orders.TraceNext() | orders.FindHops() if type(order) in self.others:
                self._answer(order.reply_to, self.others[type(order)](order))

    async def _tell_topics(self, order: orders.FindTopics) -> None:
        rates = await self.rates.measure()
        await self._send(order.reply_to, msgspec.json.encode(census.topics(self.hub, order.limit, order.by, rates)))

    def _disconnect(self, order: orders.Disconnect) -> None:
        connection = self.hub.connections.get(order.session)
        if connection is not None:
            connection.close(Close.DISABLED, protocol.notice("limits", ENDED, code=Close.DISABLED))
            self._answer(order.reply_to, True)

    def _drain(self, order: orders.Drain) -> None:
        if not self.drain.begun:
            self.hub.spawn(self.drain.run(self.drain_s))
        self._answer(order.reply_to, True)

    def _answer(self, reply_to: str, answer: object) -> None:
        self.hub.spawn(self._send(reply_to, msgspec.json.encode(answer)))

    async def _send(self, reply_to: str, answer: bytes) -> None:
        client = self.hub.store.client
        try:
            async with areachable(client), client.pipeline(transaction=True) as pipe:
                pipe.rpush(reply_to, answer)
                pipe.expire(reply_to, orders.ANSWERS_S)
                await pipe.execute()
        except StoreUnavailable:
            self.hub.counts["orders_unanswered"] += 1  # whoever asked is told that somebody was silent
