"""Which feeds run: what the settings name and the operator allows."""

from __future__ import annotations

from dataclasses import replace

import pytest

from marketdata.errors import BadFeedOptions
from marketdata.feeds import FeedSettings
from marketdata.models import Feed, Instrument
from marketdata.roster import Entry, ensure_feeds, make_feed, polled, streaming
from marketdata.store import MemoryStore

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def sources(settings):
    """Sets the section `sources` of the settings."""

    def choose(**chosen):
        settings.TICKWIRE = replace(settings.TICKWIRE, sources=replace(settings.TICKWIRE.sources, **chosen))

    choose(feeds=["demo"], feed_options="{}")
    return choose


def names(entries) -> list[str]:
    return [entry.name for entry in entries]


def test_the_demo_has_one_streaming_and_two_polled_feeds():
    ensure_feeds()
    assert names(streaming()) == ["demo"]
    assert names(polled()) == ["demo-cn", "demo-tickers"]


def test_first_options_come_from_the_settings_and_later_ones_from_the_operator(sources):
    sources(feed_options='{"demo": {"seed": 5}}')
    ensure_feeds()
    assert streaming()[0].settings.options == {"seed": 5}
    Feed.objects.update(options={"seed": 6})
    ensure_feeds()
    assert streaming()[0].settings.options == {"seed": 6}


def test_a_feed_runs_when_it_is_named_and_enabled(sources):
    ensure_feeds()
    Feed.objects.filter(name="demo-cn").update(enabled=False)
    assert names(polled()) == ["demo-tickers"]
    sources(feeds=["replay"])
    assert polled() == streaming() == []


def test_a_kind_may_have_several_feeds():
    ensure_feeds()
    Feed.objects.create(name="second", kind="demo", symbols=["TEST"])
    assert names(streaming()) == ["demo", "second"]


def test_an_entry_carries_what_the_operator_chose():
    ensure_feeds()
    Feed.objects.filter(name="demo-cn").update(interval_ms=250, symbols=["600519.SH"], options={"seed": 5})
    entry = polled()[0]
    assert entry == Entry("demo-cn", "demo-cn", FeedSettings(("600519.SH",), 0.25, {"seed": 5}))
    feed = make_feed(entry, MemoryStore())
    assert feed.interval_s == 0.25
    assert list(Instrument.objects.values_list("symbol", flat=True)) == ["600519.SH"]


@pytest.mark.parametrize(
    ("chosen", "named"),
    [
        ({"feeds": ["nonsense"]}, "nonsense"),
        ({"feed_options": '{"ccxt": {}}'}, "TICKWIRE_FEED_OPTIONS.*ccxt"),
    ],
)
def test_settings_that_name_no_feed_are_refused_by_name(sources, chosen, named):
    sources(**chosen)
    with pytest.raises(BadFeedOptions, match=named):
        ensure_feeds()


def test_the_roster_is_one_query(django_assert_num_queries):
    ensure_feeds()
    with django_assert_num_queries(1):
        streaming()
