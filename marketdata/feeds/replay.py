"""Replays recordings and CSV files: the ticks of files, at the pace at which they happened or faster."""

from __future__ import annotations

import asyncio
import heapq
import logging
import time
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import aclosing
from math import inf
from operator import itemgetter
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from marketdata.errors import BadFeedOptions, FeedError
from marketdata.feeds import Batch, FeedSettings, Listing, register
from marketdata.feeds.csv_file import BARS, CsvFile, CsvOptions
from marketdata.feeds.options import Listings, corrected, read_options
from marketdata.recording import Played, Recording, Skip
from marketdata.ticks import Kline, Tick, Trade

logger = logging.getLogger(__name__)

MOST = 1000  # ticks in one batch
DAY_US = 86_400_000_000


class ReplayOptions(CsvOptions, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Options of the kind `replay`, besides those for CSV files.

    Attributes:
        path: file, or files that are played together, in order of time.
        format: `jsonl` is our own recording.
        speed: how many times faster than it happened; 0: as fast as it is taken.
        loop: begin again at the end.
        restamp: give each tick the time at which it is played, so that it looks live; recorded klines are left out, since they
            would no longer begin on the minute. Off: true event times; in a loop, moved on by whole days each round. The default
            is off, and on in a loop, unless bars are played.
        listings: symbol, or `"*"` for all → what is better known of the instrument than from the file.
    """

    path: str | list[str]
    format: Literal["jsonl", "csv-trades", "csv-bars"] = "jsonl"
    speed: Annotated[float, msgspec.Meta(ge=0, le=1_000_000)] = 1.0
    loop: bool = False
    restamp: bool | None = None
    listings: Listings = {}


class ReplayFeed:
    """A streaming feed that plays files.

    Attributes:
        skipped: rows left out in all, by file name; the first of each file is logged.
    """

    name = "replay"
    patient = True

    def __init__(self, settings: FeedSettings) -> None:
        self.options = read_options(ReplayOptions, settings.options)
        self.skipped: Counter[str] = Counter()
        self._only = frozenset(settings.symbols)
        self._files = [self._file(path) for path in self._paths()]
        self._restamp = self._restamped()
        self._listings = corrected(self._found(), self.options.listings)
        self.simulated = any(listing.simulated for listing in self._listings)

    def _restamped(self) -> bool:
        bars = self.options.format == BARS
        if bars and self.options.restamp:
            raise BadFeedOptions("restamp: bars cannot be restamped: they would no longer begin on the minute")
        return self.options.loop and not bars if self.options.restamp is None else self.options.restamp

    def _paths(self) -> list[Path]:
        names = [self.options.path] if isinstance(self.options.path, str) else self.options.path
        paths = [Path(name).expanduser() for name in names]
        for path in paths:
            if not path.is_file():
                raise BadFeedOptions(f"path: there is no file {path}")
        if not paths:
            raise BadFeedOptions("path: names no file")
        return paths

    def _file(self, path: Path) -> Recording | CsvFile:
        return Recording(path) if self.options.format == "jsonl" else CsvFile(path, self.options.format, self.options)

    def listings(self) -> list[Listing]:
        """The instruments of the recordings' headers, or of the first rows of CSV files."""
        return self._listings

    def _found(self) -> list[Listing]:
        found = {listing.symbol: listing for file in self._files for listing in file.listings()}
        return [listing for symbol, listing in sorted(found.items()) if self._wanted(symbol)]

    def _wanted(self, symbol: str) -> bool:
        return not self._only or symbol in self._only

    async def stream(self) -> AsyncIterator[Batch]:
        """Play the files: once, and then stay silent; or round after round, see `loop`."""
        this = _Round(self.options.speed, self._restamp)
        while True:
            async with aclosing(self._play(this)) as batches:
                async for batch in batches:
                    yield batch
            if not self.options.loop:
                break
            this = this.next()
        logger.info("replay: finished")
        await asyncio.Event().wait()

    async def _play(self, this: _Round) -> AsyncGenerator[Batch]:
        batch: list[Tick] = []
        for at_us, tick in self._ticks():
            wait_s = this.wait_s(at_us)
            if batch and (wait_s > 0 or len(batch) == MOST):
                yield batch
                batch = []
            if not batch:
                await asyncio.sleep(max(0.0, this.wait_s(at_us)))  # also at full speed, so that others get their turn
            batch.append(this.stamped(tick))
        if not batch:
            raise FeedError("replay: the files hold no ticks")
        yield batch

    def _ticks(self) -> Iterator[Played]:
        for at_us, tick in heapq.merge(*(file.read(self._skip(file.path)) for file in self._files), key=itemgetter(0)):
            if self._wanted(tick.symbol) and not (self._restamp and isinstance(tick, Kline)):
                yield at_us, tick

    def _skip(self, path: Path) -> Skip:
        def skip(number: int, wrong: str) -> None:
            if not self.skipped[path.name]:
                logger.warning("replay: %s: line %d is skipped: %s; further ones are only counted", path, number, wrong)
            self.skipped[path.name] += 1

        return skip


class _Round:
    """One time through the files: when each tick is due, and as what it goes out.

    Args:
        speed, restamp: see `ReplayOptions`.
        number: 1, 2, 3 …
        shift_us: added to all times of a round that repeats earlier ones.
    """

    def __init__(self, speed: float, restamp: bool, number: int = 1, shift_us: int = 0) -> None:
        self._speed = speed
        self._restamp = restamp
        self._number = number
        self._shift_us = shift_us
        self._clock = asyncio.get_running_loop().time
        self._began_s = self._clock()
        self._began_us = time.time_ns() // 1000
        self._first_at_us = 0
        self._latest_at_us = 0
        self._oldest_us = self._newest_us = 0

    def next(self) -> _Round:
        """The round after this one. Its times go on growing, by whole days, so that bars still begin where bars begin."""
        days = (self._newest_us - self._oldest_us) // DAY_US + 1
        return _Round(self._speed, self._restamp, self._number + 1, self._shift_us + days * DAY_US)

    def wait_s(self, at_us: int) -> float:
        """Seconds until that moment is due. They are counted from the beginning of the round: lateness does not add up."""
        self._first_at_us = self._first_at_us or at_us
        self._latest_at_us = max(self._latest_at_us, at_us)
        offset_s = (self._latest_at_us - self._first_at_us) / 1e6
        return self._began_s + offset_s / (self._speed or inf) - self._clock()

    def stamped(self, tick: Tick) -> Tick:
        """The tick with the times, and a trade with the id, of this round."""
        self._oldest_us = min(self._oldest_us or tick.ts, tick.ts)
        self._newest_us = max(self._newest_us, tick.ts)
        if self._restamp:
            now_us = self._began_us + int((self._clock() - self._began_s) * 1e6)
            return _moved(tick, now_us - tick.ts, f"{self._began_us // 1_000_000:x}")
        return _moved(tick, self._shift_us, str(self._number)) if self._number > 1 else tick


def _moved(tick: Tick, by_us: int, mark: str) -> Tick:
    """A tick at another time. A trade gets another id too, else it would be taken for the first round's."""
    ts = tick.ts + by_us
    if isinstance(tick, Trade):
        return msgspec.structs.replace(tick, ts=ts, id=f"{tick.id[:48]}-{mark}")
    if isinstance(tick, Kline):
        return msgspec.structs.replace(tick, ts=ts, open_time=tick.open_time + by_us, close_time=tick.close_time + by_us)
    return msgspec.structs.replace(tick, ts=ts)


@register("replay")
def make(settings: FeedSettings) -> ReplayFeed:
    """Make the feed.

    Raises:
        BadFeedOptions: an option is wrong, or does not fit the file.
        FeedError: a file cannot be read.
    """
    return ReplayFeed(settings)
