"""Tree of domain errors."""

from __future__ import annotations


class MarketDataError(Exception):
    """Anything that the domain refuses or cannot do."""


class UnknownTopic(MarketDataError):
    """A text that is not a topic."""


class UnsupportedType(MarketDataError):
    """A data type or interval that does not exist."""


class BadTick(MarketDataError):
    """A tick that ingest refuses.

    Attributes:
        reason: one word of `marketdata.ingest.REASONS`, the label under which it is counted.
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class StoreUnavailable(MarketDataError):
    """Redis cannot be reached or did not answer in time."""


class FeedError(MarketDataError):
    """A feed cannot go on: its venue, file or options are at fault."""


class BadFeedOptions(FeedError):
    """Options that a feed refuses; the message names the option."""


class Conflict(MarketDataError):
    """Another writer changed a state since it was read; nothing was published.

    Attributes:
        keys: the states that changed.
    """

    def __init__(self, keys: list[str]) -> None:
        super().__init__(f"changed by another writer: {', '.join(keys)}")
        self.keys = keys
