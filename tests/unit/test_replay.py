"""The replay feed: options, recordings, pace, rounds."""

from __future__ import annotations

import asyncio
import gzip
import logging
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest

from marketdata.errors import BadFeedOptions, FeedError
from marketdata.feeds import FeedSettings, Listing, StreamingFeed, make
from marketdata.feeds.replay import ReplayFeed
from marketdata.recording import Recording, Writer, silently
from marketdata.ticks import Kline, Quote, Tick, Trade, body
from marketdata.topics import Interval

T0 = 1_700_000_040_000_000  # a full minute
DAY = 86_400_000_000
AAPL = Listing("AAPL", "Apple", "stock", "NASDAQ", "USD", 2, 0, "us", simulated=True)


def quote(after_us: int = 0, symbol: str = "AAPL") -> Quote:
    return Quote(symbol=symbol, ts=T0 + after_us, bid="1.10", bid_size="5", ask="1.20", ask_size="7")


def trade(after_us: int = 0, number: int = 1) -> Trade:
    return Trade(symbol="AAPL", ts=T0 + after_us, id=str(number), price="1.10", size="3", side="buy")


def kline(after_us: int = 0) -> Kline:
    opened = T0 + after_us
    return Kline("AAPL", opened + 1, Interval.M1, opened, opened + 60_000_000, "1", "2", "1", "2", "9", "14", 4, closed=False)


def record(path: Path, ticks: list[Tick]) -> Path:
    with Writer(path, T0, [AAPL]) as writer:
        for seq, tick in enumerate(ticks, start=1):
            writer.write(tick.ts, seq, tick.type, body(tick))
    return path


def feed(path: Path | list[Path], *symbols: str, **options: Any) -> ReplayFeed:
    names = [str(one) for one in path] if isinstance(path, list) else str(path)
    made = make("replay", FeedSettings(symbols=symbols, options={"path": names, "speed": 0, **options}))
    assert isinstance(made, ReplayFeed)
    return made


async def first(count: int, played: StreamingFeed) -> list[Tick]:
    """The first ticks that a feed brings."""
    found: list[Tick] = []
    async with asyncio.timeout(5), aclosing(played.stream()) as batches:  # type: ignore[type-var]
        async for batch in batches:
            found += batch
            if len(found) >= count:
                break
    return found[:count]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return record(tmp_path / "day.jsonl.gz", [quote(), trade(10), kline()])


@pytest.mark.parametrize("name", ["day.jsonl", "day.jsonl.gz"])
async def test_a_recording_gives_back_what_was_written(tmp_path: Path, name: str) -> None:
    ticks: list[Tick] = [quote(), trade(5), kline(), quote(20)]
    assert await first(4, feed(record(tmp_path / name, ticks))) == ticks


def test_a_name_that_ends_in_gz_is_gzipped(file: Path) -> None:
    assert gzip.decompress(file.read_bytes()).startswith(b'{"tickwire":"recording","version":1')


def test_a_recording_brings_its_instruments_along(file: Path) -> None:
    assert feed(file).listings() == [AAPL]


def test_the_operator_knows_better_than_the_file(file: Path) -> None:
    corrections = {"*": {"venue": "X", "session": "cn"}, "AAPL": {"venue": "Y"}}
    (listing,) = feed(file, listings=corrections).listings()
    assert (listing.venue, listing.session, listing.currency) == ("Y", "cn", "USD")


def test_a_replay_of_simulated_ticks_says_that_it_is_simulated(file: Path) -> None:
    assert feed(file).simulated
    assert not feed(file, listings={"*": {"simulated": False}}).simulated


async def test_only_the_chosen_symbols_are_played(tmp_path: Path) -> None:
    path = record(tmp_path / "two.jsonl", [quote(), quote(1, "IBM"), quote(2)])
    assert [tick.symbol for tick in await first(1, feed(path, "IBM"))] == ["IBM"]


async def test_several_files_are_played_in_order_of_time(tmp_path: Path) -> None:
    one = record(tmp_path / "one.jsonl", [quote(), quote(20)])
    two = record(tmp_path / "two.jsonl", [quote(10, "IBM"), quote(30, "IBM")])
    assert [tick.ts - T0 for tick in await first(4, feed([two, one]))] == [0, 10, 20, 30]


async def test_bad_lines_are_skipped_counted_and_logged_once(file: Path, caplog: pytest.LogCaptureFixture) -> None:
    with gzip.open(file, "ab") as more:
        more.write(b"nonsense\n" + b'{"at":1,"tick":{"type":"quote"}}\n' + b'{"at":%d,"tick":{"type":"boat"}}\n' % T0)
    played = feed(file)
    with caplog.at_level(logging.WARNING):
        assert len(await first(3, played)) == 3
    assert played.skipped == {file.name: 3}
    assert [record.getMessage() for record in caplog.records if "line 5 is skipped" in record.getMessage()] == caplog.messages


async def test_a_file_that_was_cut_off_is_played_as_far_as_it_goes(tmp_path: Path) -> None:
    whole = record(tmp_path / "whole.jsonl.gz", [quote(number * number * 7919) for number in range(2000)])
    cut = tmp_path / "cut.jsonl.gz"
    cut.write_bytes(whole.read_bytes()[:-200])
    played = feed(cut)
    found = [tick for _, tick in Recording(cut).read(silently)]
    assert 100 < len(found) < 2000
    assert await first(len(found), played) == found
    assert played.skipped == {cut.name: 1}


async def test_a_replay_that_is_over_stays_silent(file: Path) -> None:
    stream = feed(file).stream()
    await anext(stream)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.1):
            await anext(stream)


async def test_a_second_round_goes_on_in_time_by_whole_days_with_new_trade_ids(file: Path) -> None:
    ticks = await first(6, feed(file, loop=True, restamp=False))
    assert [tick.ts for tick in ticks[3:]] == [tick.ts + DAY for tick in ticks[:3]]
    assert [tick.id for tick in ticks if isinstance(tick, Trade)] == ["1", "1-2"]
    opened, again = [tick for tick in ticks if isinstance(tick, Kline)]
    assert (again.open_time - opened.open_time, again.close_time - opened.close_time) == (DAY, DAY)


async def test_every_round_is_later_than_the_one_before(tmp_path: Path) -> None:
    path = record(tmp_path / "long.jsonl", [quote(), quote(3 * DAY)])
    times = [tick.ts for tick in await first(6, feed(path, loop=True, restamp=False))]
    assert times == sorted(times)
    assert len(set(times)) == 6


async def test_in_a_loop_ticks_are_of_now_and_klines_are_left_out(file: Path) -> None:
    ticks = await first(4, feed(file, loop=True))
    assert [tick.type for tick in ticks] == ["quote", "trade"] * 2
    assert all(tick.ts > T0 + 365 * DAY for tick in ticks)
    assert [tick.ts for tick in ticks] == sorted(tick.ts for tick in ticks)
    assert ticks[1].id.startswith("1-")  # type: ignore[union-attr]


async def test_a_replay_takes_as_long_as_it_took_divided_by_its_speed(tmp_path: Path) -> None:
    path = record(tmp_path / "slow.jsonl", [quote(), quote(1_000_000), quote(1_000_001), quote(5_000_000)])
    clock = asyncio.get_running_loop().time
    began, arrivals = clock(), []
    async for batch in feed(path, speed=50).stream():
        arrivals += [(clock() - began, len(batch))]
        if len(arrivals) == 3:
            break
    assert [count for _, count in arrivals] == [1, 2, 1] or arrivals[2][0] > 0.2  # a machine that was late may bring more at once
    assert 0.1 <= arrivals[2][0] < 2


async def test_pauses_of_the_taker_do_not_add_up(tmp_path: Path) -> None:
    path = record(tmp_path / "many.jsonl", [quote(number * 10_000) for number in range(20)])
    clock = asyncio.get_running_loop().time
    began, taken = clock(), 0
    async for batch in feed(path, speed=1).stream():
        taken += len(batch)
        await asyncio.sleep(0.05)
        if taken == 20:
            break
    assert clock() - began < 0.8  # 20 pauses one after another would be a second


async def test_batches_are_bounded(tmp_path: Path) -> None:
    path = record(tmp_path / "many.jsonl", [quote(number) for number in range(2500)])
    sizes = []
    async for batch in feed(path).stream():
        sizes.append(len(batch))
        if sum(sizes) == 2500:
            break
    assert sizes == [1000, 1000, 500]


async def test_files_without_ticks_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(FeedError, match="no ticks"):
        await first(1, feed(record(tmp_path / "empty.jsonl", []), loop=True))


def test_a_file_that_is_no_recording_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "notes.jsonl"
    path.write_text('{"hello": 1}\n')
    with pytest.raises(FeedError, match="not a recording"):
        feed(path)


def test_a_recording_of_a_later_version_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "later.jsonl"
    path.write_text('{"tickwire":"recording","version":9,"created":1}\n')
    with pytest.raises(FeedError, match="version 9"):
        feed(path)


@pytest.mark.parametrize(
    ("options", "wrong"),
    [
        ({"path": "/nowhere.jsonl"}, "path: there is no file"),
        ({"path": []}, "path: names no file"),
        ({"speed": -1}, "speed: "),
        ({"speed": "fast"}, "speed: "),
        ({"format": "parquet"}, "format: "),
        ({"loops": True}, "loops: no such option"),
        ({"listings": {"*": {"kind": "boat"}}}, "listings: "),
    ],
)
def test_a_bad_option_is_refused_by_name(file: Path, options: dict[str, Any], wrong: str) -> None:
    with pytest.raises(BadFeedOptions, match=f"^{wrong}"):
        make("replay", FeedSettings(options={"path": str(file), **options}))


def test_the_path_is_required() -> None:
    with pytest.raises(BadFeedOptions, match=r"^path: is required"):
        make("replay", FeedSettings())


def test_a_recording_never_replaces_a_file_unasked(file: Path) -> None:
    with pytest.raises(FileExistsError):
        Writer(file, T0)


def test_a_full_disk_is_an_error_of_the_writer() -> None:
    writer = Writer(Path("/dev/full"), T0, overwrite=True)
    with pytest.raises(OSError, match="No space left"):
        writer.close()
