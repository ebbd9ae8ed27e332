"""The picture of P2: delivered updates/s on one core against p99, each system a line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

P99_MS = 50.0


def draw(detail: dict[str, Any], path: Path) -> None:
    """Draw the trials of P2.

    Args:
        detail: of the row.
        path: PNG file to write.
    """
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(9, 5.4), dpi=110)
    for name, trials in detail["trials"].items():
        points = sorted((one["updates_per_s"], one["p99_ms"]) for one in trials if one["p99_ms"] and not one["lost"])
        if points:
            axes.plot(
                *zip(*points, strict=True), marker="o", markersize=4, linewidth=2.6 if name == "Tickwire" else 1.3, label=name
            )
    axes.axhline(P99_MS, color="grey", linestyle=":", linewidth=1)
    axes.set(
        xscale="log", yscale="log", xlabel="delivered updates/s on one core, nothing lost", ylabel="p99 latency, ms",
        title="200 subscribers of one trade topic",
    )  # fmt: skip
    axes.grid(visible=True, which="both", alpha=0.2)
    axes.legend()
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)
