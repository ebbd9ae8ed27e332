"""Where bytes leave, on a server that offers nothing but `send`."""

from __future__ import annotations

import asyncio
from collections.abc import MutableMapping
from typing import Any

from realtime.sinks import PLAIN_HIGH, SendSink


class Peer:
    """Takes what is sent, unless it is stuck."""

    def __init__(self) -> None:
        self.sent: list[MutableMapping[str, Any]] = []
        self.reads = asyncio.Event()
        self.reads.set()

    async def send(self, message: MutableMapping[str, Any]) -> None:
        await self.reads.wait()
        self.sent.append(message)


async def until(condition: Any) -> None:
    async with asyncio.timeout(2):
        while not condition():
            await asyncio.sleep(0)


async def test_messages_leave_in_order_and_the_close_behind_them() -> None:
    peer = Peer()
    sink = SendSink(peer.send, binary=False)
    assert sink.write([b"1", b"2"])
    sink.close(4008, "slow_consumer")
    assert not sink.write([b"3"])
    await until(lambda: len(peer.sent) == 3)
    assert [message.get("text") for message in peer.sent] == ["1", "2", None]
    assert (peer.sent[2]["type"], peer.sent[2]["code"]) == ("websocket.close", 4008)


async def test_a_stuck_peer_pauses_and_a_reading_one_resumes() -> None:
    peer, seen = Peer(), []
    sink = SendSink(peer.send, binary=True)
    sink.on_pause, sink.on_resume = lambda: seen.append("pause"), lambda: seen.append("resume")
    peer.reads.clear()
    sink.write([b"x"] * (PLAIN_HIGH + 2))
    assert seen == ["pause"]
    peer.reads.set()
    await until(lambda: seen == ["pause", "resume"])
    sink.release()


async def test_a_socket_that_is_gone_leaves_no_task_behind() -> None:
    before = asyncio.all_tasks()
    sink = SendSink(Peer().send, binary=False)
    await asyncio.sleep(0)  # it waits for messages now
    sink.release()
    await until(lambda: asyncio.all_tasks() == before)
