"""When an alert begins, fires, is told of and ends: one value after the other, the state before, and the clock. Nothing else.

Rules of this file:
1. A value must be bad for `for_s` before the alert fires, and well for `clear_s` before it ends; both without a break.
2. An alert that fires again and again needs ever longer to end (`patience_s`): a value that trembles is one long alert.
3. Nobody is told twice of the same thing: `told` is part of the state. Who is silent is not told, and is told afterwards if the
   alert still fires then.
4. Where there is no value the state is held for `HOLD_S`, reckoned from the first look that found none: who could not look
   for an hour knows nothing of it. Then whatever had the value is gone, and so is the alert.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Literal, NamedTuple

import msgspec
from msgspec.structs import replace

ROUND_S = 5.0  # rules are evaluated as often
HOLD_S = 300.0
FLAP_WINDOW_S = 3600.0
CALM = 2  # firings in the window that are nothing strange
FLAP_S = 30.0  # what a third one needs to end, twice of that
MOST_PATIENCE_S = 900.0
MOST_FIRINGS = 20  # remembered

State = Literal["inactive", "pending", "firing"]
Transition = Literal["pending", "cleared", "firing", "resolved"]
Notice = Literal["firing", "escalated", "resolved"]
Comparison = Literal[">", ">=", "<", "<="]

_COMPARE: dict[str, Callable[[float, float], bool]] = {
    ">": operator.gt, ">=": operator.ge, "<": operator.lt, "<=": operator.le,
}  # fmt: skip


class Terms(msgspec.Struct, frozen=True, kw_only=True):
    """When a rule's alerts fire and end.

    Attributes:
        comparison, threshold: a value is bad when it compares so.
        for_s: bad for so long, and it fires.
        clear_s: well for so long, and it ends.
        escalate_s: told again when it has fired for so long, twice, four times as long …; None: never.
    """

    comparison: Comparison
    threshold: float
    for_s: float = 0.0
    clear_s: float = 0.0
    escalate_s: float | None = None

    def is_bad(self, value: float) -> bool:
        """Whether a value is one to be told of."""
        return _COMPARE[self.comparison](value, self.threshold)


class Instance(msgspec.Struct, frozen=True, kw_only=True):
    """The state of one rule for one set of labels. Times are seconds of one clock.

    Attributes:
        since: when the state began.
        missing_since: there is no value since then; None: there is one.
        value: the last one.
        well_since: it fires, but the value is well since then.
        told: somebody was told that it fires.
        escalations: how often it was told again.
        firings: when it fired lately, relapses before its end included.
    """

    state: State = "inactive"
    since: float = 0.0
    missing_since: float | None = None
    value: float | None = None
    well_since: float | None = None
    told: bool = False
    escalations: int = 0
    firings: tuple[float, ...] = ()

    def is_forgettable(self, now: float) -> bool:
        """Whether nothing would be lost with it."""
        return self.state == "inactive" and not _lately(self.firings, now)


class Step(NamedTuple):
    """What became of an instance, the transition if there was one, and what is to be told."""

    instance: Instance
    transition: Transition | None
    notice: Notice | None


def step(terms: Terms, before: Instance, now: float, bad: bool | None, value: float | None, *, silenced: bool = False) -> Step:
    """One look.

    Args:
        terms: of the rule.
        before: the state so far; a fresh one if there is none.
        now: the time.
        bad: whether the value is; None: there is none.
        value: for those who are told; None: there is none.
        silenced: nobody is to be told now.
    """
    if bad is not None:
        before = replace(before, missing_since=None, value=value)
    else:
        before = replace(before, missing_since=_begun(before.missing_since, now))
    is_gone = before.missing_since is not None and now - before.missing_since > HOLD_S
    if bad is None and not is_gone:
        after, transition = before, None
    else:
        after, transition = _moved(terms, before, now, bad=bool(bad), is_gone=is_gone)
    return _told(terms, before, after, transition, now, silenced=silenced)


def _begun(since: float | None, now: float) -> float:
    """When something began that goes on now; a clock that went back does not prolong it."""
    return now if since is None else min(since, now)


def patience_s(terms: Terms, firings: tuple[float, ...], now: float) -> float:
    """How long a value must be well until the alert ends."""
    strange = len(_lately(firings, now)) - CALM
    if strange <= 0:
        return terms.clear_s
    return max(terms.clear_s, min(FLAP_S * 2.0 ** min(strange, 20), MOST_PATIENCE_S))


def _lately(firings: tuple[float, ...], now: float) -> tuple[float, ...]:
    return tuple(at for at in firings if now - at < FLAP_WINDOW_S)


def _with(firings: tuple[float, ...], now: float) -> tuple[float, ...]:
    return (*_lately(firings, now), now)[-MOST_FIRINGS:]


def _moved(terms: Terms, before: Instance, now: float, *, bad: bool, is_gone: bool) -> tuple[Instance, Transition | None]:
    match before.state:
        case "firing":
            return _burning(terms, before, now, bad=bad, is_gone=is_gone)
        case "pending" if not bad:
            return replace(before, state="inactive", since=now), "cleared"
        case "inactive" if not bad:
            return before, None
    since = min(before.since, now) if before.state == "pending" else now
    if now - since >= terms.for_s:
        anew = Instance(state="firing", since=now, value=before.value, firings=_with(before.firings, now))
        return anew, "firing"
    return replace(before, state="pending", since=since), None if before.state == "pending" else "pending"


def _burning(terms: Terms, before: Instance, now: float, *, bad: bool, is_gone: bool) -> tuple[Instance, Transition | None]:
    if bad and before.well_since is None:
        return before, None
    if bad:  # a relapse is as strange as another firing
        return replace(before, well_since=None, firings=_with(before.firings, now)), None
    well_since = _begun(before.well_since, now)
    if is_gone or now - well_since >= patience_s(terms, before.firings, now):
        return replace(before, state="inactive", since=now, well_since=None, told=False, escalations=0), "resolved"
    return replace(before, well_since=well_since), None


def _told(terms: Terms, before: Instance, after: Instance, transition: Transition | None, now: float, *, silenced: bool) -> Step:
    if silenced:
        return Step(after, transition, None)
    if transition == "resolved":
        return Step(after, transition, "resolved" if before.told else None)
    if after.state != "firing":
        return Step(after, transition, None)
    if not after.told:
        return Step(replace(after, told=True), transition, "firing")
    escalations = _escalations(terms, now - after.since)
    if escalations <= after.escalations:
        return Step(after, transition, None)
    return Step(replace(after, escalations=escalations), transition, "escalated")


def _escalations(terms: Terms, firing_s: float) -> int:
    """How many escalations are due after so long: at once, twice, four times … the pause."""
    if not terms.escalate_s or firing_s < terms.escalate_s:
        return 0
    return int(firing_s / terms.escalate_s).bit_length()
