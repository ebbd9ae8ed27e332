"""One pipeline for all log lines, of ours and of every library: named, masked, floods collapsed, as JSON or for people.

Rules of this file:
1. A line is made where it is logged, which knows on whose behalf, and written by a thread (`line_writer`): a reader of standard
   error that stands still holds up nobody.
2. What looks like a credential is masked in every part of a line (`masks`), exceptions included. Local variables are in none.
3. Lines that are alike are counted beyond the first few (`floods`); the count is a line of its own.
4. A line that cannot be made is a line that says so.
"""

# ruff: noqa: E402
from __future__ import annotations

import json
import logging
import logging.config
import math
import os
import socket
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping, MutableMapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any

sys.modules.setdefault("structlog.twisted", None)  # type: ignore[arg-type]  # Twisted, where daphne is, would cost each process 3 MB

import structlog
from structlog.dev import ConsoleRenderer, plain_traceback
from structlog.processors import ExceptionRenderer, format_exc_info
from structlog.stdlib import ExtraAdder, ProcessorFormatter
from structlog.tracebacks import ExceptionDictTransformer

from monitoring.floods import Floods, Rest, template
from monitoring.line_writer import LineWriter, Write, write_to
from monitoring.masks import masked_value, shown

Event = MutableMapping[str, Any]
Kind = tuple[str, int, str, str]  # logger, level, template, type of the exception

ROLES = {
    "serve": "web",
    "runserver": "web",
    "daphne": "web",
    "uvicorn": "web",
    "feed": "feed",
    "worker": "worker",
    "beat": "beat",
}
FRAMES = 40  # of one traceback
WINDOW_S = 10.0
STANDARD_ERROR = 2
REFUSALS = (  # what Django calls suspicious, and tells by loggers of these names
    "DisallowedHost", "DisallowedRedirect", "RequestDataTooBig", "SuspiciousFileOperation", "SuspiciousMultipartForm",
    "SuspiciousOperation", "SuspiciousSession", "TooManyFieldsSent", "TooManyFilesSent",
)  # fmt: skip

logger = logging.getLogger(__name__)
unwritten = Counter(collapsed=0, dropped=0)  # lines of this process: alike, and only counted; or without room


def role_of(argv: Sequence[str]) -> str:
    """What a process is, by its command line: web, feed, worker or beat; of any other the command's name."""
    path = Path(argv[0] if argv else "python")
    program = path.parent.name if path.stem == "__main__" else path.stem  # by `python -m`, or as a script
    words = [word for word in argv[1:] if not word.startswith("-")]
    if program == "celery":
        return next((word for word in words if word in ("worker", "beat")), "celery")
    named = words[0] if program == "manage" and words else program
    return ROLES.get(named, named)


# How a line is made


def _head(record: logging.LogRecord) -> dict[str, Any]:
    at = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="microseconds")
    return {"timestamp": at.replace("+00:00", "Z"), "level": record.levelname.lower(), "logger": record.name}


_OF_STRUCTLOG = frozenset(("event", "_record", "_from_structlog"))
_OF_LOGGING = _OF_STRUCTLOG | {"message", "asctime"}  # another handler's formatter, which saw the record first, leaves them there


class _Named:
    """Says of each line when, how grave, who, and on whose behalf."""

    def __init__(self, role: str) -> None:
        self.role = role
        self.host = socket.gethostname()

    def __call__(self, _: Any, __: str, event: Event) -> Event:
        record: logging.LogRecord = event["_record"]
        names = {name: getattr(record, name, None) for name in ("correlation", "connection_id", "request_id")}
        who = {"role": self.role, "process": f"{self.host}-{os.getpid()}"}
        line = {**_head(record), "message": event.get("event", ""), **who}
        known = _OF_STRUCTLOG if event.get("_from_structlog") else _OF_LOGGING
        rest = {name: value for name, value in event.items() if name not in known}
        rest |= {name: value for name, value in names.items() if value}
        return line | {f"{name}_" if name in line else name: value for name, value in rest.items()}


def _mask(_: Any, __: str, event: Event) -> Event:
    found: Event = masked_value(event)
    return found


def _as_json(_: Any, __: str, event: Event) -> str:
    return json.dumps(event, ensure_ascii=False, default=repr)


_CONTROLS = {code: repr(chr(code))[1:-1] for code in (*range(32), *range(127, 160))}


def _for_people(_: Any, __: str, event: Event) -> Event:
    """Only what the person before the terminal does not know. What others say may not look like a line, or move the cursor."""
    known = ("role", "process", "connection_id", "request_id")
    shown = {name: value for name, value in event.items() if name not in known and value != "-"}
    return shown | {"timestamp": shown["timestamp"][11:], "event": str(shown.pop("message")).translate(_CONTROLS)}


def formatter(kind: str, role: str, *, colours: bool = False) -> logging.Formatter:
    """What makes lines of records.

    Args:
        kind: `json`, or `console` for people.
        role: of this process.
        colours: for a terminal.
    """
    exceptions = ExceptionRenderer(ExceptionDictTransformer(show_locals=False, max_frames=FRAMES))
    console = ConsoleRenderer(colors=colours, pad_event_to=0, sort_keys=False, exception_formatter=plain_traceback)
    rendering = {"json": [exceptions, _mask, _as_json], "console": [format_exc_info, _mask, _for_people, console]}[kind]
    chain: Any = [_Named(role), *rendering]
    return ProcessorFormatter(foreign_pre_chain=[ExtraAdder()], processors=chain)


# Where it goes


def kind_of(record: logging.LogRecord) -> Kind:
    """What lines that are alike have in common."""
    text = record.msg.get("event", "") if isinstance(record.msg, dict) else record.msg
    failure = record.exc_info[0].__name__ if record.exc_info and record.exc_info[0] else ""
    return record.name, record.levelno, template(str(text)), failure


class Handler(logging.Handler):
    """Collapses floods, makes lines and has them written.

    Args:
        repeats: lines of one kind that pass within `WINDOW_S`; 0: all do.
        write: writes bytes; by default to standard error.
    """

    def __init__(self, repeats: int = 20, write: Write | None = None) -> None:
        super().__init__()
        self.floods = Floods(repeats, WINDOW_S)
        self.writer = LineWriter(write or write_to(STANDARD_ERROR), self._news, lambda: self.floods.pending)

    def emit(self, record: logging.LogRecord) -> None:
        """Make and write a line, if it is not one too many of its kind."""
        try:
            if self.floods.admit(kind_of(record), time.monotonic()):
                self._put(self._line(record))
            else:
                unwritten["collapsed"] += 1
        except Exception as error:  # noqa: BLE001, RUF100 -- whoever logs must not fail for it
            self._put(self._spoilt(record, error))

    def _put(self, line: bytes) -> None:
        if not self.writer.put(line):
            unwritten["dropped"] += 1

    def _line(self, record: logging.LogRecord) -> bytes:
        return f"{self.format(record)}\n".encode(errors="backslashreplace")

    def _spoilt(self, record: logging.LogRecord, error: Exception) -> bytes:
        text = f"a line could not be made ({type(error).__name__}): {shown(record.msg)}"
        return self._line(_record(record.name, logging.ERROR, "%s", text))

    def _news(self, dropped: int) -> Iterator[bytes]:
        if dropped:
            text = "%d log lines were dropped: standard error took nothing"
            yield self._line(_record(logger.name, logging.WARNING, text, dropped))
        yield from self._told(at_once=False)

    def _told(self, *, at_once: bool) -> Iterator[bytes]:
        for rest in self.floods.over(time.monotonic(), at_once=at_once):
            yield self._line(_summary(rest))

    def flush(self) -> None:
        """Wait a little for the writing."""
        self.writer.flush()

    def close(self) -> None:
        """Tell all counts and write what waits."""
        for line in self._told(at_once=True):
            self._put(line)
        self.writer.close()
        super().close()


def _record(name: str, level: int, text: str, *arguments: object) -> logging.LogRecord:
    return logging.LogRecord(name, level, "", 0, text, arguments, None)


def _summary(rest: Rest) -> logging.LogRecord:
    name, level, text, _ = rest.kind if isinstance(rest.kind, tuple) else (logger.name, logging.WARNING, "of many kinds", "")
    record = _record(name, level, "… %s more in %d s: %s", f"{rest.lines:,}", math.ceil(rest.over_s), text)
    record.__dict__["repeated"] = rest.lines
    return record


class Refused(logging.Filter):
    """Lines about requests that Django refuses, which anybody may send: warnings that are alike, not failures with tracebacks."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Change the record, and keep it."""
        record.msg, record.args = "a request was refused: %s", (record.getMessage(),)
        record.levelno, record.levelname = logging.WARNING, logging.getLevelName(logging.WARNING)
        record.exc_info = record.exc_text = None
        return True


# How it is switched on


def settings_for(level: str, kind: str, repeats: int) -> dict[str, Any]:
    """Django's `LOGGING`.

    Args:
        level: least severity.
        kind: `json`, `console`, or `auto`: for people if standard error is a terminal.
        repeats: see `Handler`.
    """
    terminal = os.isatty(STANDARD_ERROR)
    kind = kind if kind != "auto" else "console" if terminal else "json"
    line = {"()": formatter, "kind": kind, "role": role_of(sys.argv), "colours": terminal}
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "filters": {"correlation": {"()": "marketdata.correlation.CorrelationFilter"}, "refused": {"()": Refused}},
        "formatters": {"line": line},
        "handlers": {"console": {"()": Handler, "repeats": repeats, "formatter": "line", "filters": ["correlation"]}},
        "root": {"handlers": ["console"], "level": level},
        # uvicorn's INFO lines carry whole URLs; nothing of the kind belongs into a log. Nor does SQL, which has session keys;
        # and Django's own handlers would bypass ours
        "loggers": {
            **{name: {"level": "WARNING"} for name in ("uvicorn.error", "uvicorn.access", "django.db.backends")},
            **{f"django.security.{name}": {"filters": ["refused"]} for name in REFUSALS},
            "django": {"handlers": [], "level": "INFO", "propagate": True},
            "django.server": {"handlers": [], "level": "INFO", "propagate": True},
        },
    }


def configure(wanted: Mapping[str, Any]) -> None:
    """Django's `LOGGING_CONFIG`: the pipeline, for lines that `structlog.get_logger()` makes, too, and for what nobody caught."""
    logging.config.dictConfig(dict(wanted))
    structlog.configure(
        processors=[structlog.stdlib.filter_by_level, ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
    )
    if role_of(sys.argv) in ROLES.values():
        sys.excepthook = _uncaught
        threading.excepthook = _uncaught_in_thread


def _uncaught(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if not issubclass(kind, KeyboardInterrupt):
        logger.critical("the process ends: nobody caught a failure", exc_info=(kind, error, trace))


def _uncaught_in_thread(failure: threading.ExceptHookArgs) -> None:
    if failure.exc_value is not None and not issubclass(failure.exc_type, SystemExit):
        name = failure.thread.name if failure.thread else "?"
        logger.error("thread %s ends: nobody caught a failure", name, exc_info=failure.exc_value)
