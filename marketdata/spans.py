"""How far back the updates of a topic are kept, and how old a replay may begin: for all types, and for each."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from marketdata.topics import DataType

_SPAN = re.compile(r"([a-z]+)=([0-9]{1,6})(?:/([0-9]{1,6}))?")


class Span(NamedTuple):
    """Of one topic: how many updates are kept, and how many seconds old the first one of a replay may be."""

    updates: int
    seconds: float


def read_spans(texts: Sequence[str], seconds: float) -> dict[str, Span]:
    """Read what an operator wrote for single types.

    Args:
        texts: `type=updates` or `type=updates/seconds` each.
        seconds: of those that name none.

    Raises:
        ValueError: says which text is wrong, and why.
    """
    spans: dict[str, Span] = {}
    for text in texts:
        found = _SPAN.fullmatch(text)
        if found is None or not 1 <= int(found[2]) <= 100_000:
            raise ValueError(f"{text!r} is not like depth=100 or trade=5000/600 (1 to 100000 updates / seconds)")
        if found[1] not in set(DataType) or found[1] in spans:
            raise ValueError(f"{text!r} names no data type, or one that was named before; there are {', '.join(DataType)}")
        spans[found[1]] = Span(int(found[2]), float(found[3]) if found[3] else seconds)
    return spans
