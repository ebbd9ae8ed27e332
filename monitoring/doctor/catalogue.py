"""Plans, instruments and feeds: whether they make sense together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from django.conf import settings
from django.db import DatabaseError

from marketdata import roster
from marketdata.errors import BadFeedOptions, StoreUnavailable
from marketdata.feed_status import feed_statuses
from marketdata.models import Feed, Instrument
from marketdata.store import Store
from monitoring.doctor.findings import Finding, fail, ok, warn
from realtime.models import Plan


@dataclass(frozen=True)
class FeedFacts:
    """One feed that shall run.

    Attributes:
        flaw: why it must not run; empty where it may.
        seen: whether a process says that it runs; None: Redis, where it would say so, does not answer.
        fault: what is wrong with it there; empty where nothing is.
    """

    name: str
    flaw: str = ""
    seen: bool | None = True
    fault: str = ""


@dataclass(frozen=True)
class CatalogueFacts:
    """What the tables and the settings say.

    Attributes:
        plans: name → whether it is enabled.
        default_plan, dashboard_plan: as set; the latter may be empty.
        instruments: how many are active.
        feeds: those that shall run.
        strays: enabled rows of kinds that `TICKWIRE_FEEDS` does not name.
        bad_feeds: what is wrong with `TICKWIRE_FEEDS`; empty where nothing is.
    """

    plans: dict[str, bool]
    default_plan: str
    dashboard_plan: str
    instruments: int
    feeds: Sequence[FeedFacts]
    strays: Sequence[str] = ()
    bad_feeds: str = ""


def ask() -> CatalogueFacts | None:
    """Ask the tables, and Redis which feeds run; None: the tables cannot be asked, which is said elsewhere."""
    serving = settings.TICKWIRE.serving
    try:
        plans = dict(Plan.objects.values_list("name", "enabled"))
        instruments = Instrument.objects.filter(active=True).count()
        rows = list(Feed.objects.filter(enabled=True).values_list("name", flat=True))
        entries, bad = _entries()
    except DatabaseError:
        return None
    strays = [] if bad else sorted(set(rows) - {entry.name for entry in entries})
    return CatalogueFacts(plans, serving.default_plan, serving.dashboard_plan, instruments, _feeds(entries), strays, bad)


def _entries() -> tuple[list[roster.Entry], str]:
    try:
        return [*roster.streaming(), *roster.polled()], ""
    except BadFeedOptions as error:
        return [], str(error)


def _feeds(entries: Sequence[roster.Entry]) -> list[FeedFacts]:
    store = Store.from_settings(3.0)
    try:
        known = {status.name: status for status in feed_statuses(store)}
    except StoreUnavailable:
        return [FeedFacts(entry.name, entry.flaw, seen=None) for entry in entries]
    finally:
        store.close()
    return [
        FeedFacts(entry.name, entry.flaw, entry.name in known, "" if entry.name not in known else known[entry.name].fault)
        for entry in entries
    ]


def check(facts: CatalogueFacts) -> Iterator[Finding]:
    """Judge it."""
    yield _plan("default plan", facts.default_plan, facts.plans, "TICKWIRE_DEFAULT_PLAN")
    if facts.dashboard_plan:
        yield _plan("dashboard plan", facts.dashboard_plan, facts.plans, "TICKWIRE_DASHBOARD_PLAN")
    if not facts.instruments:
        yield warn(
            "instruments", "There is no active instrument: nothing can be followed.", "add some in the admin, or start a feed"
        )
    else:
        yield ok("instruments", f"{facts.instruments:,} instruments are active.")
    yield from _judge_feeds(facts)


def _plan(about: str, name: str, plans: dict[str, bool], setting: str) -> Finding:
    if name not in plans:
        return fail(
            about, f"There is no plan {name!r}.", f"make it in the admin, or set {setting} to one of {', '.join(sorted(plans))}"
        )
    if not plans[name]:
        return warn(
            about, f"The plan {name!r} is disabled: whoever has it is shut out.", f"enable it in the admin, or change {setting}"
        )
    return ok(about, f"It is {name!r}.")


def _judge_feeds(facts: CatalogueFacts) -> Iterator[Finding]:
    if facts.bad_feeds:
        yield fail("feeds", f"{facts.bad_feeds[:1].upper()}{facts.bad_feeds[1:]}.", "TICKWIRE_FEEDS (docs/feeds.md)")
        return
    for name in facts.strays:
        yield warn(
            "feeds", f"Feed {name!r} is enabled, but its kind does not run here.", "add its kind to TICKWIRE_FEEDS, or disable it"
        )
    if not facts.feeds:
        yield warn("feeds", "No feed is enabled: prices come from outside or not at all.", "enable one in the admin")
    yield from map(_feed, facts.feeds)


def _feed(feed: FeedFacts) -> Finding:
    about = f"feed {feed.name}"
    if feed.flaw:
        return fail(about, f"It must not run: {feed.flaw}.", "correct its row in the admin")
    if feed.seen is None:
        return warn(about, "Whether it runs cannot be seen: Redis does not answer.", "see what is said of Redis")
    if not feed.seen:
        return warn(
            about, "No process says that it runs it.", "start manage.py feed, and a Celery worker and beat for polled feeds"
        )
    if feed.fault:
        return warn(about, f"It runs, but is {feed.fault}.", "see its last error in the admin and in the log")
    return ok(about, "It runs, and is well.")
