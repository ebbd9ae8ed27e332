"""A market by arithmetic: price path, book and order flow of a simulated symbol at any moment, the same in every process.

Rules of this file:
1. Nothing is remembered. What a symbol does in a step follows from seed, symbol and the step's number; caches only save work.
   So a restart continues the path, and two processes make the same ticks with the same ids.
2. A quote is made whenever the best bid or ask changes; bid < ask. A trade is at the bid or ask of the newest quote before it.
3. All prices are on the grid of the symbol's price decimals, all sizes whole lots.
"""

from __future__ import annotations

import hashlib
import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from statistics import NormalDist

from marketdata.feeds import Listing
from marketdata.ticks import Depth, Level, Quote, Side, Tick, Trade

DAY_US = 86_400_000_000
GENESIS_US = 1_362_182_400_000_000  # 2013-03-02, the day after the last real bar of the demo's stocks
DEPTH_LEVELS = 20

_FINEST_US = 500_000
_OCTAVES = 27  # periods of half a second to 388 days
_AMPLITUDE = math.sqrt(3 / 4)  # of uniform noise, per square root of the period; makes a day's deviation equal the volatility
_BURST_US = 90_000_000
_MOST_TRADES = 5  # per step
_EMPTY_AFTER = 4 * DEPTH_LEVELS  # price levels looked through for each side of a book

_PLACE = struct.Struct("<4q")
_NUMBERS = struct.Struct("<16I")
_PATH, _STEP, _FLOW, _SPREAD, _BURST, _PAST = range(6)
_SIZES = {"bid": 8, "ask": 9}
_normal = NormalDist().inv_cdf


@dataclass(frozen=True)
class Profile:
    """How a simulated symbol trades.

    Attributes:
        listing: what it is; its decimals are the grid of prices and sizes.
        anchor: price at `GENESIS_US`.
        volatility: standard deviation of the log price over a day.
        spread: typical distance of bid and ask, in price steps.
        lot: smallest size, in units of the last size decimal.
        trade_lots: mean size of a trade.
        touch_lots: mean size at the best bid and ask.
        trades_per_s: on the day's average.
        step_us: pause between two states of the book.
        depth_every: steps between two depth ticks.
        density: share of the price levels behind the best where somebody waits.
    """

    listing: Listing
    anchor: float
    volatility: float
    spread: float
    trade_lots: float
    touch_lots: float
    lot: int = 1
    trades_per_s: float = 4.0
    step_us: int = 125_000
    depth_every: int = 2
    density: float = 0.8


class Dice:
    """Random numbers by place: the same seed, symbol and place give the same numbers."""

    def __init__(self, seed: int, symbol: str) -> None:
        self._root = hashlib.blake2b(f"{seed}/{symbol}".encode())

    def at(self, kind: int, a: int, b: int = 0, c: int = 0) -> tuple[float, ...]:
        """Sixteen numbers, evenly spread over the open interval from 0 to 1."""
        place = self._root.copy()
        place.update(_PLACE.pack(kind, a, b, c))
        return tuple([(number + 0.5) * 2.0**-32 for number in _NUMBERS.unpack(place.digest())])


class Path:
    """The log price: value noise in octaves, each as strong as the square root of its period.

    It looks like a random walk on every scale from a second to a year, and beyond that returns to its mean.
    """

    def __init__(self, dice: Dice, volatility: float) -> None:
        self._block = lru_cache(4096)(dice.at)
        self._octaves: list[tuple[int, int, float, float]] = []  # longest first
        for octave, phase in enumerate(dice.at(_PATH, -1) + dice.at(_PATH, -2)[: _OCTAVES - 16]):
            period = _FINEST_US << octave
            self._octaves.insert(0, (octave, period, phase, 2 * _AMPLITUDE * volatility * math.sqrt(period / DAY_US)))
        self._genesis = self._noise(GENESIS_US, 0)

    def at(self, t_us: int, finest_us: int = 0) -> float:
        """Log of the price relative to the one at `GENESIS_US`; cheaper when octaves below `finest_us` may be missing."""
        return self._noise(t_us, finest_us) - self._genesis

    def _noise(self, t_us: int, finest_us: int) -> float:
        total, block_of = 0.0, self._block
        for octave, period, phase, strength in self._octaves:
            if period < finest_us:
                break
            place = (t_us - GENESIS_US) / period + phase
            left = math.floor(place)
            inside = left & 15
            block = block_of(_PATH, octave, left >> 4)
            low = block[inside]
            high = block[inside + 1] if inside < 15 else block_of(_PATH, octave, (left >> 4) + 1)[0]
            total += strength * (low + (high - low) * (place - left) - 0.5)
        return total


@dataclass(frozen=True)
class Touch:
    """The best bid and ask from `ts` until the next step: prices in price steps, sizes in lots."""

    ts: int
    bid: int
    bid_lots: int
    ask: int
    ask_lots: int

    def same_as(self, other: Touch) -> bool:
        """Whether a quote of the other would say the same."""
        mine = (self.bid, self.bid_lots, self.ask, self.ask_lots)
        return mine == (other.bid, other.bid_lots, other.ask, other.ask_lots)


class Market:
    """One simulated symbol."""

    def __init__(self, profile: Profile, seed: int) -> None:
        self.profile = profile
        self.listing = profile.listing
        self._dice = Dice(seed, profile.listing.symbol)
        self._path = Path(self._dice, profile.volatility)
        self._scale = profile.anchor * 10.0**profile.listing.price_decimals
        self._mid = lru_cache(16)(self._make_mid)
        self._touch = lru_cache(16)(self._make_touch)
        self._sizes = lru_cache(1024)(self._dice.at)
        self._step = lru_cache(8)(self._make_step)

    def events(self, since_us: int, now_us: int) -> list[Tick]:
        """Everything that happens after `since_us` and not after `now_us`, in order."""
        steps = self._steps(since_us, now_us)
        return [tick for step in steps for tick in self._step(step) if since_us < tick.ts <= now_us]

    def trades(self, since_us: int, now_us: int) -> list[Trade]:
        """The trades among `events`; cheaper than these."""
        steps = self._steps(since_us, now_us)
        return [trade for step in steps for trade in self._trades(step, self._touch(step)) if since_us < trade.ts <= now_us]

    def mid(self, t_us: int, finest_us: int = 0) -> float:
        """Price in price steps, not rounded; see `Path.at`."""
        return self._mid(t_us, finest_us)

    def activity(self, t_us: int) -> float:
        """How busy the moment is; the day's average is 1. Stocks trade most where their day begins and ends."""
        place = t_us / _BURST_US
        left = math.floor(place)
        low, high = (self._sizes(_BURST, index >> 4)[index & 15] for index in (left, left + 1))
        return self.day_shape(t_us) * math.exp(2 * (low + (high - low) * (place - left)) - 1.1)

    def day_shape(self, t_us: int) -> float:
        """The regular part of `activity`."""
        hour = t_us % DAY_US / DAY_US
        if self.listing.kind == "crypto":
            return 1 + 0.35 * math.sin(2 * math.pi * (hour - 0.375))
        return 0.6 + 1.2 * (2 * hour - 1) ** 2

    def past_numbers(self, interval_us: int, open_time: int) -> tuple[float, ...]:
        """Random numbers of a bar, for who makes bars without ticks."""
        return self._dice.at(_PAST, interval_us, open_time)

    def price_text(self, price: float) -> str:
        """A price in price steps as decimal text."""
        decimals = self.listing.price_decimals
        return f"{max(1, round(price)) / 10**decimals:.{decimals}f}"

    def size_text(self, lots: float) -> str:
        """A size in lots as decimal text."""
        decimals = self.listing.size_decimals
        return f"{round(lots) * self.profile.lot / 10**decimals:.{decimals}f}"

    def _steps(self, since_us: int, now_us: int) -> range:
        return range(since_us // self.profile.step_us - 1, now_us // self.profile.step_us + 1)

    def _make_step(self, step: int) -> Sequence[Tick]:
        touch = self._touch(step)
        ticks: list[Tick] = [] if touch.same_as(self._touch(step - 1)) else [self._quote(touch)]
        if step % self.profile.depth_every == 0:
            ticks.append(self._depth(step, touch))
        return [*ticks, *self._trades(step, touch)]

    def _make_mid(self, t_us: int, finest_us: int) -> float:
        return self._scale * math.exp(self._path.at(t_us, finest_us))

    def _make_touch(self, step: int) -> Touch:
        ts = step * self.profile.step_us + int(0.8 * self.profile.step_us * self._dice.at(_STEP, step)[0])
        width = self._sizes(_SPREAD, step >> 7)[step >> 3 & 15]
        spread = max(1, round(self.profile.spread * (0.4 + 1.2 * width)))
        bid = max(1, math.floor(self.mid(ts) - spread / 2))
        ask = bid + spread
        return Touch(ts, bid, self._lots("bid", bid, step, 0), ask, self._lots("ask", ask, step, 0))

    def _lots(self, side: str, price: int, step: int, rank: int) -> int:
        """Lots waiting at a price: log-normal, renewed from time to time, more of them behind the best; 0 where nobody waits."""
        stay = 2 if rank == 0 else 5 + 3 * (price % 5)  # steps
        slot = (step + 7 * price) // stay
        share = self._sizes(_SIZES[side], price, slot >> 4)[slot & 15]
        if rank:
            if share > self.profile.density:
                return 0
            share /= self.profile.density
        weight = 1 + min(rank, 12) / 4 + (2 if price % 10 == 0 and rank else 0)
        return max(1, round(self.profile.touch_lots * weight * math.exp(0.8 * _normal(min(share, 0.9999)) - 0.32)))

    def _quote(self, touch: Touch) -> Quote:
        bid, ask = self.price_text(touch.bid), self.price_text(touch.ask)
        return Quote(self.listing.symbol, touch.ts, bid, self.size_text(touch.bid_lots), ask, self.size_text(touch.ask_lots))

    def _depth(self, step: int, touch: Touch) -> Depth:
        bids = self._side("bid", step, (touch.bid, touch.bid_lots), -1)
        asks = self._side("ask", step, (touch.ask, touch.ask_lots), 1)
        return Depth(self.listing.symbol, touch.ts, bids, asks)

    def _side(self, side: str, step: int, best: tuple[int, int], direction: int) -> tuple[Level, ...]:
        levels = [best]
        for distance in range(1, _EMPTY_AFTER):
            price = best[0] + direction * distance
            if price < 1 or len(levels) == DEPTH_LEVELS:
                break
            if lots := self._lots(side, price, step, len(levels)):
                levels.append((price, lots))
        return tuple([(self.price_text(price), self.size_text(lots)) for price, lots in levels])

    def _trades(self, step: int, touch: Touch) -> list[Trade]:
        """Buyers take the ask, sellers hit the bid, and more of those come whose way the price is about to go."""
        numbers = self._dice.at(_FLOW, step)
        count = _poisson(self.profile.trades_per_s * self.profile.step_us / 1e6 * self.activity(touch.ts), numbers[0])
        if not count:
            return []
        following = self._touch(step + 1)
        move = (following.bid + following.ask - touch.bid - touch.ask) / (touch.ask - touch.bid)
        buyers = 0.5 + 0.4 * math.tanh(move)
        pause = following.ts - touch.ts - 1
        times, sides, sizes = sorted(numbers[1 : 1 + count]), numbers[6:11], numbers[11:]
        return [
            self._trade(f"{step}{index}", touch.ts + 1 + int(pause * time), touch, "buy" if side < buyers else "sell", size)
            for index, (time, side, size) in enumerate(zip(times, sides, sizes, strict=False))
        ]

    def _trade(self, name: str, ts: int, touch: Touch, side: Side, size: float) -> Trade:
        price, waiting = (touch.ask, touch.ask_lots) if side == "buy" else (touch.bid, touch.bid_lots)
        lots = min(waiting, max(1, round(self.profile.trade_lots * math.exp(_normal(size) - 0.5))))
        return Trade(self.listing.symbol, ts, name, self.price_text(price), self.size_text(lots), side)


def _poisson(mean: float, share: float) -> int:
    """How many events, at most `_MOST_TRADES`, by inversion."""
    count, term = 0, math.exp(-mean)
    while share > term and count < _MOST_TRADES:
        share -= term
        count += 1
        term *= mean / count
    return count
