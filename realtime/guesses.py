"""Bad credentials by address: who shows too many is refused without being looked up, while good ones from there go through.

Rules of this file:
1. A key that exists is never refused here, whoever else is at its address: the index of keys knows it.
2. Other guesses at keys cost the database one query in two seconds, however many there are. Tickets and signed tokens are checked
   without it, and are refused when they turn out bad.
3. Each process counts for itself, in bounded memory. IPv6 addresses are counted by their network of 64 bits, which is one
   subscriber's; where the server knows no address, nothing is counted.
"""

from __future__ import annotations

import ipaddress
import math
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from threading import Lock

from realtime.codes import Code
from realtime.key_index import KeyIndex
from realtime.keys import FORM
from realtime.principal import Unauthorized

MOST_BAD = 20
WITHIN_S = 60.0
REFUSED_S = 60.0
MOST_ADDRESSES = 10_000  # some 2 MiB; the one that was heard of least recently is forgotten


class TooManyGuesses(Unauthorized):
    """A credential that is not accepted, from an address that showed too many of the kind."""

    def __init__(self, wait_s: float) -> None:
        super().__init__("too many bad credentials came from your address", Code.TOO_MANY_REQUESTS)
        self.retry_after_ms = math.ceil(wait_s * 1000)


class Guesses:
    """Counts bad credentials. Safe among threads.

    Args:
        most: addresses that are remembered.
        clock: monotonic seconds.
        most_bad, within_s, refused_s: so many within so many seconds, and further ones are refused for so many.

    Attributes:
        refused: how many credentials were because of others before them.
    """

    def __init__(
        self,
        most: int = MOST_ADDRESSES,
        clock: Callable[[], float] = time.monotonic,
        *,
        most_bad: int = MOST_BAD,
        within_s: float = WITHIN_S,
        refused_s: float = REFUSED_S,
    ) -> None:
        self.most = most
        self.most_bad, self.within_s, self.refused_s = most_bad, within_s, refused_s
        self.refused = 0
        self._clock = clock
        self._lock = Lock()
        self._counts: OrderedDict[str, tuple[float, int]] = OrderedDict()  # when counting began, and how many since

    def __len__(self) -> int:
        return len(self._counts)

    def failed(self, address: str) -> None:
        """A bad credential came from there."""
        now = self._clock()
        with self._lock:
            began, count = self._counts.pop(address, (now, 0))
            if now >= began + self.within_s:
                began, count = now, 0
            if count < self.most_bad:
                count += 1
                began = now if count == self.most_bad else began  # from here on it is the time of being refused
            self._counts[address] = began, count
            if len(self._counts) > self.most:
                self._counts.popitem(last=False)

    def wait_s(self, address: str) -> float:
        """For how long bad credentials from there are refused unseen; 0.0: they are not."""
        began, count = self._counts.get(address, (0.0, 0))
        return max(0.0, began + self.refused_s - self._clock()) if count >= self.most_bad else 0.0

    def forgiven_s(self, address: str) -> float:
        """When its bad credentials will be forgotten; 0.0: there are none."""
        began, count = self._counts.get(address, (0.0, 0))
        return max(0.0, began + self.within_s - self._clock()) if count else 0.0

    def forget(self) -> None:
        """Begin anew."""
        self._counts.clear()


guesses = Guesses()
key_index = KeyIndex()


@contextmanager
def watching(address: str, shown: str | None) -> Iterator[None]:
    """Look a credential up within this context.

    Args:
        address: where it came from.
        shown: the credential, alone or behind its scheme; None: none that anybody could guess at.

    Raises:
        TooManyGuesses: instead of looking, or instead of `unauthorized`.
        DatabaseUnavailable: it had to be asked which keys there are.
    """
    if shown is None or not address:
        yield
        return
    place = network(address)
    wait_s = guesses.wait_s(place)
    if wait_s and (secret := _secret(shown)) is not None:
        if key_index.knows(secret) is None:
            key_index.refresh()
        _refuse_guess(wait_s, secret)
    try:
        yield
    except Unauthorized as error:
        if error.code is not Code.UNAUTHORIZED:
            raise
        guesses.failed(place)
        if not wait_s:
            raise
        guesses.refused += 1
        raise TooManyGuesses(wait_s) from None


def refuse_at_once(address: str, shown: str | None) -> None:
    """Refuse what is known to be no key, from memory alone.

    Raises:
        TooManyGuesses: it is.
    """
    wait_s = guesses.wait_s(network(address))
    if wait_s and shown is not None and (secret := _secret(shown)) is not None:
        _refuse_guess(wait_s, secret)


def _refuse_guess(wait_s: float, secret: str) -> None:
    if key_index.knows(secret) is False:
        guesses.refused += 1
        raise TooManyGuesses(wait_s)


def _secret(shown: str) -> str | None:
    """The part of an API key that one would guess at; None of other credentials, which no query is made for."""
    form = FORM.fullmatch(shown.strip().rpartition(" ")[2])
    return form[2] if form else None


@lru_cache(4096)
def network(address: str) -> str:
    """What addresses are counted by: IPv4 by itself, IPv6 by its first 64 bits."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(found, ipaddress.IPv4Address):
        return address
    if found.ipv4_mapped is not None:
        return str(found.ipv4_mapped)
    return str(ipaddress.ip_network((int(found) >> 64 << 64, 64)))
