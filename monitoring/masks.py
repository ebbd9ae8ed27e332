"""What looks like a credential of ours is masked, wherever it stands: a second line of defence behind code that logs none.

Rules of this file:
1. What is masked stays recognisable: of an API key its public prefix is left, of the others their kind.
2. A text is cut before it is searched, so that a huge one costs no more than a long one.
3. Of objects that are no plain values only the type is told: a request's repr has its whole address, others' who knows.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date, time, timedelta
from decimal import Decimal
from enum import Enum
from pathlib import PurePath
from typing import Any
from uuid import UUID

MASK = "…"
LONGEST = 16_384  # characters of one text; more would be a dump, not a line
DEEPEST = 12
MOST = 2000  # parts of one value

_LABEL = r"""["']?\s*[:=,]\s*(?:b?["'])?"""  # what stands between a name and its value in headers, reprs, JSON and queries
_PATTERNS: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"\b(tw_[a-z0-9]{8})_[A-Za-z0-9_-]{8,}"), rf"\1_{MASK}"),
    (re.compile(r"\btk_[A-Za-z0-9_-]{8,}"), f"tk_{MASK}"),
    (re.compile(r"\beyJ[A-Za-z0-9_-]{6,}\.[A-Za-z0-9_-]{2,}(?:\.[A-Za-z0-9_-]*)?"), f"eyJ{MASK}"),
    (re.compile(rf"(?i)(\b(?:proxy-)?authorization{_LABEL})(?:(?:bearer|basic|token|digest)\s+)?[^\s\"'&,;)]+"), rf"\1{MASK}"),
    (re.compile(r"(?i)\b(bearer|basic)[ .]+[A-Za-z0-9._~+/=-]{8,}"), rf"\1 {MASK}"),
    (re.compile(rf"(?i)(\b(?:set-)?cookie{_LABEL})[^\"'\r\n)]+"), rf"\1{MASK}"),
    (re.compile(rf"(?i)(\b(?:sessionid|csrftoken){_LABEL})[A-Za-z0-9_-]+"), rf"\1{MASK}"),
    (re.compile(r"(?i)(\b[a-z][a-z0-9+.-]{0,30}://[^\s:/@\"']{0,200}:)[^\s/@\"']+@"), rf"\1{MASK}@"),
    (re.compile(r"(://)[^\s:/@\"']{16,200}(?=[:@])(?=[^\s/\"']{0,200}@)"), rf"\1{MASK}"),
    (
        re.compile(rf"(?i)(\b[a-z0-9_-]{{0,40}}(?:password|passwd|secret|api_?key|access_?token|dsn){_LABEL})[^\s\"'&,;)}}\]]+"),
        rf"\1{MASK}",
    ),
    (re.compile(rf"(?i)(\b(?:token|session){_LABEL})[A-Za-z0-9_-]{{16,}}"), rf"\1{MASK}"),
)
# Whatever a pattern finds has one of these in it; most texts have none, and cost one search.
_SUSPECT = re.compile(r"(?i)tw_|tk_|eyj|authorization|bearer|basic|cookie|session|csrftoken|://|passw|secret|api_?key|token|dsn")
_SECRET_NAME = re.compile(
    r"(?i)(?:^|[_-])(?:authorization|cookie|cookies|password|passwd|secret|token|ticket|api_?key|dsn|session|sessionid|csrftoken)$"
)


def masked(text: str) -> str:
    """The text with a mark in place of every credential."""
    if len(text) > LONGEST:
        text = f"{text[:LONGEST]} … ({len(text) - LONGEST} more characters)"
    if _SUSPECT.search(text) is None:
        return text
    for pattern, instead in _PATTERNS:
        text = pattern.sub(instead, text)
    return text


def masked_value(value: Any) -> Any:
    """The same for whatever a log line or an error report is made of; what is no plain value becomes a text."""
    return _Walk().through(value, DEEPEST)


class _Walk:
    """Through one value, of which no more than `MOST` parts are looked at."""

    def __init__(self) -> None:
        self.left = MOST

    def through(self, value: Any, depth: int) -> Any:
        self.left -= 1
        if self.left < 0:
            return MASK
        match value:
            case None | bool() | int() | float():
                return value
            case str():
                return masked(value)
            case Mapping() if depth:
                return {masked(str(name)): self._of(str(name), each, depth) for name, each in list(value.items())[:MOST]}
            case list() | tuple() | set() | frozenset() if depth:
                return [self.through(each, depth - 1) for each in list(value)[: max(self.left, 0)]]
            case bytes() | BaseException() | date() | time() | timedelta() | Decimal() | UUID() | PurePath() | Enum():
                return masked(shown(value))
            case _:
                return f"<{type(value).__qualname__}>"

    def _of(self, name: str, value: Any, depth: int) -> Any:
        return MASK if value and _SECRET_NAME.search(name) else self.through(value, depth - 1)


def shown(value: Any) -> str:
    """The repr of a value, even of one that has none."""
    try:
        return repr(value)
    except Exception:  # noqa: BLE001, RUF100 -- a repr that fails must not cost the line
        return f"<{type(value).__name__} without a repr>"
