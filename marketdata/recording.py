"""Recordings: ticks as the bus carried them, one JSON object a line, gzipped when the name ends in `.gz`.

The first line is the header, `{"tickwire":"recording","version":1,"created":µs,"instruments":[…]}`; each further line is
`{"at":µs,"seq":n,"tick":{"type":"quote",…}}`: `at` is the recorder's wall clock, `seq` the topic's sequence number (0: unknown),
`tick` a raw tick as `POST /api/v1/ingest/` takes it.
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Literal, Self, cast

import msgspec

from marketdata.errors import FeedError
from marketdata.feeds import Listing
from marketdata.ticks import Tick
from marketdata.topics import DataType

VERSION = 1
Played = tuple[int, Tick]  # when it happened, µs, by which a replay paces itself
Skip = Callable[[int, str], None]  # called with a line's number and what is wrong with it


class Header(msgspec.Struct, frozen=True):
    """First line of a recording."""

    tickwire: Literal["recording"]
    version: int
    created: int
    instruments: list[Listing] = []


class Line(msgspec.Struct, frozen=True):
    """Every further line."""

    tick: Tick
    at: int = 0
    seq: int = 0


_header = msgspec.json.Decoder(Header)
_line = msgspec.json.Decoder(Line)


def silently(_number: int, _wrong: str) -> None:
    """A `Skip` for those who only look ahead: what is wrong with a line is said when it is played."""


def opened(path: Path, mode: Literal["rb", "wb", "xb"] = "rb") -> IO[bytes]:
    """Open a file, through gzip when its name ends in `.gz`.

    Raises:
        OSError: it cannot be opened.
    """
    return cast(IO[bytes], gzip.open(path, mode, 6) if path.suffix == ".gz" else open(path, mode))


def lines(path: Path, skip: Skip) -> Iterator[tuple[int, bytes]]:
    """The lines of a file with their numbers, from 1. A damaged or cut-off gzip file gives what can still be read.

    Raises:
        FeedError: the file cannot be read.
    """
    number = 0
    try:
        with opened(path) as file:
            for number, line in enumerate(file, start=1):
                yield number, line
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        skip(number + 1, f"the rest is unreadable: {error}")
    except OSError as error:
        raise FeedError(f"{path}: {error.strerror or error}") from error


class Recording:
    """One file to be read.

    Raises:
        FeedError: the file cannot be read or is no recording that this version understands.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.header = self._header()

    def _header(self) -> Header:
        _, first = next(lines(self.path, silently), (0, b""))
        try:
            found = _header.decode(first)
        except msgspec.DecodeError:
            raise FeedError(f"{self.path}: not a recording: its first line is no header") from None
        if found.version != VERSION:
            raise FeedError(f"{self.path}: a recording of version {found.version}; this Tickwire reads version {VERSION}")
        return found

    def listings(self) -> list[Listing]:
        """The instruments that its header names."""
        return self.header.instruments

    def read(self, skip: Skip) -> Iterator[Played]:
        """The ticks in the order of the file, each with when it was recorded; lines that are none are skipped."""
        for number, text in lines(self.path, skip):
            if number == 1:
                continue
            try:
                line = _line.decode(text)
                yield line.at or line.tick.ts, line.tick
            except msgspec.DecodeError as error:
                skip(number, str(error))


class Writer:
    """Writes a recording.

    Args:
        path: where to; gzipped when it ends in `.gz`.
        now_us: wall clock, goes into the header.
        instruments: what a replay elsewhere must know of the symbols.
        overwrite: False: an existing file is an error.

    Raises:
        OSError: the file exists or cannot be written; also from `write` and `close`.
    """

    def __init__(self, path: Path, now_us: int, instruments: Sequence[Listing] = (), *, overwrite: bool = False) -> None:
        self.ticks = 0
        self._file = opened(path, "wb" if overwrite else "xb")
        self._put(msgspec.json.encode(Header("recording", VERSION, now_us, list(instruments))))

    def write(self, at_us: int, seq: int, kind: DataType, body: bytes) -> None:
        """Write one update: its body (see `marketdata.ticks.body`) becomes a raw tick by naming its type."""
        self._put(b'{"at":%d,"seq":%d,"tick":{"type":"%s",%s}' % (at_us, seq, kind.encode(), body[1:]))
        self.ticks += 1

    def _put(self, line: bytes) -> None:
        self._file.write(line + b"\n")

    def close(self) -> None:
        """Write what is still in memory and finish the file."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()
