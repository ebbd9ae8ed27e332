"""What a user may do in effect: the plan's value, the user's own, and the one that counts, side by side."""

from __future__ import annotations

from typing import Any

from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from realtime.admin.plans import LABELS
from realtime.limits import Limits, UnreadableLimits
from realtime.models import ConnectionPolicy, Plan

NOTHING = {  # what the absence of a limit is called
    "max_rate": "every update",
    "max_session_hours": "no end",
    "bytes_per_second": "any number",
    "symbols": "all",
    "dry_run": "none",
}
_LIMITS = {"topics_per_connection": "topics", "connections_per_user": "connections", "connection_policy": "takes_over"}


def table(plan: Plan, overrides: dict[str, Any]) -> SafeString:
    """The limits of a plan, those of a user, and what comes of both, as HTML."""
    try:
        planned = Limits.of(plan)
        effective = planned.overridden(overrides)
    except UnreadableLimits as error:
        return format_html('<p class="errornote">These limits cannot be read: {}. Save the form to mend them.</p>', error)
    rows = [
        (
            "own" if name in overrides else "",
            label,
            shown(name, limit(planned, name)),
            shown(name, limit(effective, name)) if name in overrides else "–",
            shown(name, limit(effective, name)),
        )
        for name, label in LABELS.items()
    ]
    body = format_html_join("", '<tr class="{}"><th>{}</th><td>{}</td><td>{}</td><td>{}</td></tr>', rows)
    head = SafeString("<tr><th>limit</th><th>plan</th><th>override</th><th>effective</th></tr>")
    return format_html('<table class="effective"><thead>{}</thead><tbody>{}</tbody></table>', head, body)


def limit(limits: Limits, name: str) -> Any:
    """The limit that a plan's field of that name states."""
    return getattr(limits, _LIMITS.get(name, name))


def shown(name: str, value: Any) -> str:
    """A limit's value for a person."""
    if value is None or (isinstance(value, tuple | frozenset) and not value):
        return NOTHING[name]
    if isinstance(value, bool):
        return ConnectionPolicy.TAKE_OVER.label if value else ConnectionPolicy.REJECT.label
    if isinstance(value, frozenset):
        return ", ".join(sorted(map(str, value))).replace("_", " ")
    return " ".join(value) if isinstance(value, tuple) else f"{value:g}" if isinstance(value, float) else str(value)
