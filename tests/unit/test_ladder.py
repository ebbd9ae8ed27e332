"""Steps under overload, from measurements and a clock of the test's own."""

from __future__ import annotations

from realtime.ladder import CALM_S, PATIENCE_S, Ladder, Step

LATE, BETWEEN, CALM = 600_000, 400_000, 1_000  # µs, of a bound of 500 ms
TICK_S = 0.25
EACH = list(Step)


class Course:
    """A ladder, and time that passes."""

    def __init__(self, most_memory_bytes: int = 0, most_lag_us: float = 500_000) -> None:
        self.ladder = Ladder(most_lag_us, most_memory_bytes)
        self.now = 0.0

    def spend(self, seconds: float, lag_us: int = CALM, memory_bytes: int = 0) -> Step:
        """Measure the same for so long; what the step is then."""
        until = self.now + seconds
        while self.now < until:
            self.now += TICK_S
            self.ladder.look(self.now, lag_us, memory_bytes)
        return self.ladder.step

    def climb(self, *steps: Step) -> None:
        """Reach these steps, each seen from the one before."""
        for step in steps:
            assert self.spend(PATIENCE_S[step] + 2 * TICK_S, LATE) is step


def test_nothing_happens_at_the_bound() -> None:
    assert Course().spend(60, 500_000) is Step.NORMAL


def test_a_moment_over_the_bound_changes_nothing() -> None:
    course = Course()
    for _ in range(20):
        course.spend(PATIENCE_S[Step.REFUSE] - TICK_S, LATE)
        assert course.spend(TICK_S, BETWEEN) is Step.NORMAL


def test_each_step_waits_for_its_own_patience() -> None:
    course = Course()
    for step in EACH[1:]:
        assert course.spend(PATIENCE_S[step], LATE) is EACH[step - 1]
        assert course.spend(2 * TICK_S, LATE) is step
        course.ladder._over_since = None  # so that the next one is counted from here


def test_the_steps_come_in_order_and_there_is_no_further_one() -> None:
    course = Course()
    course.climb(Step.REFUSE, Step.SLOW, Step.SHED)
    assert course.spend(60, LATE) is Step.SHED


def test_the_way_back_is_taken_step_by_step() -> None:
    course = Course()
    course.climb(Step.REFUSE, Step.SLOW, Step.SHED)
    for step in (Step.SLOW, Step.REFUSE, Step.NORMAL):
        assert course.spend(CALM_S - TICK_S) is EACH[step + 1]
        assert course.spend(2 * TICK_S) is step
        course.ladder._calm_since = None
    assert course.spend(60) is Step.NORMAL


def test_between_calm_and_the_bound_everything_stays() -> None:
    course = Course()
    course.climb(Step.REFUSE, Step.SLOW)
    assert course.spend(60, BETWEEN) is Step.SLOW


def test_calm_must_last_without_a_break() -> None:
    course = Course()
    course.climb(Step.REFUSE)
    for _ in range(10):
        course.spend(CALM_S - TICK_S)
        assert course.spend(TICK_S, BETWEEN) is Step.REFUSE


def test_a_relapse_goes_up_again_from_where_it_was() -> None:
    course = Course()
    course.climb(Step.REFUSE, Step.SLOW)
    assert course.spend(CALM_S + 2 * TICK_S) is Step.REFUSE
    course.climb(Step.SLOW)


def test_memory_alone_is_a_reason_and_must_fall_by_a_tenth() -> None:
    course = Course(most_memory_bytes=1000)
    assert course.spend(PATIENCE_S[Step.REFUSE] + 2 * TICK_S, memory_bytes=1001) is Step.REFUSE
    assert course.spend(60, memory_bytes=950) is Step.REFUSE
    assert course.spend(CALM_S + 2 * TICK_S, memory_bytes=899) is Step.NORMAL


def test_calm_in_one_respect_is_not_calm() -> None:
    course = Course(most_memory_bytes=1000)
    course.climb(Step.REFUSE)
    assert course.spend(60, CALM, 950) is Step.REFUSE


def test_a_bound_of_0_is_none() -> None:
    course = Course(most_lag_us=0)
    assert course.spend(60, 10**9, 10**12) is Step.NORMAL
