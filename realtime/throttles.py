"""REST requests by plan: a bucket of tokens for each user, or for the visitors of one address.

Buckets are in the memory of each serving process: Redis would cost every request a round trip. With n processes one may get up to
n times the rate, depending on how the kernel spreads the connections.
"""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from threading import Lock
from typing import Any, NamedTuple, cast

from rest_framework.request import Request
from rest_framework.throttling import BaseThrottle

from realtime.codes import Code, CodedError
from realtime.connection import holder_of
from realtime.guesses import network
from realtime.limits import ANONYMOUS, FIRST_PLANS, TokenBucket
from realtime.principal import Principal
from realtime.usage import metered, sums

MOST_HOLDERS = 10_000  # some 3 MiB; who asked least recently is forgotten, and so begins with a full bucket
NOBODY = FIRST_PLANS[ANONYMOUS]["requests_per_second"], FIRST_PLANS[ANONYMOUS]["request_burst"]  # without an anonymous plan


class Taken(NamedTuple):
    """What became of one request.

    Attributes:
        wait_s: how long to wait before the next try; 0.0: it passed.
        left: requests that would pass at once after it.
        full_s: until the whole burst is there again.
    """

    wait_s: float
    left: int
    full_s: float


class Requests:
    """The buckets of this process. Safe among threads.

    Args:
        most: holders that are remembered.

    Attributes:
        refused: how many requests were; counted by who refuses them.
    """

    def __init__(self, most: int = MOST_HOLDERS) -> None:
        self.most = most
        self.refused = 0
        self._buckets: OrderedDict[object, TokenBucket] = OrderedDict()
        self._lock = Lock()

    def __len__(self) -> int:
        return len(self._buckets)

    def take(self, holder: object, rate: float, burst: int, now: float) -> Taken:
        """Let a request pass, or not.

        Args:
            holder: whose it is.
            rate, burst: what the plan allows at this moment, requests a second and at once.
            now: monotonic seconds.
        """
        with self._lock:
            bucket = self._bucket(holder, rate, burst, now)
            wait_s = bucket.take(now)
            return Taken(wait_s, int(bucket.left), (burst - bucket.left) / rate)

    def refuse(self) -> None:
        """Count a request that was refused."""
        with self._lock:
            self.refused += 1

    def _bucket(self, holder: object, rate: float, burst: int, now: float) -> TokenBucket:
        bucket = self._buckets.get(holder)
        if bucket is None:
            bucket = self._buckets[holder] = TokenBucket(rate, burst, now)
            if len(self._buckets) > self.most:
                self._buckets.popitem(last=False)
        else:
            self._buckets.move_to_end(holder)
            bucket.change(rate, burst)  # the plan may have changed
        return bucket

    def forget(self) -> None:
        """Begin with full buckets."""
        self._buckets.clear()


requests = Requests()


class PlanThrottle(BaseThrottle):
    """Lets as many requests pass as the caller's plan says, staff's all, and says in the answer's headers how many are left."""

    def allow_request(self, request: Request, view: Any) -> bool:
        """True.

        Raises:
            CodedError: one request too many.
        """
        principal = cast(Principal | None, request.auth)
        charge = charge_of(principal, request.META.get("REMOTE_ADDR", ""))
        if charge is not None:
            taken = requests.take(*charge, time.monotonic())
            view.headers |= told(charge, taken)
            if taken.wait_s and (principal is None or principal.refuses("requests")):
                requests.refuse()
                raise _too_many(charge, taken.wait_s)
        meter(principal)
        return True


class Charge(NamedTuple):
    """What a request is taken from: whose bucket, filled at what rate, of what size."""

    holder: object
    rate: float
    burst: int


def charge_of(principal: Principal | None, address: str) -> Charge | None:
    """What a request from there is taken from; None: it is not limited."""
    if principal is None:
        return Charge(("", network(address)), *NOBODY)
    if principal.is_staff:
        return None
    limits = principal.limits
    return Charge(holder_of(principal, network(address)), limits.requests_per_second, limits.request_burst)


def meter(principal: Principal | None) -> None:
    """A request of theirs passed."""
    if (holder := metered(principal)) is not None:
        sums.add(holder, requests=1)


def told(charge: Charge, taken: Taken) -> dict[str, str]:
    """The header fields of draft-ietf-httpapi-ratelimit-headers up to -06; of a bucket, `Reset` is when it is full."""
    return {
        "RateLimit-Limit": str(charge.burst),
        "RateLimit-Remaining": str(taken.left),
        "RateLimit-Reset": str(math.ceil(taken.full_s)),
    }


def _too_many(charge: Charge, wait_s: float) -> CodedError:
    _, rate, burst = charge
    text = f"your plan allows {rate:g} requests a second, and {burst} at once after a pause"
    details = {"requests_per_second": rate, "request_burst": burst}
    return CodedError(Code.TOO_MANY_REQUESTS, text, retry_after_ms=math.ceil(wait_s * 1000), details=details)
