"""`python -m benchmarks [P1 P3 …]`: run rows, print their table, keep the figures in `results/latest.json`."""

from __future__ import annotations

import argparse
import importlib
import time
import traceback
from datetime import UTC, datetime
from pathlib import Path

from benchmarks import figures, machine, plot
from benchmarks.figures import Row

ROWS = ("P1", "P2", "P3", "P4", "P5", "P6", "P7", "P8", "P9", "P10", "P11", "P12")
LATEST = Path(__file__).parent / "results" / "latest.json"


def main() -> int:
    """Run what was asked for. Returns the exit code: 1 when a row could not be measured."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("rows", nargs="*", metavar="ROW", help=f"of {' '.join(ROWS)}; all by default")
    parser.add_argument("--image", type=Path, help="draw P2 into this PNG file")
    options = parser.parse_args()
    if unknown := set(options.rows) - set(ROWS):
        parser.error(f"no such row: {' '.join(sorted(unknown))}")
    facts, rows = machine.facts() | {"begun": datetime.now(UTC).isoformat(timespec="seconds")}, {}
    machine.be_the_client()
    for name in (name for name in ROWS if name in options.rows or not options.rows):
        rows[name] = measured(name)
        figures.write(LATEST, figures.document(rows, facts, machine.versions()))
    print(f"\n{figures.table(rows)}\n\n{LATEST.relative_to(Path.cwd()) if LATEST.is_relative_to(Path.cwd()) else LATEST}")
    if options.image and "P2" in rows:
        plot.draw(rows["P2"].detail, options.image)
    return 1 if any("error" in row.detail for row in rows.values()) else 0


def measured(name: str) -> Row:
    """Run one row; what goes wrong in it is its result."""
    print(f"{name} …", end=" ", flush=True)
    began = time.monotonic()
    try:
        row: Row = importlib.import_module(f"benchmarks.rows.{name.lower()}").run()
    except Exception as error:
        traceback.print_exc()
        row = Row(None, "", "", False, {"error": f"{type(error).__name__}: {error}"})
    met, took_s = "met" if row.met else "NOT met", time.monotonic() - began
    print(f"{figures.short(row.value)} {row.unit}, goal {row.goal}: {met} ({took_s:.0f} s)", flush=True)
    for peer, why in row.detail.get("missing", {}).items():
        print(f"   {peer}: {why}")
    return row


if __name__ == "__main__":
    raise SystemExit(main())
