"""The Celery application: `celery -A project worker`, `celery -A project beat`.

Tasks publish market data that is old within a second, so everything here prefers losing one to running it late or twice: no
results, no late acknowledgement, no retries, an expiry on each message.
"""

from __future__ import annotations

import logging
import os
from typing import Any

from celery import Celery, signals
from celery.app.amqp import AMQP
from kombu.connection import Connection

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "project.settings")

from django.conf import settings

from marketdata import correlation
from monitoring.alerts import ROUND_S

_config = settings.TICKWIRE
_tick_s = _config.sources.poll_tick_s
_RECONNECT_S = 1.0
_SHORTEN_S = 600.0


class _Connection(Connection):
    """A connection to the broker that comes back soon; kombu's own waits up to half a minute."""

    def ensure_connection(self, errback: Any = None, max_retries: int | None = None, **options: Any) -> Any:
        pauses = {"interval_start": _RECONNECT_S, "interval_step": _RECONNECT_S, "interval_max": 5 * _RECONNECT_S}
        return super().ensure_connection(errback, max_retries, **(options | pauses))  # type: ignore[no-untyped-call]


class _Amqp(AMQP):
    Connection = _Connection


app = Celery("tickwire", amqp=_Amqp)
app.conf.update(
    broker_url=_config.broker_url,
    broker_connection_retry_on_startup=True,
    broker_connection_max_retries=None,  # for ever
    broker_transport_options={"global_keyprefix": f"{_config.bus.prefix}:celery:", **_config.broker_options},
    broker_use_ssl=_config.broker_tls or False,
    result_backend=None,
    result_expires=None,
    task_ignore_result=True,
    task_serializer="json",
    accept_content=["json"],
    task_default_queue="marketdata",
    task_publish_retry=False,
    worker_prefetch_multiplier=1,
    worker_cancel_long_running_tasks_on_connection_loss=True,
    beat_scheduler="project.beat:Scheduler",
    beat_schedule={
        "publish-market-data": {
            "task": "marketdata.tasks.publish_market_data",
            "schedule": _tick_s,
            "options": {"expires": _tick_s},
        },
        "evaluate-alerts": {
            "task": "monitoring.tasks.evaluate_alerts",
            "schedule": ROUND_S,
            "options": {"expires": ROUND_S},
        },
        "shorten-journal": {
            "task": "marketdata.tasks.shorten_journal",
            "schedule": _SHORTEN_S,
            "options": {"expires": _SHORTEN_S},
        },
    },
)
app.autodiscover_tasks(["marketdata", "monitoring"])


@signals.setup_logging.connect  # type: ignore[untyped-decorator]  # celery ships no types
def _keep_logging(**_: object) -> None:
    """Django's logging stays as it is; a line for each of several tasks a second is not logged."""
    for name in ("celery.worker.strategy", "celery.worker.request", "celery.app.trace"):
        logging.getLogger(name).setLevel(logging.WARNING)


@signals.worker_ready.connect  # type: ignore[untyped-decorator]  # celery ships no types
def _watch_worker(**_: object) -> None:
    from monitoring.labour import watch_worker  # not before Django's models are there

    watch_worker()


@signals.beat_init.connect  # type: ignore[untyped-decorator]  # celery ships no types
def _watch_beat(**_: object) -> None:
    from monitoring.labour import watch_beat

    watch_beat()


@signals.task_prerun.connect  # type: ignore[untyped-decorator]
def _name_task(task_id: str = correlation.NONE, **_: object) -> None:
    """Log lines of a task bear its id."""
    correlation.begin(task_id)


@signals.task_postrun.connect  # type: ignore[untyped-decorator]
def _forget_task(**_: object) -> None:
    correlation.begin(correlation.NONE)
