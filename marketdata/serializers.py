"""What REST is asked and what it answers.

Questions are DRF serializers, which check the query and describe it to OpenAPI. Answers around bodies are structs: a body goes
into them as it was stored, byte for byte, and OpenAPI is told what it is (`project.openapi` adds the schemas of the bodies).
"""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from marketdata.models import Instrument
from marketdata.ticks import Symbol
from marketdata.topics import Interval

MOST_UPDATES = 1000
MOST_SEQ = 2**63 - 1  # Redis refuses greater ones, which must not look like its failure
MOST_TOPICS = 200
USUAL_INSTRUMENTS, MOST_INSTRUMENTS = 100, 500  # a page
MOST_TICKS = 1000
MOST_INGEST_BYTES = 1 << 20


def _ref(name: str) -> dict[str, Any]:
    return {"$ref": f"#/components/schemas/{name}"}


BODIES = ("Quote", "Trade", "Depth", "Ticker", "Kline")
Body = Annotated[msgspec.Raw, msgspec.Meta(extra_json_schema={"anyOf": [_ref(name) for name in BODIES]})]
TradeBody = Annotated[msgspec.Raw, msgspec.Meta(extra_json_schema=_ref("Trade"))]
KlineBody = Annotated[msgspec.Raw, msgspec.Meta(extra_json_schema=_ref("Kline"))]
RawTick = Annotated[
    msgspec.Raw,
    msgspec.Meta(
        extra_json_schema={
            "description": "A body with its type in front.",
            "allOf": [
                {
                    "type": "object",
                    "required": ["type"],
                    "properties": {"type": {"enum": [name.lower() for name in BODIES]}},
                },
                {"anyOf": [_ref(name) for name in BODIES]},
            ],
        }
    ),
]


STALE = "nothing came for too long although the market is open, or the store cannot be asked: this is the last known value"


class Snapshot(msgspec.Struct, frozen=True):
    """The latest value of one topic. While nothing was ever published, `epoch` and `data` are null and `seq` is 0."""

    topic: str
    epoch: str | None
    seq: int
    stale: Annotated[bool, msgspec.Meta(description=STALE)]
    data: Body | None


class Rejected(msgspec.Struct, frozen=True):
    """A topic that was not read, and why."""

    topic: str
    code: int
    name: str
    message: str


class Snapshots(msgspec.Struct, frozen=True):
    """The latest values of many topics, in the order they were asked for."""

    snapshots: list[Snapshot]
    rejected: list[Rejected]


class Trades(msgspec.Struct, frozen=True):
    """The latest trades, newest first. `seq` is the newest one's; the others count down from it."""

    symbol: Symbol
    epoch: str | None
    seq: int
    trades: list[TradeBody]


class Klines(msgspec.Struct, frozen=True, omit_defaults=True):
    """Bars, oldest first; the last may still be open."""

    symbol: Symbol
    interval: Interval
    klines: list[KlineBody]
    next: Annotated[str | None, msgspec.Meta(description="`cursor` of the page of older bars; null: there is none")]
    stale: Annotated[bool, msgspec.Meta(description="true: the store cannot be asked, and the newest bars are missing")] = False


class Update(msgspec.Struct, frozen=True):
    """One update of a topic."""

    seq: int
    data: Body


class Updates(msgspec.Struct, frozen=True):
    """Updates of a topic that are still kept, oldest first."""

    topic: str
    epoch: str | None
    updates: list[Update]


class Ticks(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A batch of raw ticks."""

    ticks: list[RawTick]


class RejectedTick(msgspec.Struct, frozen=True, order=True):
    """A tick that was not accepted, and why."""

    index: int
    code: int
    message: str


class Ingested(msgspec.Struct, frozen=True):
    """What became of a batch. `duplicates` are trades that had been published before: neither accepted nor rejected."""

    accepted: int
    duplicates: int
    rejected: list[RejectedTick]


class InstrumentSerializer(serializers.ModelSerializer[Instrument]):
    """An instrument as REST shows it."""

    class Meta:
        model = Instrument
        fields = [
            "symbol", "name", "kind", "venue", "currency", "price_decimals", "size_decimals", "session", "simulated",
        ]  # fmt: skip
        read_only_fields = fields


@extend_schema_field({"type": "string", "pattern": r"[^,\s]"})
class NamesField(serializers.CharField):
    """Names joined by commas; a name that is repeated counts once."""

    def to_internal_value(self, data: Any) -> Any:
        """The names in their order."""
        names = split(super().to_internal_value(data))
        if not names:
            self.fail("blank")
        return names


def split(text: str) -> list[str]:
    """Names that are joined by commas, each once, in their order."""
    parts = (part.strip() for part in text.split(","))
    return list(dict.fromkeys(part for part in parts if part))


@extend_schema_field({"type": "string", "enum": [interval.value for interval in Interval], "default": Interval.M1.value})
class IntervalField(serializers.CharField):
    """An interval of bars; which there are is checked with the topic, whose error names them."""


@extend_schema_field({"type": "string", "pattern": r"^[^\x00]*$"})
class SearchField(serializers.CharField):
    """Text without null characters, as all is that is asked here."""


@extend_schema_field({"type": "string", "pattern": r"^[^\x00]+$"})
class VenueField(serializers.CharField):
    """The same, and not empty."""


class InstrumentsQuery(serializers.Serializer[Any]):
    """Which instruments."""

    search = SearchField(required=False, allow_blank=True, help_text="part of symbol or name, in any case")
    venue = VenueField(required=False, trim_whitespace=False)
    type = serializers.ChoiceField(choices=Instrument.Kind.choices, required=False, help_text="the instrument's `kind`")
    page = serializers.IntegerField(required=False, min_value=1, help_text="from 1 on")
    page_size = serializers.IntegerField(
        required=False, min_value=1, help_text=f"{USUAL_INSTRUMENTS} by default, {MOST_INSTRUMENTS} at most"
    )


class TopicsQuery(serializers.Serializer[Any]):
    """Which topics."""

    topics = NamesField(help_text=f"up to {MOST_TOPICS} topics joined by commas: `quote.AAPL,kline.1m.BTC-USDT`")


class SymbolsQuery(serializers.Serializer[Any]):
    """Which symbols."""

    symbols = NamesField(required=False, help_text=f"up to {MOST_TOPICS} symbols joined by commas; all when absent")


class TradesQuery(serializers.Serializer[Any]):
    """How many trades."""

    limit = serializers.IntegerField(default=100, min_value=1, max_value=MOST_UPDATES)


class KlinesQuery(serializers.Serializer[Any]):
    """Which bars: the newest `limit` that opened in `[start, end)`."""

    interval = IntervalField(default=Interval.M1.value)
    start = serializers.IntegerField(required=False, min_value=0, help_text="µs since the Unix epoch")
    end = serializers.IntegerField(required=False, min_value=0, help_text="µs since the Unix epoch; now when absent")
    limit = serializers.IntegerField(default=500, min_value=1, max_value=MOST_UPDATES)
    cursor = serializers.IntegerField(
        required=False, min_value=0, help_text="`next` of the page before; takes the place of `end`"
    )


class HistoryQuery(serializers.Serializer[Any]):
    """Which updates: from `from_seq` on, or the newest when it is absent."""

    from_seq = serializers.IntegerField(required=False, min_value=1, max_value=MOST_SEQ)
    to_seq = serializers.IntegerField(required=False, min_value=1, max_value=MOST_SEQ)
    limit = serializers.IntegerField(default=MOST_UPDATES, min_value=1, max_value=MOST_UPDATES)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Refuse a range that ends before it begins.

        Raises:
            ValidationError: it does.
        """
        if attrs.get("to_seq", attrs.get("from_seq", 0)) < attrs.get("from_seq", 0):
            raise serializers.ValidationError({"to_seq": "is less than from_seq"})
        return attrs
