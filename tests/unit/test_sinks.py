"""Where bytes leave: through uvicorn's transport, and on a server that offers nothing but `send`."""

from __future__ import annotations

import asyncio
from collections.abc import MutableMapping
from types import SimpleNamespace
from typing import Any, cast

import pytest

from realtime.sinks import HIGH_WATER_BYTES, PLAIN_HIGH, FrameSink, FramesProtocol, Mailbox, SendSink


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


async def test_a_server_that_cannot_send_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    async def send(message: MutableMapping[str, Any]) -> None:
        raise RuntimeError("broken")

    sink = SendSink(send, binary=False)
    sink.write([b"1"])
    await until(lambda: caplog.records)
    assert "broken" in (caplog.records[0].exc_text or "")
    assert not sink.write([b"2"])


class Transport:
    """A socket whose kernel buffer is full: what is written waits."""

    def __init__(self) -> None:
        self.waiting = 0

    def write(self, payload: bytes) -> None:
        self.waiting += len(payload)

    def get_write_buffer_size(self) -> int:
        return self.waiting

    def is_closing(self) -> bool:
        return False


def frame_sink() -> tuple[FrameSink, Transport, list[str]]:
    transport, seen = Transport(), list[str]()
    sink = FrameSink(cast(FramesProtocol, SimpleNamespace(close_sent=False, disconnected=False, transport=transport)))
    sink.on_pause, sink.on_resume = lambda: seen.append("pause"), lambda: seen.append("resume")
    return sink, transport, seen


def test_a_socket_is_full_when_too_much_waits_for_the_kernel_and_has_drained_when_nothing_does() -> None:
    sink, transport, seen = frame_sink()
    sink.write(b"x" * HIGH_WATER_BYTES)
    sink.choke()
    assert seen == []  # it waits, but it is not too much
    sink.write(b"x")
    sink.write(b"x")
    assert seen == ["pause"]
    transport.waiting = 0
    sink.clear()
    assert seen == ["pause", "resume"]


def test_a_short_wait_for_the_kernel_makes_nobody_slow() -> None:
    sink, transport, seen = frame_sink()
    sink.write(b"x")
    sink.choke()
    transport.waiting = 0
    sink.clear()
    sink.write(b"x" * 2 * HIGH_WATER_BYTES)  # the kernel takes it
    assert "pause" not in seen


async def test_a_mailbox_gives_events_in_order_and_waits_for_the_next() -> None:
    box = Mailbox()
    box.put_nowait(1)
    box.put_nowait(2)
    assert [await box.get(), await box.get(), box.empty()] == [1, 2, True]
    waiting = asyncio.create_task(box.get())
    await asyncio.sleep(0)
    box.put_nowait(3)
    box.put_nowait(4)
    assert [await waiting, await box.get()] == [3, 4]


async def test_giving_up_on_a_mailbox_loses_nothing() -> None:
    box = Mailbox()
    waiting = asyncio.create_task(box.get())
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    box.put_nowait(1)
    assert await box.get() == 1
