"""Signed tokens (JWT) of another party's making: whom they name, checked in memory.

Rules of this file:
1. Each algorithm has a key of its own: HS256 the shared secret, RS256 the keys of the JWKS. No other is known, so that no public
   key can pass for a secret, and no unsigned token for a signed one.
2. What a token says counts only after its signature was found good; that it is too old is the only thing that is told of it.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import jwt
import msgspec
from django.conf import settings
from jwt.types import Options

from realtime.jwks import KeySet, reader

HS, RS = "HS256", "RS256"
MOST_CHARACTERS = 8192
FAR_S = 1 << 36  # the end of a token that has none to speak of: some two thousand years
CHECKS: Options = {"require": ["exp", "sub"], "enforce_minimum_key_length": True}


class Expired(Exception):
    """The token was good once."""


class Claims(msgspec.Struct, frozen=True):
    """What a good token says.

    Attributes:
        name: of the user.
        plan: that the user shall have while this token lasts; None: the account's.
        expires_at_us: microseconds since the epoch.
    """

    name: str
    plan: str | None
    expires_at_us: int


class Verifier:
    """Reads tokens by the rules of one installation. Safe among threads.

    Args:
        secret: for HS256; empty: such tokens are not accepted.
        keys: for RS256; None: such tokens are not accepted.
        audience, issuer: what tokens must name; None: tokens for somebody in particular are not for us, and any issuer will do.
        leeway_s: by how much the clocks may differ.
    """

    def __init__(self, secret: str, keys: KeySet | None, audience: str | None, issuer: str | None, leeway_s: float) -> None:
        self.secret = secret
        self.keys = keys
        self.audience, self.issuer = audience, issuer
        self.leeway_s = leeway_s

    def read(self, text: str) -> Claims | None:
        """What a token says; None: it is not one that is accepted here.

        Raises:
            Expired: it was, until lately.
            KeysUnavailable: the keys that it could be checked with are not known just now.
        """
        try:
            return _claims(self._verified(text))
        except jwt.ExpiredSignatureError:
            raise Expired from None
        except (jwt.PyJWTError, ValueError, TypeError):
            return None

    def _verified(self, text: str) -> dict[str, Any]:
        if len(text) > MOST_CHARACTERS:
            raise jwt.InvalidTokenError
        header = jwt.get_unverified_header(text)
        algorithm = str(header.get("alg"))
        return jwt.decode(
            text,
            self._key(algorithm, header.get("kid")),
            [algorithm],  # safe: `_key` refuses all but two, and has one key for each
            CHECKS,
            audience=self.audience,
            issuer=self.issuer,
            leeway=self.leeway_s,
        )

    def _key(self, algorithm: str, name: str | None) -> jwt.PyJWK | str:
        key: jwt.PyJWK | str | None = None
        if algorithm == HS:
            key = self.secret
        elif algorithm == RS and self.keys is not None:
            key = self.keys.find(name)
        if not key:
            raise jwt.InvalidKeyError
        return key


def _claims(said: dict[str, Any]) -> Claims | None:
    name, plan = said["sub"], said.get("plan")
    if not name or not name.isprintable() or not isinstance(plan, str | None):  # databases fail at half characters and NUL
        return None
    return Claims(name, plan, min(int(said["exp"]), FAR_S) * 1_000_000)


def verifier() -> Verifier | None:
    """That of this installation; None: it accepts no tokens."""
    return _verifier(settings.TICKWIRE.tokens)


@cache
def _verifier(rules: Any) -> Verifier | None:
    if not rules.secret and not rules.jwks:
        return None
    keys = KeySet(reader(rules.jwks)) if rules.jwks else None
    return Verifier(rules.secret, keys, rules.audience or None, rules.issuer or None, rules.leeway_s)
