"""What signs tokens in tests: a shared secret, and RSA keys with the JWKS that tells their public halves."""

from __future__ import annotations

import json
import time
from functools import cache
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa
from jwt.algorithms import RSAAlgorithm

SECRET = "a secret that is known to two parties only"


@cache
def rsa_key(name: str, bits: int = 2048) -> rsa.RSAPrivateKey:
    """A key of that name, made once."""
    return rsa.generate_private_key(65537, bits)


def jwks(*names: str, **changes: Any) -> bytes:
    """The JWKS of the keys of those names."""
    keys = [{**json.loads(RSAAlgorithm.to_jwk(rsa_key(name).public_key())), "kid": name, **changes} for name in names]
    return json.dumps({"keys": keys}).encode()


def claims(**changes: Any) -> dict[str, Any]:
    """Ada's, for a minute; a claim that is None is left out."""
    said = {"sub": "ada", "exp": int(time.time()) + 60} | changes
    return {name: value for name, value in said.items() if value is not None}


def hs256(**changes: Any) -> str:
    """A token signed with the shared secret."""
    return jwt.encode(claims(**changes), SECRET, "HS256")


def rs256(name: str, kid: str | None = "same", **changes: Any) -> str:
    """A token signed with the RSA key of that name, which it names, too, unless `kid` says something else."""
    headers = {"kid": name if kid == "same" else kid} if kid is not None else {}
    return jwt.encode(claims(**changes), rsa_key(name), "RS256", headers=headers)
