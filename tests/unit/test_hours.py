"""The hours of a feed are those of its active instruments."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from marketdata.hours import Hours
from marketdata.instruments import Instruments
from tests.unit.ingest_parts import FixedInstruments, instrument


def us(hour: int, *, day: int = 15) -> int:
    """An hour of UTC in November 2024, in µs; the 15th is a Friday."""
    return round(datetime(2024, 11, day, hour, tzinfo=UTC).timestamp() * 1e6)


@pytest.fixture
def known() -> Instruments:
    known = FixedInstruments(
        instrument("AAPL", session="us"), instrument("SH", session="cn"), instrument("BTC"), instrument("OLD", active=False)
    )
    known.refresh()
    return known


@pytest.mark.parametrize(
    ("symbols", "moment", "is_open"),
    [
        (["AAPL"], us(15), True),
        (["AAPL"], us(12), False),
        (["AAPL"], us(15, day=16), False),
        (["AAPL", "SH"], us(2), True),
        (["AAPL", "SH"], us(12), False),
        (["AAPL", "BTC"], us(12), True),
        (["OLD"], us(15), False),
        (["NEVER-LISTED"], us(15), False),
    ],
)
def test_a_feed_is_open_when_any_of_its_active_instruments_is(
    known: Instruments, symbols: list[str], moment: int, is_open: bool
) -> None:
    assert Hours(symbols, known).is_open(moment) == is_open


def test_an_operators_edit_acts(known: FixedInstruments) -> None:
    hours = Hours(["AAPL"], known)
    assert not hours.is_open(us(12))
    known.rows = [instrument("AAPL")]
    known.refresh()
    assert hours.is_open(us(12))


def test_before_the_instruments_are_known_nothing_is_expected() -> None:
    assert not Hours(["BTC"], FixedInstruments(instrument("BTC"))).is_open(us(12))
