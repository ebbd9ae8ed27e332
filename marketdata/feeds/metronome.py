"""The instrument TEST: what must arrive is known beforehand.

Every whole second n of the Unix epoch has one trade, one quote and one book, all with `ts` = n s, and a price
P = 100.00 + (n mod 100) × 0.01:
- trade: id n, price P, size n mod 10 + 1, side `buy` where n is even, `sell` where it is odd;
- quote: ask P and bid P − 0.01 where n is even, bid P and ask P + 0.01 where it is odd; bid_size 100, ask_size 200;
- depth: five levels a side, one cent apart from the quote on, sizes 100, 200 … 500 of bids and 200, 400 … 1000 of asks.
"""

from __future__ import annotations

from marketdata.feeds import Listing
from marketdata.ticks import Depth, Quote, Side, Tick, Trade

SECOND_US = 1_000_000
TEST = Listing("TEST", "Test instrument", "index", "DEMO", "USD", price_decimals=2, size_decimals=0, simulated=True)


class Metronome:
    """The instrument TEST; its formulas stand at the head of this file."""

    listing = TEST

    def events(self, since_us: int, now_us: int) -> list[Tick]:
        """Everything that happens after `since_us` and not after `now_us`, in order."""
        seconds = range(since_us // SECOND_US + 1, now_us // SECOND_US + 1)
        return [tick for second in seconds for tick in self._second(second)]

    def trades(self, since_us: int, now_us: int) -> list[Trade]:
        """The trades among `events`."""
        return [tick for tick in self.events(since_us, now_us) if isinstance(tick, Trade)]

    @staticmethod
    def cents(n: int) -> int:
        """Price of the trade in second n, in cents."""
        return 10_000 + n % 100

    @staticmethod
    def size(n: int) -> int:
        """Size of the trade in second n."""
        return n % 10 + 1

    def _second(self, n: int) -> list[Tick]:
        ts, price = n * SECOND_US, self.cents(n)
        side: Side = "sell" if n % 2 else "buy"
        bid = price if side == "sell" else price - 1
        bids = tuple([(dollars(bid - level), str(100 * (level + 1))) for level in range(5)])
        asks = tuple([(dollars(bid + 1 + level), str(200 * (level + 1))) for level in range(5)])
        return [
            Quote("TEST", ts, *bids[0], *asks[0]),
            Depth("TEST", ts, bids, asks),
            Trade("TEST", ts, str(n), dollars(price), str(self.size(n)), side),
        ]


def dollars(cents: int) -> str:
    """Cents as a price."""
    return f"{cents // 100}.{cents % 100:02d}"
