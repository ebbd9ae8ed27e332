"""REST about the processes of an installation: all of them for staff, and for clients the one that has most room."""

from __future__ import annotations

from functools import cache
from typing import Annotated

import msgspec
from django.http import HttpResponse
from drf_spectacular.utils import OpenApiExample, OpenApiResponse, extend_schema
from rest_framework.exceptions import NotFound
from rest_framework.request import Request

from marketdata.access import MayRead
from marketdata.endpoint import Endpoint
from marketdata.store import Store, now_us
from monitoring.installation import Snapshot
from monitoring.reports import Report
from realtime.auth import IsStaff
from realtime.codes import Code, CodedError
from realtime.operations import in_json

WAIT_S = 2.0  # for Redis
RETRY_MS = 2000
_NODE = {
    "name": "web-1-4711", "role": "web", "host": "web-1", "pid": 4711, "version": "1.0.0", "uptime_s": 86400.5, "age_s": 0.4,
    "address": "wss://web-1.example.com", "load": 0.12, "connections": 812, "draining": False, "ready": True,
}  # fmt: skip


class Process(msgspec.Struct, frozen=True, kw_only=True):
    """A process as it last reported. `age_s` says how long ago that was."""

    name: str
    role: str
    host: str
    pid: int
    version: str
    uptime_s: float
    age_s: float
    address: str
    load: Annotated[float, msgspec.Meta(description="0 idle … 1 as busy as it may be; of web processes")]
    connections: int
    draining: bool
    ready: Annotated[bool | None, msgspec.Meta(description="may get traffic; null where nobody asks it")]

    @classmethod
    def of(cls, report: Report, now: int) -> Process:
        """What a report says."""
        ready = report.value("tickwire_ready")
        return cls(
            name=report.name,
            role=report.role,
            host=report.host,
            pid=report.pid,
            version=report.version,
            uptime_s=round((report.at_us - report.started_us) / 1e6, 3),
            age_s=round(max(0, now - report.at_us) / 1e6, 3),
            address=report.address,
            load=round(report.load, 4),
            connections=report.connections,
            draining=report.draining,
            ready=None if ready is None else bool(ready),
        )


class Processes(msgspec.Struct, frozen=True):
    """The processes of the installation, by role and name."""

    nodes: list[Process]


class Best(msgspec.Struct, frozen=True):
    """Where to connect."""

    address: str


@cache
def store() -> Store:
    """This process's store, as the observer reads it."""
    return Store.from_settings(WAIT_S)


def processes() -> list[Process]:
    """Those that reported lately.

    Raises:
        StoreUnavailable: Redis does not answer.
    """
    now = now_us()
    return [Process.of(report, now) for report in Snapshot.take(store()).reports]


def best(found: list[Process]) -> str | None:
    """The address of the least loaded process that takes connections, and is ready for them; None: there is none."""
    serving = [each for each in found if each.role == "web" and each.address and not each.draining and each.ready is not False]
    return min(serving, key=lambda process: (process.load, process.connections)).address if serving else None


class NodesView(Endpoint):
    """All processes."""

    permission_classes = [IsStaff]

    @extend_schema(
        operation_id="nodes",
        summary="The processes of the installation, as they last reported",
        responses=OpenApiResponse(Processes, "those that reported within five seconds"),
        examples=[OpenApiExample("answer", {"nodes": [_NODE]})],
    )
    def get(self, request: Request) -> HttpResponse:  # noqa: ARG002
        """Whatever their role."""
        return in_json(Processes(processes()))


class BestNodeView(Endpoint):
    """The process with most room."""

    permission_classes = [MayRead]

    @extend_schema(
        operation_id="best_node",
        summary="Address of the least loaded serving process, where operators named addresses",
        responses=OpenApiResponse(Best, "connect there"),
        examples=[OpenApiExample("answer", {"address": "wss://web-1.example.com"})],
    )
    def get(self, request: Request) -> HttpResponse:  # noqa: ARG002
        """By what they reported within five seconds."""
        found = processes()
        if (address := best(found)) is not None:
            return in_json(Best(address))
        if any(process.address for process in found if process.role == "web"):
            raise CodedError(Code.OVERLOADED, "no process takes connections just now", retry_after_ms=RETRY_MS)
        raise NotFound("no process says its address: see TICKWIRE_PUBLIC_ADDRESS")
