"""The gate: one feed writes a symbol at a time, and what it writes is new."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marketdata import gate as module
from marketdata.gate import Gate, Line
from marketdata.ticks import Tick, Trade
from tests.unit.ingest_parts import NOW, bar, depth, quote, trade

HOLD_S = 30.0


class Desk:
    """A gate with a clock; what it lets through is published at once."""

    def __init__(self, *names: str) -> None:
        self.now = 1000.0
        self.gate = Gate([Line(name, HOLD_S) for name in names or ("first", "second")])
        self.topic: list[Tick] = []
        for name in names or ("first", "second"):
            self.well(name)

    def well(self, *names: str) -> None:
        for name in names:
            self.gate.report(name, self.now, well=True)

    def ill(self, *names: str) -> None:
        for name in names:
            self.gate.report(name, self.now, well=False)

    def say(self, name: str, *ticks: Tick) -> module.Sifted:
        sifted = self.gate.sift(name, ticks, self.now)
        self.gate.note(name, sifted.through)
        self.topic += sifted.through
        return sifted


@pytest.fixture
def desk() -> Desk:
    return Desk()


# whose turn it is


def test_the_primary_writes_and_the_standby_is_held(desk: Desk) -> None:
    assert desk.say("second", trade(1)).held == 1
    desk.say("first", trade(1))
    assert desk.topic == [trade(1)]


def test_the_standby_writes_when_the_primary_is_not_well(desk: Desk) -> None:
    desk.say("first", trade(1))
    desk.ill("first")
    desk.say("second", trade(2))
    assert desk.topic == [trade(1), trade(2)]


def test_the_primary_takes_back_only_when_it_was_well_for_its_hold(desk: Desk) -> None:
    desk.ill("first")
    desk.say("second", trade(1))
    desk.well("first")
    desk.now += HOLD_S - 1
    assert desk.say("first", trade(2)).held == 1
    desk.say("second", trade(2))
    desk.now += 1
    desk.say("second", trade(3))
    desk.say("first", trade(3))
    assert desk.topic == [trade(1), trade(2), trade(3)]
    assert desk.gate.writes("first", desk.now) == 1


def test_a_primary_that_is_back_before_the_standby_spoke_waits_as_well(desk: Desk) -> None:
    desk.say("first", trade(1))
    desk.ill("first")
    desk.well("first")
    assert desk.say("first", trade(2)).held == 1
    desk.say("second", trade(2))
    assert desk.topic == [trade(1), trade(2)]


def test_what_is_held_goes_out_even_if_the_turn_changed_within_an_instant() -> None:
    desk = Desk("first", "second", "third")
    desk.gate.report("first", desk.now, well=False)
    desk.say("second", trade(1))
    desk.say("third", trade(1), trade(2))
    desk.ill("second")
    desk.well("second")
    desk.say("third", trade(3))
    assert desk.topic == [trade(1), trade(2), trade(3)]


def test_a_publish_that_ends_after_its_feed_failed_does_not_win_the_turn_back(desk: Desk) -> None:
    desk.say("first", trade(1))
    sifted = desk.gate.sift("first", [trade(2)], desk.now)
    desk.ill("first")
    desk.gate.note("first", sifted.through)
    desk.well("first")
    assert desk.say("first", trade(3)).held == 1


def test_a_primary_that_fails_again_begins_its_hold_anew(desk: Desk) -> None:
    desk.ill("first")
    desk.say("second", trade(1))
    desk.well("first")
    desk.now += HOLD_S - 1
    desk.ill("first")
    desk.well("first")
    desk.now += HOLD_S - 1
    assert desk.say("first", trade(2)).held == 1


def test_a_standby_that_fails_gives_back_at_once(desk: Desk) -> None:
    desk.ill("first")
    desk.say("second", trade(1))
    desk.well("first")
    desk.ill("second")
    desk.say("first", trade(2))
    assert desk.topic == [trade(1), trade(2)]


def test_where_nobody_is_well_whoever_wrote_last_goes_on(desk: Desk) -> None:
    desk.ill("first")
    desk.say("second", trade(1))
    desk.ill("second")
    assert desk.say("first", trade(2)).held == 1
    desk.say("second", trade(3))
    assert desk.topic == [trade(1), trade(3)]


def test_before_anything_is_known_the_primary_writes() -> None:
    gate = Gate([Line("first", HOLD_S), Line("second", HOLD_S)])
    gate.report("second", 1000.0, well=True)
    assert gate.sift("first", [trade(1)], 1000.0).through == [trade(1)]


def test_a_symbol_that_the_primary_does_not_bring_is_the_standbys(desk: Desk) -> None:
    desk.gate.bring("first", ["X"])
    desk.gate.bring("second", ["X", "Y"])
    desk.say("second", trade(1), trade(1, symbol="Y"))
    assert desk.topic == [trade(1, symbol="Y")]
    assert (desk.gate.writes("first", desk.now), desk.gate.writes("second", desk.now)) == (1, 1)


def test_a_symbol_that_nobody_listed_is_the_primarys(desk: Desk) -> None:
    desk.gate.bring("first", ["X"])
    desk.gate.bring("second", ["X"])
    desk.say("second", trade(1, symbol="Y"))
    desk.say("first", trade(1, symbol="Y"))
    assert desk.topic == [trade(1, symbol="Y")]


def test_several_standbys_come_in_their_order() -> None:
    desk = Desk("first", "second", "third")
    desk.ill("first", "second")
    desk.say("third", trade(1))
    desk.well("second")
    assert desk.say("second", trade(2)).held == 1
    desk.now += HOLD_S
    desk.say("second", trade(3))
    assert desk.topic == [trade(1), trade(2), trade(3)]


def test_a_new_line_up_keeps_what_is_known_of_topics(desk: Desk) -> None:
    desk.say("first", trade(1), quote(5))
    desk.gate.line_up([Line("second", HOLD_S)])
    sifted = desk.say("second", trade(1), quote(4), trade(6))
    assert (sifted.duplicates, sifted.backwards, sifted.through) == (1, 1, [trade(6)])


def test_a_primary_that_is_switched_on_later_must_prove_itself(desk: Desk) -> None:
    desk.gate.line_up([Line("second", HOLD_S)])
    desk.say("second", trade(1))
    desk.gate.line_up([Line("first", HOLD_S), Line("second", HOLD_S)])
    assert desk.say("first", trade(2)).held == 1


# what is new


def test_trades_that_went_through_are_dropped_when_the_standby_brings_them_again(desk: Desk) -> None:
    desk.say("first", trade(1), trade(2))
    desk.ill("first")
    sifted = desk.say("second", trade(1), trade(2), trade(3))
    assert sifted.duplicates == 2
    assert desk.topic == [trade(1), trade(2), trade(3)]


def test_of_one_instant_only_the_trades_that_did_not_go_through_are_new(desk: Desk) -> None:
    desk.say("first", trade(1, id="a"))
    desk.ill("first")
    desk.say("second", trade(1, id="a"), trade(1, id="b"))
    assert [tick.id for tick in desk.topic if isinstance(tick, Trade)] == ["a", "b"]


def test_a_trade_twice_in_a_batch_goes_through_once(desk: Desk) -> None:
    assert desk.say("first", trade(1), trade(1)).duplicates == 1


def test_an_unknown_trade_older_than_the_topic_is_backward_from_another_feed(desk: Desk) -> None:
    desk.say("first", trade(5))
    desk.ill("first")
    assert desk.say("second", trade(4)).backwards == 1


def test_late_trades_of_the_feed_that_writes_go_through(desk: Desk) -> None:
    desk.say("first", trade(5))
    desk.say("first", trade(4))
    assert desk.topic == [trade(5), trade(4)]


@pytest.mark.parametrize("tick", [quote(4), depth(), bar(ts=NOW + 4, closed=False)])
def test_no_older_value_follows_a_newer_one(desk: Desk, tick: Tick) -> None:
    newer = type(tick)(**{name: getattr(tick, name) for name in tick.__struct_fields__} | {"ts": tick.ts + 1})
    desk.say("first", newer)
    assert desk.say("first", tick).backwards == 1
    desk.ill("first")
    assert desk.say("second", tick).backwards == 1


def test_an_equal_value_is_a_duplicate_and_another_of_that_instant_is_not(desk: Desk) -> None:
    desk.say("first", quote(5))
    desk.ill("first")
    assert desk.say("second", quote(5)).duplicates == 1
    assert desk.say("second", quote(5, bid="8")).through == [quote(5, bid="8")]


def test_closed_bars_count_one_by_one(desk: Desk) -> None:
    desk.say("first", bar(), bar(revision=1))
    desk.ill("first")
    assert desk.say("second", bar(), bar(revision=1), bar(revision=2)).through == [bar(revision=2)]


def test_what_ingest_refused_moves_nothing(desk: Desk) -> None:
    assert desk.gate.sift("first", [quote(1000)], desk.now).through == [quote(1000)]
    assert desk.say("first", quote(1)).through == [quote(1)]


def test_what_perhaps_went_through_is_not_published_again(desk: Desk) -> None:
    sifted = desk.gate.sift("first", [trade(1), quote(1)], desk.now)
    desk.gate.note("first", sifted.through)  # Redis did not answer
    desk.ill("first")
    assert desk.say("second", trade(1), quote(1), quote(0)).through == []


def test_it_begins_where_the_store_stood(desk: Desk) -> None:
    assert desk.gate.unknown([trade(1), trade(2), quote(1)]) == [trade(1).topic, quote(1).topic]
    desk.gate.seed(trade(1).topic, trade(5))
    desk.gate.seed(quote(1).topic, None)
    assert desk.gate.unknown([trade(1), quote(1)]) == []
    sifted = desk.say("first", trade(4), trade(5), trade(6), quote(1))
    assert (sifted.backwards, sifted.duplicates, sifted.through) == (1, 1, [trade(6), quote(1)])


def test_only_so_many_topics_and_trades_are_remembered(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_TOPICS", 10)
    monkeypatch.setattr(module, "MOST_IDS", 10)
    desk.say("first", *(quote(symbol=f"S{n}") for n in range(50)), *(trade(n) for n in range(50)))
    assert len(desk.gate._tapes) == 10
    assert len(desk.gate._tapes[trade(1).topic].ids) == 10


# what is held


def test_what_the_standby_said_while_the_primary_was_dying_is_not_lost(desk: Desk) -> None:
    desk.say("first", trade(1))
    desk.say("second", trade(1), trade(2), quote(2), quote(3))
    desk.ill("first")
    assert desk.gate.is_awaited("second", desk.now)
    desk.say("second")
    assert desk.topic == [trade(1), trade(2), quote(3)]
    assert not desk.gate.is_awaited("second", desk.now)


def test_held_trades_that_the_primary_brings_are_forgotten(desk: Desk) -> None:
    for n in range(100):
        desk.say("second", trade(n))
        desk.say("first", trade(n))
    assert len(desk.gate._held["second"].every) <= 1


def test_what_is_held_is_bounded_and_what_is_given_up_is_counted(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_HELD", 10)
    sifted = desk.say("second", *(trade(n) for n in range(15)))
    assert (sifted.held, sifted.shed) == (15, 5)
    desk.ill("first")
    assert desk.say("second").through == [trade(n) for n in range(5, 15)]


def test_nonsense_is_refused_before_it_is_held(desk: Desk) -> None:
    assert desk.say("second", quote(2), quote(3, bid="99")).refused == 1
    desk.ill("first")
    assert desk.say("second").through == [quote(2)]


# any history

FEEDS = ("first", "second", "third")
step = st.one_of(
    st.tuples(st.just("say"), st.sampled_from(FEEDS), st.integers(0, 6)),
    st.tuples(st.sampled_from(["ill", "well"]), st.sampled_from(FEEDS), st.just(0)),
    st.tuples(st.just("wait"), st.just(""), st.integers(1, 40)),
)


@given(st.lists(step, max_size=60))
def test_whatever_fails_whenever_the_topic_has_each_trade_once_and_in_order(steps: list[tuple[str, str, int]]) -> None:
    """The feeds bring the same market, each at its own pace: trade n of second n."""
    desk, said = Desk(*FEEDS), dict.fromkeys(FEEDS, 0)
    for what, name, number in steps:
        if what == "say":
            desk.say(name, *(trade(n) for n in range(said[name], said[name] + number)))
            said[name] += number
        elif what == "wait":
            desk.now += number
        else:
            desk.gate.report(name, desk.now, well=what == "well")
    assert desk.topic == [trade(n) for n in range(len(desk.topic))]
