"""Signed tokens: what makes one good, and the ways in which none gets past."""

from __future__ import annotations

import base64
import hmac
import json
import time
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from hypothesis import given
from hypothesis import strategies as st

from realtime.jwks import KeySet
from realtime.tokens import Claims, Expired, Verifier
from tests.unit.signing import SECRET, claims, hs256, jwks, rs256, rsa_key


def verifier(**changes: Any) -> Verifier:
    rules = {"secret": SECRET, "keys": KeySet(lambda: jwks("one")), "audience": None, "issuer": None, "leeway_s": 5.0}
    return Verifier(**(rules | changes))


def part(content: Any) -> bytes:
    return base64.urlsafe_b64encode(json.dumps(content).encode()).rstrip(b"=")


@pytest.mark.parametrize("sign", [hs256, lambda **said: rs256("one", **said)])
def test_a_good_token_names_user_plan_and_end(sign: Any) -> None:
    end = int(time.time()) + 60
    assert verifier().read(sign(exp=end, plan="pro")) == Claims("ada", "pro", end * 1_000_000)


def test_a_token_that_names_no_plan_leaves_the_accounts() -> None:
    found = verifier().read(hs256())
    assert found is not None
    assert found.plan is None


@pytest.mark.parametrize(
    "changes",
    [
        {"sub": None}, {"sub": ""}, {"sub": 7}, {"sub": "ada\0"}, {"sub": "\ud800"}, {"exp": None},
        {"exp": "soon"}, {"exp": float("inf")}, {"plan": 7},
        {"nbf": time.time() + 3600}, {"iat": time.time() + 3600}, {"aud": "somebody else"},
    ],
)  # fmt: skip
def test_a_token_with_a_claim_that_is_missing_or_wrong_is_refused(changes: dict[str, Any]) -> None:
    assert verifier().read(hs256(**changes)) is None


def test_a_token_that_ended_says_so_but_only_if_its_signature_is_good() -> None:
    ended = hs256(exp=int(time.time()) - 60)
    with pytest.raises(Expired):
        verifier().read(ended)
    assert verifier(secret=SECRET[::-1]).read(ended) is None


def test_clocks_may_differ_a_little() -> None:
    assert verifier().read(hs256(exp=int(time.time()) - 3, nbf=int(time.time()) + 3)) is not None


def test_audience_and_issuer_are_checked_where_they_are_set() -> None:
    ours = verifier(audience="tickwire", issuer="https://login.example")
    assert ours.read(hs256(aud="tickwire", iss="https://login.example")) is not None
    assert ours.read(hs256(aud="tickwire", iss="https://evil.example")) is None
    assert ours.read(hs256(aud="other", iss="https://login.example")) is None
    assert ours.read(hs256()) is None


def test_the_public_rsa_key_is_no_secret_to_sign_with() -> None:
    public = rsa_key("one").public_key()
    pem = public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    for secret in (pem, json.dumps(json.loads(jwks("one"))["keys"][0]).encode()):
        signed = part({"alg": "HS256", "kid": "one"}) + b"." + part(claims())
        signature = base64.urlsafe_b64encode(hmac.digest(secret, signed, "sha256")).rstrip(b"=")
        forged = (signed + b"." + signature).decode()
        assert verifier().read(forged) is None
        assert verifier(secret="").read(forged) is None


@pytest.mark.parametrize("algorithm", ["none", "None", "", None, 7, ["HS256"], {}, "HS384", "RS512", "ES256", "PS256"])
def test_other_algorithms_are_refused(algorithm: Any) -> None:
    for signature in (b"", b"AAAA"):
        assert verifier().read((part({"alg": algorithm}) + b"." + part(claims()) + b"." + signature).decode()) is None


@pytest.mark.parametrize("algorithm", ["HS384", "HS512"])
def test_the_secret_is_good_for_hs256_only(algorithm: str) -> None:
    assert verifier(secret=SECRET * 2).read(jwt.encode(claims(), SECRET * 2, algorithm)) is None


def test_without_a_secret_or_keys_their_algorithm_is_refused() -> None:
    assert verifier(secret="").read(hs256()) is None
    assert verifier(keys=None).read(rs256("one")) is None


def test_a_token_of_another_key_is_refused() -> None:
    assert verifier().read(rs256("two")) is None
    assert verifier().read(rs256("two", kid="one")) is None


def test_a_changed_token_is_refused() -> None:
    head, _, signature = hs256().split(".")
    assert verifier().read(f"{head}.{part(claims(sub='root')).decode()}.{signature}") is None


def test_a_token_of_endless_length_is_not_looked_at() -> None:
    assert verifier().read(hs256(more="x" * 9000)) is None


@given(st.one_of(st.text(), st.tuples(st.binary(), st.binary(), st.binary()).map(lambda parts: ".".join(
    base64.urlsafe_b64encode(each).decode().rstrip("=") for each in parts
))))  # fmt: skip
def test_anything_else_is_refused(text: str) -> None:
    assert verifier().read(text) is None


def test_an_end_in_thousands_of_years_is_an_end() -> None:
    found = verifier().read(hs256(exp=10**300))
    assert found is not None
    assert found.expires_at_us < 2**63
