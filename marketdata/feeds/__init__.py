"""What a feed is, and which there are.

A feed turns what a venue says into ticks. It knows nothing of Redis, Django or clients: ingest takes its ticks from it.
There are two shapes. A **streaming** feed is an async iterator of batches and lives in the `feed` process, where ingest
restarts it when it ends or raises. A **polled** feed is asked by the Celery task whenever it is due.
A kind of feed is one file here; it registers itself with `@register("name")` on a function that makes its feeds.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any, Protocol, runtime_checkable

from marketdata.errors import BadFeedOptions
from marketdata.ticks import Tick, Trade

Batch = Sequence[Tick]


@dataclass(frozen=True)
class Listing:
    """An instrument that a feed brings along; becomes a row of `marketdata.models.Instrument` unless one exists."""

    symbol: str
    name: str
    kind: str  # stock, crypto, index, fund or future
    venue: str
    currency: str
    price_decimals: int
    size_decimals: int
    session: str = "always"  # always, us or cn: see `marketdata.instruments.SESSIONS`
    simulated: bool = False


@runtime_checkable
class StreamingFeed(Protocol):
    """A feed that speaks by itself. One that can wait for us, as a file can, says `patient = True`; see docs/feeds.md."""

    name: str
    simulated: bool

    def listings(self) -> Sequence[Listing]:
        """The instruments that this feed can bring."""

    def stream(self) -> AsyncIterator[Batch]:
        """Connect and yield batches in order. Ending or raising means: connect again after a pause."""


@runtime_checkable
class PolledFeed(Protocol):
    """A feed that must be asked, every `interval_s`."""

    name: str
    simulated: bool
    interval_s: float

    def listings(self) -> Sequence[Listing]:
        """The instruments that this feed can bring."""

    def poll(self, now_us: int, since_us: int) -> Batch:
        """Everything that happened after `since_us` and not after `now_us`, in order.

        Successive polls may run in different processes: `since_us`, the previous good poll's `now_us`, is kept by the caller.
        """


@runtime_checkable
class FeedWithPast(Protocol):
    """A feed that can tell how the day went before anybody listened; see `marketdata.priming`."""

    def past(self, symbol: str, start_us: int, now_us: int) -> Sequence[Trade]:
        """Trades, perhaps few, that lead to the bars in progress at `now_us`, given when the day of the symbol began."""


Feed = StreamingFeed | PolledFeed


@dataclass(frozen=True)
class FeedSettings:
    """What the operator chose for one kind of feed.

    Attributes:
        symbols: only these; empty means all.
        interval_s: asked-for pause between polls; None means the feed's own.
        options: the kind's own options, checked by the kind.
    """

    symbols: Sequence[str] = ()
    interval_s: float | None = None
    options: Mapping[str, Any] = field(default_factory=dict)


Maker = Callable[[FeedSettings], Feed]

_makers: dict[str, Maker] = {}
_KINDS = {  # kind → module, imported when first asked for, so that an optional library is needed only by who uses it
    "demo": "simulated",
    "demo-tickers": "day_tickers",
    "demo-cn": "simulated",
    "replay": "replay",
    "ccxt": "ccxt_feed",
}
_polled = {"demo-tickers", "demo-cn"}
_derived: dict[str, tuple[str, ...]] = {}
EXPANSIONS = {"demo": ("demo", "demo-tickers", "demo-cn")}  # one name in TICKWIRE_FEEDS, several feeds


def register(kind: str, *, polled: bool = False, derive: Sequence[str] = ("kline", "ticker")) -> Callable[[Maker], Maker]:
    """Make a kind of feed known under its name.

    Args:
        kind: the name.
        polled: its feeds are asked; otherwise they stream.
        derive: what ingest shall make of their trades.
    """

    def decorate(maker: Maker) -> Maker:
        _makers[kind] = maker
        _derived[kind] = tuple(derive)
        if polled:
            _polled.add(kind)
        return maker

    return decorate


def kinds(names: Sequence[str]) -> list[str]:
    """The kinds that the names of `TICKWIRE_FEEDS` stand for.

    Raises:
        BadFeedOptions: a name is no kind.
    """
    expanded = [kind for name in names for kind in EXPANSIONS.get(name, (name,))]
    for kind in expanded:
        if kind not in _KINDS and kind not in _makers:
            raise BadFeedOptions(f"{kind!r} is not a kind of feed; there are {', '.join(sorted(_KINDS))}")
    return expanded


def is_polled(kind: str) -> bool:
    """Whether feeds of the kind are asked; the others stream. Answers without loading the kind's module."""
    return kind in _polled


def derived(kind: str) -> tuple[str, ...]:
    """What ingest shall make of the trades of a kind."""
    _load(kind)
    return _derived[kind]


def make(kind: str, settings: FeedSettings) -> Feed:
    """Make the feed of a kind.

    Raises:
        BadFeedOptions: the kind does not exist, or refuses its options.
    """
    kinds([kind])
    _load(kind)
    return _makers[kind](settings)


def _load(kind: str) -> None:
    if kind not in _makers:
        import_module(f"marketdata.feeds.{_KINDS[kind]}")
