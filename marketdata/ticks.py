"""Quotes, trades, klines, depth and tickers, and their one JSON encoding, the body.

Prices, sizes and other decimals are text in plain notation (`"61837.63"`, never `6.1e4`): exactly what the venue wrote,
safe from binary rounding, and what every client receives. Times are microseconds since the Unix epoch, UTC.
"""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal, InvalidOperation
from typing import Annotated, Any, ClassVar, Literal

import msgspec

from marketdata.errors import BadTick
from marketdata.topics import DataType, Interval, Topic

Number = Annotated[str, msgspec.Meta(pattern=r"^-?[0-9]{1,24}(\.[0-9]{1,24})?$")]
Symbol = Annotated[str, msgspec.Meta(pattern=r"^[A-Z0-9][A-Z0-9._-]{0,31}$")]
Micros = Annotated[int, msgspec.Meta(ge=0, le=253_402_300_800_000_000)]
Level = tuple[Number, Number]
Side = Literal["buy", "sell"]


class _Tick(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="type"):
    """What all ticks share. `ts` is the venue's event time."""

    type: ClassVar[DataType]

    symbol: Symbol
    ts: Micros

    @property
    def topic(self) -> Topic:
        """The topic that carries this tick."""
        return Topic(self.type, self.symbol)


class Quote(_Tick, frozen=True, tag="quote"):
    """Best bid and ask."""

    type: ClassVar[DataType] = DataType.QUOTE

    bid: Number
    bid_size: Number
    ask: Number
    ask_size: Number


class Trade(_Tick, frozen=True, tag="trade"):
    """One execution. `side` is the aggressor's, None where the venue does not say."""

    type: ClassVar[DataType] = DataType.TRADE

    id: Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
    price: Number
    size: Number
    side: Side | None = None


class Depth(_Tick, frozen=True, tag="depth"):
    """Full state of the book: up to 20 `(price, size)` levels a side, best first."""

    type: ClassVar[DataType] = DataType.DEPTH

    bids: Annotated[tuple[Level, ...], msgspec.Meta(max_length=20)]
    asks: Annotated[tuple[Level, ...], msgspec.Meta(max_length=20)]


class Ticker(_Tick, frozen=True, tag="ticker"):
    """The session so far (crypto: the UTC day)."""

    type: ClassVar[DataType] = DataType.TICKER

    last: Number
    open: Number
    high: Number
    low: Number
    prev_close: Number | None
    change: Number | None
    change_percent: Number | None
    volume: Number
    turnover: Number


class Kline(_Tick, frozen=True, tag="kline"):
    """One bar: `[open_time, close_time)`; `revision` counts corrections after it closed."""

    type: ClassVar[DataType] = DataType.KLINE

    interval: Interval
    open_time: Micros
    close_time: Micros
    open: Number
    high: Number
    low: Number
    close: Number
    volume: Number
    turnover: Number
    trades: int
    closed: bool
    revision: int = 0

    @property
    def topic(self) -> Topic:
        """The topic that carries this bar."""
        return Topic(DataType.KLINE, self.symbol, self.interval)


Tick = Quote | Trade | Depth | Ticker | Kline

_encode = msgspec.json.Encoder().encode
_TAG_BYTES = {kind: len(f'{{"type":"{kind.__struct_config__.tag}",') for kind in (Quote, Trade, Depth, Ticker, Kline)}
_decoders: dict[DataType, msgspec.json.Decoder[Any]] = {
    kind.type: msgspec.json.Decoder(kind) for kind in (Quote, Trade, Depth, Ticker, Kline)
}
_BATCH: msgspec.json.Decoder[Tick] = msgspec.json.Decoder(Tick)


def body(tick: Tick) -> bytes:
    """Encode a tick: the JSON object that REST, the socket and the store all carry, byte for byte."""
    return b"{" + _encode(tick)[_TAG_BYTES[type(tick)] :]


def from_body(kind: DataType, data: bytes) -> Tick:
    """Read a body back.

    Raises:
        BadTick: the bytes are not a body of that type.
    """
    try:
        tick: Tick = _decoders[kind].decode(data)
    except msgspec.DecodeError as error:
        raise BadTick("malformed", str(error)) from None
    return tick


def from_json(data: bytes) -> Tick:
    """Read a raw tick: a body with its `"type"`, as `POST /api/v1/ingest/` and recordings carry it.

    Raises:
        BadTick: with what is wrong and where.
    """
    try:
        return _BATCH.decode(data)
    except (msgspec.DecodeError, RecursionError) as error:
        raise BadTick("malformed", str(error)) from None


def to_json(tick: Tick) -> bytes:
    """Write a raw tick, the reverse of `from_json`."""
    return _encode(tick)


def plain(value: str | int | float | Decimal) -> str:
    """Write a number in plain notation: `1e-8` becomes `"0.00000001"`.

    A text that is plain already is returned as it is, so that the venue's own digits survive. A float is written with the
    fewest digits that read back as the same float.

    Raises:
        BadTick: not a finite number.
    """
    try:
        number = Decimal(value if isinstance(value, (str, int, Decimal)) else repr(value))
    except (InvalidOperation, ValueError):
        raise BadTick("malformed", f"{value!r} is not a number") from None
    if not number.is_finite():
        raise BadTick("not_finite", f"{value!r} is not a finite number")
    if isinstance(value, str) and "e" not in value and "E" not in value and value[0] not in "+.":
        return value
    return format(number, "f")


def levels(pairs: Iterable[tuple[Any, Any] | list[Any]], most: int = 20) -> tuple[Level, ...]:
    """The best `most` levels of one side of a book, in plain notation; the pairs come best first."""
    best = []
    for pair in pairs:
        best.append((plain(pair[0]), plain(pair[1])))
        if len(best) == most:
            break
    return tuple(best)
