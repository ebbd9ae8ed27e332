"""One finding: what was looked at, how it is, and what to do about it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal

import msgspec

Verdict = Literal["ok", "warn", "fail"]


class Finding(msgspec.Struct, frozen=True):
    """One finding.

    Attributes:
        about: what was looked at, as `redis version`.
        verdict: `fail` is what breaks or endangers the server, `warn` what may.
        says: one sentence.
        fix: the command or setting that mends it; empty where nothing is to be done.
    """

    about: str
    verdict: Verdict
    says: str
    fix: str = ""


def ok(about: str, says: str) -> Finding:
    """All is well."""
    return Finding(about, "ok", says)


def warn(about: str, says: str, fix: str) -> Finding:
    """It works, and may not some day."""
    return Finding(about, "warn", says, fix)


def fail(about: str, says: str, fix: str) -> Finding:
    """It does not work, or must not stay so."""
    return Finding(about, "fail", says, fix)


def failed(findings: Iterable[Finding]) -> bool:
    """Whether any of them is a failure."""
    return any(finding.verdict == "fail" for finding in findings)


def as_text(findings: Sequence[Finding]) -> str:
    """For people: a line each, with the fix below, and a count at the end."""
    lines = []
    for finding in findings:
        lines.append(f"{finding.verdict:<4}  {finding.about:<20}  {finding.says}")
        if finding.fix:
            lines.append(f"{'':<28}→ {finding.fix}")
    counts = {verdict: sum(finding.verdict == verdict for finding in findings) for verdict in ("ok", "warn", "fail")}
    return "\n".join([*lines, "", ", ".join(f"{count} {verdict}" for verdict, count in counts.items())])


def as_json(findings: Sequence[Finding]) -> str:
    """For programs: `{"failed": …, "findings": [{"about", "verdict", "says", "fix"}, …]}`."""
    return msgspec.json.encode({"failed": failed(findings), "findings": list(findings)}).decode()
