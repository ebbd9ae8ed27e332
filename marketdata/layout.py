"""Where things are in Redis: names of keys and channels, and how much is kept of each type."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self

from django.conf import settings

from marketdata.spans import Span, read_spans
from marketdata.topics import GROUP_PREFIX, redis_channel


@dataclass(frozen=True)
class Layout:
    """Names of keys and channels, and how much of each type is kept."""

    prefix: str
    history: int = 1000
    trade_ids: int = 1000
    replay_s: float = 300.0
    spans: Mapping[str, Span] = field(default_factory=lambda: {"depth": Span(100, 300.0)})

    @classmethod
    def from_settings(cls) -> Self:
        """The layout of this installation."""
        bus = settings.TICKWIRE.bus
        spans = read_spans(bus.history_types, bus.replay_s)
        return cls(bus.prefix, bus.history_updates, bus.trade_ids, bus.replay_s, spans)

    @property
    def life(self) -> str:
        """Key of the store's life: which Redis process, which epoch."""
        return f"{self.prefix}:life"

    @property
    def topics(self) -> str:
        """What the key of each topic begins with."""
        return f"{self.prefix}:t:"

    @property
    def channels(self) -> str:
        """What the Redis channel of each topic's group begins with."""
        return redis_channel(self.prefix, GROUP_PREFIX)

    def state(self, key: str) -> str:
        """Key of a writer's state."""
        return f"{self.prefix}:s:{key}"

    def window(self, topic: str) -> str:
        """Key of a topic's window of ids."""
        return f"{self.prefix}:w:{topic}"

    def mark(self, writer: str) -> str:
        """Key of a writer's mark."""
        return f"{self.prefix}:m:{writer}"

    def kept(self, topic: str) -> int:
        """How many updates of the topic are kept for repair and replay."""
        return self._span(topic).updates

    def replayed_s(self, topic: str) -> float:
        """How old the first update of a replay of the topic may be."""
        return self._span(topic).seconds

    def _span(self, topic: str) -> Span:
        return self.spans.get(topic.partition(".")[0]) or Span(self.history, self.replay_s)
