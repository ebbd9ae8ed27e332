"""Which feeds run: what the settings name and the operator allows."""

from __future__ import annotations

from dataclasses import replace

import pytest

from marketdata.errors import BadFeedOptions
from marketdata.feeds import FeedSettings
from marketdata.memory_store import MemoryStore
from marketdata.models import Feed, Instrument
from marketdata.roster import Entry, ensure_feeds, make_feed, polled, streaming

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


def test_an_entry_carries_its_place_in_line_and_its_bound():
    ensure_feeds()
    Feed.objects.filter(name="demo").update(hold_s=5, most_per_s=100)
    Feed.objects.create(name="second", kind="replay", standby_for="demo")
    Feed.objects.create(name="third", kind="demo", standby_for="demo")
    demo, third = streaming()
    assert (demo.standby_for, demo.hold_s, demo.most_per_s, demo.derives_as) == (None, 5, 100, "")
    assert (third.standby_for, third.hold_s, third.most_per_s, third.derives_as) == ("demo", 30, 10_000, "demo")


@pytest.mark.parametrize(
    ("standby_for", "says"),
    [
        ("lost", "itself"),
        ("nobody", "there is no feed 'nobody'"),
        ("second", "'second' is a standby itself"),
        ("demo-cn", "polled"),
    ],
)
def test_a_standby_of_what_cannot_have_one_is_refused_by_name_and_the_others_run(standby_for, says):
    ensure_feeds()
    Feed.objects.create(name="second", kind="demo", standby_for="demo")
    Feed.objects.create(name="lost", kind="demo", standby_for=standby_for)
    entries = {entry.name: entry for entry in streaming()}
    with pytest.raises(BadFeedOptions, match=f"standby_for: .*{says}"):
        make_feed(entries["lost"], MemoryStore())
    assert (entries["demo"].flaw, entries["second"].flaw) == ("", "")


def test_feeds_that_stand_in_for_each_other_are_refused():
    ensure_feeds()
    Feed.objects.create(name="one", kind="demo", standby_for="two")
    Feed.objects.create(name="two", kind="demo", standby_for="one")
    assert [bool(entry.flaw) for entry in streaming()] == [False, True, True]


def test_a_standby_of_a_feed_that_is_switched_off_runs():
    ensure_feeds()
    Feed.objects.update(enabled=False)
    Feed.objects.create(name="second", kind="demo", standby_for="demo")
    assert [entry.flaw for entry in streaming()] == [""]


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
