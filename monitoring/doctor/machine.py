"""The machine: open files, the queue of new connections, disk, cores."""

from __future__ import annotations

import os
import resource
import shutil
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from monitoring.doctor.findings import Finding, fail, ok, warn
from realtime.server import BACKLOG, SPARE_FILES

SOMAXCONN = Path("/proc/sys/net/core/somaxconn")
GIB = 1 << 30


@dataclass(frozen=True)
class MachineFacts:
    """What this machine allows, and what is asked of it.

    Attributes:
        files: hard limit of open files; None: none.
        connections: sockets that a serving process shall take.
        somaxconn: most new connections that wait to be accepted; None: cannot be seen.
        free_bytes: of the data folder's disk.
        cores: that this process may use.
        workers: serving processes.
    """

    files: int | None
    connections: int
    somaxconn: int | None
    free_bytes: int
    cores: int
    workers: int


def ask(data_dir: Path, connections: int, workers: int) -> MachineFacts:
    """Look at the machine that this runs on."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    somaxconn = None
    with suppress(OSError, ValueError):
        somaxconn = int(SOMAXCONN.read_text())
    return MachineFacts(
        files=None if hard == resource.RLIM_INFINITY else hard,
        connections=connections,
        somaxconn=somaxconn,
        free_bytes=shutil.disk_usage(data_dir).free,
        cores=len(os.sched_getaffinity(0)),
        workers=workers,
    )


def check(facts: MachineFacts) -> Iterator[Finding]:
    """Judge it."""
    yield _files(facts)
    if facts.somaxconn is not None:
        yield _queue(facts.somaxconn)
    yield _disk(facts.free_bytes)
    yield _cores(facts)


def _files(facts: MachineFacts) -> Finding:
    wanted = facts.connections + SPARE_FILES
    if facts.files is None or facts.files >= wanted:
        return ok("open files", f"A process may open the files that {facts.connections:,} connections need.")
    fix = f"raise the hard limit to {wanted} (ulimit -Hn, LimitNOFILE=), or lower TICKWIRE_MAX_CONNECTIONS"
    says = f"A process may open {facts.files:,} files, and {facts.connections:,} connections need {wanted:,}."
    return fail("open files", says, fix) if facts.files < facts.connections else warn("open files", says, fix)


def _queue(somaxconn: int) -> Finding:
    if somaxconn < BACKLOG:
        says = f"Of clients that connect at once, only {somaxconn} wait; others are turned away by the system."
        return warn("new connections", says, f"sysctl -w net.core.somaxconn={BACKLOG}")
    return ok("new connections", f"{somaxconn:,} new connections may wait to be accepted.")


def _disk(free: int) -> Finding:
    says, fix = f"The data folder's disk has {free / GIB:.2f} GiB left.", "free some, or move TICKWIRE_DATA_DIR"
    if free >= GIB:
        return ok("disk", says)
    return warn("disk", says, fix) if free >= GIB // 5 else fail("disk", says, fix)


def _cores(facts: MachineFacts) -> Finding:
    if facts.workers > facts.cores:
        says = f"{facts.workers} serving processes share {facts.cores} cores."
        return warn("cores", says, f"TICKWIRE_WORKERS={max(1, facts.cores - 1)}: feeds and Redis need some, too")
    return ok("cores", f"{facts.workers} serving of {facts.cores} cores.")
