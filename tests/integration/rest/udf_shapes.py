"""What TradingView's public description says of UDF answers, as checks: names, types, and what must go together."""

from __future__ import annotations

import re
from typing import Any

NUMBER = (int, float)
RESOLUTION = re.compile(r"[1-9][0-9]*|[1-9][0-9]*[SDWM]")
HOURS = re.compile(r"24x7|\d{4}-\d{4}(,\d{4}-\d{4})*")
SYMBOL_TYPES = {"stock", "fund", "index", "futures", "crypto"}
PRICES = {"ch", "chp", "lp", "ask", "bid", "open_price", "high_price", "low_price", "prev_close_price", "volume"}
NAMES = {"short_name", "exchange", "description", "original_name"}


def has(answer: dict[str, Any], **kinds: type | tuple[type, ...]) -> None:
    """That these fields are there and of these types; True is no number."""
    for name, kind in kinds.items():
        assert isinstance(answer[name], kind), name
        assert kind is bool or not isinstance(answer[name], bool), name


def check_config(answer: Any) -> None:
    has(answer, supports_search=bool, supports_group_request=bool, supports_marks=bool, supports_timescale_marks=bool)
    has(answer, supports_time=bool, exchanges=list, symbols_types=list, supported_resolutions=list)
    assert answer["supports_search"] != answer["supports_group_request"]
    assert all(RESOLUTION.fullmatch(one) for one in answer["supported_resolutions"])
    for exchange in answer["exchanges"]:
        has(exchange, value=str, name=str, desc=str)
    for kind in answer["symbols_types"]:
        has(kind, value=str, name=str)


def check_symbol(answer: Any) -> None:
    assert "s" not in answer  # by this clients know an error
    has(answer, name=str, ticker=str, description=str, type=str, session=str, timezone=str, exchange=str, listed_exchange=str)
    has(answer, minmov=int, pricescale=int, volume_precision=int, has_intraday=bool, supported_resolutions=list)
    assert answer["type"] in SYMBOL_TYPES
    assert HOURS.fullmatch(answer["session"])
    assert answer["timezone"] in {"Etc/UTC", "America/New_York", "Asia/Shanghai"}
    assert answer["data_status"] in {"streaming", "endofday", "delayed_streaming"}
    assert all(one.isdigit() and one in answer["supported_resolutions"] for one in answer["intraday_multipliers"])
    scale = answer["pricescale"]
    assert scale == 10 ** (len(str(scale)) - 1)


def check_search(answer: Any) -> None:
    for found in answer:
        has(found, symbol=str, full_name=str, description=str, exchange=str, ticker=str, type=str)


def check_history(answer: Any) -> None:
    if answer["s"] == "no_data":
        assert set(answer) - {"nextTime", "stale"} == {"s"}
        assert isinstance(answer.get("nextTime", 0), int)
        return
    assert answer["s"] == "ok"
    columns = [answer[name] for name in "tohlcv"]
    assert len({len(column) for column in columns}) == 1
    assert all(isinstance(time, int) for time in answer["t"])
    assert answer["t"] == sorted(set(answer["t"]))
    assert all(isinstance(value, float) for column in columns[1:] for value in column)


def check_quotes(answer: Any) -> None:
    assert answer["s"] == "ok"
    for quote in answer["d"]:
        has(quote, s=str, n=str, v=dict)
        assert quote["s"] in {"ok", "error"}
        assert set(quote["v"]) <= PRICES | NAMES | {"stale"}
        assert all(isinstance(quote["v"].get(name, 0), NUMBER) for name in PRICES)


def check_error(answer: Any) -> None:
    assert set(answer) == {"s", "errmsg"}
    assert answer["s"] == "error"
    assert answer["errmsg"]
