"""Tree of domain errors."""

from __future__ import annotations

from typing import ClassVar


class MarketDataError(Exception):
    """Anything that the domain refuses or cannot do.

    Attributes:
        code, label: number and name under which clients know it; they agree with `realtime.codes.Code` (a test says so).
    """

    code: ClassVar[int] = 100
    label: ClassVar[str] = "internal"


class UnknownTopic(MarketDataError):
    """A text that is not a topic."""

    code, label = 102, "unknown_topic"


class UnknownSymbol(MarketDataError):
    """A symbol that is not listed, or no longer."""

    code, label = 120, "unknown_symbol"


class UnsupportedType(MarketDataError):
    """A data type or interval that does not exist."""

    code, label = 121, "unsupported_type"


class NotInPlan(MarketDataError):
    """A data type that the reader's plan leaves out."""

    code, label = 125, "insufficient_plan"


class TooMany(MarketDataError):
    """More of something than one request may carry."""

    code, label = 106, "limit_exceeded"


class TooLarge(TooMany):
    """More bytes than one request may carry."""


class BadTick(MarketDataError):
    """A tick that ingest refuses.

    Attributes:
        reason: one word of `marketdata.ingest.REASONS`, the label under which it is counted.
    """

    code, label = 107, "bad_request"

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class StoreUnavailable(MarketDataError):
    """Redis cannot be reached or did not answer in time."""

    code, label = 126, "feed_unavailable"


class StoreRefused(StoreUnavailable):
    """Redis answers, but takes nothing: it has no memory left, cannot write to its disk, or is a replica."""


class DatabaseUnavailable(MarketDataError):
    """The database did not answer, and what it said before does not help."""

    code, label = 128, "overloaded"


class FeedError(MarketDataError):
    """A feed cannot go on: its venue, file or options are at fault."""


class BadFeedOptions(FeedError):
    """Options that a feed refuses; the message names the option."""


class Repeated(MarketDataError):
    """Some updates were published before; none of the batch was published now.

    Attributes:
        places: of these updates in the batch.
    """

    def __init__(self, places: list[int]) -> None:
        super().__init__(f"{len(places)} updates were published before")
        self.places = places


class Conflict(MarketDataError):
    """Another writer changed a state since it was read; nothing was published.

    Attributes:
        keys: the states that changed.
    """

    def __init__(self, keys: list[str]) -> None:
        super().__init__(f"changed by another writer: {', '.join(keys)}")
        self.keys = keys
