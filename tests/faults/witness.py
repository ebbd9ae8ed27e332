"""A client that writes down all it gets, and finds whatever breaks a promise of the protocol."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import websockets

from tests.system.conftest import Tickwire


@dataclass
class Tape:
    """What came of one topic.

    Attributes:
        every: each update matters: a hole must have been announced.
        got: the numbers in the bodies, in the order of their coming.
        covered: the last number before each snapshot but the first, and that of the snapshot: what lies between was
            replaced by it.
        epochs: in the order of their coming.
        begun: seq of the epoch's first snapshot.
        counted: updates of the epoch that came, and those that gaps named.
        faults: what should not have been.
    """

    topic: str
    every: bool
    epoch: str = ""
    seq: int = 0
    begun: int = 0
    counted: int = 0
    n: int = 0
    got: list[int] = field(default_factory=list)
    covered: list[tuple[int, int]] = field(default_factory=list)
    gaps: list[tuple[int, int]] = field(default_factory=list)
    epochs: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)

    @property
    def lost(self) -> int:
        """How many updates gaps named."""
        return sum(last - first + 1 for first, last in self.gaps)

    @property
    def published(self) -> int:
        """How many updates there were since the epoch began for this client, up to the last one that it knows of."""
        return self.seq - self.begun + 1

    def take(self, message: dict[str, Any]) -> None:
        """Write one message down."""
        match message["type"]:
            case "snapshot":
                self._snapshot(message["epoch"], message["seq"], message["data"]["n"])
            case "update":
                self._update(message["seq"], message["data"]["n"])
            case "gap":
                self._gap(message["epoch"], message["from"], message["to"])

    def _snapshot(self, epoch: str, seq: int, n: int) -> None:
        if epoch in self.epochs and (epoch != self.epoch or seq < self.seq):
            self.faults.append(f"back to ({epoch}, {seq}) after ({self.epoch}, {self.seq})")
        if epoch == self.epoch and self.every:
            self.faults.append(f"snapshot {seq} instead of what came after {self.seq}")
        if self.epoch:
            self.covered.append((self.n, n))
        if epoch != self.epoch:
            self.epochs.append(epoch)
            self.begun = seq
            self.counted = 0
        self._note(epoch, seq, n)

    def _update(self, seq: int, n: int) -> None:
        if not self.epoch:
            self.faults.append(f"update {seq} before any snapshot")
        if seq <= self.seq or (self.every and seq != self.seq + 1):
            self.faults.append(f"update {seq} after {self.seq}")
        self._note(self.epoch, seq, n)

    def _gap(self, epoch: str, first: int, last: int) -> None:
        if (epoch, first) != (self.epoch, self.seq + 1) or last < first:
            self.faults.append(f"gap {first}–{last} of {epoch} after ({self.epoch}, {self.seq})")
        self.gaps.append((first, last))
        self.counted += last - first + 1
        self.seq = last

    def _note(self, epoch: str, seq: int, n: int) -> None:
        if n <= self.n:
            self.faults.append(f"number {n} after {self.n}")
        self.epoch, self.seq, self.n = epoch, seq, n
        self.got.append(n)
        self.counted += 1

    def unexplained(self, confirmed: set[int]) -> list[int]:
        """Numbers that the store had confirmed since the first that came, which neither came nor lie under a later snapshot."""
        begun = self.got[0] if self.got else 0
        missing = sorted(n for n in confirmed - set(self.got) if n > begun)
        return [n for n in missing if not any(before < n < after for before, after in self.covered)]


class Witness:
    """One client with its tapes.

    Attributes:
        notices: kinds in the order of their coming.
        closed: the connection ended before its time.
    """

    def __init__(self, socket: websockets.ClientConnection, topics: Sequence[str]) -> None:
        self.socket = socket
        self.tapes = {topic: Tape(topic, topic.startswith("trade.")) for topic in topics}
        self.notices: list[str] = []
        self.replies: dict[Any, dict[str, Any]] = {}
        self.closed = False

    async def listen(self) -> None:
        """Write down everything until the connection ends."""
        try:
            async for frame in self.socket:
                said = json.loads(frame)
                for message in said if isinstance(said, list) else [said]:
                    self._take(message)
        finally:
            self.closed = True

    def _take(self, message: dict[str, Any]) -> None:
        if "id" in message:
            self.replies[message["id"]] = message
        elif message["type"] == "notice":
            self.notices.append(message["kind"])
        elif message["type"] in ("snapshot", "update", "gap"):
            self.tapes[message["topic"]].take(message)

    async def ask(self, op: str, **fields: Any) -> dict[str, Any]:
        """The reply to a command."""
        number = len(self.replies) + 1
        await self.socket.send(json.dumps({"op": op, "id": number, **fields}))
        await eventually(lambda: number in self.replies or self.closed)
        return self.replies[number]

    @property
    def faults(self) -> list[str]:
        """Whatever broke a promise."""
        return [f"{tape.topic}: {fault}" for tape in self.tapes.values() for fault in tape.faults]


async def eventually(condition: Callable[[], object], within_s: float = 30.0) -> None:
    """Wait until the condition holds."""
    async with asyncio.timeout(within_s):
        while not condition():
            await asyncio.sleep(0.01)


@asynccontextmanager
async def watching(server: Tickwire, topics: Sequence[str], query: str = "") -> AsyncIterator[Witness]:
    """A client of the server that follows the topics; it shows the key that the server was planted with."""
    headers = {"Authorization": f"Bearer {server.planted}"}
    async with websockets.connect(server.socket_url + query, additional_headers=headers, max_queue=None) as socket:
        witness = Witness(socket, topics)
        listening = asyncio.create_task(witness.listen())
        try:
            reply = await witness.ask("subscribe", topics=list(topics))
            assert not reply["rejected"], reply
            yield witness
            assert not witness.closed, "the server closed the connection"
        finally:
            listening.cancel()
            await asyncio.gather(listening, return_exceptions=True)
