"""The project's own files, as git sees them."""

from __future__ import annotations

import subprocess
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGES = ("project", "monitoring", "realtime", "marketdata")


@cache
def files(*suffixes: str) -> tuple[Path, ...]:
    """Every file that is tracked or about to be, with one of these suffixes or with any."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    paths = (ROOT / name for name in sorted(set(listed.stdout.split("\0")) - {""}))
    return tuple(path for path in paths if path.is_file() and (not suffixes or path.suffix in suffixes))


def modules() -> list[Path]:
    """Every Python file but migrations, which Django writes, and empty ones."""
    return [path for path in files(".py") if "migrations" not in path.parts and path.read_text().strip()]


def named(path: Path) -> str:
    """Path within the project, for messages."""
    return str(path.relative_to(ROOT))
