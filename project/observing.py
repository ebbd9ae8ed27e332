"""Settings of what Tickwire says of itself: log lines, traces, error reports."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import urlsplit

from project.knobs import knob, one_of, scheme


def needs(package: str, requirements: str, form: Callable[[str], str | None]) -> Callable[[str], str | None]:
    """Check: a value of that form, and the package that it needs is installed; or nothing."""

    def check(value: str) -> str | None:
        if not value:
            return None
        if wrong := form(value):
            return wrong
        found = importlib.util.find_spec(package.partition(".")[0]) is not None and importlib.util.find_spec(package) is not None
        return None if found else f"needs {package}, which is not installed: pip install -r {requirements}"

    return check


def dsn(value: str) -> str | None:
    """Check: an address of Sentry's kind. What is wrong is said without repeating any of it."""
    if wrong := scheme("http", "https")(value):
        return wrong
    found = urlsplit(value)
    whole = found.hostname and found.username and found.path.strip("/")
    return None if whole else "must be https://key@host/project"


@dataclass(frozen=True)
class Observing:
    """What is said of itself: log lines, reports for `/metrics`, traces, error reports."""

    reporting: bool = knob(
        "TICKWIRE_REPORTING",
        True,
        "each process says once a second how it fares, for /metrics, admin/nodes/ and alerts; health is told in any case",
    )
    audit_days: int = knob(
        "TICKWIRE_AUDIT_DAYS", 0, "how long the audit log is kept; 0: for ever", unit="days", low=0, high=10_000
    )
    log_format: str = knob(
        "TICKWIRE_LOG_FORMAT",
        "auto",
        "how log lines look: json, console, or auto: console where standard error is a terminal and under `make run`, else json",
        check=one_of("auto", "json", "console"),
    )
    log_repeats: int = knob(
        "TICKWIRE_LOG_REPEATS",
        20,
        "lines alike that are written within ten seconds; of further ones the number is; 0: all are written",
        unit="lines",
        low=0,
    )
    tracing_endpoint: str = knob(
        "TICKWIRE_TRACING_ENDPOINT",
        "",
        "where spans go by OTLP over HTTP, as http://collector:4318/v1/traces; empty: nothing is traced",
        check=needs("opentelemetry.sdk", "requirements-tracing.txt", scheme("http", "https")),
    )
    tracing_ratio: float = knob(
        "TICKWIRE_TRACING_RATIO",
        0.001,
        "share of updates that are traced, the same ones in every process",
        low=0,
        high=1,
    )
    sentry_dsn: str = knob(
        "TICKWIRE_SENTRY_DSN",
        "",
        "where errors are reported to, as https://key@host/project; empty: nowhere",
        secret=True,
        check=needs("sentry_sdk", "requirements-sentry.txt", dsn),
    )


def start(wanted: Observing, role: str) -> None:
    """Begin to trace and to report errors, as far as that is wanted; nothing of either is loaded otherwise."""
    if wanted.tracing_endpoint:
        from monitoring import tracing

        tracing.start(wanted.tracing_endpoint, wanted.tracing_ratio, role)
    if wanted.sentry_dsn:
        from monitoring import error_reports

        error_reports.start(wanted.sentry_dsn, role)
