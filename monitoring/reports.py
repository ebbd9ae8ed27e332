"""What each process says of itself once a second, in Redis: who it is, how it fares, what it measured. Anyone reads them all.

Rules of this file:
1. A report ends by itself: a process that said nothing for `KEPT_MS` is gone, however it ended.
2. Writing costs one round trip a second; a Redis that is away costs a report, and nothing else.
3. Reports are the service registry: which processes there are, where, and how busy.
"""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from marketdata.store import now_us
from monitoring.samples import Buckets, Sample
from realtime.node import VERSION

EVERY_S = 1.0
KEPT_MS = 5000
FORGOTTEN_MS = 60_000  # the index keeps no name for longer

Role = str  # web, feed, worker or beat


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """One process at one moment.

    Attributes:
        name: host and process id.
        role: web, feed, worker or beat.
        address: where clients reach it, if an operator said so; else empty.
        started_us, at_us: wall clock.
        load: 0 idle … 1 as busy as it may be; of web processes.
        connections: of web processes.
        draining: takes no more connections.
        samples, histograms: what it measured.
    """

    name: str
    role: Role
    host: str
    pid: int
    version: str
    started_us: int
    at_us: int
    address: str = ""
    load: float = 0.0
    connections: int = 0
    draining: bool = False
    samples: list[Sample] = []
    histograms: list[Buckets] = []

    def value(self, name: str) -> float | None:
        """The sum of a metric's samples; None: there is none."""
        found = [each.value for each in self.samples if each.name == name]
        return sum(found) if found else None


class Identity(msgspec.Struct, frozen=True):
    """Which process this is."""

    name: str
    role: Role
    started_us: int
    address: str = ""

    @classmethod
    def here(cls, role: Role, address: str = "") -> Identity:
        """This process, begun now."""
        return cls(f"{socket.gethostname()}-{os.getpid()}", role, now_us(), address)

    def report(self, samples: Iterable[Sample | Buckets], **fares: Any) -> Report:
        """A report of this moment.

        Args:
            samples: what was measured.
            fares: load, connections, draining.
        """
        measured = list(samples)
        return Report(
            name=self.name,
            role=self.role,
            host=socket.gethostname(),
            pid=os.getpid(),
            version=VERSION,
            started_us=self.started_us,
            at_us=now_us(),
            address=self.address,
            samples=[each for each in measured if isinstance(each, Sample)],
            histograms=[each for each in measured if isinstance(each, Buckets)],
            **fares,
        )


def _index(prefix: str) -> str:
    return f"{prefix}:reports"


def _key(prefix: str, name: str) -> str:
    return f"{prefix}:report:{name}"


def write(pipe: Any, prefix: str, report: Report) -> None:
    """Ask a pipeline, of either kind of client, to keep a report."""
    now_ms = report.at_us // 1000
    pipe.set(_key(prefix, report.name), msgspec.msgpack.encode(report), px=KEPT_MS)
    pipe.zadd(_index(prefix), {report.name: now_ms})
    pipe.zremrangebyscore(_index(prefix), "-inf", now_ms - FORGOTTEN_MS)


_READ = """
local names = redis.call('ZRANGE', KEYS[1], 0, -1)
local found = {}
for _, name in ipairs(names) do
  local report = redis.call('GET', ARGV[1] .. name)
  if report then found[#found + 1] = report end
end
return found
"""


def question(prefix: str) -> tuple[str, int, str, str]:
    """The arguments of `eval` whose answer `read` understands: one round trip for all reports."""
    return _READ, 1, _index(prefix), _key(prefix, "")


def read(answer: Sequence[bytes]) -> list[Report]:
    """The reports, by role and name; those of another version that cannot be read are left out."""
    found = []
    for text in answer:
        try:
            found.append(msgspec.msgpack.decode(text, type=Report))
        except msgspec.DecodeError:
            continue
    return sorted(found, key=lambda report: (report.role, report.name))


PYTHON = ".".join(map(str, sys.version_info[:3]))
