"""The pipeline of log lines, in this process with a list for standard error, and in processes of their own."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog

from marketdata import correlation
from marketdata.correlation import CorrelationFilter, Correlations
from monitoring.logs import Handler, configure, formatter, role_of, settings_for, unwritten
from monitoring.process import own_samples

ROOT = Path(__file__).parents[2]
KEY = f"tw_abcd1234_{'x' * 40}"


class Log:
    """What a handler wrote, and a logger that leads there alone."""

    def __init__(self, kind: str = "json", repeats: int = 20) -> None:
        correlation.begin(correlation.NONE)  # whatever another test was at
        self.text = b""
        self.handler = Handler(repeats, self._write)
        self.handler.setFormatter(formatter(kind, "web"))
        self.handler.addFilter(CorrelationFilter())
        self.logger = logging.getLogger(f"test.{id(self)}")
        self.logger.propagate = False
        self.logger.setLevel(logging.DEBUG)
        self.logger.addHandler(self.handler)

    def _write(self, text: bytes) -> None:
        self.text += text

    def close(self) -> str:
        self.logger.removeHandler(self.handler)
        self.handler.close()
        return self.text.decode()

    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.close().splitlines()]


@pytest.fixture
def log() -> Iterator[Log]:
    found = Log()
    yield found
    found.close()


def fails() -> None:
    password = "in-a-local-variable"  # noqa: F841
    raise ValueError(f"cannot use {KEY}")


def test_a_line_says_when_how_grave_who_and_what(log: Log) -> None:
    log.logger.warning("%d of %s", 3, "four", extra={"topic": "trade.AAPL"})
    (line,) = log.lines()
    assert line.pop("timestamp").endswith("Z")
    assert line.pop("process").endswith(f"-{os.getpid()}")
    assert line == {
        "level": "warning", "logger": log.logger.name, "message": "3 of four", "role": "web",
        "topic": "trade.AAPL", "correlation": "-",
    }  # fmt: skip


def test_the_time_is_utc_with_microseconds(log: Log) -> None:
    record = log.logger.makeRecord("x", logging.INFO, "", 0, "", (), None)
    record.created = 1_800_000_000.000123
    log.handler.handle(record)
    assert log.lines()[0]["timestamp"] == "2027-01-15T08:00:00.000123Z"


def test_a_line_of_a_command_names_its_connection(log: Log) -> None:
    names = Correlations("session")
    names.begin_next()
    log.logger.info("served")
    correlation.begin(correlation.NONE)
    (line,) = log.lines()
    assert (line["correlation"], line["connection_id"], "request_id" in line) == (f"{names.prefix}-0", names.prefix, False)


def test_a_line_of_a_request_names_it(log: Log) -> None:
    correlation.begin("abc", request="abc")
    log.logger.info("served")
    correlation.begin(correlation.NONE)
    (line,) = log.lines()
    assert (line["correlation"], line["request_id"], "connection_id" in line) == ("abc", "abc", False)


def test_an_exception_is_data_without_local_variables_and_masked(log: Log) -> None:
    try:
        fails()
    except ValueError:
        log.logger.exception("it failed")
    text = log.close()
    (failure,) = json.loads(text)["exception"]
    assert (failure["exc_type"], failure["exc_value"]) == ("ValueError", "cannot use tw_abcd1234_…")
    assert [frame["name"] for frame in failure["frames"]][-1] == "fails"
    assert KEY not in text
    assert "in-a-local-variable" not in text


@pytest.mark.parametrize("kind", ["json", "console"])
def test_credentials_are_masked_in_text_arguments_fields_and_tracebacks(kind: str) -> None:
    log = Log(kind)
    log.logger.info(f"text {KEY}")
    log.logger.info("argument %s", KEY, extra={"field": KEY, "password": "p4ss", "headers": {"cookie": "c00kie"}})
    try:
        fails()
    except ValueError:
        log.logger.exception("it failed")
    text = log.close()
    assert text.count("tw_abcd1234_…") == 4
    assert not [secret for secret in (KEY, "p4ss", "c00kie") if secret in text]


def test_a_flood_is_a_few_lines_and_a_count() -> None:
    log = Log(repeats=5)
    for number in range(1208):
        log.logger.error("socket %d failed", number)
    log.logger.info("another kind")
    lines = log.lines()
    assert [line["message"] for line in lines[:5]] == [f"socket {number} failed" for number in range(5)]
    assert lines[5]["message"] == "another kind"
    assert (lines[6]["repeated"], lines[6]["level"]) == (1203, "error")
    assert lines[6]["message"].startswith("… 1,203 more in ")
    assert lines[6]["message"].endswith(": socket %d failed")
    assert len(lines) == 7


def test_lines_that_were_only_counted_are_in_the_metrics() -> None:
    log, before = Log(repeats=5), dict(unwritten)
    for number in range(8):
        log.logger.error("socket %d failed", number)
    assert unwritten["collapsed"] == before["collapsed"] + 3
    log.handler.writer._most_bytes = 0
    log.logger.error("there is no room")
    assert unwritten["dropped"] == before["dropped"] + 1
    told = {sample.labels[0][1]: sample.value for sample in own_samples() if sample.name == "tickwire_log_lines_unwritten_total"}
    assert told == dict(unwritten)
    log.close()


def test_different_failures_under_one_text_are_told_apart() -> None:
    log = Log(repeats=1)
    for failure in (ValueError(), KeyError(), ValueError()):
        log.logger.error("a task failed", exc_info=failure)
    lines = log.lines()
    assert [line["exception"][0]["exc_type"] for line in lines[:2]] == ["ValueError", "KeyError"]
    assert lines[2]["repeated"] == 1


def test_a_line_that_cannot_be_made_says_so(log: Log) -> None:
    log.handler.handle(log.logger.makeRecord(log.logger.name, logging.INFO, "", 0, "%d", (f"no number but {KEY}",), None))
    (line,) = log.lines()
    assert (line["level"], line["message"]) == ("error", "a line could not be made (TypeError): '%d'")


def test_a_line_about_what_cannot_even_be_shown_says_so(log: Log) -> None:
    class Shy:
        def __repr__(self) -> str:
            raise RuntimeError

    log.handler.handle(log.logger.makeRecord(log.logger.name, logging.INFO, "", 0, Shy(), (), None))
    assert log.lines()[0]["message"] == "a line could not be made (RuntimeError): <Shy without a repr>"


def test_a_field_cannot_pass_for_what_the_pipeline_says(log: Log) -> None:
    log.logger.info("harmless", extra={"level": "critical", "role": "nobody"})
    (line,) = log.lines()
    assert (line["level"], line["role"], line["level_"], line["role_"]) == ("info", "web", "critical", "nobody")


def test_a_line_is_one_line_whatever_it_is_about(log: Log) -> None:
    text = "two\nlines and a lone surrogate \ud800"  # which pytest's own log of what happened could not pass on
    log.handler.handle(log.logger.makeRecord(log.logger.name, logging.INFO, "", 0, text, (), None))
    assert log.lines()[0]["message"].startswith("two\nlines and a lone surrogate ")


def test_what_another_handler_made_of_a_record_is_not_told_again(log: Log) -> None:
    record = log.logger.makeRecord(log.logger.name, logging.INFO, "", 0, "hello %s", ("you",), None)
    logging.Formatter("%(asctime)s %(message)s").format(record)
    log.handler.handle(record)
    (line,) = log.lines()
    assert (line["message"], "message_" in line, "asctime" in line) == ("hello you", False, False)


def test_lines_of_structlog_go_the_same_way(log: Log) -> None:
    configure({"version": 1, "incremental": True})
    structlog.get_logger(log.logger.name).warning("moved", topic="trade.AAPL", token="abc")
    (line,) = log.lines()
    found = {name: line[name] for name in ("level", "message", "topic", "token", "correlation")}
    assert found == {"level": "warning", "message": "moved", "topic": "trade.AAPL", "token": "…", "correlation": "-"}


def test_for_people_a_line_begins_with_the_time_and_has_its_traceback_below() -> None:
    log = Log("console")
    log.logger.warning("hello", extra={"n": 1})
    try:
        fails()
    except ValueError:
        log.logger.exception("it failed")
    first, second, *trace = log.close().splitlines()
    assert first[2] == ":"
    assert first.split("[", 1)[1] == f"warning  ] hello [{log.logger.name}] n=1"
    assert "it failed" in second
    assert (trace[0], trace[-1]) == ("Traceback (most recent call last):", "ValueError: cannot use tw_abcd1234_…")


@pytest.mark.parametrize(
    "said", ["no\n12:00:00Z [critical] all is lost", "\x1b[2Jgone", "over\rwritten", "\x9b31mred"], ids=ascii
)
def test_what_others_say_is_no_line_of_its_own_and_moves_no_cursor(said: str) -> None:
    log = Log("console")
    log.logger.warning("the venue says %s", said)
    (line,) = log.close().splitlines()
    assert line.isprintable()


@pytest.mark.parametrize(
    ("line", "role"),
    [
        ("manage.py serve --port 1", "web"),
        ("/x/manage.py runserver", "web"),
        ("/bin/daphne project.asgi:application", "web"),
        ("manage.py feed", "feed"),
        ("/lib/celery/__main__.py --quiet -A project worker --pool threads", "worker"),
        ("/bin/celery -A project beat", "beat"),
        ("manage.py issue_key alice", "issue_key"),
        ("manage.py", "manage"),
        ("", "python"),
    ],
)
def test_a_process_is_named_after_what_it_does(line: str, role: str) -> None:
    assert role_of(line.split()) == role


@pytest.mark.parametrize(("asked", "kind"), [("json", "json"), ("console", "console")])
def test_the_form_of_lines_is_a_setting(asked: str, kind: str) -> None:
    found = settings_for("INFO", asked, 20)
    assert (found["formatters"]["line"]["kind"], found["root"]["level"]) == (kind, "INFO")


def run(program: str, *argv: str, read: bool = True, **environ: str) -> subprocess.Popen[str]:
    """A process with our settings, whose command line looks like `argv`."""
    begin = (
        f"import sys; sys.argv = {list(argv)!r}; import django; django.setup(); import logging; log = logging.getLogger('a.b')\n"
    )
    return subprocess.Popen(
        [sys.executable, "-c", begin + program],
        env={**os.environ, "DJANGO_SETTINGS_MODULE": "project.settings", "TICKWIRE_LOG_FORMAT": "auto", **environ},
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def lines_of(process: subprocess.Popen[str]) -> list[dict[str, Any]]:
    _, text = process.communicate(timeout=60)
    return [json.loads(line) for line in text.splitlines()]


def test_where_standard_error_is_no_terminal_lines_are_json_from_every_library() -> None:
    program = "log.warning('ours'); logging.getLogger('celery.beat').error('theirs'); logging.getLogger('django').info('its')"
    lines = lines_of(run(program, "manage.py", "feed"))
    assert [(line["logger"], line["message"], line["role"]) for line in lines] == [
        ("a.b", "ours", "feed"), ("celery.beat", "theirs", "feed"), ("django", "its", "feed"),
    ]  # fmt: skip


def test_what_nobody_caught_is_a_line_too() -> None:
    program = (
        "import threading\n"
        "thread = threading.Thread(target=lambda: 1 / 0, name='worker-1'); thread.start(); thread.join()\n"
        f"raise ValueError('{KEY}')"
    )
    inner, outer = lines_of(run(program, "manage.py", "feed"))
    assert (inner["level"], inner["message"]) == ("error", "thread worker-1 ends: nobody caught a failure")
    assert (outer["level"], outer["exception"][0]["exc_value"]) == ("critical", "tw_abcd1234_…")


def test_a_standard_error_that_nobody_reads_holds_up_nobody_and_what_is_lost_is_told() -> None:
    program = (
        "for number in range(1000): log.warning('%s', 'x' * 10_000)\n"
        "print('went on', flush=True)\n"
        "sys.stdin = open(0); sys.stdin.read()\n"
        "log.warning('there is room again')\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", "import sys; sys.argv = ['manage.py', 'feed']; import django; django.setup()\n"
         "import logging; log = logging.getLogger('a.b')\n" + program],
        env={
            **os.environ, "DJANGO_SETTINGS_MODULE": "project.settings",
            "TICKWIRE_LOG_FORMAT": "json", "TICKWIRE_LOG_REPEATS": "0",
        },
        cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline() == "went on\n"  # ten megabytes, of which a pipe holds 64 KiB
    messages = [line["message"] for line in lines_of(process)]
    dropped = [text for text in messages if text.endswith("log lines were dropped: standard error took nothing")]
    assert sum(int(text.split()[0]) for text in dropped) + messages.count("x" * 10_000) == 1000
    assert dropped
    assert "there is room again" in messages


def test_a_process_ends_although_nobody_reads_its_standard_error() -> None:
    process = run("for number in range(300): log.warning('%s', 'x' * 10_000)", "manage.py", "feed", TICKWIRE_LOG_REPEATS="0")
    assert process.wait(60) == 0
    process.communicate()


def test_a_tracer_and_a_reporter_are_loaded_only_when_they_are_asked_for() -> None:
    """redis-py loads the metrics of OpenTelemetry wherever that is installed; spans, and what sends them, are our affair."""
    heavy = ("opentelemetry.sdk.trace", "opentelemetry.exporter", "google.protobuf", "sentry_sdk")
    program = f"import project.asgi; print([name for name in {heavy} if name in sys.modules])"
    process = run(program, "manage.py", "serve", TICKWIRE_LOG_LEVEL="ERROR")
    assert process.communicate(timeout=60) == ("[]\n", "")
