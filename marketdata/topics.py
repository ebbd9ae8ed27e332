"""Topics: one data type of one symbol; parsed, printed, and named as a channel-layer group.

Grammar: `quote.AAPL`, `kline.1m.600519.SH`: the type first, a kline's interval second, the symbol last.
"""

from __future__ import annotations

import re
from enum import StrEnum
from functools import lru_cache

import msgspec

from marketdata.errors import UnknownTopic, UnsupportedType

SYMBOL = re.compile(r"[A-Z0-9][A-Z0-9._-]{0,31}")
GROUP_PREFIX = "md."


def redis_channel(prefix: str, group: str) -> str:
    """The Redis channel of a group, as channels_redis spells it; `prefix` is the installation's."""
    return f"{prefix}__group__{group}"


class DataType(StrEnum):
    """What a topic carries."""

    QUOTE = "quote"
    TICKER = "ticker"
    TRADE = "trade"
    KLINE = "kline"
    DEPTH = "depth"


_TYPES = frozenset(DataType)


class Interval(StrEnum):
    """How long a kline lasts."""

    M1 = "1m"
    M5 = "5m"
    M15 = "15m"
    M30 = "30m"
    H1 = "1h"
    H4 = "4h"
    D1 = "1d"

    @property
    def length_us(self) -> int:
        """Length in microseconds."""
        return _LENGTH_US[self]


_LENGTH_US = {interval: minutes * 60_000_000 for interval, minutes in zip(Interval, (1, 5, 15, 30, 60, 240, 1440), strict=True)}


class Delivery(StrEnum):
    """What a client may rely on: only the newest update, or each one."""

    LATEST = "latest"
    EVERY = "every"


class Topic(msgspec.Struct, frozen=True, order=True):
    """One data type of one symbol; `interval` is set for klines only."""

    type: DataType
    symbol: str
    interval: Interval | None = None

    def __str__(self) -> str:
        middle = f".{self.interval.value}" if self.interval else ""
        return f"{self.type.value}{middle}.{self.symbol}"

    @property
    def group(self) -> str:
        """Name of the channel-layer group that carries the topic."""
        return f"{GROUP_PREFIX}{self}"

    @property
    def delivery(self) -> Delivery:
        """Trades are each delivered; of everything else the newest is (and every closed kline, see `realtime.hub`)."""
        return Delivery.EVERY if self.type is DataType.TRADE else Delivery.LATEST


def interval(text: str) -> Interval:
    """Read an interval.

    Raises:
        UnsupportedType: there is none of that name.
    """
    if text not in _LENGTH_US:
        raise UnsupportedType(f"there is no interval {text!r}")
    return Interval(text)


@lru_cache(maxsize=65_536)
def parse(text: str) -> Topic:
    """Read a topic.

    Raises:
        UnknownTopic: the text does not have the form of a topic.
        UnsupportedType: it has, but names a type or interval that does not exist.
    """
    kind, dot, rest = text.partition(".")
    if not dot or not kind or not rest:
        raise UnknownTopic(f"{text!r} is not a topic: expected type.symbol")
    if kind not in _TYPES:
        raise UnsupportedType(f"there is no data type {kind!r}")
    length = None
    if kind == DataType.KLINE:
        label, dot, rest = rest.partition(".")
        if not dot or not rest:
            raise UnknownTopic(f"{text!r} is not a topic: expected kline.interval.symbol")
        length = interval(label)
    if not SYMBOL.fullmatch(rest):
        raise UnknownTopic(f"{text!r} is not a topic: {rest!r} is not a symbol")
    return Topic(DataType(kind), rest, length)
