"""The circuit breaker: when it opens, who may try, and what closes it."""

from __future__ import annotations

import asyncio
import logging
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest

from marketdata.breaker import PATIENCE_S, PAUSE_S, Breaker

log = logging.getLogger(__name__)


class Away(Exception):
    """It did not answer."""


class Refused(Away):
    """It was not asked."""


class Thing:
    """What is asked, through a breaker, on a clock of its own."""

    def __init__(self) -> None:
        self.now = 0.0
        self.asked = 0
        self.breaker = Breaker("the thing", log, Away, Refused, clock=lambda: self.now)

    def ask(self, failure: BaseException | None = None, takes_s: float = 0.0) -> None:
        with self.breaker.asking():
            self.asked += 1
            self.now += takes_s
            if failure is not None:
                raise failure

    def fail(self, takes_s: float = PATIENCE_S) -> None:
        with pytest.raises(Away):
            self.ask(Away(), takes_s)

    @property
    def state(self) -> str:
        return self.breaker.state


@pytest.fixture
def thing() -> Thing:
    return Thing()


@pytest.fixture
def broken(thing: Thing) -> Thing:
    """It did not answer for once, which was enough."""
    thing.fail()
    return thing


def test_while_it_is_open_nobody_waits(broken: Thing) -> None:
    for _ in range(50):
        with pytest.raises(Refused):
            broken.ask()
    assert (broken.state, broken.asked) == ("open", 1)
    assert broken.breaker.stats() == {"state": "open", "opened": 1, "refused": 50}


def test_failures_that_come_at_once_do_not_open_it(thing: Thing) -> None:
    for _ in range(1000):
        thing.fail(takes_s=0.0001)
    assert (thing.state, thing.asked) == ("closed", 1000)


def test_several_short_waits_in_vain_do(thing: Thing) -> None:
    for _ in range(4):
        thing.fail(takes_s=PATIENCE_S / 4)
    assert thing.state == "open"


def test_a_success_in_between_makes_up_for_them(thing: Thing) -> None:
    for _ in range(10):
        thing.fail(takes_s=PATIENCE_S / 2)
        thing.ask()
    assert thing.state == "closed"


def test_after_a_pause_one_may_try_and_the_others_go_on_being_refused(broken: Thing) -> None:
    broken.now += PAUSE_S
    with broken.breaker.asking():
        assert broken.state == "half_open"
        with pytest.raises(Refused):
            broken.ask()
    assert broken.state == "closed"
    broken.ask()


def test_a_try_that_fails_begins_another_pause(broken: Thing) -> None:
    broken.now += PAUSE_S
    broken.fail()
    with pytest.raises(Refused):
        broken.ask()
    broken.now += PAUSE_S
    broken.ask()
    assert (broken.state, broken.breaker.opened) == ("closed", 1)


def test_a_try_that_is_abandoned_leaves_the_next_one_to_somebody_else(broken: Thing) -> None:
    broken.now += PAUSE_S
    with pytest.raises(asyncio.CancelledError):
        broken.ask(asyncio.CancelledError())
    assert broken.state == "open"
    broken.ask()
    assert broken.state == "closed"


def test_an_answer_that_was_under_way_closes_it(thing: Thing) -> None:
    with thing.breaker.asking():
        thing.fail()
        assert thing.state == "open"
    assert thing.state == "closed"


def test_callers_who_fail_together_open_it_once(thing: Thing) -> None:
    def fail_twice() -> None:
        with thing.breaker.asking():
            thing.fail()
            raise Away

    with pytest.raises(Away):
        fail_twice()
    assert (thing.state, thing.breaker.opened) == ("open", 1)


def test_what_else_is_raised_says_nothing_about_it(thing: Thing) -> None:
    for _ in range(3):
        with pytest.raises(ValueError):
            thing.ask(ValueError(), takes_s=10)
    assert thing.state == "closed"


def test_an_outage_is_logged_when_it_begins_and_when_it_ends(broken: Thing, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    for _ in range(3):
        broken.now += PAUSE_S
        broken.fail()
    broken.now += PAUSE_S
    broken.ask()
    assert [record.levelname for record in caplog.records] == ["INFO"]  # it began in the fixture
    assert "the thing" in caplog.text


def test_of_many_threads_one_tries(broken: Thing) -> None:
    broken.now += PAUSE_S
    together = Barrier(16)

    def ask() -> str:
        together.wait()
        try:
            with broken.breaker.asking():
                together.wait()
        except Refused:
            together.wait()
            return "refused"
        return "tried"

    with ThreadPoolExecutor(16) as threads:
        found = [future.result() for future in [threads.submit(ask) for _ in range(16)]]
    assert sorted(found) == ["refused"] * 15 + ["tried"]


async def test_coroutines_share_it(broken: Thing) -> None:
    broken.now += PAUSE_S

    async def ask() -> None:
        with broken.breaker.asking():
            await asyncio.sleep(0)

    found = await asyncio.gather(*(ask() for _ in range(10)), return_exceptions=True)
    assert [type(each) for each in found] == [type(None)] + [Refused] * 9
