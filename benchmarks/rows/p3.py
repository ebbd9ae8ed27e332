"""P3: 1000 connections that follow 50 of 1000 trade topics each: updates/s on one core with p99 ≤ 100 ms and nothing lost.

Every connection draws its own topics (seeded), so that no two are served alike. Rates rise from 20 000 published updates/s, which
make a million delivered, by a tenth until one fails, or fall by a tenth until one holds.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence

from benchmarks import servers
from benchmarks.figures import Row
from benchmarks.trial import Trial, fresh_trial

CLIENTS, FOLLOWED, TOPICS = 1000, 50, servers.TOPICS
P99_MS = 100.0
GOAL = 1_000_000
FIRST_PER_S = 20_400  # a little more than the goal, so that a window's jitter does not decide
MOST_TRIALS = 5


def run() -> Row:
    """Measure."""
    followers = Counter(topic for number in range(CLIENTS) for topic in choose(number))
    with servers.scratch() as home, servers.redis_server(home) as bus, servers.tickwire(home, bus) as target:
        greeting = servers.follow(servers.key_of(target.greeting), choose)
        with servers.source(target, TOPICS) as source:
            due = Deliveries([followers[topic] for topic in range(TOPICS)])
            trials: list[Trial] = []
            rate = float(FIRST_PER_S)
            while len(trials) < MOST_TRIALS:
                trials.append(fresh_trial(target, greeting, CLIENTS, source, rate, due))
                held = trials[-1].sustained(P99_MS)
                if trials[0].sustained(P99_MS) != held:
                    break
                rate *= 1.1 if held else 0.9
    top = max((one for one in trials if one.sustained(P99_MS)), key=lambda one: one.updates_per_s, default=None)
    detail = {"trials": [one.seen() for one in trials]}
    value = round(top.updates_per_s) if top else None
    return Row(value, "updates/s on one core", f"≥ {GOAL:,}".replace(",", " "), bool(value and value >= GOAL), detail)


def choose(number: int) -> Sequence[int]:
    """The topics of a connection."""
    return random.Random(number).sample(range(TOPICS), FOLLOWED)  # noqa: S311


class Deliveries:
    """How many deliveries published updates make: the publisher takes the topics in turn, and goes on where it stopped.

    Args:
        followers: of each topic.
    """

    def __init__(self, followers: Sequence[int]) -> None:
        self._followers = followers
        self._published = 0

    def __call__(self, published: int) -> int:
        """Deliveries of the next `published` updates."""
        before, self._published = self._published, self._published + published
        return self._until(self._published) - self._until(before)

    def _until(self, published: int) -> int:
        rounds, rest = divmod(published, len(self._followers))
        return rounds * sum(self._followers) + sum(self._followers[:rest])
