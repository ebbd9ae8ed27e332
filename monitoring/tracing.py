"""Spans of updates, from publish to deliver, for OpenTelemetry. Loaded only where TICKWIRE_TRACING_ENDPOINT is set.

A trace is an update: `publish` (handed to the store until Redis has answered), in it `store` (Redis), and of each serving process
`deliver` (a flush has it until it is written to sockets). All of them find the trace's name and that of its first span in the
update itself, so that nothing is carried. Between the end of `store` and `deliver` lies the bus, and waiting for the flush.
"""

from __future__ import annotations

import atexit
import hashlib
import os
import socket
import threading
from collections.abc import Sequence

from opentelemetry import trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanLimits, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.sdk.trace.id_generator import IdGenerator, RandomIdGenerator
from opentelemetry.sdk.trace.sampling import ALWAYS_ON
from opentelemetry.trace import NonRecordingSpan, SpanContext, SpanKind, TraceFlags, Tracer

from marketdata import hops
from marketdata.batch import Update
from marketdata.hops import Choice, Followed
from marketdata.store import now_us
from realtime.node import VERSION

END_MS = 2000  # what is left is sent when the process ends, in so long at most
WAITING = 4096  # spans; more of them are dropped, and the library logs that


class _GivenIds(IdGenerator):
    """Hands out the trace and span that were asked for in this thread; else random ones."""

    def __init__(self) -> None:
        self._random = RandomIdGenerator()
        self.next = threading.local()

    def generate_trace_id(self) -> int:
        return getattr(self.next, "trace", None) or self._random.generate_trace_id()

    def generate_span_id(self) -> int:
        found, self.next.span = getattr(self.next, "span", None), None
        return found or self._random.generate_span_id()


class Tracing:
    """Makes spans of what it is told as `marketdata.hops.Follower`.

    Args:
        exporter: where they go.
        ratio: share of updates that are traced.
        role: of this process.
    """

    def __init__(self, exporter: SpanExporter, ratio: float, role: str) -> None:
        self.choice = Choice(ratio)
        self._ids = _GivenIds()
        process = {
            "service.name": "tickwire",
            "service.version": VERSION,
            "service.instance.id": _process(),
            "tickwire.role": role,
        }
        self.provider = TracerProvider(
            sampler=ALWAYS_ON,  # `choice` has sampled
            resource=Resource.create(process),
            shutdown_on_exit=False,
            id_generator=self._ids,
            span_limits=SpanLimits(max_span_attributes=16),
        )
        self.provider.add_span_processor(BatchSpanProcessor(exporter, max_queue_size=WAITING, schedule_delay_millis=1000))
        self._tracer: Tracer = self.provider.get_tracer("tickwire", VERSION)

    def published(self, updates: Sequence[Update], epoch: str, seqs: Sequence[int], begun_us: int, asked_us: int) -> None:
        """See `Follower.published`."""
        ended_us = now_us()
        for update, seq in zip(updates, seqs, strict=True):
            if (found := self.choice(update.topic, epoch, seq)) is not None:
                self._first(found, begun_us, ended_us, len(updates))
                self._later("store", found, asked_us, ended_us, SpanKind.CLIENT, len(updates))

    def delivered(self, update: Followed, begun_us: int, ended_us: int, receivers: int) -> None:
        """See `Follower.delivered`."""
        self._later("deliver", update, begun_us, ended_us, SpanKind.CONSUMER, receivers)

    def _first(self, update: Followed, begun_us: int, ended_us: int, updates: int) -> None:
        self._ids.next.trace, self._ids.next.span = update.trace, _first_span(update)
        attributes = _attributes(update) | {"tickwire.batch": updates}
        span = self._tracer.start_span(
            "publish", context=_NOWHERE, kind=SpanKind.PRODUCER, attributes=attributes, start_time=begun_us * 1000
        )
        self._ids.next.trace = None
        span.end(ended_us * 1000)

    def _later(self, name: str, update: Followed, begun_us: int, ended_us: int, kind: SpanKind, size: int) -> None:
        above = SpanContext(update.trace, _first_span(update), is_remote=True, trace_flags=TraceFlags(TraceFlags.SAMPLED))
        attributes = _attributes(update) | {"tickwire.receivers" if name == "deliver" else "tickwire.batch": size}
        context = trace.set_span_in_context(NonRecordingSpan(above), _NOWHERE)
        span = self._tracer.start_span(name, context=context, kind=kind, attributes=attributes, start_time=begun_us * 1000)
        span.end(ended_us * 1000)

    def stop(self) -> None:
        """Send what is left, as far as that is possible in `END_MS`."""
        ending = threading.Thread(target=self.provider.shutdown, name="tracing-end", daemon=True)
        ending.start()
        ending.join(END_MS / 1000)


_NOWHERE = trace.set_span_in_context(trace.INVALID_SPAN)  # whatever is under way where an update is published is another trace


def _first_span(update: Followed) -> int:
    """Name of the span that all others of a trace are below, known to whoever knows the trace."""
    return int.from_bytes(hashlib.blake2b(update.trace.to_bytes(16), digest_size=8).digest()) or 1


def _attributes(update: Followed) -> dict[str, str | int]:
    return {"tickwire.topic": update.topic, "tickwire.epoch": update.epoch, "tickwire.seq": update.seq}


def _process() -> str:
    return f"{socket.gethostname()}-{os.getpid()}"


def start(endpoint: str, ratio: float, role: str) -> Tracing:
    """Trace from now on, until the process ends.

    Args:
        endpoint: of a collector that takes OTLP over HTTP.
        ratio: share of updates that are traced.
        role: of this process.
    """
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

    tracing = Tracing(OTLPSpanExporter(endpoint, timeout=5), ratio, role)
    hops.follow(tracing)
    atexit.register(tracing.stop)
    return tracing
