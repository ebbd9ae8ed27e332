"""The rules that Tickwire ships: made by `migrate` where there are none, and written for Prometheus into docker/prometheus.

Each has its page in docs/operations/runbooks. A threshold is one that a healthy installation of any size does not reach.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from monitoring.alerts import Terms
from monitoring.metrics import METRICS
from monitoring.notices import number_text
from monitoring.rules import Rule, Severity
from monitoring.silence import OVER

if TYPE_CHECKING:
    from django.apps.registry import Apps

RUNBOOKS = "docs/operations/runbooks"
GIB = 1 << 30


def _rule(name: str, severity: Severity, summary: str, metric: str, condition: tuple[Any, float, float], **more: Any) -> Rule:
    """A rule: its condition is comparison, threshold, and for how many seconds."""
    comparison, threshold, for_s = condition
    terms = Terms(
        comparison=comparison,
        threshold=threshold,
        for_s=for_s,
        clear_s=more.pop("clear_s", 15),
        escalate_s=1800 if severity == "critical" else None,
    )
    runbook = f"{RUNBOOKS}/{name}.md"
    return Rule(name=name, severity=severity, summary=summary, metric=metric, terms=terms, runbook=runbook, **more)


SHIPPED: tuple[Rule, ...] = (
    # what everything needs
    _rule("redis-down", "critical", "Redis does not answer.", "tickwire_redis_up", ("<", 1, 5), aggregation="min"),
    _rule("redis-slow", "warning", "Redis takes long to answer.", "tickwire_redis_round_trip_seconds", (">", 0.1, 30)),
    _rule(
        "breaker-open", "critical", "Something does not answer, and nobody waits for it any more.",
        "tickwire_breaker_open", (">", 0, 10),
    ),
    # the serving processes
    _rule(
        "no-web", "critical", "No serving process reports.",
        "tickwire_processes", ("<", 1, 10), labels={"role": "web"}, aggregation="sum",
    ),
    _rule("not-ready", "warning", "A serving process may get no traffic.", "tickwire_ready", ("<", 1, 30), aggregation="min"),
    _rule("canary-old", "critical", "Messages do not come back through the bus.", "tickwire_canary_age_seconds", (">", 5, 5)),
    _rule("loop-lag", "warning", "An event loop is late.", "tickwire_event_loop_lag_max_seconds", (">", 0.25, 60)),
    _rule("overload", "critical", "A serving process sheds load.", "tickwire_overload_step", (">=", 1, 10)),
    _rule(
        "task-deaths", "warning", "A task that must not end did.",
        "tickwire_task_deaths_total", (">", 0, 0), aggregation="sum",
    ),
    _rule(
        "internal-errors", "warning", "Clients were told of failures that nobody foresaw (100).",
        "tickwire_errors_total", (">", 0, 0), labels={"name": "internal"}, aggregation="sum",
    ),
    # what a process uses
    _rule("memory", "warning", "A process uses much memory.", "tickwire_memory_bytes", (">", 2 * GIB, 60)),
    _rule(
        "descriptors", "critical", "A process has few files left that it may open.",
        "tickwire_open_descriptors", (">", 0.85, 30), per="tickwire_most_descriptors",
    ),
    # delivery
    _rule(
        "delivery-latency", "warning", "One update in a hundred is late.",
        "tickwire_delivery_latency_seconds", (">", 0.5, 30), quantile=0.99, window_s=60,
    ),
    _rule(
        "gaps", "warning", "Clients are told of losses.",
        "tickwire_gaps_total", (">", 0.2, 60), aggregation="sum", clear_s=60,
    ),
    _rule("lost-updates", "critical", "The bus lost updates for good.",
        "tickwire_holes_total", (">", 0, 0), labels={"result": "lost"}, aggregation="sum",
    ),
    _rule(
        "slow-closes", "warning", "Clients are closed because they do not keep up.",
        "tickwire_slow_closes_total", (">", 0.1, 60), aggregation="sum", clear_s=60,
    ),
    _rule("bus-reconnects", "warning", "Connections to Redis keep breaking.",
        "tickwire_bus_reconnects_total", (">", 0.01, 0), aggregation="sum",
    ),
    # feeds
    _rule(
        "no-feed-process", "critical", "No feed process reports.",
        "tickwire_processes", ("<", 1, 30), labels={"role": "feed"}, aggregation="sum",
    ),
    _rule("feed-down", "warning", "A feed is disconnected, or what it says is wrong.", "tickwire_feed_up", ("<", 1, 30)),
    _rule("feed-silent", "critical", "A feed says nothing although its market is open.",
        "tickwire_feed_silence_ratio", (">", OVER, 0),
    ),
    _rule(
        "feed-rejects", "warning", "Much of what a feed sends is refused.",
        "tickwire_feed_rejected_total", (">", 0.05, 30), per="tickwire_feed_ticks_total", window_s=120,
    ),
    _rule("feed-lost", "critical", "Ticks of a feed could not be published.", "tickwire_feed_lost_total", (">", 0, 0)),
    _rule("feed-reconnects", "warning", "A feed keeps reconnecting.", "tickwire_feed_reconnects_total", (">", 0.02, 0)),
    # Celery
    _rule(
        "beat-dead", "critical", "Celery's beat, or the worker that carries out its ticks, has stopped.",
        "tickwire_beat_age_seconds", (">", 15, 10), missing="fire",
    ),
    _rule("queue-depth", "warning", "Tasks wait for a worker.", "tickwire_queue_depth", (">", 50, 30)),
    _rule("task-failures", "warning", "A Celery task raises.", "tickwire_task_failures_total", (">", 0, 0), aggregation="sum"),
    # alerts themselves
    _rule("undelivered", "warning", "Somebody could not be told of an alert.", "tickwire_undelivered_notifications", (">", 0, 0)),
)  # fmt: skip


def row_of(rule: Rule) -> dict[str, Any]:
    """The fields of a rule's row but whom it tells."""
    terms = rule.terms
    own = ("name", "summary", "metric", "labels", "aggregation", "per", "quantile", "missing", "severity", "runbook")
    return {name: getattr(rule, name) for name in own} | {
        "window_seconds": int(rule.window_s),
        "comparison": terms.comparison,
        "threshold": terms.threshold,
        "for_seconds": int(terms.for_s),
        "clear_seconds": int(terms.clear_s),
        "escalate_seconds": None if terms.escalate_s is None else int(terms.escalate_s),
    }


def load_first_rules(apps: Apps) -> None:
    """After a migration: make these rules where there is none at all. What an operator deleted stays deleted."""
    try:
        rules = apps.get_model("monitoring", "AlertRule")
    except LookupError:  # only some applications are being migrated, and this one is not yet
        return
    if not rules.objects.exists():
        rules.objects.bulk_create(rules(**row_of(rule)) for rule in SHIPPED)


def condition_text(rule: Rule) -> str:
    """When it fires, as its runbook says it: "`tickwire_queue_depth` > 50 for 30 s"."""
    labels = ", ".join(f'{name}="{value}"' for name, value in rule.labels.items())
    metric = f"`{rule.metric}{{{labels}}}`" if labels else f"`{rule.metric}`"
    kind = METRICS[rule.metric].kind
    past = {"counter": f" per second over {rule.window_s:g} s", "histogram": f" over {rule.window_s:g} s", "gauge": ""}[kind]
    which = f"the {rule.quantile:g} quantile of " if rule.quantile else ""
    per = f" / `{rule.per}`" if rule.per else ""
    lasting = f" for {rule.terms.for_s:g} s" if rule.terms.for_s else ""
    missing = ", or there is no value" if rule.missing == "fire" else ""
    threshold = number_text(rule.terms.threshold)
    return f"{which}{metric}{per}{past} {rule.terms.comparison} {threshold}{lasting}{missing}"
