"""The clock of polled publishing and of alerts: sends a tick when it can be taken, drops it otherwise, and says so once."""

from __future__ import annotations

import logging
from typing import Any

from celery import beat

from marketdata.outage import Outage

MOST_WAITING = 100  # messages; a queue that nobody empties would grow by a million ticks in three days

log = logging.getLogger(__name__)


class Scheduler(beat.Scheduler):
    """Celery's scheduler without a file: its entries are few, and due again in a moment."""

    def __init__(self, *args: Any, **options: Any) -> None:
        self._outage = Outage("sending beat ticks", log)
        super().__init__(*args, **options)

    def apply_entry(self, entry: Any, producer: Any = None) -> None:
        """Send one task; Celery calls this when it is due."""
        try:
            waiting = self._waiting(producer)
            if waiting < MOST_WAITING:
                self.apply_async(entry, producer=producer, advance=False)
        except Exception as error:  # of the broker, mostly; the next tick may go through
            self._outage.failed(error)
            return
        if waiting < MOST_WAITING:
            self._outage.over()
        else:
            self._outage.failed(f"{waiting} of them wait, no worker takes any")

    def _waiting(self, producer: Any) -> int:
        queue = self.app.amqp.queues[self.app.conf.task_default_queue]
        return int(queue.bind(producer.channel).queue_declare().message_count)
