"""One look at all rules: what is read, what was known, and what becomes of each alert. No clock, no database, no network."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import msgspec
from msgspec.structs import replace

from monitoring.alerts import Instance, Step, step
from monitoring.readings import Readings
from monitoring.rules import Rule
from monitoring.samples import Labels
from monitoring.windows import Windows


class Kept(msgspec.Struct):
    """An instance of a rule between two looks.

    Attributes:
        rule: its primary key.
        recorded: the database knows of its state.
    """

    rule: int
    labels: Labels
    instance: Instance
    recorded: bool = True


class Memory(msgspec.Struct):
    """What one look leaves to the next, whoever takes it.

    Attributes:
        at: when that was, wall clock, seconds.
        kept: instances that are not forgotten.
        windows: the past of counters.
    """

    at: float = 0.0
    kept: list[Kept] = []
    windows: Windows = msgspec.field(default_factory=Windows)

    def by_key(self) -> dict[tuple[int, str], Kept]:
        """The instances by rule and labels."""
        return {(each.rule, key_of(each.labels)): each for each in self.kept}


class Judged(NamedTuple):
    """What became of one instance."""

    rule: Rule
    kept: Kept
    step: Step
    before: Instance


def key_of(labels: Labels) -> str:
    """Labels as one text."""
    return ",".join(f"{name}={value}" for name, value in sorted(labels))


def judge(rules: Sequence[Rule], memory: Memory, readings: Readings, now: float, *, only: str | None = None) -> list[Judged]:
    """Look at every rule, and keep in `memory` what comes of it.

    Args:
        rules: those that are in force.
        memory: of the last look.
        readings: of now.
        now: wall clock, seconds.
        only: the one metric of which anything is known now; the alerts of all others stay as they are. None: all are.
    """
    looked_at = [rule for rule in rules if only in (None, rule.metric)]
    if only is None:
        readings.note_in(memory.windows, rules, now)
    known = memory.by_key()
    judged = [each for rule in looked_at for each in _look(rule, known, memory.windows, readings, now)]
    for each in judged:
        known[each.rule.pk, key_of(each.kept.labels)] = each.kept
    in_force = {rule.pk for rule in rules}
    memory.kept = [each for each in known.values() if each.rule in in_force and not each.instance.is_forgettable(now)]
    memory.at = now
    return judged


def _look(rule: Rule, known: dict[tuple[int, str], Kept], windows: Windows, readings: Readings, now: float) -> Iterator[Judged]:
    values: dict[Labels, float | None] = {**readings.of(rule, windows, now)}
    is_missing = not values
    before = {kept.labels: kept for (pk, _), kept in known.items() if pk == rule.pk}
    for labels in before.keys() - values.keys():
        values[labels] = None
    if is_missing and rule.missing == "fire":
        values.setdefault((), None)
    silenced = rule.silenced_until is not None and now < rule.silenced_until
    for labels, value in values.items():
        bad = rule.terms.is_bad(value) if value is not None else _without(rule, labels, is_missing=is_missing)
        kept = before.get(labels) or Kept(rule.pk, labels, Instance())
        done = step(rule.terms, kept.instance, now, bad, value, silenced=silenced)
        yield Judged(rule, replace(kept, instance=done.instance), done, kept.instance)


def _without(rule: Rule, labels: Labels, *, is_missing: bool) -> bool | None:
    """Whether it is bad that there is no value of those labels; None: nothing is known."""
    if rule.missing != "fire":
        return None
    if is_missing:
        return True
    return None if labels else False  # that all were missing, which bears no label, is over
