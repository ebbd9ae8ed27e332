"""What tests of alerting share: an installation whose values a test sets, and a webhook that takes messages down."""

from __future__ import annotations

import json
import socketserver
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from email import message_from_bytes
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from marketdata.layout import Layout
from marketdata.store import Store, now_us
from monitoring import reports
from monitoring.deliveries import Outgoing
from monitoring.evaluation import Evaluator
from monitoring.installation import beat_key
from monitoring.models import AlertRule, Delivery, Notifier
from monitoring.reports import Report
from monitoring.samples import Sample, sample


class Webhook:
    """Takes what it is sent.

    Attributes:
        taken: titles and bodies.
        status: with which it answers.
        hangs: while it is cleared, nobody is answered.
    """

    def __init__(self) -> None:
        self.taken: list[dict[str, str]] = []
        self.status = 200
        self.answers = threading.Event()
        self.answers.set()
        webhook = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                sent = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                webhook.answers.wait(10)
                if webhook.status == 200:
                    webhook.taken.append(sent)
                self.send_response(webhook.status)
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True

    @property
    def url(self) -> str:
        return f"json://127.0.0.1:{self.server.server_port}/hooks/s3cr3tt0ken"

    @property
    def titles(self) -> list[str]:
        return [each["title"] for each in self.taken]


@contextmanager
def webhook() -> Iterator[Webhook]:
    """One for as long as the block."""
    found = Webhook()
    with _serving(found.server):
        try:
            yield found
        finally:
            found.answers.set()


class Mailbox:
    """Takes mail.

    Attributes:
        taken: what came.
    """

    def __init__(self) -> None:
        self.taken: list[Message] = []
        mailbox = self

        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                self._say(220)
                while (word := self.rfile.readline().split(b" ")[0].strip().upper()) not in (b"", b"QUIT"):
                    if word == b"DATA":
                        self._say(354)
                        mailbox.taken.append(message_from_bytes(b"".join(iter(self.rfile.readline, b".\r\n"))))
                    self._say(250)
                self._say(221)

            def _say(self, code: int) -> None:
                self.wfile.write(f"{code} so\r\n".encode())

        self.server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True

    @property
    def url(self) -> str:
        return f"mailto://127.0.0.1:{self.server.server_address[1]}?from=a@example.com&to=b@example.com&mode=insecure"


@contextmanager
def mailboxes() -> Iterator[Mailbox]:
    """One for as long as the block."""
    found = Mailbox()
    with _serving(found.server):
        yield found


@contextmanager
def _serving(server: socketserver.BaseServer) -> Iterator[None]:
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)


class Installation:
    """A Redis with reports of processes in it, and evaluators under a clock of the test's."""

    def __init__(self, redis_url: str, prefix: str) -> None:
        self.redis_url, self.prefix = redis_url, prefix
        self.store = Store(redis_url, Layout(prefix))
        self.now = time.time()
        self.outgoing = Outgoing(timeout_s=5.0)
        self.evaluator = self.another()

    def another(self) -> Evaluator:
        """An evaluator like that of another process."""
        return Evaluator(self.store, self.outgoing, lambda: self.now)

    def report(self, name: str, *samples: Sample, role: str = "web") -> None:
        """What a process says of itself, kept for long."""
        report = Report(name=name, role=role, host="h", pid=1, version="1", started_us=0, at_us=now_us(), samples=list(samples))
        with self.store.client.pipeline() as pipe:
            reports.write(pipe, self.prefix, report)
            pipe.pexpire(f"{self.prefix}:report:{name}", 60_000)
            pipe.execute()

    def beats(self, ago_s: float = 0.0) -> None:
        """Celery's beat was heard so long ago."""
        self.store.client.set(beat_key(self.prefix), now_us() - round(ago_s * 1e6))

    def look(self, after_s: float = 5.0, evaluator: Evaluator | None = None) -> bool:
        """Evaluate after a while, and wait until what there is to tell is told."""
        self.now += after_s
        done = (evaluator or self.evaluator).round()
        self.outgoing.wait()
        return done

    def close(self) -> None:
        self.outgoing.wait()
        self.store.close()


def only_rule(**fields: Any) -> AlertRule:
    """A rule, and no other."""
    AlertRule.objects.all().delete()
    values = {"name": "slow", "metric": "tickwire_slow_connections", "threshold": 10, "clear_seconds": 0} | fields
    return AlertRule.objects.create(**values)


def told(url: str, name: str = "ops", **fields: Any) -> Notifier:
    """A notifier."""
    return Notifier.objects.create(name=name, url=url, **fields)


def deliveries() -> list[tuple[str, str]]:
    """Event and state of each, in the order in which they were written."""
    return list(Delivery.objects.order_by("pk").values_list("event", "state"))


def slow(installation: Installation, count: float) -> None:
    """So many clients are slow."""
    installation.report("a", sample("tickwire_slow_connections", count))
