"""The channel layer: groups over Redis pub/sub, read and written in bulk.

Wire-compatible with `channels_redis.pubsub`: the same Redis channel names, the same MessagePack, so a stock Channels process can
send to our groups and receive from them. What it does better, and why it exists:
1. `group_add` returns when Redis has confirmed it, so that "join, then read the latest value" has no hole.
2. Queues are bounded: a consumer that stops receiving costs `capacity` messages, the oldest go first, and it is counted.
3. Cancelling `receive` loses nothing. A channel that nobody receives from any more is given up after a while.
4. A lost connection is made again for ever, with every subscription, and those who ask are told (`Bus.watch`).
5. `Bus.follow` hands payloads to a function, without a queue, a task or a copy on the way.
"""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec
import redis
from channels.layers import BaseChannelLayer

from marketdata import dial
from marketdata.addresses import service
from marketdata.backoff import Backoff
from marketdata.errors import StoreUnavailable
from marketdata.kept import KeptTask
from marketdata.link import Link, Message, connect, master
from marketdata.loops import PerLoop
from marketdata.redis_errors import reachable
from marketdata.topics import redis_channel

logger = logging.getLogger(__name__)

PING_S = 1.0
SILENCE_S = 5.0  # a connection that answers no PING for so long is dead
CONNECTED_S = 1.0  # how long a subscription waits for a connection that is being made
CONFIRM_S = 5.0
LOOK_S = 5.0  # how often the Sentinels are asked whether the master is still the one
BACKOFF_S = (0.05, 5.0)
CHUNK = 500  # channels in one SUBSCRIBE


def pack(message: Mapping[str, Any]) -> bytes:
    """Write a message as channels_redis does."""
    return msgspec.msgpack.encode(message)


def unpack(payload: bytes) -> dict[str, Any]:
    """Read a message that channels_redis, we or publish.lua wrote."""
    return msgspec.msgpack.decode(payload, type=dict[str, Any])


class Bus:
    """The connections of one event loop to the bus: one that reads, one that writes."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.reconnects = 0
        self.connected = asyncio.Event()
        self._receivers: dict[bytes, Message] = {}
        self._watchers: list[Callable[[bool], None]] = []
        self._reader: Link | None = None
        self._writer: Link | None = None
        self._writing = asyncio.Lock()
        self._connecting = KeptTask("bus", self._keep_connected, logger)
        self._told: bool | None = None
        self._trying = Backoff("bus", logger, first_s=BACKOFF_S[0], longest_s=BACKOFF_S[1], healthy_s=PING_S)

    async def follow(self, receivers: Mapping[bytes, Message]) -> None:
        """Give each Redis channel's payloads to its function, from the moment this returns.

        Raises:
            StoreUnavailable: Redis did not confirm in time; then none of them is followed.
        """
        self._receivers.update(receivers)
        try:
            async with asyncio.timeout(CONFIRM_S):
                await self._subscribe(list(receivers))
        except (TimeoutError, StoreUnavailable) as error:
            self._forget(receivers)  # Redis may have done it, late
            raise StoreUnavailable("the bus did not confirm a subscription") from error

    async def _subscribe(self, channels: list[bytes]) -> None:
        self._connecting.start()
        async with asyncio.timeout(CONNECTED_S):
            await self.connected.wait()
        assert self._reader is not None
        await asyncio.gather(*(self._reader.subscribe(channels[at : at + CHUNK]) for at in range(0, len(channels), CHUNK)))

    def redirect(self, channel: bytes, receiver: Message) -> Message | None:
        """Give a followed channel's payloads to another function. Returns the one before; None: it is not followed."""
        before = self._receivers.get(channel)
        if before is not None:
            self._receivers[channel] = receiver
        return before

    async def unfollow(self, channels: Iterable[bytes]) -> None:
        """Follow Redis channels no longer. Without a connection there is nothing to tell Redis."""
        try:
            await self._forget(channels)
        except StoreUnavailable:
            pass  # the connection went, and the subscriptions with it

    def _forget(self, channels: Iterable[bytes]) -> asyncio.Future[None]:
        gone = [channel for channel in channels if self._receivers.pop(channel, None)]
        if self._reader is not None and not self._reader.lost.done():
            done = self._reader.unsubscribe(gone)
        else:
            done = asyncio.get_running_loop().create_future()
            done.set_result(None)
        done.add_done_callback(_ignore)
        return done

    async def publish(self, channel: str, payload: bytes) -> int:
        """Send a payload and return to how many Redis connections it went.

        Raises:
            StoreUnavailable: Redis did not take it.
        """
        async with self._writing:
            if self._writer is None or self._writer.lost.done():
                self._writer = await connect(self.url, {})
        try:
            async with asyncio.timeout(CONFIRM_S):
                reached: int = await self._writer.call("PUBLISH", channel, payload)
        except TimeoutError:
            self._writer.abort()
            raise StoreUnavailable("Redis: no answer") from None
        return reached

    def watch(self, watcher: Callable[[bool], None]) -> None:
        """Have a function called with False when the reading connection is lost, or cannot be made in the first place, and with
        True when all is followed again.
        """
        self._watchers.append(watcher)

    async def _keep_connected(self) -> None:
        while True:
            try:
                await self._read_until_lost()
                self._trying.failed("connection lost")
            except StoreUnavailable as error:
                self._trying.failed(error)
            except Exception as error:
                self._trying.failed(error, foreseen=False)
            self._tell(False)
            await self._trying.pause()

    async def _read_until_lost(self) -> None:
        self._reader = link = await connect(self.url, self._receivers)
        if self._writer is not None and self._writer.where != link.where:
            self._writer.abort()  # it goes to a master that is one no longer: what it sends would not come back
        try:
            await self._resubscribe(link)
            self._trying.over()
            self._tell(True)
            await self._ping_until_lost(link)
        except TimeoutError:
            raise StoreUnavailable("Redis: no answer") from None
        finally:
            link.abort()

    async def _resubscribe(self, link: Link) -> None:
        """Follow on a new connection what is followed now. Whatever goes meanwhile is unsubscribed on it by `unfollow`."""
        channels = list(self._receivers)
        for at in range(0, len(channels), CHUNK):
            async with asyncio.timeout(CONFIRM_S):
                await link.subscribe([channel for channel in channels[at : at + CHUNK] if channel in self._receivers])

    def _tell(self, connected: bool) -> None:
        if connected is self._told:
            return
        if self._told:
            self.reconnects += 1
        self._told = connected
        if connected:
            self.connected.set()
        else:
            self.connected.clear()
        for watcher in self._watchers:
            try:
                watcher(connected)
            except Exception:
                logger.exception("bus: a watcher failed")

    async def _ping_until_lost(self, link: Link) -> None:
        loop = asyncio.get_running_loop()
        looked_at = loop.time()
        while not link.lost.done():
            await asyncio.wait([link.lost], timeout=PING_S)
            if link.lost.done() or loop.time() - link.last_read > SILENCE_S:
                return
            link.call("PING").add_done_callback(_ignore)
            if link.where is not None and loop.time() - looked_at > LOOK_S:
                if await self._has_moved(link):
                    return
                looked_at = loop.time()

    async def _has_moved(self, link: Link) -> bool:
        """Whether the Sentinels name another master by now: one that was demoted may go on answering."""
        try:
            async with asyncio.timeout(SILENCE_S / 2):
                return await master(service(self.url)) != link.where
        except (StoreUnavailable, TimeoutError):
            return False  # they do not know; the connection works

    async def close(self) -> None:
        """Drop both connections and forget every receiver and watcher."""
        self._watchers.clear()
        await self._connecting.stop()
        self.connected.clear()
        self._told = None
        if self._writer is not None:
            self._writer.abort()
        self._receivers.clear()
        await asyncio.sleep(0)  # let the transports go


def _ignore(future: asyncio.Future[Any]) -> None:
    if not future.cancelled():
        future.exception()


@dataclass
class Inbox:
    """What one channel was sent and nobody has received yet."""

    capacity: int
    waiting: deque[bytes] = field(default_factory=deque)
    arrived: asyncio.Event = field(default_factory=asyncio.Event)
    receivers: int = 0
    cancelled: bool = False
    since: float = 0.0  # loop time at which the last receiver left
    dropped: int = 0

    def put(self, payload: bytes) -> None:
        """Keep a payload; the oldest goes when there is no room."""
        if len(self.waiting) >= self.capacity:
            self.waiting.popleft()
            self.dropped += 1
            if self.dropped == 1:
                logger.warning("channel layer: a consumer does not keep up; its oldest messages are dropped")
        self.waiting.append(payload)
        self.arrived.set()

    async def get(self) -> bytes:
        """Wait for a payload. Being cancelled loses none."""
        self.receivers += 1
        self.cancelled = False
        try:
            while not self.waiting:
                self.arrived.clear()
                await self.arrived.wait()
            return self.waiting.popleft()
        except asyncio.CancelledError:
            self.cancelled = True
            raise
        finally:
            self.receivers -= 1
            self.since = asyncio.get_running_loop().time()


class LoopLayer:
    """The channel layer as one event loop has it: its bus, its channels, its groups."""

    def __init__(self, owner: BusLayer) -> None:
        self.bus = Bus(owner.url)
        self.owner = owner
        self.inboxes: dict[str, Inbox] = {}
        self.groups: dict[str, set[str]] = {}
        self._joining: dict[str, asyncio.Future[None]] = {}
        self._swept = 0.0

    async def open(self, channel: str) -> Inbox:
        """Begin to keep what a channel is sent."""
        await self._sweep()
        inbox = self.inboxes[channel] = Inbox(self.owner.capacity, since=asyncio.get_running_loop().time())
        try:
            await self.bus.follow({channel.encode(): inbox.put})
        except StoreUnavailable:
            del self.inboxes[channel]
            raise
        return inbox

    async def join(self, group: str, channel: str) -> None:
        """Add a channel to a group; returns when Redis has confirmed."""
        members = self.groups.setdefault(group, set())
        members.add(channel)
        if len(members) == 1:
            self._joining[group] = asyncio.ensure_future(self._follow(group))
        if (joining := self._joining.get(group)) is not None:
            try:
                await asyncio.shield(joining)  # all who join at once wait for the one confirmation
            except StoreUnavailable:
                await self.leave(group, channel)
                raise

    async def _follow(self, group: str) -> None:
        try:
            await self.bus.follow({self.owner.redis_channel(group): lambda payload: self._spread(group, payload)})
        finally:
            self._joining.pop(group, None)

    def _spread(self, group: str, payload: bytes) -> None:
        for channel in self.groups.get(group, ()):
            if (inbox := self.inboxes.get(channel)) is not None:
                inbox.put(payload)

    async def leave(self, group: str, channel: str) -> None:
        """Remove a channel from a group; the last one leaves the Redis channel too."""
        members = self.groups.get(group)
        if members is None or channel not in members:
            return
        members.discard(channel)
        if not members:
            del self.groups[group]
            await self.bus.unfollow([self.owner.redis_channel(group)])

    async def _sweep(self) -> None:
        now = asyncio.get_running_loop().time()
        if now - self._swept < self.owner.expiry / 6:
            return
        self._swept = now
        for channel in [name for name, inbox in self.inboxes.items() if self._abandoned(inbox, now)]:
            await self.drop(channel)

    def _abandoned(self, inbox: Inbox, now: float) -> bool:
        if inbox.receivers:
            return False
        return now - inbox.since > (self.owner.expiry if inbox.cancelled else self.owner.group_expiry)

    async def drop(self, channel: str) -> None:
        """Forget a channel and its memberships."""
        self.inboxes.pop(channel, None)
        for group in [name for name, members in self.groups.items() if channel in members]:
            await self.leave(group, channel)
        await self.bus.unfollow([channel.encode()])

    async def clear(self) -> None:
        """Forget everything and drop the connections."""
        self.inboxes.clear()
        self.groups.clear()
        await self.bus.close()


class BusLayer(BaseChannelLayer):
    """A Channels channel layer, see the rules at the head of this file.

    Args:
        url: address of Redis, see `marketdata.addresses`.
        prefix: first part of every Redis channel; `channels_redis` calls it the same.
        capacity: most messages that a channel holds for a consumer that does not receive.
        expiry: seconds after which a channel whose consumer is gone is given up.
        group_expiry: the same for a consumer that merely stopped asking.
    """

    extensions = ("groups", "flush")

    def __init__(self, url: str, prefix: str = "asgi", capacity: int = 1000, expiry: int = 60, group_expiry: int = 3600) -> None:
        super().__init__(expiry=expiry, capacity=capacity)
        self.url = url
        self.prefix = prefix
        self.group_expiry = group_expiry
        self._loops = PerLoop(self._make, LoopLayer.clear)
        self._sync: redis.Redis | None = None

    def redis_channel(self, group: str) -> bytes:
        """Redis channel of a group."""
        return redis_channel(self.prefix, group).encode()

    async def _make(self) -> LoopLayer:
        return LoopLayer(self)

    async def here(self) -> LoopLayer:
        """This event loop's part of the layer; it is closed with the loop."""
        return await self._loops.here()

    async def bus(self) -> Bus:
        """This event loop's bus, for those who follow groups without a channel."""
        return (await self.here()).bus

    async def new_channel(self, prefix: str = "specific.") -> str:
        """Make a channel of this process."""
        name = f"{self.prefix}{prefix}{uuid.uuid4().hex}"
        await (await self.here()).open(name)
        return name

    async def send(self, channel: str, message: Mapping[str, Any]) -> None:
        """Send a message to one channel."""
        assert isinstance(message, dict), "message is not a dict"
        self.require_valid_channel_name(channel)
        await (await self.bus()).publish(channel, pack(message))

    async def receive(self, channel: str) -> dict[str, Any]:
        """Wait for the next message of a channel."""
        self.require_valid_channel_name(channel)
        here = await self.here()
        inbox = here.inboxes.get(channel) or await here.open(channel)
        return unpack(await inbox.get())

    async def group_add(self, group: str, channel: str) -> None:
        """Add a channel of this process to a group; whatever is sent to the group after this returned will arrive."""
        self.require_valid_group_name(group)
        self.require_valid_channel_name(channel)
        here = await self.here()
        if channel not in here.inboxes:
            raise RuntimeError(f"group_add: {channel!r} is no channel of this process")
        await here.join(group, channel)

    async def group_discard(self, group: str, channel: str) -> None:
        """Remove a channel from a group; not being in it is no error."""
        self.require_valid_group_name(group)
        await (await self.here()).leave(group, channel)

    async def group_send(self, group: str, message: Mapping[str, Any]) -> None:
        """Send a message to every channel of a group, in every process."""
        assert isinstance(message, dict), "message is not a dict"
        self.require_valid_group_name(group)
        await (await self.bus()).publish(self.redis_channel(group).decode(), pack(message))

    def publish_many(self, messages: Iterable[tuple[str, Mapping[str, Any]]]) -> None:
        """Send (group, message) pairs from synchronous code, in one round trip; safe after a fork.

        `async_to_sync(group_send)` would open an event loop and a connection for each.

        Raises:
            StoreUnavailable: Redis did not take them.
        """
        if self._sync is None:
            self._sync = dial.client(self.url)
        with reachable(self._sync), self._sync.pipeline(transaction=False) as pipe:
            for group, message in messages:
                pipe.publish(self.redis_channel(group), pack(message))
            pipe.execute()

    async def flush(self) -> None:
        """Forget every channel and group of this event loop."""
        await (await self.here()).clear()

    async def close(self) -> None:
        """Drop the connections of this event loop."""
        await self._loops.close()
