"""UDF: what TradingView's charts ask for, from the same bars and values as REST.

Rules of this file:
1. The shapes are TradingView's, errors too: `{"s": "error", "errmsg"}`, with the status that REST would have. Fields of our own,
   which their clients ignore, are `stale` and `simulated`, where it is so.
2. Times are whole seconds, decimals are numbers. A 1D bar has the time 00:00 UTC of its day at the exchange.
3. Who may read what is asked of `access`, as by REST. An answer has `MOST_BARS` at most.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, time, timedelta
from typing import Annotated, Any, TypeVar, cast

import msgspec
from django.http import HttpResponse
from django.urls import path
from rest_framework.exceptions import ParseError
from rest_framework.request import Request

from marketdata import history
from marketdata.access import Reader, known_instruments, listed, readable, reader_of
from marketdata.errors import NotInPlan, TooMany, UnknownSymbol, UnknownTopic, UnsupportedType
from marketdata.instruments import SESSIONS, Instrument
from marketdata.last_known import last_known
from marketdata.serializers import MOST_TOPICS
from marketdata.snapshots import is_stale
from marketdata.store import now_us
from marketdata.ticks import Kline, Quote, Ticker, from_body
from marketdata.topics import DataType, Interval, Topic
from marketdata.views import ReaderView, seen_by, store

PREFIX = "/udf/"
MOST_BARS = 5000
MOST_FOUND = 200
SECOND_US = 1_000_000
LAST_DAY = date(9999, 12, 30)
RESOLUTIONS = dict(zip(("1", "5", "15", "30", "60", "240", "1D"), Interval, strict=True))
TYPES = {"stock": "stock", "crypto": "crypto", "index": "index", "fund": "fund", "future": "futures"}  # ours: theirs

Asked = TypeVar("Asked", bound=msgspec.Struct)
Handler = Callable[[Exception, dict[str, Any]], HttpResponse | None]


class SymbolQuery(msgspec.Struct, frozen=True):
    """`symbol`, or `venue:symbol`, in any case."""

    symbol: str


class SearchQuery(msgspec.Struct, frozen=True):
    """What a visitor typed, and the filters of `config`; empty ones filter nothing."""

    query: str = ""
    type: str = ""
    exchange: str = ""
    limit: Annotated[int, msgspec.Meta(ge=1)] = 30


class HistoryQuery(msgspec.Struct, frozen=True, rename={"from_s": "from", "to_s": "to"}):
    """The newest `countback` bars before `to`, or those in `[from, to)`; seconds since the Unix epoch."""

    symbol: str
    resolution: str
    to_s: int
    from_s: int | None = None
    countback: Annotated[int, msgspec.Meta(ge=1)] | None = None


class QuotesQuery(msgspec.Struct, frozen=True):
    """Names as in `SymbolQuery`, joined by commas."""

    symbols: str


def error(response: HttpResponse) -> HttpResponse:
    """One of REST's error answers in UDF's shape; status and headers stay."""
    message = msgspec.json.decode(response.content)["error"]["message"]
    response.content = msgspec.json.encode({"s": "error", "errmsg": message})
    return response


class UdfView(ReaderView):
    """What all UDF endpoints share. OpenAPI leaves them out: the contract is TradingView's, and errors have its shape."""

    schema = None

    def get_exception_handler(self) -> Handler:
        """REST's, whose answer gets UDF's shape."""
        handle = cast(Handler, super().get_exception_handler())

        def shaped(failure: Exception, context: dict[str, Any]) -> HttpResponse | None:
            response = handle(failure, context)
            return response and error(response)

        return shaped

    def perform_content_negotiation(self, request: Request, force: bool = False) -> Any:  # noqa: ARG002
        """Whatever a client says that it accepts: there is one form of each answer."""
        return super().perform_content_negotiation(request, force=True)


def _asked(kind: type[Asked], request: Request) -> Asked:
    try:
        return msgspec.convert(request.query_params.dict(), kind, strict=False)
    except msgspec.ValidationError as failure:
        raise ParseError(str(failure).replace("Object missing required field", "missing parameter")) from None


def _json(answer: Any) -> HttpResponse:
    return HttpResponse(msgspec.json.encode(answer), content_type="application/json")


class ConfigView(UdfView):
    """What this server offers."""

    def get(self, request: Request) -> HttpResponse:  # noqa: ARG002
        """Resolutions, and the filters of the search: the venues and types that are listed."""
        every = known_instruments().all()
        venues = sorted({one.venue for one in every if one.venue})
        types = sorted({_type(one) for one in every})
        return _json(
            {
                "supported_resolutions": list(RESOLUTIONS),
                "supports_search": True,
                "supports_group_request": False,
                "supports_marks": False,
                "supports_timescale_marks": False,
                "supports_time": True,
                "exchanges": [
                    {"value": "", "name": "All exchanges", "desc": ""},
                    *({"value": venue, "name": venue, "desc": venue} for venue in venues),
                ],
                "symbols_types": [{"name": "All types", "value": ""}, *({"name": kind.title(), "value": kind} for kind in types)],
            }
        )


class TimeView(UdfView):
    """The server's clock."""

    def get(self, request: Request) -> HttpResponse:  # noqa: ARG002
        """Seconds since the Unix epoch, as text."""
        return HttpResponse(str(now_us() // SECOND_US), content_type="text/plain")


class SymbolsView(UdfView):
    """One instrument."""

    def get(self, request: Request) -> HttpResponse:
        """What a chart must know to draw it."""
        instrument = _named(_asked(SymbolQuery, request).symbol)
        return _json(_found(instrument) | _drawn(instrument, reader_of(request)))


def _named(text: str) -> Instrument:
    venue, colon, symbol = text.strip().upper().rpartition(":")
    instrument = listed(symbol)
    if colon and venue != instrument.venue.upper():
        raise UnknownSymbol(f"there is no instrument {symbol!r} at {venue!r}")
    return instrument


def _type(instrument: Instrument) -> str:
    return TYPES.get(instrument.kind, instrument.kind)


def _full_name(instrument: Instrument) -> str:
    return f"{instrument.venue}:{instrument.symbol}" if instrument.venue else instrument.symbol


def _found(instrument: Instrument) -> dict[str, Any]:
    """What a search says of an instrument."""
    return {
        "symbol": instrument.symbol,
        "ticker": instrument.symbol,
        "full_name": _full_name(instrument),
        "description": instrument.name,
        "exchange": instrument.venue,
        "type": _type(instrument),
    }


def _drawn(instrument: Instrument, reader: Reader) -> dict[str, Any]:
    """What a chart needs beyond that."""
    zone, hours = _calendar(instrument.session)
    return {
        "name": instrument.symbol,
        "listed_exchange": instrument.venue,
        "session": hours,
        "timezone": zone,
        "currency_code": instrument.currency,
        "format": "price",
        "minmov": 1,
        "pricescale": 10**instrument.price_decimals,
        "volume_precision": instrument.size_decimals,
        "has_intraday": True,
        "has_daily": True,
        "has_weekly_and_monthly": False,
        "intraday_multipliers": [resolution for resolution in RESOLUTIONS if resolution != "1D"],
        "supported_resolutions": list(RESOLUTIONS),
        "visible_plots_set": "ohlcv",
        "data_status": "delayed_streaming" if reader.delay_us else "streaming",
    } | ({"simulated": True} if instrument.simulated else {})


def _calendar(session: str) -> tuple[str, str]:
    """Time zone and opening hours; hours without days are those of Monday to Friday."""
    found = SESSIONS[session]
    if found is None:
        return "Etc/UTC", "24x7"
    return found.zone.key, ",".join(f"{opens:%H%M}-{closes:%H%M}" for opens, closes in found.hours)


class SearchView(UdfView):
    """Instruments that fit what was typed."""

    def get(self, request: Request) -> HttpResponse:
        """Best first: the symbol begins with it, a word of the name does, either contains it."""
        asked = _asked(SearchQuery, request)
        fitting = [
            one for one in known_instruments().all() if asked.type in ("", _type(one)) and asked.exchange in ("", one.venue)
        ]
        wanted = asked.query.strip().casefold().rpartition(":")[2]
        ranked = sorted((rank, one.symbol, one) for one in fitting if (rank := _rank(one, wanted)) is not None)
        return _json([_found(one) for _, _, one in ranked[: min(asked.limit, MOST_FOUND)]])


def _rank(instrument: Instrument, wanted: str) -> int | None:
    symbol, name = instrument.symbol.casefold(), instrument.name.casefold()
    if symbol.startswith(wanted):
        return 0
    if any(word.startswith(wanted) for word in name.split()):
        return 1
    return 2 if wanted in symbol or wanted in name else None


class HistoryView(UdfView):
    """Bars of one symbol."""

    data_type = DataType.KLINE

    def get(self, request: Request) -> HttpResponse:
        """Oldest first, the open one included; where the range has none, the time of the last one before it."""
        asked = _asked(HistoryQuery, request)
        instrument, interval = _named(asked.symbol), _interval(asked.resolution)
        reader = reader_of(request)
        readable(str(Topic(DataType.KLINE, instrument.symbol, interval)), reader)
        axis = _Axis(instrument, interval)
        start_us, end_us, limit = _range(asked, axis)
        seen = seen_by(reader)
        page = history.klines(seen, instrument.symbol, interval, start_us=start_us, end_us=end_us, limit=limit)
        if not page.bodies:
            return _json(_nothing(seen, axis, start_us))
        return _json(_columns(axis, page))


def _interval(resolution: str) -> Interval:
    found = RESOLUTIONS.get("1D" if resolution == "D" else resolution)
    if found is None:
        raise UnsupportedType(f"there is no resolution {resolution!r}; there are {', '.join(RESOLUTIONS)}")
    return found


class _Axis(msgspec.Struct, frozen=True):
    """The times of an instrument's bars as UDF says them: when they opened, and of a 1D bar its day."""

    instrument: Instrument
    interval: Interval

    @property
    def _zone(self) -> Any:
        session = SESSIONS[self.instrument.session]
        return session.zone if session else UTC

    def seconds(self, open_us: int) -> int:
        """The time of a bar that opened then."""
        if self.interval is not Interval.D1 or open_us % Interval.D1.length_us == 0:
            return open_us // SECOND_US
        day = datetime.fromtimestamp(open_us / SECOND_US, self._zone).date()
        return int(datetime.combine(day, time(), UTC).timestamp())

    def opening_us(self, seconds: int) -> int:
        """The least opening of a bar whose time is that or later."""
        if self.interval is not Interval.D1:
            return max(0, min(seconds * SECOND_US, history.ALWAYS_US))
        days = -(-seconds // 86_400)
        day = date(1970, 1, 1) + timedelta(max(0, min(days, (LAST_DAY - date(1970, 1, 1)).days)))
        # some feeds' own bars open at 00:00 UTC, whatever the exchange's zone
        return int(min(datetime.combine(day, time(), zone).timestamp() for zone in (UTC, self._zone))) * SECOND_US


def _range(asked: HistoryQuery, axis: _Axis) -> tuple[int, int, int]:
    """What to ask of `history.klines`: start_us, end_us, limit."""
    end_us = axis.opening_us(asked.to_s)
    if asked.countback is not None:
        return 0, end_us, min(asked.countback, MOST_BARS)
    if asked.from_s is None:
        raise ParseError("missing parameter `from`, or `countback`")
    if asked.from_s > asked.to_s:
        raise ParseError("`from` is after `to`")
    return max(0, axis.opening_us(asked.from_s)), end_us, MOST_BARS


def _nothing(seen: history.Readable, axis: _Axis, start_us: int) -> dict[str, Any]:
    """That there are no bars, and the time of the last one that opened before."""
    bodies = history.klines(seen, axis.instrument.symbol, axis.interval, end_us=start_us, limit=1).bodies if start_us else []
    return {"s": "no_data"} | ({"nextTime": axis.seconds(_kline(bodies[-1]).open_time)} if bodies else {})


def _columns(axis: _Axis, page: history.Page) -> dict[str, Any]:
    bars = [_kline(body) for body in page.bodies]
    return {
        "s": "ok",
        "t": [axis.seconds(bar.open_time) for bar in bars],
        "o": [float(bar.open) for bar in bars],
        "h": [float(bar.high) for bar in bars],
        "l": [float(bar.low) for bar in bars],
        "c": [float(bar.close) for bar in bars],
        "v": [float(bar.volume) for bar in bars],
    } | ({"stale": True} if page.stale else {})


def _kline(body: bytes) -> Kline:
    return cast(Kline, from_body(DataType.KLINE, body))


class QuotesView(UdfView):
    """Latest prices of some symbols."""

    def get(self, request: Request) -> HttpResponse:
        """From quote and ticker, as far as the plan includes them; a symbol that is not listed is an error among the others."""
        names = list(dict.fromkeys(name.strip() for name in _asked(QuotesQuery, request).symbols.split(",") if name.strip()))
        if len(names) * 2 > MOST_TOPICS:
            raise TooMany(f"at most {MOST_TOPICS // 2} symbols at once, not {len(names)}")
        reader = reader_of(request)
        kinds = _kinds(reader)
        wanted = {name: _topics(name, kinds, reader) for name in names}
        known = _latest([topic for topics in wanted.values() for topic in topics], reader)
        return _json({"s": "ok", "d": [_quoted(name, topics, known) for name, topics in wanted.items()]})


def _kinds(reader: Reader) -> list[DataType]:
    kinds: list[DataType] = [kind for kind in (DataType.QUOTE, DataType.TICKER) if reader.objection(kind) is None]
    if not kinds:
        raise NotInPlan("your plan includes neither quote nor ticker")
    return kinds


def _topics(name: str, kinds: list[DataType], reader: Reader) -> list[Topic]:
    """The topics that tell a symbol's price; none: there is no such symbol for this reader."""
    try:
        return [readable(str(Topic(kind, _named(name).symbol)), reader) for kind in kinds]
    except (UnknownSymbol, UnknownTopic, NotInPlan):
        return []


class _Known(msgspec.Struct, frozen=True):
    """A tick, and whether it is too old."""

    tick: Quote | Ticker
    stale: bool


def _latest(topics: list[Topic], reader: Reader) -> dict[Topic, _Known]:
    """What is known of topics; the last known while the store cannot be asked."""
    values = last_known(store().layout.prefix).latest(seen_by(reader), [str(topic) for topic in topics])
    return {
        topic: _Known(
            cast(Quote | Ticker, from_body(topic.type, value.stamped.body)),
            not value.current or is_stale(value.stamped, listed(topic.symbol), now_us() - reader.delay_us),
        )
        for topic, value in zip(topics, values, strict=True)
        if value is not None and value.stamped is not None
    }


def _quoted(name: str, topics: list[Topic], known: Mapping[Topic, _Known]) -> dict[str, Any]:
    if not topics:
        return {"s": "error", "n": name, "v": {}}
    instrument = listed(topics[0].symbol)
    named = {
        "short_name": instrument.symbol,
        "exchange": instrument.venue,
        "original_name": _full_name(instrument),
        "description": instrument.name,
    }
    found = [known[topic] for topic in topics if topic in known]
    prices = {field: value for one in found for field, value in _prices(one.tick).items()}
    stale = {"stale": True} if any(one.stale for one in found) else {}
    return {"s": "ok", "n": name, "v": named | prices | stale}


def _prices(tick: Quote | Ticker) -> dict[str, float]:
    if isinstance(tick, Quote):
        named: dict[str, str | None] = {"bid": tick.bid, "ask": tick.ask}
    else:
        named = {
            "lp": tick.last, "ch": tick.change, "chp": tick.change_percent, "open_price": tick.open, "high_price": tick.high,
            "low_price": tick.low, "prev_close_price": tick.prev_close, "volume": tick.volume,
        }  # fmt: skip
    return {field: float(text) for field, text in named.items() if text is not None}


urlpatterns = [
    path("config", ConfigView.as_view()),
    path("time", TimeView.as_view()),
    path("symbols", SymbolsView.as_view()),
    path("search", SearchView.as_view()),
    path("history", HistoryView.as_view()),
    path("quotes", QuotesView.as_view()),
]
