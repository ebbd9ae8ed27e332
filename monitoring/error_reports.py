"""Errors reported to Sentry, or to what speaks its protocol. Loaded only where TICKWIRE_SENTRY_DSN is set.

Rules of this file:
1. What is reported is what is logged as an error, and what nobody caught. Nothing is hooked into the data path: none of the
   library's integrations with Django, Redis or Celery is on.
2. No personal data: no user, no request, no local variables, no source of arguments. Everything else goes through `masks`.
3. A flood of errors is a few reports a minute; the log has the count.
"""

from __future__ import annotations

import logging
import os
import socket
import time
from typing import Any, cast

import sentry_sdk
from sentry_sdk.integrations.atexit import AtexitIntegration
from sentry_sdk.integrations.dedupe import DedupeIntegration
from sentry_sdk.integrations.excepthook import ExcepthookIntegration
from sentry_sdk.integrations.logging import LoggingIntegration
from sentry_sdk.integrations.threading import ThreadingIntegration
from sentry_sdk.types import Breadcrumb, BreadcrumbHint, Event, Hint

from marketdata import correlation
from monitoring.floods import Floods
from monitoring.logs import kind_of
from monitoring.masks import masked_value
from realtime.node import VERSION

REPORTS = 5  # of one kind within WINDOW_S
WINDOW_S = 60.0
END_S = 2.0  # the process waits so long for its last reports
LEFT_OUT = ("user", "request", "modules")


class Reports:
    """Decides what of an error leaves this process.

    Args:
        role: of this process.
    """

    def __init__(self, role: str) -> None:
        self.role = role
        self._floods = Floods(REPORTS, WINDOW_S)

    def before_send(self, event: Event, hint: Hint) -> Event | None:
        """The report as it may go out, or None: there were enough of its kind."""
        if not self._floods.admit(_kind(hint), time.monotonic()):
            return None
        kept: dict[str, Any] = {name: value for name, value in event.items() if name not in LEFT_OUT}
        kept["extra"] = _fields(hint)
        kept["tags"] = {"role": self.role, "correlation": correlation.current()}
        return cast(Event, masked_value(kept))

    def before_breadcrumb(self, crumb: Breadcrumb, _: BreadcrumbHint) -> Breadcrumb:
        """What was logged before, masked."""
        return cast(Breadcrumb, masked_value(crumb))


def _kind(hint: Hint) -> object:
    record = hint.get("log_record")
    if isinstance(record, logging.LogRecord):
        return kind_of(record)
    kind = (hint.get("exc_info") or (None,))[0]
    return kind.__name__ if kind is not None else ""


_STANDARD = {*logging.makeLogRecord({}).__dict__, "message", "asctime"}


def _fields(hint: Hint) -> dict[str, Any]:
    """What a line was given besides, as far as it is plain: of the rest the library has made texts, of a request its address."""
    record = hint.get("log_record")
    given = record.__dict__ if isinstance(record, logging.LogRecord) else {}
    return {name: value for name, value in given.items() if name not in _STANDARD and isinstance(value, str | int | float)}


def start(dsn: str, role: str) -> None:
    """Report from now on, until the process ends."""
    reports = Reports(role)
    sentry_sdk.init(
        dsn=dsn,
        release=f"tickwire@{VERSION}",
        server_name=f"{socket.gethostname()}-{os.getpid()}",
        send_default_pii=False,
        include_local_variables=False,
        include_source_context=False,
        max_request_body_size="never",
        max_breadcrumbs=20,
        auto_session_tracking=False,
        send_client_reports=False,
        default_integrations=False,
        auto_enabling_integrations=False,
        integrations=[
            LoggingIntegration(level=logging.INFO, event_level=logging.ERROR),
            ExcepthookIntegration(),
            ThreadingIntegration(propagate_scope=False),
            AtexitIntegration(callback=lambda pending, timeout: None),  # noqa: ARG005 -- its own would print
            DedupeIntegration(),
        ],
        before_send=reports.before_send,
        before_breadcrumb=reports.before_breadcrumb,
        shutdown_timeout=END_S,
    )
