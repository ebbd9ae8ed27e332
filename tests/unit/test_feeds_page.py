"""What docs/feeds.md shows works: its options exist, its recording is one, its feed streams."""

from __future__ import annotations

import asyncio
import json
import re
from contextlib import aclosing
from pathlib import Path
from typing import Any

import msgspec
import pytest

from marketdata import feeds
from marketdata.feeds import FeedSettings, make
from marketdata.feeds.ccxt_feed import CcxtOptions
from marketdata.feeds.options import ListingOptions, read_options
from marketdata.feeds.replay import ReplayOptions
from marketdata.feeds.simulated import DemoOptions
from marketdata.recording import Recording
from marketdata.ticks import Trade

PAGE = (Path(__file__).parents[2] / "docs" / "feeds.md").read_text()
KINDS: dict[str, Any] = {"replay": ReplayOptions, "ccxt": CcxtOptions}


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("kind", KINDS)
def test_the_shown_options_are_accepted(kind: str) -> None:
    shown = blocks(f"json {kind}")
    assert shown
    for text in shown:
        read_options(KINDS[kind], json.loads(text))


def test_every_option_is_explained_and_no_other() -> None:
    named = set(re.findall(r"^\| `(\w+)` \|", PAGE, re.MULTILINE))
    real = {field.name for kind in (*KINDS.values(), DemoOptions) for field in msgspec.structs.fields(kind)}
    assert named == real
    assert [field.name for field in msgspec.structs.fields(ListingOptions) if f"`{field.name}`" not in PAGE] == []


def test_the_shown_recording_is_one(tmp_path: Path) -> None:
    (text,) = blocks("json recording")
    (tmp_path / "shown.jsonl").write_text(text)
    skipped: list[str] = []
    shown = Recording(tmp_path / "shown.jsonl")
    ((at_us, tick),) = shown.read(lambda _, wrong: skipped.append(wrong))
    assert (at_us, str(tick.topic), shown.listings()[0].symbol, skipped) == (1723161253937085, "trade.BTC-USDT", "BTC-USDT", [])


async def test_the_shown_feed_streams(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feeds, "_makers", dict(feeds._makers))
    monkeypatch.setattr(feeds, "_derived", dict(feeds._derived))
    (text,) = blocks("python")
    exec(compile(text, "docs/feeds.md", "exec"), {"__name__": "plant"})

    async def plant(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"AAPL 17 187.25 100\n")
        writer.close()

    async with await asyncio.start_server(plant, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        feed = make("plant", FeedSettings(options={"host": "127.0.0.1", "port": port}))
        async with aclosing(feed.stream()) as batches:  # type: ignore[union-attr]
            ((tick,),) = [batch async for batch in batches]
    assert tick == Trade(symbol="AAPL", ts=tick.ts, id="17", price="187.25", size="100")
    assert [listing.symbol for listing in feed.listings()] == ["AAPL", "MSFT"]
