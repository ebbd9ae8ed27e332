"""`manage.py bench_client` against the shipped server."""

from __future__ import annotations

import asyncio
import json
import re
import resource
import shlex
import signal
import subprocess
import sys
from typing import Any

import pytest
import websockets

from tests.system.conftest import ROOT, Tickwire

ROOMY = """
from realtime.models import Plan
Plan.objects.create(name="load", topics_per_connection=2000, connections_per_user=1000)
"""
LARGE = {"symbol": "TEST", "ts": 1, "pad": "x" * 2000}


class Bench:
    """A run of the command, which prints JSON."""

    def __init__(self, server: Tickwire, *arguments: str, key: str = "", url: str | None = None, **options: Any) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "manage.py", "bench_client", "--json", "--url", url or server.socket_url, *arguments],
            cwd=ROOT, env={**server.environ, "TICKWIRE_API_KEY": key}, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options,
        )  # fmt: skip

    def begun(self) -> None:
        """Wait until it measures."""
        assert self.process.stderr is not None
        assert "measuring" in self.process.stderr.readline()

    def end(self, number: signal.Signals | None = None) -> tuple[int, Any, str]:
        """Exit code, what it found, and what it said besides."""
        if number is not None:
            self.process.send_signal(number)
        found, said = self.process.communicate(timeout=60)
        return self.process.returncode, json.loads(found) if found else None, said


@pytest.fixture(scope="module")
def key(_shared: Tickwire) -> str:
    """An API key that may publish and has a roomy plan."""
    _shared.manage("shell", "-v0", "-c", ROOMY)
    return _shared.manage("issue_key", "load", "--create", "--plan", "load", "--publish")


async def test_every_update_is_counted_on_every_connection(tickwire: Tickwire, key: str) -> None:
    tickwire.publish("trade.TEST", {"symbol": "TEST"})  # the first one of all comes as a snapshot
    async with tickwire.dial() as witness:
        await witness.ask("subscribe", topics=["trade.TEST"], snapshot=False)
        run = Bench(tickwire, "--connections", "8", "--topics", "trade.TEST", "--seconds", "60", key=key)
        await asyncio.to_thread(run.begun)
        for _ in range(10):
            seqs = tickwire.publish("trade.TEST", *[{"symbol": "TEST", "ts": 1}] * 20)
        await witness.until(lambda message: message.get("seq") == seqs[-1])
        await asyncio.sleep(1)
        code, found, _ = await asyncio.to_thread(run.end, signal.SIGINT)
    quick = found["readers"]["quick"]
    assert (code, found["finished"], found["sound"]) == (0, False, True)
    assert (quick["asked"], quick["came_up"], quick["live"]) == (8, 8, 8)
    assert (quick["updates"], quick["holes"], quick["out_of_order"]) == (8 * 200, 0, 0)
    assert quick["received_bytes"] > 8 * 200 * 60
    assert found["handshake_ms"]["count"] == 8


async def test_it_publishes_and_measures_how_old_its_trades_are(tickwire: Tickwire, key: str) -> None:
    options = ["--topics", "trade.TEST,quote.TEST", "--connections", "2", "--seconds", "2", "--publish", "200"]
    code, found, _ = await asyncio.to_thread(Bench(tickwire, *options, key=key).end)
    assert (code, found["latency_from"], found["published"]["refused"]) == (0, "publish", {})
    assert found["published"]["accepted"] > 0
    assert found["latency_ms"]["count"] > 0
    assert 0 < found["latency_ms"]["p50"] < 30_000


async def test_a_storm_comes_back(tickwire: Tickwire, key: str) -> None:
    options = ["--topics", "trade.TEST", "--connections", "8", "--storm", "5", "--seconds", "1"]
    code, found, _ = await asyncio.to_thread(Bench(tickwire, *options, key=key).end)
    assert (code, found["storm"]["vanished"], found["storm"]["back"]) == (0, 5, 5)
    assert (found["readers"]["quick"]["came_up"], found["readers"]["quick"]["live"]) == (8, 8)
    assert found["readers"]["quick"]["closed"] == {}


async def test_a_stalled_reader_stops_nobody_and_misses_nothing_unsaid(tickwire: Tickwire, key: str) -> None:
    tickwire.publish("trade.TEST", {"symbol": "TEST"})
    async with tickwire.dial() as witness:
        await witness.ask("subscribe", topics=["trade.TEST"], snapshot=False)
        options = ["--topics", "trade.TEST", "--connections", "3", "--stalled", "1", "--seconds", "60"]
        run = Bench(tickwire, *options, key=key)
        await asyncio.to_thread(run.begun)
        for _ in range(30):  # some 12 MB, more than any buffer on the way takes
            seqs = await asyncio.to_thread(tickwire.publish, "trade.TEST", *[LARGE] * 200)
            await witness.until(lambda message, last=seqs[-1]: message.get("seq") == last)
        await asyncio.sleep(1)
        code, found, _ = await asyncio.to_thread(run.end, signal.SIGTERM)
    quick, stalled = found["readers"]["quick"], found["readers"]["stalled"]
    assert (code, quick["updates"], quick["holes"], quick["gaps"]) == (0, 2 * 6000, 0, 0)
    assert (stalled["updates"], stalled["holes"]) == (0, 0)
    assert stalled["gap_updates"] or stalled["closed"]


async def test_topics_are_drawn_from_the_listed_instruments(tickwire: Tickwire, key: str) -> None:
    options = ["--topics-per-connection", "4", "--types", "quote,ticker", "--connections", "3", "--seconds", "0.2"]
    code, found, _ = await asyncio.to_thread(Bench(tickwire, *options, key=key).end)
    assert (code, found["readers"]["quick"]["came_up"], found["readers"]["quick"]["rejected"]) == (0, 3, {})


async def test_connections_that_the_plan_refuses_are_named(tickwire: Tickwire) -> None:
    options = ["--topics", "trade.TEST,depth.TEST", "--connections", "7", "--seconds", "0.2"]
    code, found, said = await asyncio.to_thread(Bench(tickwire, *options).end)
    quick = found["readers"]["quick"]
    assert (code, quick["came_up"], list(quick["refused"].values())) == (1, 5, [2])
    assert next(iter(quick["refused"])).startswith("4504 connection_limit")
    assert quick["rejected"] == {"125 insufficient_plan": 5}
    assert "roomier" in said


async def test_a_hole_is_an_exit_code(tickwire: Tickwire) -> None:
    async def skip_one(socket: websockets.ServerConnection) -> None:
        await socket.send('{"type":"welcome"}')
        await socket.recv()
        accepted = '[{"topic":"trade.TEST","delivery":"every","epoch":"e","seq":1}]'
        await socket.send(f'{{"type":"subscribed","accepted":{accepted},"rejected":[]}}')
        await socket.send('{"type":"update","topic":"trade.TEST","seq":3,"data":{}}')
        await socket.wait_closed()

    async with websockets.serve(skip_one, "127.0.0.1", 0, subprotocols=["tickwire.v1.json"]) as server:  # type: ignore[list-item]
        url = f"ws://127.0.0.1:{next(iter(server.sockets)).getsockname()[1]}/"
        options = ["--topics", "trade.TEST", "--connections", "1", "--seconds", "0.5"]
        code, found, _ = await asyncio.to_thread(Bench(tickwire, *options, url=url).end)
    assert (code, found["sound"], found["readers"]["quick"]["holes"]) == (1, False, 1)


@pytest.mark.parametrize(
    ("options", "key", "complaint"),
    [
        (["--topics", "trade.TEST", "--url", "ws://127.0.0.1:1/"], "", "Connection refused"),
        (["--url", "ws://127.0.0.1:1/ws/v1/market"], "", "Connection refused"),
        (["--topics", "trade.TEST", "--url", "http://127.0.0.1/"], "", "--url http://127.0.0.1/: does not begin with ws://"),
        (["--topics", "trade.TEST"], "nobodys", "4501 unauthorized"),
        (["--topics", "trade.TEST", "--publish", "10"], "", "ingest/ answers 401"),
        (["--publish", "10"], "", "--publish: needs trade topics"),
        (["--slow", "4", "--stalled", "2"], "", "--slow and --stalled: are among the --connections"),
        (["--storm", "4", "--slow", "2"], "", "--storm: only 3 connections"),
        (["--seconds", "0"], "", "--seconds: must be 0.001 or more"),
        (["--connections", "many"], "", "--connections: invalid int value"),
    ],
)
def test_what_cannot_be_is_refused_by_name_in_a_line(tickwire: Tickwire, options: list[str], key: str, complaint: str) -> None:
    code, found, said = Bench(tickwire, *options, key=key).end()
    assert (code, found) == (2, None), said
    assert complaint in said.splitlines()[-1]
    assert "Traceback" not in said


def test_more_connections_than_files_are_refused_by_name(tickwire: Tickwire) -> None:
    def few_files() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (100, 200))

    options = ["--topics", "trade.TEST", "--connections"]
    code, _, said = Bench(tickwire, *options, "200", preexec_fn=few_files).end()
    assert (code, "--connections: " in said, "`ulimit -n`" in said) == (2, True, True)


COMMANDS = re.findall(r"^\$ .*manage\.py bench_client(.*)$", (ROOT / "docs" / "load.md").read_text(), re.MULTILINE)


@pytest.mark.parametrize("command", COMMANDS)
def test_the_documents_commands_work(tickwire: Tickwire, key: str, command: str) -> None:
    arguments = [re.sub(r"^(\d{3,})$", "20", word) for word in shlex.split(command)]  # a smaller load
    done = subprocess.run(
        [sys.executable, "manage.py", "bench_client", *arguments, "--seconds", "1", "--url", tickwire.socket_url],
        cwd=ROOT, env={**tickwire.environ, "TICKWIRE_API_KEY": key}, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert re.search(r"^holes \(must be 0\) +0", done.stdout, re.MULTILINE)
