"""One data type of one symbol."""

from __future__ import annotations

import pytest
from channels.layers import BaseChannelLayer
from hypothesis import given
from hypothesis import strategies as st

from marketdata.errors import UnknownTopic, UnsupportedType
from marketdata.topics import SYMBOL, DataType, Delivery, Interval, Topic, parse

symbols = st.from_regex(SYMBOL, fullmatch=True)
topics = st.one_of(
    st.builds(Topic, st.sampled_from([kind for kind in DataType if kind is not DataType.KLINE]), symbols),
    st.builds(Topic, st.just(DataType.KLINE), symbols, st.sampled_from(Interval)),
)


@given(topics)
def test_a_printed_topic_reads_back(topic: Topic) -> None:
    assert parse(str(topic)) == topic


@given(topics)
def test_every_group_name_is_one_that_channels_allows(topic: Topic) -> None:
    assert BaseChannelLayer().require_valid_group_name(topic.group)


@pytest.mark.parametrize(
    ("text", "topic"),
    [
        ("quote.AAPL", Topic(DataType.QUOTE, "AAPL")),
        ("ticker.600519.SH", Topic(DataType.TICKER, "600519.SH")),
        ("kline.1m.BTC-USDT", Topic(DataType.KLINE, "BTC-USDT", Interval.M1)),
        ("kline.4h.600519.SH", Topic(DataType.KLINE, "600519.SH", Interval.H4)),
    ],
)
def test_topics_are_read(text: str, topic: Topic) -> None:
    assert parse(text) == topic


@pytest.mark.parametrize(
    "text", ["", ".", "quote", "quote.", ".AAPL", "quote.aapl", "quote.A B", "quote." + "A" * 33, "kline.AAPL"]
)
def test_what_is_no_topic_is_refused(text: str) -> None:
    with pytest.raises(UnknownTopic):
        parse(text)


@pytest.mark.parametrize("text", ["book.AAPL", "QUOTE.AAPL", "kline.2m.AAPL", "kline.600519.SH"])
def test_a_type_or_interval_that_does_not_exist_is_named(text: str) -> None:
    with pytest.raises(UnsupportedType, match=text.split(".")[1] if text.startswith("kline") else text.split(".")[0]):
        parse(text)


def test_trades_are_each_delivered_and_of_everything_else_the_newest() -> None:
    delivery = {kind: Topic(kind, "A", Interval.M1 if kind is DataType.KLINE else None).delivery for kind in DataType}
    assert [kind for kind in DataType if delivery[kind] is Delivery.EVERY] == [DataType.TRADE]


def test_intervals_know_their_length() -> None:
    assert [interval.length_us // 60_000_000 for interval in Interval] == [1, 5, 15, 30, 60, 240, 1440]
