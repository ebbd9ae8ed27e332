"""REST over market data: instruments, snapshots, trades, klines, history, and the door for ticks from outside.

Rules of this file:
1. `data` of every answer is the stored body, byte for byte.
2. A request costs one round trip to Redis; klines cost up to two, and one query. Instruments come from memory.
3. While the store cannot be asked, latest values are the last known ones and klines those at rest, marked stale. What would have
   holes that nothing shows, trades and updates, is refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any, ClassVar, cast

import msgspec
from django.http import HttpResponse
from django.http.response import HttpResponseBase
from django.utils.cache import get_conditional_response, patch_vary_headers
from rest_framework.pagination import PageNumberPagination
from rest_framework.permissions import BasePermission
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.serializers import Serializer

from marketdata import history, openapi, snapshots, ticks
from marketdata.access import MayPublish, MayRead, Reader, known_instruments, listed, readable, reader_of
from marketdata.as_of import AsOf
from marketdata.endpoint import Endpoint, decoded
from marketdata.errors import BadTick, TooLarge, TooMany
from marketdata.ingest import Ingest
from marketdata.instruments import Instrument, instruments
from marketdata.last_known import last_known
from marketdata.openapi import describe
from marketdata.publisher import Publisher
from marketdata.reads import Reads
from marketdata.serializers import (
    MOST_INGEST_BYTES,
    MOST_INSTRUMENTS,
    MOST_TICKS,
    MOST_TOPICS,
    USUAL_INSTRUMENTS,
    HistoryQuery,
    Ingested,
    InstrumentSerializer,
    InstrumentsQuery,
    Klines,
    KlinesQuery,
    RejectedTick,
    Snapshot,
    Snapshots,
    SymbolsQuery,
    Ticks,
    TopicsQuery,
    Trades,
    TradesQuery,
    Update,
    Updates,
)
from marketdata.store import Store, now_us
from marketdata.topics import DataType, Topic, interval

READ_S = 2.0  # who waits for an answer is told sooner that none comes than a writer, whose update may have gone through


@cache
def store() -> Store:
    """This process's store, as requests read it."""
    return Store.from_settings(READ_S)


def reads() -> Reads:
    """What requests read of it."""
    return _reads(store())


def seen_by(reader: Reader) -> Reads | AsOf:
    """What a reader sees of it: all, or nothing younger than the plan's delay."""
    return AsOf(reads(), now_us() - reader.delay_us) if reader.delay_us else reads()


_reads = cache(Reads)


@cache
def ingest() -> Ingest:
    """This process's ingest."""
    return Ingest(Publisher.from_settings(), instruments())


class ReaderView(Endpoint):
    """What these endpoints share: who may read, and that an answer may be kept by who got it, to be asked for again."""

    permission_classes: ClassVar[Sequence[type[BasePermission]]] = [MayRead]  # type: ignore[misc]
    caching = "private, no-cache"

    def finalize_response(self, request: Request, response: Any, *args: Any, **kwargs: Any) -> Any:
        """Tell caches that the answer depends on the plan."""
        answer: HttpResponseBase = super().finalize_response(request, response, *args, **kwargs)
        patch_vary_headers(answer, ["Authorization", "Cookie"])
        return answer


def _asked(kind: type[Serializer[Any]], request: Request) -> dict[str, Any]:
    query = kind(data=request.query_params.dict())  # no form: an empty parameter is a wrong one, not an absent one
    query.is_valid(raise_exception=True)
    asked: dict[str, Any] = query.validated_data
    return asked


def _json(answer: msgspec.Struct) -> HttpResponse:
    return HttpResponse(msgspec.json.encode(answer), content_type=snapshots.CONTENT_TYPE)


def _conditional(request: Request, answer: msgspec.Struct) -> HttpResponseBase:
    """The answer with its ETag, or 304 where the client has it already."""
    response = _json(answer)
    response["ETag"] = etag = snapshots.etag(response.content)
    return get_conditional_response(request._request, etag=etag, response=response) or response


class InstrumentPages(PageNumberPagination):
    """As many instruments a page as `InstrumentsQuery` lets pass."""

    page_size = USUAL_INSTRUMENTS
    page_size_query_param = "page_size"
    max_page_size = MOST_INSTRUMENTS


class InstrumentsView(ReaderView):
    """The active instruments."""

    pagination_class = InstrumentPages

    @describe(
        "instruments",
        "Active instruments by symbol",
        InstrumentSerializer(many=True),
        openapi.INSTRUMENT,
        query=InstrumentsQuery,
    )
    def get(self, request: Request) -> Response:
        """A page of those that match all filters."""
        asked = _asked(InstrumentsQuery, request)
        found = [instrument for instrument in _all_listed() if _matches(instrument, asked)]
        pages = InstrumentPages()
        page: Any = pages.paginate_queryset(cast(Any, found), request, view=self)
        return pages.get_paginated_response(InstrumentSerializer(page, many=True).data)


def _all_listed() -> list[Instrument]:
    return known_instruments().all()


def _matches(instrument: Instrument, asked: dict[str, Any]) -> bool:
    part = asked.get("search", "").casefold()
    return (
        (part in instrument.symbol.casefold() or part in instrument.name.casefold())
        and asked.get("venue", instrument.venue) == instrument.venue
        and asked.get("type", instrument.kind) == instrument.kind
    )


class InstrumentView(ReaderView):
    """One instrument."""

    @describe("instrument", "One instrument", InstrumentSerializer, openapi.INSTRUMENT)
    def get(self, request: Request, symbol: str) -> Response:  # noqa: ARG002
        """What a reader must know to show its prices."""
        return Response(InstrumentSerializer(cast(Any, listed(symbol))).data)


class SnapshotsView(ReaderView):
    """Latest values of any topics."""

    @describe("snapshots", "Latest values", Snapshots, openapi.snapshots("quote.AAPL", openapi.QUOTE), query=TopicsQuery)
    def get(self, request: Request) -> HttpResponseBase:
        """Those that may be read are answered though others are refused."""
        names = _bounded(_asked(TopicsQuery, request)["topics"])
        return _conditional(request, _snapshots(names, reader_of(request)))


class _OfTypeView(ReaderView):
    """Latest values of one data type."""

    data_type: ClassVar[DataType]

    def of_symbols(self, request: Request) -> HttpResponseBase:
        """Of the symbols asked for, or of all."""
        reader, asked = reader_of(request), _bounded(_asked(SymbolsQuery, request).get("symbols") or [])
        symbols = asked or [one.symbol for one in _all_listed() if reader.objection(self.data_type, one.symbol) is None]
        return _conditional(request, _snapshots([f"{self.data_type}.{symbol}" for symbol in symbols], reader))

    def of_symbol(self, request: Request, symbol: str) -> HttpResponseBase:
        """Of one symbol."""
        wanted = snapshots.Wanted({str(Topic(self.data_type, symbol)): listed(symbol)}, [])
        (answer,) = _answer(wanted, reader_of(request)).snapshots
        return _conditional(request, answer)


class QuotesView(_OfTypeView):
    """Latest quotes."""

    data_type = DataType.QUOTE

    @describe("quotes", "Latest quotes", Snapshots, openapi.snapshots("quote.AAPL", openapi.QUOTE), query=SymbolsQuery)
    def get(self, request: Request) -> HttpResponseBase:
        """Of the symbols asked for, or of all."""
        return self.of_symbols(request)


class QuoteView(_OfTypeView):
    """Latest quote."""

    data_type = DataType.QUOTE

    @describe("quote", "Latest quote of a symbol", Snapshot, openapi.snapshot("quote.AAPL", openapi.QUOTE))
    def get(self, request: Request, symbol: str) -> HttpResponseBase:
        """Best bid and ask."""
        return self.of_symbol(request, symbol)


class TickersView(_OfTypeView):
    """Latest tickers."""

    data_type = DataType.TICKER

    @describe("tickers", "Latest tickers", Snapshots, openapi.snapshots("ticker.AAPL", openapi.TICKER), query=SymbolsQuery)
    def get(self, request: Request) -> HttpResponseBase:
        """Of the symbols asked for, or of all."""
        return self.of_symbols(request)


class TickerView(_OfTypeView):
    """Latest ticker."""

    data_type = DataType.TICKER

    @describe("ticker", "Latest ticker of a symbol", Snapshot, openapi.snapshot("ticker.AAPL", openapi.TICKER))
    def get(self, request: Request, symbol: str) -> HttpResponseBase:
        """The session so far."""
        return self.of_symbol(request, symbol)


class DepthView(_OfTypeView):
    """Latest book."""

    data_type = DataType.DEPTH

    @describe("depth", "Latest order book of a symbol", Snapshot, openapi.snapshot("depth.BTC-USDT", openapi.DEPTH))
    def get(self, request: Request, symbol: str) -> HttpResponseBase:
        """Up to 20 levels a side, best first."""
        return self.of_symbol(request, symbol)


def _bounded(names: Sequence[str]) -> Sequence[str]:
    if len(names) > MOST_TOPICS:
        raise TooMany(f"at most {MOST_TOPICS} at once, not {len(names)}")
    return names


def _snapshots(names: Sequence[str], reader: Reader) -> Snapshots:
    return _answer(snapshots.wanted(names, reader), reader)


def _answer(wanted: snapshots.Wanted, reader: Reader) -> Snapshots:
    """The latest values; while the store cannot be asked, the last known ones, without those that nobody here knows."""
    values = last_known(store().layout.prefix).latest(seen_by(reader), list(wanted.topics))
    return snapshots.answer(wanted, values, now_us() - reader.delay_us)


class TradesView(ReaderView):
    """Latest trades."""

    data_type = DataType.TRADE

    @describe("trades", "Latest trades of a symbol, newest first", Trades, openapi.TRADES, query=TradesQuery)
    def get(self, request: Request, symbol: str) -> HttpResponse:
        """As far back as the store remembers."""
        limit = _asked(TradesQuery, request)["limit"]
        topic = Topic(DataType.TRADE, listed(symbol).symbol)
        epoch, updates = seen_by(reader_of(request)).history(str(topic), limit=limit, newest=True)
        bodies = [msgspec.Raw(update.body) for update in reversed(updates)]
        return _json(Trades(symbol, epoch or None, updates[-1].seq if updates else 0, bodies))


class KlinesView(ReaderView):
    """Bars of one symbol."""

    data_type = DataType.KLINE

    @describe("klines", "Bars of a symbol: history joined with the open bar", Klines, openapi.KLINES, query=KlinesQuery)
    def get(self, request: Request, symbol: str) -> HttpResponse:
        """The newest `limit` that opened in `[start, end)`, oldest first."""
        asked = _asked(KlinesQuery, request)
        listed(symbol)
        length = interval(asked["interval"])
        end_us = asked.get("cursor", asked.get("end", history.ALWAYS_US))
        page = history.klines(
            seen_by(reader_of(request)),
            symbol,
            length,
            start_us=asked.get("start", 0),
            end_us=end_us,
            limit=asked["limit"],
        )
        older = None if page.older_us is None else str(page.older_us)
        return _json(Klines(symbol, length, [msgspec.Raw(body) for body in page.bodies], older, page.stale))


class HistoryView(ReaderView):
    """Updates of one topic."""

    @describe("history", "Updates of a topic that are still kept", Updates, openapi.UPDATES, query=HistoryQuery)
    def get(self, request: Request, topic: str) -> HttpResponse:
        """The oldest `limit` from `from_seq` on; without `from_seq` the newest. Oldest first in either case."""
        asked = _asked(HistoryQuery, request)
        reader = reader_of(request)
        name = str(readable(topic, reader))
        epoch, updates = seen_by(reader).history(
            name,
            from_seq=asked.get("from_seq", 1),
            to_seq=asked.get("to_seq"),
            limit=asked["limit"],
            newest="from_seq" not in asked,
        )
        return _json(Updates(name, epoch or None, [Update(update.seq, msgspec.Raw(update.body)) for update in updates]))


class IngestView(ReaderView):
    """The door for ticks from outside."""

    permission_classes: ClassVar[Sequence[type[BasePermission]]] = [MayPublish]  # type: ignore[misc]

    @describe(
        "ingest",
        "Publish ticks",
        Ingested,
        openapi.INGESTED,
        request=Ticks,
        request_example=openapi.TICKS,
        auth=[{"apiKey": []}],
    )
    def post(self, request: Request) -> HttpResponse:
        """Ticks that are refused are named by their index; the others are accepted."""
        raw = _raw_ticks(request)
        found, refused = _decode(raw)
        done = ingest().accept(list(found.values()))
        indices = list(found)
        refused += [RejectedTick(indices[item.index], item.code, item.message) for item in done.rejected]
        return _json(Ingested(done.accepted, done.duplicates, sorted(refused)))


def _raw_ticks(request: Request) -> Sequence[msgspec.Raw]:
    if int(request.META.get("CONTENT_LENGTH") or 0) > MOST_INGEST_BYTES or len(request.body) > MOST_INGEST_BYTES:
        raise TooLarge(f"at most {MOST_INGEST_BYTES} bytes at once")
    raw = decoded(request.body, Ticks, "a batch of ticks").ticks
    if len(raw) > MOST_TICKS:
        raise TooMany(f"at most {MOST_TICKS} ticks at once, not {len(raw)}")
    return raw


def _decode(raw: Sequence[msgspec.Raw]) -> tuple[dict[int, ticks.Tick], list[RejectedTick]]:
    """The ticks by their index in the batch, and those that are none."""
    found: dict[int, ticks.Tick] = {}
    refused = []
    for index, text in enumerate(raw):
        try:
            found[index] = ticks.from_json(bytes(text))
        except BadTick as error:
            refused.append(RejectedTick(index, error.code, str(error)))
    return found, refused
