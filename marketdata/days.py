"""1d bars as clients see them: the one in progress and the close before it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import cast

from marketdata import history
from marketdata.store import Store
from marketdata.ticks import Kline, from_body
from marketdata.topics import DataType, Interval, Topic


@cache
def _store() -> Store:
    return Store.from_settings()


def bars(symbols: Sequence[str], since_us: int) -> list[Kline]:
    """The newest 1d bar of each symbol where it was published after `since_us`.

    Raises:
        StoreUnavailable: Redis did not answer.
    """
    newest = _store().latest([str(Topic(DataType.KLINE, symbol, Interval.D1)) for symbol in symbols])
    return [_kline(stamped.body) for stamped in newest if stamped and stamped.published_us > since_us]


def previous_close(symbol: str, open_time: int) -> str | None:
    """Close of the last 1d bar that opened before `open_time`; None when there is none.

    Raises:
        StoreUnavailable: Redis did not answer.
    """
    bodies = history.klines(_store(), symbol, Interval.D1, end_us=open_time, limit=1).bodies
    return _kline(bodies[-1]).close if bodies else None


def _kline(body: bytes) -> Kline:
    return cast(Kline, from_body(DataType.KLINE, body))
