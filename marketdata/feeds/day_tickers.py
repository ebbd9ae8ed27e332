"""The demo's tickers, polled: each is read off the 1d bar that clients see, so that the two cannot disagree.

Unlike other feeds this one has Tickwire itself as its venue: it reads the store and the bars at rest, through the two functions
that it is made with.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from marketdata.feeds import Batch, FeedSettings, Listing, register
from marketdata.feeds.simulated import sources
from marketdata.klines import ticker
from marketdata.ticks import Kline, Ticker

DayBars = Callable[[Sequence[str], int], Sequence[Kline]]
PreviousClose = Callable[[str, int], str | None]


class DayTickers:
    """Makes tickers of 1d bars."""

    name = "demo-tickers"
    simulated = True

    def __init__(
        self, listings: Sequence[Listing], day_bars: DayBars, previous_close: PreviousClose, interval_s: float = 1.0
    ) -> None:
        """Take what to make tickers of.

        Args:
            listings: instruments.
            day_bars: given symbols and a time, the 1d bars that were published since then.
            previous_close: given a symbol and the open time of its 1d bar, the close of the bar before; None when unknown.
            interval_s: pause between polls.
        """
        self.interval_s = interval_s
        self._listings = listings
        self._day_bars = day_bars
        self._previous_close = previous_close
        self._known: dict[str, tuple[int, str | None]] = {}

    def listings(self) -> Sequence[Listing]:
        """The instruments that have tickers."""
        return self._listings

    def poll(self, now_us: int, since_us: int) -> Batch:  # noqa: ARG002
        """A ticker for each instrument whose 1d bar changed; see `PolledFeed.poll`."""
        return [self._ticker(day) for day in self._day_bars([listing.symbol for listing in self._listings], since_us)]

    def _ticker(self, day: Kline) -> Ticker:
        open_time, previous_close = self._known.get(day.symbol, (0, None))
        if open_time != day.open_time or previous_close is None:
            previous_close = self._previous_close(day.symbol, day.open_time)
            self._known[day.symbol] = day.open_time, previous_close
        return ticker(day.symbol, day, previous_close)


@register("demo-tickers", polled=True, derive=[])
def _tickers(settings: FeedSettings) -> DayTickers:
    from marketdata import days  # here, because it needs Django, which no other feed does

    return DayTickers(
        [source.listing for source in sources(settings)], days.bars, days.previous_close, settings.interval_s or 1.0
    )
