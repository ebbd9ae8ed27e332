"""Silent feeds: flagged within three times their cadence, but never while their market is closed. The clock is ours."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from marketdata.feed_status import FeedStatus
from marketdata.instruments import open_since
from marketdata.pulse import LEARNT, Pulse
from monitoring.alerts import Instance, Terms, step
from monitoring.silence import FORGOTTEN_US, OVER, ROUND_S, feed_silence

TERMS = Terms(comparison=">", threshold=OVER)


def at(text: str, zone: str = "America/New_York") -> int:
    return round(datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp() * 1e6)


MONDAY_NOON = at("2026-11-23 12:00")


NOTED_US = 100 * 3_600_000_000  # its process lives, and notes that it hears nothing


def feed(heard_us: int, cadence_s: float = 10.0, sessions: tuple[str, ...] = ("us",), noted_us: int = NOTED_US) -> FeedStatus:
    return FeedStatus(
        name="f", kind="demo", polled=False, cadence_s=cadence_s, sessions=list(sessions),
        heard_us=heard_us, good_until_us=heard_us + noted_us,
    )  # fmt: skip


def flagged_after_s(status: FeedStatus, begin_us: int, phase_s: float = 0.0) -> float | None:
    """When the alert fires, looked at each round, in seconds after `begin_us`; None: not within ten hours."""
    instance, now_s = Instance(), phase_s
    while now_s < 36_000:
        ratios = [each.value for each in feed_silence([status], begin_us + round(now_s * 1e6))]
        bad = TERMS.is_bad(ratios[0]) if ratios else None
        instance = step(TERMS, instance, now_s, bad, ratios[0] if ratios else None).instance
        if instance.state == "firing":
            return now_s
        now_s += ROUND_S
    return None


@pytest.mark.parametrize("cadence_s", [5.0, 10.0, 60.0, 600.0])
@pytest.mark.parametrize("phase_s", [0.0, 1.0, 4.9])
def test_a_mute_feed_is_flagged_within_three_times_its_cadence(cadence_s, phase_s):
    found = flagged_after_s(feed(MONDAY_NOON, cadence_s), MONDAY_NOON, phase_s)
    assert 2 * cadence_s < found <= 3 * cadence_s


def test_a_feed_whose_process_died_is_silent():
    assert flagged_after_s(feed(MONDAY_NOON, noted_us=0), MONDAY_NOON) == 25.0


def test_a_quick_feed_is_judged_by_rounds():
    assert flagged_after_s(feed(MONDAY_NOON, 0.1), MONDAY_NOON) == 3 * ROUND_S


def test_a_feed_that_speaks_in_its_cadence_is_not_silent():
    assert all(each.value <= 1 for n in range(100) for each in feed_silence([feed(MONDAY_NOON + n)], MONDAY_NOON + n + 9_000_000))


def test_a_closed_market_stays_silent_all_night():
    closing = at("2026-11-23 16:00")
    assert flagged_after_s(feed(closing - 1), closing) is None


def test_a_weekend_stays_silent():
    assert flagged_after_s(feed(at("2026-11-20 16:00")), at("2026-11-21 09:00")) is None


def test_a_market_that_opens_gives_the_feed_time():
    opening = at("2026-11-24 09:30")
    found = flagged_after_s(feed(at("2026-11-23 16:00")), opening - 60_000_000)
    assert 60 + 20 < found <= 60 + 30


def test_a_lunch_break_is_a_closed_market():
    lunch = at("2026-11-23 11:30", "Asia/Shanghai")
    status = feed(lunch, sessions=("cn",))
    assert next(feed_silence([status], lunch + 3600_000_000)).value == 0
    assert next(feed_silence([status], at("2026-11-23 13:00:30", "Asia/Shanghai"))).value == 3.0


def test_one_open_market_of_several_is_enough():
    night = at("2026-11-23 23:00")
    assert flagged_after_s(feed(night, sessions=("us", "always")), night) == 25.0


@pytest.mark.parametrize(
    "status",
    [feed(MONDAY_NOON, 0.0), feed(MONDAY_NOON, sessions=()), feed(MONDAY_NOON - FORGOTTEN_US, noted_us=0)],
    ids=["a feed that may wait", "nothing is known of its instruments", "an old note"],
)
def test_where_silence_means_nothing_there_is_no_value(status):
    assert list(feed_silence([status], MONDAY_NOON)) == []


@pytest.mark.parametrize(
    ("session", "now", "since"),
    [
        ("always", MONDAY_NOON, 0),
        ("us", MONDAY_NOON, at("2026-11-23 09:30")),
        ("us", at("2026-11-23 16:00"), None),
        ("us", at("2026-11-22 12:00"), None),
        ("cn", at("2026-11-23 14:00", "Asia/Shanghai"), at("2026-11-23 13:00", "Asia/Shanghai")),
        ("us", at("2026-03-09 10:00"), at("2026-03-09 09:30")),
    ],
)
def test_hours_begin_when_the_venues_clock_says_so(session, now, since):
    assert open_since(session, now) == since


def test_the_cadence_is_what_the_feed_is_used_to():
    pulse = Pulse()
    assert pulse.usual_s is None
    for n in range(LEARNT + 1):
        pulse.beat(4.0 * n)
    assert pulse.usual_s == 4.0


def test_time_in_which_nobody_watched_does_not_count() -> None:
    status = feed(MONDAY_NOON)
    (ratio,) = feed_silence([status], MONDAY_NOON + 60_000_000, MONDAY_NOON + 50_000_000)
    assert ratio.value == 1.0
