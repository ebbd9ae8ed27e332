"""The public keys of whoever signs tokens (a JWKS), from a file or an address, known by their names.

Rules of this file:
1. Keys that are known stay in use while the source does not answer; that is logged once an outage, and counted.
2. A token that names an unknown key has the source asked again, once a minute at most: tokens are anybody's to make up.
3. The source is asked anew when its answer is ten minutes old, so that a key that left it is believed no longer.
4. Only RSA keys that are meant for signatures are taken, and only what is public of them.
"""

from __future__ import annotations

import logging
import time
import urllib.request
from collections.abc import Callable, Mapping
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from threading import Lock
from typing import Any
from urllib.error import URLError

import msgspec
from jwt import PyJWK, PyJWTError

from marketdata.outage import Outage

logger = logging.getLogger(__name__)

AGAIN_S = 60.0  # between two looks for keys that are unknown
RETRY_S = 5.0  # the same while no key is known at all
OLD_S = 600.0
WAIT_S = 3.0  # for the source to say anything more
WHOLE_S = 10.0  # for all that it says: one that says a byte now and then must not keep everybody waiting
MOST_BYTES = 1 << 20
LEAST_BITS = 2048

Keys = Mapping[str, PyJWK]


class KeysUnavailable(Exception):
    """It cannot be said just now whether there is such a key."""


class KeySet:
    """The keys of one source. Safe among threads; asking the source blocks, so ask from none that must not wait.

    Args:
        read: gets the document, or raises OSError or ValueError.
        clock: monotonic seconds.

    Attributes:
        outage: failures of the source.
    """

    def __init__(self, read: Callable[[], bytes], clock: Callable[[], float] = time.monotonic) -> None:
        self.outage = Outage("the keys that tokens are signed with", logger)
        self._read = read
        self._clock = clock
        self._keys: Keys = {}
        self._asked_at = self._told_at = float("-inf")
        self._lock = Lock()

    def find(self, name: str | None) -> PyJWK | None:
        """The key of that name; for a token that names none, the only one there is. None: the source knows no such key.

        Raises:
            KeysUnavailable: perhaps it does, but it does not answer, or another thread is just asking it.
        """
        key = self._known(name)
        now = self._clock()
        if now - self._told_at >= OLD_S or (key is None and now - self._asked_at >= AGAIN_S) or not self._keys:
            self._ask_again(now)
            key = self._known(name)
        if key is None and (self.outage.ongoing or self._lock.locked()):
            raise KeysUnavailable
        return key

    def _known(self, name: str | None) -> PyJWK | None:
        keys = self._keys
        return next(iter(keys.values())) if name is None and len(keys) == 1 else keys.get(name or "")

    def _ask_again(self, now: float) -> None:
        """Ask the source, unless somebody does already: only for the very first answer others wait with him."""
        if not self._lock.acquire(blocking=not self._keys and not self.outage.ongoing):
            return
        try:
            if now - self._asked_at >= (AGAIN_S if self._keys else RETRY_S):
                self._asked_at = now
                self._keys = read_keys(self._read())
                self._told_at = now
                self.outage.over()
        except (OSError, ValueError) as error:
            self.outage.failed(error)
        finally:
            self._lock.release()


def read_keys(document: bytes) -> Keys:
    """The keys of a JWKS that can be used, by their names.

    Raises:
        ValueError: it is none, or has no key that can be used.
    """
    try:
        listed = msgspec.json.decode(document)["keys"]
        usable = [key for key in listed if _is_usable(key)]
        keys = {str(key.get("kid", "")): _public(key) for key in usable}
    except (msgspec.DecodeError, PyJWTError, LookupError, TypeError, AttributeError) as error:
        raise ValueError(f"not a JWKS: {type(error).__name__}") from None
    if not keys:
        raise ValueError("no RSA key for RS256 in it")
    return keys


def _is_usable(key: Mapping[str, Any]) -> bool:
    return key.get("kty") == "RSA" and key.get("use", "sig") == "sig" and key.get("alg", "RS256") == "RS256"


def _public(key: Mapping[str, Any]) -> PyJWK:
    made = PyJWK({name: key[name] for name in ("kty", "n", "e")}, "RS256")
    if made.key.key_size < LEAST_BITS:
        raise ValueError(f"an RSA key of less than {LEAST_BITS} bits")
    return made


def reader(source: str) -> Callable[[], bytes]:
    """What reads a source: the path of a file, or an address."""
    return (lambda: _fetch(source)) if "://" in source else Path(source).read_bytes


class _Stay(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:
        """Follow no redirect: it could lead to where nobody checked that the keys are ours."""


_opener = urllib.request.build_opener(_Stay)


def _fetch(url: str) -> bytes:
    try:
        with _opener.open(url, timeout=WAIT_S) as answer:
            document = _read(answer, time.monotonic() + WHOLE_S)
    except (URLError, HTTPException) as error:
        raise OSError(str(getattr(error, "reason", "")) or type(error).__name__) from None
    return document


def _read(answer: HTTPResponse, until: float) -> bytes:
    document = b""
    while part := answer.read1(MOST_BYTES):
        document += part
        if len(document) > MOST_BYTES:
            raise ValueError("the answer is too large")
        if time.monotonic() > until:
            raise OSError("the answer takes too long")
    return document
