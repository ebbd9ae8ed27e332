"""`manage.py record`: writes what the bus carries into a recording that the `replay` feed plays."""

from __future__ import annotations

import asyncio
import signal
import time
from argparse import ArgumentParser
from collections.abc import Iterable
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, cast

from channels.layers import get_channel_layer
from django.core.management.base import BaseCommand, CommandError

from marketdata import topics
from marketdata.errors import MarketDataError
from marketdata.feeds import Listing
from marketdata.layer import BusLayer
from marketdata.models import Instrument
from marketdata.recording import Writer
from marketdata.topics import DataType, Interval, Topic

DEFAULT = "quote.*,trade.*,depth.*"  # the rest is derived from these
COLUMNS = ("symbol", "name", "kind", "venue", "currency", "price_decimals", "size_decimals", "session", "simulated")


class Command(BaseCommand):
    """Subscribe, write, finish the file cleanly."""

    help = "Record topics from the bus into a file that the replay feed plays."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the command line."""
        parser.add_argument("out", type=Path, help="file to write; gzipped when its name ends in .gz")
        parser.add_argument("--topics", default=DEFAULT, help=f"topics, separated by commas; * stands for anything ({DEFAULT})")
        parser.add_argument("--seconds", type=float, help="stop after so long")
        parser.add_argument("--count", type=int, help="stop after so many updates")
        parser.add_argument("--overwrite", action="store_true", help="replace an existing file")

    def handle(self, *_args: Any, out: Path, topics: str, seconds: float | None, count: int | None, **options: Any) -> None:
        """Record until the time or the count is reached, or until SIGINT or SIGTERM."""
        listings = [Listing(*row) for row in Instrument.objects.filter(active=True).values_list(*COLUMNS)]
        chosen = expand(topics, [listing.symbol for listing in listings])
        symbols = {topic.symbol for topic in chosen}
        try:
            with Writer(
                out, now_us(), [item for item in listings if item.symbol in symbols], overwrite=options["overwrite"]
            ) as writer:
                recorder = Recorder(writer, chosen)
                self.stderr.write(f"recording {len(chosen)} topics into {out}; Ctrl-C stops")
                asyncio.run(recorder.run(seconds, count))
        except FileExistsError:
            raise CommandError(f"{out} exists; choose another name or give --overwrite") from None
        except OSError as error:
            raise CommandError(f"{out}: {error.strerror or error}") from error
        except MarketDataError as error:
            if not writer.ticks:
                out.unlink()
            raise CommandError(str(error)) from error
        missed = f"; {recorder.missed} updates were missed on the way" if recorder.missed else ""
        self.stderr.write(f"{writer.ticks} updates in {out}{missed}")


class Recorder:
    """Takes updates of topics from the bus and writes them.

    Attributes:
        missed: updates that the sequence numbers show to be lost between the bus and the file.
    """

    def __init__(self, writer: Writer, chosen: Iterable[Topic]) -> None:
        self.missed = 0
        self._layer = cast(BusLayer, get_channel_layer())
        self._writer = writer
        self._topics = {str(topic): topic for topic in chosen}
        self._stamps: dict[str, tuple[str, int]] = {}

    async def run(self, seconds: float | None, count: int | None) -> None:
        """Record until the time or the count is reached, or until SIGINT or SIGTERM.

        Raises:
            OSError: the file cannot be written.
            StoreUnavailable: the bus cannot be reached.
        """
        task = asyncio.ensure_future(self._record(count))
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, task.cancel)
        await asyncio.wait([task], timeout=seconds)
        task.cancel()
        try:
            await task
        except asyncio.CancelledError:
            pass  # asked to stop
        finally:
            await self._layer.close()

    async def _record(self, count: int | None) -> None:
        channel = await self._layer.new_channel()
        for topic in self._topics.values():
            await self._layer.group_add(topic.group, channel)
        while count is None or self._writer.ticks < count:
            self._write(await self._layer.receive(channel))

    def _write(self, message: dict[str, Any]) -> None:
        name, epoch, seq = message["topic"], message["epoch"], message["seq"]
        before = self._stamps.get(name, (epoch, seq - 1))
        if before[0] == epoch:
            self.missed += max(0, seq - before[1] - 1)
        self._stamps[name] = (epoch, seq)
        self._writer.write(now_us(), seq, self._topics[name].type, message["data"].encode())


def expand(text: str, symbols: Iterable[str]) -> list[Topic]:
    """The topics that a list of topics and patterns stands for; patterns match topics of listed instruments.

    Raises:
        CommandError: one is no topic, or a pattern matches nothing.
    """
    known = [str(topic) for symbol in symbols for topic in _topics_of(symbol)]
    chosen: dict[str, None] = {}
    for part in filter(None, map(str.strip, text.split(","))):
        found = [name for name in known if fnmatchcase(name, part)] if "*" in part else [part]
        if not found:
            raise CommandError(f"--topics: nothing matches {part!r}: are instruments listed and active?")
        chosen |= dict.fromkeys(found)
    try:
        return [topics.parse(name) for name in chosen]
    except MarketDataError as error:
        raise CommandError(f"--topics: {error}") from error


def _topics_of(symbol: str) -> list[Topic]:
    plain = [Topic(kind, symbol) for kind in DataType if kind is not DataType.KLINE]
    return plain + [Topic(DataType.KLINE, symbol, interval) for interval in Interval]


def now_us() -> int:
    """Wall clock, µs."""
    return time.time_ns() // 1000
