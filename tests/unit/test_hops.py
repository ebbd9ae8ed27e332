"""Which updates are followed: the same in every process, and as many as were asked for."""

from __future__ import annotations

import pytest

from marketdata.hops import Choice

UPDATES = [(f"trade.S{number % 7}", "k3x9qa", number) for number in range(20_000)]


def test_an_update_has_the_same_name_wherever_it_is_asked_for() -> None:
    assert Choice(1)("trade.AAPL", "k3x9qa", 7) == Choice(1)("trade.AAPL", "k3x9qa", 7)


def test_updates_have_names_of_their_own() -> None:
    choice = Choice(1)
    names = {found.trace for update in UPDATES if (found := choice(*update)) is not None}
    assert len(names) == len(UPDATES)
    assert choice("trade.AAPL", "k3x9qa", 17) != choice("trade.AAPL", "k3x9qb", 17) != choice("quote.AAPL", "k3x9qa", 17)


@pytest.mark.parametrize("ratio", [0.01, 0.1, 0.5])
def test_about_that_share_is_followed(ratio: float) -> None:
    share = sum(Choice(ratio)(*update) is not None for update in UPDATES) / len(UPDATES)
    assert share == pytest.approx(ratio, rel=0.2)


@pytest.mark.parametrize(("ratio", "followed"), [(0, 0), (1, len(UPDATES))])
def test_none_are_followed_or_all(ratio: float, followed: int) -> None:
    assert sum(Choice(ratio)(*update) is not None for update in UPDATES) == followed


def test_who_follows_less_follows_a_part_of_the_same() -> None:
    few, many = Choice(0.05), Choice(0.2)
    assert all(many(*update) is not None for update in UPDATES if few(*update) is not None)
