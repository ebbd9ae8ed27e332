"""The clients of a load: what they read, and what they find wrong with it."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import Any

import msgspec
import pytest
import websockets
from hypothesis import given
from hypothesis import strategies as st

from realtime.client import Unreadable, Way, split
from realtime.frames import frame
from realtime.load import Asked, Load, Published, Report, Spread, drawn
from realtime.management.commands import bench_client
from realtime.remote import Remote, Unusable
from realtime.tally import Latencies, Positions, Tally, unannounced

TOPICS = ["trade.A", "quote.A"]
ACCEPTED = [
    {"topic": "trade.A", "delivery": "every", "epoch": "e", "seq": 10},
    {"topic": "quote.A", "delivery": "latest", "epoch": "e", "seq": 10},
]


def update(topic: str, seq: int, **data: Any) -> dict[str, Any]:
    return {"type": "update", "topic": topic, "seq": seq, "data": data}


# Frames


@given(st.lists(st.integers(0, 70_000), max_size=6), st.lists(st.integers(1, 80_000), max_size=8))
def test_frames_read_back_wherever_reads_cut_them(sizes: list[int], cuts: list[int]) -> None:
    payloads = [bytes([index]) * size for index, size in enumerate(sizes)]
    stream, found, rest = b"".join(map(frame, payloads)), [], b""
    for cut in [*cuts, len(stream)]:
        frames, rest = split(rest + stream[:cut])
        stream = stream[cut:]
        found += frames
    assert (found, rest) == ([(0x81, payload) for payload in payloads], b"")


def test_frames_read_back_byte_by_byte() -> None:
    found, rest = [], b""
    for byte in frame(b"x" * 125) + frame(b"y" * 126) + frame(b"z" * 65_536):
        frames, rest = split(rest + bytes([byte]))
        found += frames
    assert [len(payload) for _, payload in found] == [125, 126, 65_536]


def test_a_masked_frame_is_no_servers() -> None:
    with pytest.raises(Unreadable, match="masked"):
        split(b"\x81\x85\0\0\0\0hello")


# Numbers


@pytest.fixture
def tally() -> Tally:
    return Tally()


@pytest.fixture
def positions(tally: Tally) -> Positions:
    """A connection that follows both topics from number 10 on."""
    positions = Positions(tally)
    for topic in ACCEPTED:
        positions.begin(str(topic["topic"]), "e", 10, every=topic["delivery"] == "every")
    return positions


def test_consecutive_numbers_are_whole(positions: Positions, tally: Tally) -> None:
    positions.snapshot("trade.A", "e", 10)
    for seq in (11, 12, 13):
        positions.update("trade.A", seq)
    assert tally == Tally(snapshots=1)


def test_a_hole_is_found_and_shown(positions: Positions, tally: Tally) -> None:
    positions.update("trade.A", 14)
    positions.update("trade.A", 15)
    assert (tally.holes, tally.examples) == (3, ["trade.A: 14 after 10, 3 missing without a gap"])


def test_a_hole_right_behind_the_reply_is_found(positions: Positions, tally: Tally) -> None:
    positions.snapshot("trade.A", "e", 12)
    assert tally.holes == 1


def test_a_gap_explains_what_is_missing(positions: Positions, tally: Tally) -> None:
    positions.gap("trade.A", "e", 11, 13)
    positions.update("trade.A", 14)
    assert (tally.holes, tally.gaps, tally.gap_updates) == (0, 1, 3)


def test_a_gap_explains_no_more_than_it_names(positions: Positions, tally: Tally) -> None:
    positions.gap("trade.A", "e", 11, 12)
    positions.update("trade.A", 14)
    positions.update("trade.A", 17)
    assert tally.holes == 1 + 2


def test_a_gap_may_be_announced_ahead_of_updates_that_wait(positions: Positions, tally: Tally) -> None:
    positions.gap("trade.A", "e", 12, 13)
    positions.update("trade.A", 11)
    positions.update("trade.A", 14)
    assert tally.holes == 0


def test_a_number_that_comes_again_is_out_of_order(positions: Positions, tally: Tally) -> None:
    for topic in TOPICS:
        positions.update(topic, 11)
        positions.update(topic, 11)
    assert (tally.out_of_order, tally.examples[0]) == (2, "trade.A: 11 after 11")


def test_latest_topics_may_leave_numbers_out(positions: Positions, tally: Tally) -> None:
    positions.update("quote.A", 15)
    assert (tally.conflated, tally.holes) == (4, 0)


def test_a_new_epoch_begins_with_its_snapshot(positions: Positions, tally: Tally) -> None:
    positions.gap("trade.A", "e", 11, 20)
    positions.snapshot("trade.A", "f", 1)
    positions.update("trade.A", 2)
    positions.update("trade.A", 4)
    assert (tally.holes, tally.out_of_order) == (1, 0), "the gap was one of the old epoch"


def test_a_gap_may_be_the_first_that_is_heard_of_an_epoch(positions: Positions, tally: Tally) -> None:
    positions.gap("trade.A", "f", 1, 5)
    positions.update("trade.A", 6)
    assert (tally.holes, tally.out_of_order) == (0, 0)


def test_an_update_of_a_topic_that_is_not_followed_is_out_of_order(positions: Positions, tally: Tally) -> None:
    positions.end("trade.A")
    positions.update("trade.A", 11)
    positions.update("trade.B", 1)
    assert tally.out_of_order == 2


@given(st.integers(1, 30), st.integers(0, 30), st.lists(st.tuples(st.integers(0, 70), st.integers(0, 20)), max_size=6))
def test_what_no_gap_names_is_counted(first: int, length: int, gaps: list[tuple[int, int]]) -> None:
    stretches = [(start, start + size) for start, size in gaps]
    named = {seq for start, end in stretches for seq in range(start, end + 1)}
    assert unannounced(first, first + length, stretches) == len(set(range(first, first + length + 1)) - named)


# Latencies


@given(st.lists(st.integers(-(10**9), 10**9), min_size=1), st.integers(0, 100))
def test_a_percentile_is_right_to_a_thousandth(values: list[int], percent: int) -> None:
    latencies = Latencies()
    for value in values:
        latencies.add(value)
    exact = sorted(values)[max(0, -(-len(values) * percent // 100) - 1)]
    assert latencies.percentile_ms(percent) * 1000 == pytest.approx(exact, rel=0.002)


def test_there_is_no_percentile_of_nothing() -> None:
    with pytest.raises(ValueError, match="no latencies"):
        Latencies().percentile_ms(50)


# What is asked


def test_the_quick_come_first_then_the_slow_then_the_stalled() -> None:
    asked = Asked(4, lambda _: [], slow=1, stalled=1)
    assert [asked.kind(number) for number in range(4)] == ["quick", "quick", "slow", "stalled"]


def test_the_same_seed_draws_the_same_topics() -> None:
    pool = [f"quote.S{number}" for number in range(100)]
    assert [drawn(pool, 5, 1)(number) for number in range(3)] == [drawn(pool, 5, 1)(number) for number in range(3)]
    assert drawn(pool, 5, 1)(0) != drawn(pool, 5, 2)(0) != drawn(pool, 5, 2)(1)
    assert sorted(drawn(pool, 500, 1)(0)) == sorted(pool)


@pytest.mark.parametrize("url", ["http://host/", "ws://", "ws://host:port/", "host:8000", "ws://host:99999/", "ws://[::1"])
def test_an_address_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(Unusable):
        Remote.of(url)


def test_an_address_says_where_socket_and_rest_are() -> None:
    remote = Remote.of("wss://[::1]/md/ws/v1/market?x=1")
    assert (remote.secure, remote.netloc, remote.path) == (True, "[::1]:443", "/md/ws/v1/market?x=1")


# Clients of a server that this file makes up

Say = Callable[..., Any]
Script = Callable[[Say, Any], Any]


@dataclass
class Scripted:
    """A server that lets clients subscribe and then says what a test wants.

    Attributes:
        over: set when its client has read all of that.
    """

    script: Script
    over: asyncio.Event = field(default_factory=asyncio.Event)
    url: str = ""

    async def serve(self, socket: websockets.ServerConnection) -> None:
        codec: Any = msgspec.msgpack if socket.subprotocol == "tickwire.v1.msgpack" else msgspec.json
        batch = "batch=1" in socket.request.path  # type: ignore[union-attr]

        async def say(*messages: dict[str, Any]) -> None:
            for message in [list(messages)] if batch else messages:
                data = codec.encode(message)
                await socket.send(data if codec is msgspec.msgpack else data.decode())

        with suppress(websockets.ConnectionClosed):
            await say({"type": "welcome"})
            command = codec.decode(await socket.recv())
            assert (command["op"], command["topics"]) == ("subscribe", TOPICS)
            await say({"type": "subscribed", "accepted": ACCEPTED, "rejected": []})
            await (await socket.ping())
            await self.script(say, socket)
            await (await socket.ping())
        await asyncio.sleep(0.05)  # the event loop hears of a closed socket, too
        self.over.set()
        await socket.wait_closed()


def address(server: websockets.Server) -> str:
    return f"ws://127.0.0.1:{next(iter(server.sockets)).getsockname()[1]}/"


@asynccontextmanager
async def scripted(script: Script, **options: Any) -> AsyncIterator[Scripted]:
    """Run such a server, of the websockets library."""
    options.setdefault("subprotocols", ["tickwire.v1.json", "tickwire.v1.msgpack"])
    made = Scripted(script)
    async with websockets.serve(made.serve, "127.0.0.1", 0, **options) as server:
        made.url = address(server)
        yield made


async def load(server: Scripted, *, timed: Sequence[str] = (), seconds: float = 30, **way: Any) -> Report:
    """What one client meets."""
    remote = Remote.of(server.url)
    asked = Asked(1, lambda _: TOPICS, seconds=seconds)
    run = Load(remote, Way(remote.netloc, remote.path, **way), asked, None, print)
    run.timed = frozenset(timed)
    return await run.run(server.over)


async def tell(say: Say, _: Any) -> None:
    await say(update("trade.A", 11, ts=1), update("trade.A", 12), {"type": "unheard-of"}, update("quote.A", 14))
    await say({"type": "gap", "topic": "trade.A", "epoch": "e", "from": 13, "to": 14}, update("trade.A", 15, pad="x" * 300))


@pytest.mark.parametrize("wire", ["json", "msgpack"])
@pytest.mark.parametrize("batch", [True, False])
@pytest.mark.parametrize("compress", [True, False])
async def test_every_encoding_is_read(wire: str, batch: bool, compress: bool) -> None:
    async with scripted(tell) as server:
        report = await load(server, wire=wire, batch=batch, compress=compress)
    tally = report.readers["quick"]
    assert report.sound
    assert (tally.live, tally.gap_updates, tally.conflated) == (1, 2, 3)
    assert report.latency_ms is None or report.latency_ms.count == 1


async def test_a_hole_makes_a_report_unsound() -> None:
    async with scripted(lambda say, _: say(update("trade.A", 13))) as server:
        report = await load(server)
    assert (report.sound, report.readers["quick"].holes) == (False, 2)


async def test_a_server_that_closes_is_quoted() -> None:
    async with scripted(lambda _, socket: socket.close(4008)) as server:
        report = await load(server)
    tally = report.readers["quick"]
    assert (tally.live, tally.closed) == (0, {"4008 slow_consumer": 1})


async def test_a_lost_socket_has_no_close_frame() -> None:
    async with scripted(lambda _, socket: asyncio.sleep(0, socket.transport.abort())) as server:
        assert (await load(server)).readers["quick"].closed == {"1006 without a close frame": 1}


async def test_a_ping_is_answered() -> None:
    async def ping(say: Say, socket: Any) -> None:
        await (await socket.ping())
        await say({"type": "notice", "kind": "slow", "message": "it was answered"})

    async with scripted(ping) as server:
        assert (await load(server)).readers["quick"].notices == {"slow": 1}


@pytest.mark.parametrize(("words", "why"), [(["a message ", "in two frames"], "a frame that begins with 0x01"), ("{", "")])
async def test_what_cannot_be_read_ends_the_connection(words: Any, why: str) -> None:
    async def babble(_: Say, socket: Any) -> None:
        await socket.send(words)

    async with scripted(babble) as server:
        (found,) = (await load(server)).readers["quick"].closed
    assert found.startswith(f"by us, unreadable: {why}")


async def test_a_server_that_does_not_compress_is_not_measured_as_if_it_did() -> None:
    async with scripted(tell, compression=None) as server:
        with pytest.raises(Unusable, match="does not compress"):
            await load(server, compress=True)


async def test_a_refusal_before_the_first_connection_is_live_is_the_reason() -> None:
    async def refuse(socket: websockets.ServerConnection) -> None:
        await socket.send(json.dumps({"type": "notice", "kind": "limits", "message": "the credential is not valid"}))
        await socket.close(4501)

    async with websockets.serve(refuse, "127.0.0.1", 0, subprotocols=["tickwire.v1.json"]) as server:  # type: ignore[list-item]
        with pytest.raises(Unusable, match=r"4501 unauthorized: the credential is not valid"):
            await load(Scripted(tell, url=address(server)))


async def test_an_answer_that_is_no_websocket_is_the_reason() -> None:
    async with scripted(tell, process_request=lambda socket, _: socket.respond(403, "")) as server:
        with pytest.raises(Unusable, match="HTTP 403"):
            await load(server)


async def test_latencies_are_those_of_the_topics_that_are_published() -> None:
    async with scripted(lambda say, _: say(update("quote.A", 11, ts=1), update("trade.A", 11, ts=2))) as server:
        report = await load(server, timed=["trade.A"])
    assert report.latency_ms is not None
    assert report.latency_ms.count == 1


async def test_an_interrupted_load_tells_what_it_met() -> None:
    async with scripted(lambda say, _: say(update("trade.A", 11))) as server:
        report = await load(server)
    assert (report.finished, report.sound, report.readers["quick"].live) == (False, True, 1)


async def test_a_load_ends_by_itself() -> None:
    async with scripted(lambda say, socket: socket.wait_closed()) as server:
        assert (await load(server, seconds=0.1)).finished


def test_connections_that_did_not_come_up_make_a_report_unsound() -> None:
    report = Report(1.0, True, {"quick": Tally(asked=2, came_up=2)}, None, 0.0, None, "event", None, None, 10.0)
    assert report.sound
    assert not replace(report, readers={"quick": Tally(asked=2, came_up=1, refused=Counter(["HTTP 503"]))}).sound


@pytest.mark.parametrize(("kind", "sound"), [("quick", False), ("slow", True)])
def test_only_quick_connections_must_last(kind: Any, sound: bool) -> None:
    tallies = {kind: Tally(asked=1, came_up=1, closed=Counter(["4008 slow_consumer"]))}
    assert Report(1.0, True, tallies, None, 0.0, None, "event", None, None, 10.0).sound is sound


# What people read

REPORT = Report(2.0, True, {"quick": Tally(updates=5)}, None, 0.0, None, "event", None, None, 10.0)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"client_cpu_percent": 95.0}, "no time left"),
        ({"latency_ms": Spread(5, -3.0, 1.0, 1.0)}, "clocks disagree"),
        ({"readers": {"quick": Tally()}}, "No update came"),
        ({"published": Published(100.0, 50.0, 100, {})}, "Fewer trades"),
        ({"readers": {"quick": Tally(updates=1, refused=Counter(["4504 connection_limit: too many"]))}}, "roomier"),
    ],
)
def test_what_spoils_the_figures_is_said(changes: dict[str, Any], words: str) -> None:
    assert bench_client.warnings(REPORT) == []
    (warning,) = bench_client.warnings(replace(REPORT, **changes))
    assert words in warning


def test_the_table_has_a_column_for_each_kind_and_every_reason() -> None:
    slow = Tally(closed=Counter({"4008 slow_consumer": 2}), examples=["trade.A: 3 after 1"])
    table = bench_client.table(replace(REPORT, readers={"quick": Tally(updates=12_345), "slow": slow}))
    assert table[0].split() == ["quick", "slow"]
    assert ["updates", "12", "345", "0"] in [line.split() for line in table]
    assert [line.split("  ")[0] for line in table if "(slow)" in line] == ["closed (slow)", "wrong (slow)"]
