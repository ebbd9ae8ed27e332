"""How long feeds have been silent while their market was open, in units of their own cadence.

Rules of this file:
1. Only hours in which something of the feed trades count: a closed market makes no feed silent, and one that opens gives it time.
2. No cadence counts as shorter than the pause between two evaluations: nobody would notice in time.
3. It is reckoned from the feed's last note, however old: a feed whose process died is silent too. But while nobody watched, as
   while Redis was away or everything was off, no feed could be heard: that time does not count.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from marketdata.feed_status import FeedStatus
from marketdata.instruments import open_since
from monitoring.alerts import ROUND_S
from monitoring.samples import Sample, sample

OVER = 2.0  # silent for more cadences than that: noticed at the next look, that is within three
FORGOTTEN_US = 3_600_000_000  # a note that old is of an installation that has changed


def feed_silence(feeds: Iterable[FeedStatus], now_us: int, watched_us: int = 0) -> Iterator[Sample]:
    """`tickwire_feed_silence_ratio` of each feed whose silence means something.

    Args:
        feeds: their last notes.
        now_us: the time.
        watched_us: since when somebody watches without a break.
    """
    for feed in feeds:
        if feed.cadence_s and feed.sessions and now_us - feed.good_until_us < FORGOTTEN_US:
            silent_for_s = silent_s(feed, now_us, watched_us)
            yield sample("tickwire_feed_silence_ratio", silent_for_s / max(feed.cadence_s, ROUND_S), feed=feed.name)


def silent_s(feed: FeedStatus, now_us: int, watched_us: int = 0) -> float:
    """Seconds for which a feed has said nothing although it could have; 0 while its market is closed."""
    opened = [since for session in feed.sessions if (since := open_since(session, now_us)) is not None]
    return max(0, now_us - max(feed.heard_us, watched_us, min(opened))) / 1e6 if opened else 0.0
