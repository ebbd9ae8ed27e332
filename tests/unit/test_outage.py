"""Outages are counted in full and logged at both ends."""

from __future__ import annotations

import logging

import pytest

from marketdata.outage import Outage

log = logging.getLogger("test.outage")


@pytest.fixture
def outage(caplog):
    caplog.set_level(logging.INFO)
    return Outage("the thing", log)


def test_every_failure_counts_and_the_first_is_logged(outage, caplog):
    for text in ("first", "second", "third"):
        outage.failed(OSError(text))
    assert outage.failures == 3
    assert [record.message for record in caplog.records] == ["the thing: first"]


def test_the_end_is_logged_with_the_count_of_this_outage(outage, caplog):
    outage.failed("x")
    outage.over()
    outage.failed("x")
    outage.failed("x")
    outage.over()
    outage.over()
    assert [record.message for record in caplog.records][1::2] == [
        "the thing: works again after 1 failures",
        "the thing: works again after 2 failures",
    ]
    assert outage.failures == 3


def test_only_what_nobody_foresaw_has_a_traceback(outage, caplog):
    outage.failed(OSError("a"))
    outage.over()
    outage.failed(KeyError("b"), foreseen=False)
    foreseen, _, unforeseen = caplog.records
    assert not foreseen.exc_info
    assert unforeseen.exc_info


def test_an_error_without_words_is_named_by_its_type(outage, caplog):
    outage.failed(TimeoutError())
    assert caplog.records[0].message == "the thing: TimeoutError"
