"""Answers of the database that are believed for a moment."""

from __future__ import annotations

import pytest

from realtime import remembered
from realtime.remembered import Remembered


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [100.0]
    monkeypatch.setattr(remembered.time, "monotonic", lambda: now[0])
    return now


def test_an_answer_is_believed_for_its_time(clock: list[float]) -> None:
    answers: Remembered[list[int]] = Remembered(2.0)
    answer = [1]
    answers.set("a", answer)
    clock[0] += 1.9
    assert answers.get("a") is answer
    clock[0] += 0.1
    assert answers.get("a") is None


def test_there_is_no_answer_to_what_nobody_asked() -> None:
    assert Remembered(2.0).get("a") is None


def test_no_more_answers_are_kept_than_the_bound(clock: list[float]) -> None:
    answers: Remembered[int] = Remembered(2.0, most=3)
    for number in range(10):
        answers.set(str(number), number)
        assert len(answers._answers) <= 3
    assert answers.get("9") == 9


def test_a_cleared_memory_asks_again() -> None:
    answers: Remembered[int] = Remembered(2.0)
    answers.set("a", 1)
    answers.clear()
    assert answers.get("a") is None


def test_what_was_asked_before_all_was_forgotten_is_not_believed_when_it_comes_at_last() -> None:
    answers: Remembered[int] = Remembered(2.0)
    asked = answers.forgotten
    answers.clear()
    answers.set("a", 1, asked)
    assert answers.get("a") is None
    answers.set("a", 2, answers.forgotten)
    assert answers.get("a") == 2


def test_all_that_is_believed_can_be_asked_for(clock: list[float]) -> None:
    answers: Remembered[int] = Remembered(2.0)
    answers.set("old", 1)
    clock[0] += 1.5
    answers.set("new", 2)
    assert answers.believed() == [1, 2]
    clock[0] += 1.0
    assert answers.believed() == [2]
    answers.clear()
    assert answers.believed() == []


def test_who_is_told_of_changes_believes_for_long_and_no_longer_when_it_is_not_told(clock: list[float]) -> None:
    answers: Remembered[int] = Remembered(2.0, told_s=60.0)
    answers.told = True
    answers.set("a", 1)
    clock[0] += 30
    assert answers.get("a") == 1
    answers.told = False
    assert answers.get("a") is None
