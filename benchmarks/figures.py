"""Figures of a run: percentiles, rows, the table for people and the JSON for programs."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Row:
    """What one row found.

    Attributes:
        value: the figure that the goal is about; None where it could not be taken.
        unit: of the value.
        goal: what is asked, for people.
        met: whether it was reached.
        detail: how the value came about, and everything else that was seen.
    """

    value: float | None
    unit: str
    goal: str
    met: bool
    detail: dict[str, Any] = field(default_factory=dict)


def percentile(values: Sequence[float], percent: float) -> float:
    """The smallest value that `percent` of all values do not exceed (nearest rank).

    Raises:
        ValueError: there are no values.
    """
    if not values:
        raise ValueError("no values")
    return sorted(values)[max(0, math.ceil(len(values) * percent / 100) - 1)]


def short(value: float | None) -> str:
    """A figure as people read it: three digits that count, thousands apart."""
    if value is None:
        return "–"
    if abs(value) >= 100 or value == int(value):
        return f"{value:,.0f}".replace(",", " ")
    return f"{value:.3g}"


def table(rows: Mapping[str, Row]) -> str:
    """The rows as a Markdown table."""
    lines = ["| Row | Value | Unit | Goal | Met |", "|---|---:|---|---|---|"]
    for name, row in rows.items():
        lines.append(f"| {name} | {short(row.value)} | {row.unit} | {row.goal} | {'yes' if row.met else 'no'} |")
    return "\n".join(lines)


def document(rows: Mapping[str, Row], machine: Mapping[str, Any], versions: Mapping[str, str | None]) -> dict[str, Any]:
    """The whole run as it is written to `latest.json`."""
    return {"rows": {name: asdict(row) for name, row in rows.items()}, "machine": dict(machine), "versions": dict(versions)}


def write(path: Path, content: Mapping[str, Any]) -> None:
    """Write a document, and make its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n")
