"""Many clients of a server at once, and what arrives at them.

A load opens its connections, lets them read for a while, on request drops some of them half-way and opens them again, and tells
what all of them met. The clients check every number (`realtime.client`); this file opens, times and ends them.
"""

from __future__ import annotations

import asyncio
import os
import random
import resource
import socket
import ssl
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Literal

from realtime.client import Client, Refused, Way
from realtime.remote import Remote, Trades, Unusable
from realtime.tally import Latencies, Tally

Kind = Literal["quick", "slow", "stalled"]
SLOW_BUFFER_BYTES = 16 * 1024  # what the kernel takes for a slow reader, so that the server sees it
SAMPLED = 20  # connections whose latencies are looked at
IN_FLIGHT = 64  # handshakes at a time, where no rate is given
HANDSHAKE_S = 30.0
LATE = f"no answer within {HANDSHAKE_S:g} s"
LAST_WORDS_S = 0.5  # for what stalled readers have not read, and for goodbyes
SPARE_FILES = 64
FULL_PERCENT = 90.0

TopicsOf = Callable[[int], Sequence[str]]


@dataclass(frozen=True)
class Asked:
    """What a load is to be.

    Attributes:
        connections: how many; `slow` and `stalled` are among them.
        slow, slow_bytes_per_s: how many read slowly, and how slowly.
        stalled: how many stop reading once they are live.
        storm: how many vanish half-way and come back at once.
        seconds: how long to measure.
        connect_rate: connections opened per second; None: as they come up.
        topics_of: number of a connection → what it follows.
    """

    connections: int
    topics_of: TopicsOf
    slow: int = 0
    slow_bytes_per_s: int = 10_000
    stalled: int = 0
    storm: int = 0
    seconds: float = 10.0
    connect_rate: float | None = None

    def kind(self, number: int) -> Kind:
        """How the connection of that number reads; the first ones are quick."""
        if number >= self.connections - self.stalled:
            return "stalled"
        return "slow" if number >= self.connections - self.stalled - self.slow else "quick"

    @property
    def quick(self) -> int:
        """How many read as quickly as they can."""
        return self.connections - self.slow - self.stalled


def drawn(pool: Sequence[str], count: int, seed: int) -> TopicsOf:
    """Topics drawn for each connection, the same ones for the same seed; all of them where there are not so many."""
    return lambda number: random.Random(f"{seed}/{number}").sample(pool, min(count, len(pool)))  # noqa: S311


def allow_files(connections: int) -> int:
    """Let this process open as many files as it may.

    Returns:
        How many connections are too many for that; 0 or less: none.
    """
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    return 0 if most == resource.RLIM_INFINITY else connections + SPARE_FILES - most


def _reason(error: OSError) -> str:
    """What went wrong, in the system's words: event loops have their own for a refused connection."""
    if error.errno and not isinstance(error, socket.gaierror | ssl.SSLError):
        return os.strerror(error.errno)
    return error.strerror or str(error) or LATE


@dataclass(frozen=True)
class Spread:
    """How long something took, in milliseconds."""

    count: int
    p50: float
    p99: float
    max: float

    @classmethod
    def of(cls, latencies: Latencies) -> Spread | None:
        """The spread of what was measured; None when nothing was."""
        if not len(latencies):
            return None
        return cls(len(latencies), *(round(latencies.percentile_ms(percent), 3) for percent in (50, 99, 100)))


@dataclass(frozen=True)
class Storm:
    """Connections that vanished together, how many came back, and how long that took."""

    vanished: int
    back: int
    seconds: float


@dataclass(frozen=True)
class Published:
    """Trades that were posted while measuring."""

    asked_per_s: float
    per_s: float
    accepted: int
    refused: dict[str, int]


@dataclass(frozen=True)
class Report:
    """What a load met.

    Attributes:
        seconds: how long was measured.
        finished: it was not interrupted.
        readers: kind → what its connections met.
        handshake_ms, handshakes_per_s: from the first packet to the last reply to `subscribe`, while the connections were opened.
        latency_ms: from an update's `ts` to its arrival, on some of the quick connections.
        latency_from: what `ts` is: `publish` when it was set by this load, `event` when by a venue.
        storm, published: None where not asked for.
        client_cpu_percent: of one core, while measuring.
    """

    seconds: float
    finished: bool
    readers: dict[Kind, Tally]
    handshake_ms: Spread | None
    handshakes_per_s: float
    latency_ms: Spread | None
    latency_from: Literal["publish", "event"]
    storm: Storm | None
    published: Published | None
    client_cpu_percent: float

    @property
    def sound(self) -> bool:
        """All connections came up and back, the server ended no quick one, and no number was missing or out of order."""
        failed = any(tally.holes or tally.out_of_order or tally.refused for tally in self.readers.values())
        return not failed and not ("quick" in self.readers and self.readers["quick"].closed)

    @property
    def client_is_the_limit(self) -> bool:
        """This process had no time left, so that the server might have done more, and sooner."""
        return self.client_cpu_percent >= FULL_PERCENT


class _Window:
    """The time that is measured; it begins now."""

    def __init__(self, trades: Trades | None) -> None:
        self.began, self.cpu_s = time.perf_counter(), time.process_time()
        self.accepted = trades.accepted if trades else 0

    def end(self, trades: Trades | None) -> None:
        """It is over: from now on it holds what was in it."""
        self.seconds = time.perf_counter() - self.began
        self.cpu_s = time.process_time() - self.cpu_s
        self.accepted = (trades.accepted if trades else 0) - self.accepted


class Load:
    """Connections to one server.

    Args:
        remote: the server.
        way: how its clients are served.
        asked: how many they are and what they do.
        trades: what is published meanwhile; latencies are then those of these trades; None: nothing.
        say: takes a line about how far it is.
    """

    def __init__(self, remote: Remote, way: Way, asked: Asked, trades: Trades | None, say: Callable[[str], object]) -> None:
        self.remote, self.way, self.asked, self.trades, self.say = remote, way, asked, trades, say
        self.timed = frozenset(f"trade.{symbol}" for symbol in trades.symbols) if trades else frozenset[str]()
        kinds: dict[Kind, int] = {"quick": asked.quick, "slow": asked.slow, "stalled": asked.stalled}
        self.readers = {kind: Tally(asked=count) for kind, count in kinds.items() if count}
        self.clients: dict[int, Client] = {}
        self.handshakes, self.latencies = Latencies(), Latencies()
        self.storm: Storm | None = None
        self._ramp_s = 0.0
        self._window = _Window(trades)
        self._address: tuple[int, Any] | None = None
        self._tls = remote.tls()

    async def run(self, stop: asyncio.Event) -> Report:
        """Open the connections, measure, and end them.

        Args:
            stop: set to end sooner; what was measured until then is returned.

        Raises:
            Unusable: not even the first connection came up.
        """
        work, stopping = asyncio.create_task(self._work()), asyncio.create_task(stop.wait())
        await asyncio.wait((work, stopping), return_when=asyncio.FIRST_COMPLETED)
        self._window.end(self.trades)
        finished, latency_ms = work.done(), Spread.of(self.latencies)
        for task in (work, stopping):
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
        if not self.handshakes:
            raise Unusable("interrupted before the first connection was live")
        await self._leave()
        return self._report(latency_ms, finished=finished)

    async def _work(self) -> None:
        posting = asyncio.create_task(asyncio.to_thread(self.trades.run)) if self.trades else None
        try:
            await self._find()
            await self._ramp()
            self._measure()
            if self.asked.storm:
                await asyncio.sleep(self.asked.seconds / 2)
                await self._break()
            await asyncio.sleep(self._window.began + self.asked.seconds - time.perf_counter())
        finally:
            if self.trades and posting:
                self.trades.stop()
                await posting

    # Opening

    async def _find(self) -> None:
        """Find out which of the host's addresses answers, and open the first connection."""
        loop = asyncio.get_running_loop()
        try:
            found = await loop.getaddrinfo(self.remote.host, self.remote.port, type=socket.SOCK_STREAM)
        except OSError as error:
            raise Unusable(_reason(error)) from None
        failure = OSError("no address")
        for family, _, _, _, address in found:
            self._address = family, address
            try:
                async with asyncio.timeout(HANDSHAKE_S):
                    (await self._dial("quick")).close()
                break
            except OSError as error:
                failure = error
        else:
            raise Unusable(_reason(failure))
        if (why := await self._come_up(0)) is not None:
            raise Unusable(why)

    async def _ramp(self) -> None:
        """Open all but the first."""
        rate, began = self.asked.connect_rate, time.perf_counter()
        slots = asyncio.Semaphore(self.asked.connections if rate else IN_FLIGHT)

        async def open_one(number: int) -> None:
            why = await self._come_up(number)
            slots.release()
            if why is not None:
                self.readers[self.asked.kind(number)].refused[why] += 1

        try:
            async with asyncio.TaskGroup() as group:
                for number in range(1, self.asked.connections):
                    if rate:
                        await asyncio.sleep(began + number / rate - time.perf_counter())
                    await slots.acquire()
                    group.create_task(open_one(number))
        finally:
            self._ramp_s = time.perf_counter() - began

    async def _come_up(self, number: int) -> str | None:
        """Open a connection for the first time. Returns why it is not live."""
        began = time.perf_counter()
        why = await self._open(number)
        if why is None:
            self.readers[self.asked.kind(number)].came_up += 1
            self.handshakes.add(round((time.perf_counter() - began) * 1e6))
        return why

    async def _open(self, number: int) -> str | None:
        """Open the connection of that number, and wait until it is live. Returns why it is not."""
        client, host = self._client(number), self.remote.host if self._tls else None
        try:
            async with asyncio.timeout(HANDSHAKE_S):
                sock = await self._dial(self.asked.kind(number))
                await asyncio.get_running_loop().create_connection(lambda: client, sock=sock, ssl=self._tls, server_hostname=host)
                await client.live
        except Refused as refusal:
            return str(refusal)
        except TimeoutError:
            client.vanish()
            return LATE
        except OSError as error:
            return _reason(error)
        except asyncio.CancelledError:
            client.vanish()
            raise
        self.clients[number] = client
        return None

    def _client(self, number: int) -> Client:
        kind = self.asked.kind(number)
        speed = {"quick": None, "slow": self.asked.slow_bytes_per_s, "stalled": 0}[kind]
        sampled = kind == "quick" and number % max(1, self.asked.quick // SAMPLED) == 0
        latencies = self.latencies if sampled else None
        topics = self.asked.topics_of(number)
        return Client(self.way, topics, self.readers[kind], latencies=latencies, timed=self.timed, bytes_per_s=speed)

    async def _dial(self, kind: Kind) -> socket.socket:
        assert self._address is not None
        sock = socket.socket(self._address[0], socket.SOCK_STREAM)
        try:
            sock.setblocking(False)
            if kind != "quick":
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SLOW_BUFFER_BYTES)
            await asyncio.get_running_loop().sock_connect(sock, self._address[1])
        except BaseException:
            sock.close()
            raise
        return sock

    # Measuring

    def _measure(self) -> None:
        """From now on it counts."""
        for tally in self.readers.values():
            tally.updates = tally.received_bytes = 0
        self.latencies.clear()
        self._window = _Window(self.trades)
        self.say(f"{len(self.clients)} connections are live; measuring for {self.asked.seconds:g} s, Ctrl-C ends it")

    async def _break(self) -> None:
        """A storm: some vanish, and come back all at once."""
        live = [
            number for number, client in self.clients.items() if self.asked.kind(number) == "quick" and not client.gone.done()
        ]
        numbers = sorted(live)[-self.asked.storm :]
        for number in numbers:
            self.clients.pop(number).vanish()
        began = time.perf_counter()
        failures = await asyncio.gather(*map(self._open, numbers))
        self.readers["quick"].refused.update(why for why in failures if why is not None)
        self.storm = Storm(len(numbers), failures.count(None), round(time.perf_counter() - began, 3))

    # Ending

    async def _leave(self) -> None:
        """Let everybody read what waits for it, see who is still there, and close."""
        counted = {kind: (tally.updates, tally.received_bytes) for kind, tally in self.readers.items()}
        if self.asked.slow or self.asked.stalled:
            for client in self.clients.values():
                client.wake()
            await asyncio.sleep(LAST_WORDS_S)
        for number, client in self.clients.items():
            self.readers[self.asked.kind(number)].live += not client.gone.done()
            client.leave()
        with suppress(TimeoutError):
            async with asyncio.timeout(LAST_WORDS_S):
                await asyncio.gather(*(client.gone for client in self.clients.values()))
        for client in self.clients.values():
            client.vanish()
        for kind, tally in self.readers.items():
            tally.updates, tally.received_bytes = counted[kind]  # what came now was checked, but not in the measured time

    def _report(self, latency_ms: Spread | None, *, finished: bool) -> Report:
        window = self._window
        return Report(
            seconds=round(window.seconds, 3),
            finished=finished,
            readers=self.readers,
            handshake_ms=Spread.of(self.handshakes),
            handshakes_per_s=round((len(self.handshakes) - 1) / self._ramp_s, 1) if self._ramp_s else 0.0,
            latency_ms=latency_ms,
            latency_from="publish" if self.trades else "event",
            storm=self.storm,
            published=self._published(self.trades) if self.trades else None,
            client_cpu_percent=round(100 * window.cpu_s / window.seconds, 1),
        )

    def _published(self, trades: Trades) -> Published:
        return Published(
            trades.rate, round(self._window.accepted / self._window.seconds, 1), self._window.accepted, dict(trades.refused)
        )
