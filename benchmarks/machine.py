"""Facts of the machine, cores to run on, and the operating system's readings: CPU time and memory of processes."""

from __future__ import annotations

import contextlib
import os
import platform
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

from benchmarks import postgresql

TICKS_PER_S = os.sysconf("SC_CLK_TCK")
CORES = sorted(os.sched_getaffinity(0))
SERVER_CORE, CLIENT_CORE = CORES[0], CORES[-1]  # the same on a machine with one core, which the facts tell

PACKAGES = (
    "Django", "djangorestframework", "psycopg", "channels", "channels-redis", "daphne", "uvicorn", "uvloop", "websockets",
    "redis", "hiredis", "msgspec", "fastapi",
)  # fmt: skip
PROGRAMS = {
    "redis-server": ["redis-server", "--version"],
    "node": ["node", "--version"],
    "nginx": ["nginx", "-v"],
    "nats-server": ["nats-server", "--version"],
    "mosquitto": ["mosquitto", "-h"],
    "postgres": [postgresql.POSTGRES or "postgres", "--version"],
}


def pin(core: int) -> Callable[[], None]:
    """Something for a child to do before it starts, so that it and its children stay on a core."""
    return lambda: os.sched_setaffinity(0, {core})


def be_the_client() -> None:
    """Have this process run on the clients' core from now on, and open as many sockets as the system lets it."""
    pin(CLIENT_CORE)()
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def family(pid: int) -> list[int]:
    """A process and all that descend from it."""
    found = [pid]
    for one in found:
        for thread in Path(f"/proc/{one}/task").glob("*"):
            with contextlib.suppress(OSError):
                found += map(int, (thread / "children").read_text().split())
    return found


def cpu_s(pid: int) -> float:
    """CPU seconds that a process and its living children have used, in user and kernel mode."""
    return sum(map(_cpu_s, family(pid)))


def _cpu_s(pid: int) -> float:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / TICKS_PER_S


def core_busy_s(core: int) -> float:
    """Seconds since the machine started that a core was busy, with whatever it was, or taken away by the host."""
    line = next(line for line in Path("/proc/stat").read_text().splitlines() if line.startswith(f"cpu{core} "))
    user, nice, system, _idle, _waiting, *interrupts_and_stolen = map(int, line.split()[1:9])
    return (user + nice + system + sum(interrupts_and_stolen)) / TICKS_PER_S


class Watch:
    """Sees, from its making on, what of the two cores goes to work that is not this process', nor its children's."""

    def __init__(self) -> None:
        self._before = self._now()

    def _now(self) -> tuple[float, float, float]:
        return time.monotonic(), cpu_s(os.getpid()), sum(map(core_busy_s, {SERVER_CORE, CLIENT_CORE}))

    @property
    def disturbed_percent(self) -> float:
        """Of one core; near 0 on a quiet machine."""
        seconds, own, busy = (after - before for after, before in zip(self._now(), self._before, strict=True))
        return round(100 * max(0.0, busy - own) / seconds, 1)


def resident_bytes(pid: int) -> int:
    """Resident memory of one process."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def facts() -> dict[str, Any]:
    """What ran it all."""
    info = Path("/proc/cpuinfo").read_text()
    model = next(
        (line.partition(":")[2].strip() for line in info.splitlines() if line.startswith("model name")), platform.machine()
    )
    return {
        "cpu": model,
        "cores": len(CORES),
        "server_core": SERVER_CORE,
        "client_core": CLIENT_CORE,
        "memory_gib": round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30, 1),
        "kernel": platform.release(),
        "load_before": round(os.getloadavg()[0], 2),
    }


def versions() -> dict[str, str | None]:
    """Version of everything that was, or could have been, measured; None: not installed."""
    found: dict[str, str | None] = {"python": sys.version.split()[0]}
    for package in PACKAGES:
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[package] = metadata.version(package)
        found.setdefault(package, None)
    return found | {name: _first_line(command) for name, command in PROGRAMS.items()}


def _first_line(command: list[str]) -> str | None:
    if shutil.which(command[0]) is None:
        return None
    done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    return (done.stdout or done.stderr).strip().partition("\n")[0]
