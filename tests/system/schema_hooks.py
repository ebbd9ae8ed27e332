"""What schemathesis sends with each request: loaded by schemathesis itself, in a process of its own."""

from __future__ import annotations

import itertools
from typing import Any

import schemathesis

TOKEN = "c" * 32
_addresses = itertools.count(1)


@schemathesis.hook
def before_call(context: Any, case: Any, kwargs: Any) -> None:
    """A session's CSRF token, and an address of its own: or the bad credentials among them would be too many from one address."""
    n = next(_addresses)
    case.headers["X-Forwarded-For"] = f"10.{n >> 16}.{n >> 8 & 255}.{n & 255}"
    case.headers["X-CSRFToken"] = TOKEN
    case.cookies["csrftoken"] = TOKEN
