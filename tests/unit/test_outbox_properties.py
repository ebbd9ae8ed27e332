"""Whatever happens to an outbox, what comes out of it is whole: in order, complete or announced, and counted to the byte."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from realtime.outbox import UPDATE_BYTES, Gap, Item, Outbox, weight

TRADES, QUOTE, BARS = ("trade.A", "trade.B"), "quote.A", ("kline.1m.A", "kline.1m.B")
TOPICS = (*TRADES, QUOTE, *BARS)

step = st.one_of(
    st.tuples(st.just("put"), st.sampled_from(TOPICS), st.integers(0, 600)),
    st.tuples(st.just("close"), st.sampled_from(BARS), st.integers(0, 600)),
    st.tuples(st.just("hole"), st.sampled_from(TRADES), st.integers(1, 3)),
    st.tuples(st.just("begin"), st.sampled_from(TOPICS), st.just(0)),
    st.tuples(st.just("take"), st.just(""), st.integers(1, 2000)),
    st.tuples(st.just("say"), st.just(""), st.integers(0, 300)),
)


@dataclass
class Play:
    """An outbox, what was published, and the client at its other end."""

    outbox: Outbox
    stamps: dict[str, tuple[int, int]] = field(default_factory=lambda: dict.fromkeys(TOPICS, (0, 0)))
    closed: set[tuple[str, str, int]] = field(default_factory=set)
    seen: dict[str, tuple[str, int]] = field(default_factory=lambda: dict.fromkeys(TOPICS, ("0", 0)))
    got: set[tuple[str, str, int]] = field(default_factory=set)

    def do(self, what: str, topic: str, number: int) -> None:
        """Have one thing happen."""
        if what == "take":
            self.read(self.outbox.take(number))
        elif what == "say":
            self.outbox.say(b'{"pad":"%b"}' % (b"x" * number))
        elif what == "hole":
            epoch, seq = self.stamps[topic]
            self.stamps[topic] = epoch, seq + number
            self.outbox.skip(topic, Gap(str(epoch), seq + 1, seq + number, "broker"))
        else:
            self.publish(what, topic, number)

    def publish(self, what: str, topic: str, size: int) -> None:
        """An update: of a new epoch, a closed kline, or any other."""
        epoch, seq = self.stamps[topic]
        epoch, seq = (epoch + 1, 1) if what == "begin" else (epoch, seq + 1)
        self.stamps[topic] = epoch, seq
        if what == "close":
            self.closed.add((topic, str(epoch), seq))
        begun = str(epoch) if what == "begin" else ""
        keep = topic in TRADES or what == "close"
        self.outbox.put(topic, str(epoch), Item(seq, b'"%b"' % (b"x" * size), begun, keep))

    def read(self, messages: list[bytes]) -> None:
        """What the client makes of it."""
        for message in map(json.loads, messages):
            if "topic" in message:
                self.take(message["topic"], message)

    def take(self, topic: str, message: dict[str, Any]) -> None:
        """One message: it goes on where the one before ended, or it begins anew."""
        epoch, seq = self.seen[topic]
        now, first = message.get("epoch", epoch), message.get("from", message.get("seq"))
        assert now == epoch or int(now) > int(epoch)
        assert first > seq or now != epoch
        assert topic not in TRADES or first == seq + 1 or now != epoch
        self.seen[topic] = now, message.get("to", first)
        self.got |= {(topic, now, number) for number in range(first, self.seen[topic][1] + 1)}

    def counted(self) -> int:
        """What everything that is owed weighs."""
        box = self.outbox
        queues = [*box.trades.values(), *box.bars.values(), *(queue for _, queue in box.leaving if queue)]
        control = sum(UPDATE_BYTES + len(message) for message in box.control)
        return control + sum(map(weight, queues)) + UPDATE_BYTES * (len(box.slots) + len(box.lost))


@given(st.lists(step, max_size=150), st.integers(500, 5000), st.integers(1, 20))
def test_any_sequence_of_events_is_delivered_or_announced(steps: list[Any], most_bytes: int, most_updates: int) -> None:
    play = Play(Outbox(most_bytes, most_updates))
    for what, topic, number in steps:
        play.do(what, topic, number)
        assert play.outbox.size_bytes == play.counted()
        if topic in TRADES and play.outbox.size_bytes > most_bytes:
            assert sum(map(len, play.outbox.trades.values())) == 1
    play.read(play.outbox.take())
    assert play.seen == {topic: (str(epoch), seq) for topic, (epoch, seq) in play.stamps.items()}
    assert play.closed <= play.got
    assert (play.outbox.size_bytes, len(play.outbox), play.outbox.take()) == (0, 0, [])
