"""When alerts begin, fire, are told of and end: tables, and anything at random under a clock of our own."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitoring.alerts import (
    FLAP_S,
    HOLD_S,
    MOST_PATIENCE_S,
    Instance,
    Step,
    Terms,
    patience_s,
    step,
)

TICK_S = 5.0
QUICK = Terms(comparison=">", threshold=10)
SLOW = Terms(comparison=">", threshold=10, for_s=20, clear_s=15)


def run(terms: Terms, values: list[float | None], silent: range = range(0)) -> list[Step]:
    """A look each five seconds."""
    steps, instance = [], Instance()
    for number, value in enumerate(values):
        bad = None if value is None else terms.is_bad(value)
        done = step(terms, instance, 1000.0 + number * TICK_S, bad, value, silenced=number in silent)
        steps.append(done)
        instance = done.instance
    return steps


def states(steps: list[Step]) -> str:
    return "".join(done.instance.state[0] for done in steps)


def notices(steps: list[Step]) -> list[str]:
    return [done.notice for done in steps if done.notice]


@pytest.mark.parametrize(
    ("comparison", "bad"), [(">", [11]), (">=", [10, 11]), ("<", [9]), ("<=", [9, 10])], ids=lambda each: str(each)
)
def test_a_comparison_says_which_values_are_bad(comparison, bad):
    terms = Terms(comparison=comparison, threshold=10)
    assert [value for value in (9, 10, 11) if terms.is_bad(value)] == bad


def test_without_a_wait_the_first_bad_value_fires():
    assert [done.transition for done in run(QUICK, [1, 11, 1])] == [None, "firing", "resolved"]


def test_a_value_must_be_bad_for_a_while():
    assert states(run(SLOW, [11] * 6)) == "ppppff"


def test_one_good_value_begins_the_wait_anew():
    steps = run(SLOW, [11, 11, 1, 11, 11, 11, 11, 11])
    assert states(steps) == "ppippppf"
    assert steps[2].transition == "cleared"


def test_a_value_must_be_well_for_a_while():
    assert states(run(SLOW, [11] * 5 + [1, 1, 11, 1, 1, 1, 1])) == "ppppfffffffi"


def test_each_alert_is_told_once_at_its_beginning_and_once_at_its_end():
    assert notices(run(QUICK, [1, 11, 11, 11, 1, 1])) == ["firing", "resolved"]


def test_a_pending_alert_that_clears_is_told_to_nobody():
    assert notices(run(SLOW, [11, 11, 1, 1])) == []


# no value


def test_without_a_value_the_state_is_held():
    assert states(run(SLOW, [11] * 5 + [None] * 10)) == "ppppf" + 10 * "f"


def test_what_has_no_value_for_long_is_gone():
    steps = run(QUICK, [11] + [None] * (int(HOLD_S / TICK_S) + 2))
    assert steps[-1].transition == "resolved"
    assert steps[-2].instance.state == "firing"


def test_an_hour_in_which_nobody_looked_does_not_end_an_alert():
    *_, last = run(QUICK, [11])
    later = step(QUICK, last.instance, 4600.0, None, None)
    assert later.instance.state == "firing"
    assert step(QUICK, later.instance, 4600.0 + HOLD_S + 1, None, None).transition == "resolved"


def test_what_never_had_a_value_is_nothing():
    assert states(run(QUICK, [None] * 3)) == "iii"


# silence


def test_in_silence_the_alert_goes_on_and_nobody_is_told():
    steps = run(QUICK, [11, 11, 1], silent=range(3))
    assert [done.transition for done in steps] == ["firing", None, "resolved"]
    assert notices(steps) == []


def test_what_still_fires_when_a_silence_ends_is_told_then():
    steps = run(QUICK, [11] * 4, silent=range(2))
    assert [done.notice for done in steps] == [None, None, "firing", None]


def test_the_end_of_what_was_told_to_nobody_is_told_to_nobody():
    assert notices(run(QUICK, [11, 11, 1, 1], silent=range(2))) == []


# escalation


def test_what_goes_on_is_told_again_ever_more_seldom():
    steps = run(Terms(comparison=">", threshold=10, escalate_s=10), [11] * 20)
    assert [number for number, done in enumerate(steps) if done.notice == "escalated"] == [2, 4, 8, 16]
    assert [done.instance.escalations for done in steps if done.notice == "escalated"] == [1, 2, 3, 4]


def test_escalations_missed_in_silence_are_told_once():
    steps = run(Terms(comparison=">", threshold=10, escalate_s=10), [11] * 12, silent=range(1, 10))
    assert notices(steps) == ["firing", "escalated"]


# flapping


def test_the_third_firing_within_an_hour_needs_long_to_end():
    steps = run(QUICK, [11, 1] * 3 + [1] * int(2 * FLAP_S / TICK_S))
    assert notices(steps) == ["firing", "resolved", "firing", "resolved", "firing", "resolved"]
    assert states(steps)[5:-1] == "f" * int(2 * FLAP_S / TICK_S)


def test_a_value_that_trembles_is_one_long_alert():
    assert len(notices(run(QUICK, [11, 1] * 2000))) == 5


def test_patience_is_bounded_and_forgets():
    assert patience_s(QUICK, tuple(float(n) for n in range(100)), 100.0) == MOST_PATIENCE_S
    assert patience_s(SLOW, (1.0, 2.0, 3.0, 4.0), 100_000.0) == SLOW.clear_s


def test_what_is_calm_again_is_forgotten():
    *_, last = run(QUICK, [11, 1])
    assert not last.instance.is_forgettable(1100.0)
    assert last.instance.is_forgettable(1000.0 + 4000)


# anything at random

values = st.lists(st.one_of(st.none(), st.sampled_from([1.0, 11.0]), st.floats(allow_nan=False)), max_size=60)
all_terms = st.builds(
    Terms,
    comparison=st.sampled_from([">", ">=", "<", "<="]),
    threshold=st.just(10.0),
    for_s=st.sampled_from([0.0, 5.0, 12.0, 60.0]),
    clear_s=st.sampled_from([0.0, 5.0, 30.0]),
    escalate_s=st.sampled_from([None, 5.0, 30.0]),
)


@given(all_terms, values)
def test_an_alert_fires_only_after_its_wait_without_a_good_value(terms, given_values):
    steps = run(terms, given_values)
    for number, done in enumerate(steps):
        if done.transition == "firing":
            since = [1000.0 + TICK_S * at for at in range(number + 1) if steps[at].instance.state == "pending"]
            bad_for = 0.0
            for back in range(number - 1, -1, -1):
                if steps[back].instance.state != "pending":
                    break
                bad_for = TICK_S * (number - back)
                assert given_values[back] is None or terms.is_bad(given_values[back])
            assert bad_for >= terms.for_s or not since
            assert terms.is_bad(given_values[number])


@given(all_terms, values)
def test_transitions_follow_each_other_as_states_do(terms, given_values):
    order = {
        "pending": {"cleared", "firing"},
        "cleared": {"pending", "firing"},
        "firing": {"resolved"},
        "resolved": {"pending", "firing"},
    }
    found = [done.transition for done in run(terms, given_values) if done.transition]
    assert all(after in order[before] for before, after in pairwise(found))
    assert found[:1] in ([], ["pending"], ["firing"])


@given(all_terms, values, st.integers(0, 60), st.integers(0, 60))
def test_everybody_is_told_of_a_beginning_once_and_of_an_end_only_after_it(terms, given_values, begin, end):
    told = [notice for notice in notices(run(terms, given_values, range(begin, end))) if notice != "escalated"]
    burning = False
    for number, done in enumerate(run(terms, given_values, range(begin, end))):
        assert done.notice is None or number not in range(begin, end)
        if done.transition == "firing":
            burning = False
        if done.notice == "firing":
            assert not burning
            burning = True
        elif done.notice:
            assert burning
    assert told.count("firing") >= told.count("resolved")


@given(all_terms, values)
def test_a_second_look_at_the_same_moment_changes_nothing(terms, given_values):
    instance = Instance()
    for number, value in enumerate(given_values):
        bad = None if value is None else terms.is_bad(value)
        now = 1000.0 + number * TICK_S
        instance = step(terms, instance, now, bad, value).instance
        again = step(terms, instance, now, bad, value)
        assert (again.instance, again.notice) == (instance, None) or terms.for_s == 0 or terms.clear_s == 0


@given(all_terms, values, st.floats(-1e5, 1e5))
def test_a_clock_that_jumps_breaks_nothing(terms, given_values, jump):
    instance = Instance()
    for number, value in enumerate(given_values):
        bad = None if value is None else terms.is_bad(value)
        now = 1000.0 + number * TICK_S + (jump if number % 7 == 3 else 0.0)
        instance = step(terms, instance, now, bad, value).instance
        assert instance.since <= max(now, 1000.0 + number * TICK_S + abs(jump))
