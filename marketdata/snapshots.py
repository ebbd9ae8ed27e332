"""Snapshots as REST gives them: which of the named topics may be read, and the answer.

The view and what answers before Django both ask here, so that they cannot disagree.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import msgspec
from django.conf import settings

from marketdata.access import Reader, granted, known_instruments
from marketdata.errors import MarketDataError, StoreUnavailable
from marketdata.instruments import Instrument, Instruments, is_open
from marketdata.last_known import Value
from marketdata.serializers import Rejected, Snapshot, Snapshots
from marketdata.store import Stamped, now_us

CONTENT_TYPE = "application/json"
UNREACHED = StoreUnavailable("the market data cannot be reached just now")


class Wanted(NamedTuple):
    """What somebody asked for.

    Attributes:
        topics: those that may be read, each with its instrument, in the order in which they were named.
        refused: the others.
    """

    topics: Mapping[str, Instrument]
    refused: Sequence[Rejected]


def wanted(names: Iterable[str], reader: Reader, known: Instruments | None = None) -> Wanted:
    """Sort names out.

    Args:
        known: the instruments; those of `known_instruments`, which may ask the database, by default.
    """
    known = known or known_instruments()
    found: dict[str, Instrument] = {}
    refused = []
    for name in names:
        try:
            _, found[name] = granted(name, reader, known)
        except MarketDataError as error:
            refused.append(_rejected(name, error))
    return Wanted(found, refused)


def answer(asked: Wanted, values: Sequence[Value | tuple[Stamped | None, bool] | None], at_us: int | None = None) -> Snapshots:
    """The answer with these values, one for each topic; None: nobody knows it just now.

    Args:
        at_us: the moment of which they are, microseconds since the epoch; now by default.
    """
    now = now_us() if at_us is None else at_us
    since = _fresh_since(now)
    found, unknown = [], []
    for (name, instrument), value in zip(asked.topics.items(), values, strict=True):
        if value is None:
            unknown.append(_rejected(name, UNREACHED))
            continue
        latest, current = value
        silent = (latest is None or latest.published_us < since) and is_open(instrument.session, now)
        found.append(_snapshot(name, latest, silent or not current))
    return Snapshots(found, [*asked.refused, *unknown])


def _snapshot(name: str, latest: Stamped | None, stale: bool) -> Snapshot:
    if latest is None:
        return Snapshot(name, None, 0, stale, None)
    return Snapshot(name, latest.epoch, latest.seq, stale, msgspec.Raw(latest.body))


def is_stale(latest: Stamped | None, instrument: Instrument, now_us: int) -> bool:
    """Whether a topic has been silent for longer than allowed while its instrument's session is open."""
    silent = latest is None or latest.published_us < _fresh_since(now_us)
    return silent and is_open(instrument.session, now_us)


def etag(content: bytes) -> str:
    """The entity tag of an answer."""
    return f'"{hashlib.blake2b(content, digest_size=12).hexdigest()}"'


def _fresh_since(now_us: int) -> int:
    allowed_s: float = settings.TICKWIRE.sources.stale_after_s
    return now_us - int(allowed_s * 1_000_000)


def _rejected(name: str, error: MarketDataError) -> Rejected:
    return Rejected(name, error.code, error.label, str(error))
