"""The demo's price path: believable on every scale of time, and anchored."""

from __future__ import annotations

import itertools
import math
from statistics import fmean, stdev

import pytest

from marketdata.feeds.market import DAY_US, GENESIS_US, Dice, Market, Path
from marketdata.feeds.simulated import STREAMED

NOW_US = 1_795_386_560_000_000
VOLATILITY = 0.02


def moves(path: Path, pause_us: int) -> list[float]:
    logs = [path.at(NOW_US - index * pause_us) for index in range(400)]
    return [after - before for after, before in itertools.pairwise(logs)]


@pytest.mark.parametrize("pause_us", [1_000_000, 60_000_000, 3_600_000_000, DAY_US])
def test_the_path_moves_like_a_random_walk_on_every_scale(pause_us):
    deviations = [stdev(moves(Path(Dice(seed, "X"), VOLATILITY), pause_us)) for seed in range(6)]
    assert fmean(deviations) == pytest.approx(VOLATILITY * math.sqrt(pause_us / DAY_US), rel=0.15)


def test_the_path_is_continuous():
    path = Path(Dice(1, "X"), VOLATILITY)
    assert abs(path.at(NOW_US + 1000) - path.at(NOW_US)) < VOLATILITY / 1000


def test_the_path_stays_near_its_mean_for_decades():
    path = Path(Dice(1, "X"), VOLATILITY)
    assert all(abs(path.at(NOW_US + index * 100 * DAY_US)) < 2 for index in range(100))


@pytest.mark.parametrize("profile", STREAMED, ids=lambda profile: profile.listing.symbol)
def test_the_path_begins_at_the_anchor(profile):
    market = Market(profile, 7)
    assert float(market.price_text(market.mid(GENESIS_US))) == profile.anchor


def test_a_coarse_price_is_near_the_true_one():
    market = Market(STREAMED[0], 7)
    assert market.mid(NOW_US, finest_us=DAY_US >> 11) == pytest.approx(market.mid(NOW_US), rel=0.002)


def test_activity_is_one_on_average_and_highest_at_the_ends_of_a_stocks_day():
    market = Market(STREAMED[0], 7)
    day = [market.activity(NOW_US + minute * 60_000_000) for minute in range(1440)]
    assert fmean(day) == pytest.approx(1, rel=0.1)
    assert market.day_shape(0) > 2 * market.day_shape(DAY_US // 2)
