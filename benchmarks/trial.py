"""One system at one rate: warm-up, windows, what was lost; and the search for the highest rate that a system sustains."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, dataclass
from operator import attrgetter
from pathlib import Path
from statistics import median
from typing import Any, TypeVar

from benchmarks import machine, servers
from benchmarks.load import Greeting, Load, Window
from benchmarks.servers import Source, Target

WARM_UP_S = 1.0
WINDOW_S = 2.0
TRIES = 2  # of a rate
SETTLE_S = 3.0  # within which what is under way must have arrived
DISTURBED = 5.0  # percent of the two cores: a trial from which more is taken away is made again
ATTEMPTS = 3
CLIENT_IS_THE_LIMIT = 90.0  # percent of the clients' core

Seen = TypeVar("Seen")
Open = Callable[[Path, Path], AbstractContextManager[Target]]


@dataclass(frozen=True)
class Trial:
    """What was seen at one rate; medians of the windows.

    Attributes:
        published_per_s: updates a second that were asked of the publisher.
        updates_per_s: delivered to all clients together.
        mb_per_s, reads_per_s: received by all clients together.
        cpu_percent: of the server's core, used by the server.
        cpu_us: server CPU per delivered update.
        p50_ms, p99_ms: publisher's clock to client's.
        lost: updates that did not arrive, of all windows and the warm-up; at least 1 for each connection that got anything else.
        closed: connections that the server ended.
        client_core_percent: of the clients' core, which Redis and the publisher share.
        disturbed_percent: of both cores, used by what does not belong here, or taken away by the host; near 0 on a quiet machine.
    """

    published_per_s: float
    updates_per_s: float
    mb_per_s: float
    reads_per_s: float
    cpu_percent: float
    cpu_us: float
    p50_ms: float | None
    p99_ms: float | None
    lost: int
    closed: int
    client_core_percent: float
    disturbed_percent: float

    def sustained(self, p99_ms: float) -> bool:
        """Nothing lost, latency within the bound, and the rate was in fact delivered."""
        return self.lost == 0 and self.closed == 0 and self.p99_ms is not None and self.p99_ms <= p99_ms

    @property
    def client_is_the_limit(self) -> bool:
        """The clients' core was full: the server might do more."""
        return self.client_core_percent >= CLIENT_IS_THE_LIMIT

    def seen(self) -> dict[str, Any]:
        """For the JSON."""
        return {name: round(value, 3) if isinstance(value, float) else value for name, value in asdict(self).items()} | {
            "client_is_the_limit": self.client_is_the_limit
        }


@dataclass(frozen=True)
class _Reading:
    window: Window
    server_s: float
    all_s: float
    client_core_s: float
    server_core_s: float

    @property
    def foreign_s(self) -> float:
        """CPU seconds of other people's work."""
        return max(0.0, self.client_core_s + self.server_core_s - self.all_s)


def trial(
    target: Target,
    load: Load,
    source: Source,
    rate: float,
    due: Callable[[int], int],
    *,
    windows: int = 3,
    window_s: float = WINDOW_S,
) -> Trial:
    """Publish at a rate, watch, stop, and see whether everything came.

    Args:
        target: the server.
        load: its clients, live.
        source: its publisher, idle.
        rate: updates to publish a second.
        due: how many deliveries so many published updates make, of those of this trial.
        windows: how many medians are taken of.
        window_s: how long each is.
    """
    before = source.stop()
    load.mark()
    source.set_rate(rate)
    load.run(WARM_UP_S)
    readings = [_read(target, load, window_s) for _ in range(windows)]
    wanted = due(source.stop() - before)
    load.run_until(wanted, SETTLE_S)
    return _summary(rate, readings, max(wanted - load.updates, load.unclear), load.closed)


def _read(target: Target, load: Load, seconds: float) -> _Reading:
    before = _clocks(target.pid)
    window = load.run(seconds)
    return _Reading(window, *(after - start for start, after in zip(before, _clocks(target.pid), strict=True)))


def _clocks(pid: int) -> tuple[float, float, float, float]:
    cores = machine.core_busy_s(machine.CLIENT_CORE), machine.core_busy_s(machine.SERVER_CORE)
    return machine.cpu_s(pid), machine.cpu_s(os.getpid()), *cores


def _summary(rate: float, readings: list[_Reading], lost: int, closed: int) -> Trial:
    windows = [reading.window for reading in readings]

    def middle(of: Callable[[_Reading], float]) -> float:
        return median(map(of, readings))

    p50s, p99s = ([value for window in windows if (value := window.p(percent)) is not None] for percent in (50, 99))
    return Trial(
        published_per_s=rate,
        updates_per_s=middle(lambda one: one.window.rate),
        mb_per_s=middle(lambda one: one.window.received_bytes / one.window.seconds / 1e6),
        reads_per_s=middle(lambda one: one.window.reads / one.window.seconds),
        cpu_percent=100 * middle(lambda one: one.server_s / one.window.seconds),
        cpu_us=1e6 * middle(lambda one: one.server_s / max(one.window.updates, 1)),
        p50_ms=median(p50s) if p50s else None,
        p99_ms=median(p99s) if p99s else None,
        lost=lost,
        closed=closed,
        client_core_percent=100 * middle(lambda one: one.client_core_s / one.window.seconds),
        disturbed_percent=100 * middle(lambda one: one.foreign_s / one.window.seconds),
    )


def undisturbed(attempt: Callable[[], Seen], disturbed: Callable[[Seen], float] = attrgetter("disturbed_percent")) -> Seen:
    """Make a trial again, a few times at most, while other work or the host takes much of the cores; gives the calmest.

    Args:
        attempt: makes it.
        disturbed: what of both cores was taken away from it, percent of one.
    """
    trials: list[Seen] = []
    while len(trials) < ATTEMPTS and not (trials and disturbed(trials[-1]) <= DISTURBED):
        trials.append(attempt())
    return min(trials, key=disturbed)


@contextmanager
def fan_out(open_target: Open, bus_core: int = machine.CLIENT_CORE) -> Iterator[tuple[Target, Source]]:
    """A fresh server of a system with its bus, on the core of your choice, and its publisher."""
    with (
        servers.scratch() as home,
        servers.redis_server(home, bus_core) as bus,
        open_target(home, bus) as target,
        servers.source(target) as source,
    ):
        yield target, source


def fan_out_trial(
    target: Target, source: Source, clients: int, rate: float, *, windows: int = 3, window_s: float = WINDOW_S
) -> Trial:
    """A trial with clients that all follow the one topic, connected for it."""
    return fresh_trial(
        target, target.greeting, clients, source, rate, lambda published: published * clients, windows=windows, window_s=window_s
    )


def fresh_trial(
    target: Target,
    greeting: Greeting,
    clients: int,
    source: Source,
    rate: float,
    due: Callable[[int], int],
    *,
    windows: int = 3,
    window_s: float = WINDOW_S,
) -> Trial:
    """A trial on fresh connections, none old enough to be asked whether it is alive; see `trial`."""

    def attempt() -> Trial:
        with connected(target, greeting, clients) as load:
            return trial(target, load, source, rate, due, windows=windows, window_s=window_s)

    return undisturbed(attempt)


@contextmanager
def connected(target: Target, greeting: Greeting, clients: int) -> Iterator[Load]:
    """Clients that are live, until the end of the block."""
    load = Load(target.port, greeting)
    try:
        load.connect(clients)
        load.run(0.3)
        yield load
    finally:
        load.close()


def highest(open_target: Open, clients: int, p99_ms: float, *, start_per_s: float, step: float = 1.2) -> list[Trial]:
    """Search the highest rate that a system sustains: doubling until a rate fails, then, with a fresh server, in smaller steps.

    A rate that fails is tried once more, so that one disturbance of the machine does not decide. A system's bus lives on the
    server's core: those that have one pay for it as those do that are one.

    Returns:
        All trials, in order; the best is that with the most updates a second of those that were sustained.
    """
    coarse = list(_climb(open_target, clients, p99_ms, start_per_s, 2.0))
    good = [one.published_per_s for one in coarse if one.sustained(p99_ms)]
    if not good:
        return coarse
    return coarse + list(_climb(open_target, clients, p99_ms, good[-1] * step, step))


def _climb(open_target: Open, clients: int, p99_ms: float, rate: float, step: float) -> Iterator[Trial]:
    with fan_out(open_target, machine.SERVER_CORE) as (target, source):
        left = TRIES
        for _ in range(14):
            one = fan_out_trial(target, source, clients, rate, windows=1)
            yield one
            if one.sustained(p99_ms):
                rate, left = rate * step, TRIES
            elif (left := left - 1) == 0:
                return


def best(trials: list[Trial], p99_ms: float) -> Trial | None:
    """The sustained trial with the most updates a second; None: none was."""
    return max((one for one in trials if one.sustained(p99_ms)), key=lambda one: one.updates_per_s, default=None)
