"""Latest value and recent history of each topic, stamped (epoch, seq): Redis, and its in-memory twin.

Rules of this file:
1. Store and publish are one step (`publish.lua`): what a reader finds here and what the bus carried cannot disagree.
2. A body is stored as it was published, byte for byte.
3. Within an epoch a topic's `seq` grows by exactly 1 per update, whoever writes. A store that lost its memory begins a new epoch.
"""

from __future__ import annotations

from typing import NamedTuple


class Stamped(NamedTuple):
    """One update as the store has it.

    Attributes:
        epoch: six letters and digits that name this life of the store.
        seq: 1, 2, 3 … within the epoch.
        published_us: when it was published, wall clock.
        body: JSON object, see `marketdata.ticks`.
    """

    epoch: str
    seq: int
    published_us: int
    body: bytes
