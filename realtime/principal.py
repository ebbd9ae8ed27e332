"""The principal, who is connecting and what the plan allows, and the refusals of those who are none."""

from __future__ import annotations

from typing import Any, Self

import msgspec

from marketdata.store import now_us
from marketdata.topics import DataType
from realtime.codes import Code, CodedError
from realtime.keys import digest
from realtime.limits import Limits
from realtime.trials import trials

RETRY_MS = 2000  # when to try again while nobody can be identified


class Unauthorized(CodedError):
    """A credential that is not accepted, or one from where it must not come."""

    def __init__(self, message: str = "the credential is not valid", code: Code = Code.UNAUTHORIZED) -> None:
        super().__init__(code, message)


class TokenExpired(Unauthorized):
    """A signed token that was good once."""

    def __init__(self) -> None:
        super().__init__("the token has expired", Code.TOKEN_EXPIRED)


class CannotTell(CodedError):
    """Nobody can be identified just now: the database, or Redis for a ticket, or the source of the keys does not answer."""

    def __init__(self) -> None:
        super().__init__(Code.OVERLOADED, "credentials cannot be checked just now; try again", retry_after_ms=RETRY_MS)


class Login(msgspec.Struct, frozen=True):
    """The browser session that says who somebody is. Its key is a secret, and no log shall have it.

    Attributes:
        key: of the session.
        digest: of the key, by which its end is told.
        auth_hash: of the password that it began with.
    """

    key: str
    digest: str
    auth_hash: str

    @classmethod
    def of(cls, key: str, auth_hash: str) -> Self:
        """The session of that key."""
        return cls(key, digest(key), auth_hash)

    def __repr__(self) -> str:
        return "Login(…)"


class Principal(msgspec.Struct, frozen=True):
    """Who is connecting, and what the plan allows.

    Attributes:
        user_id, name: None for visitors.
        plan_name, limits: the plan.
        can_publish: may post ticks.
        is_staff: may use the staff endpoints; with a key only if both the key and its user may.
        key_prefix: of the API key that was shown; None without one.
        expires_at_us: when the credential ends, microseconds since the epoch; None: not by the clock.
        plan_claimed: a signed token named the plan, not the account.
        overrides: fields of any plan that are different for this user; `limits` has them already.
        login: the browser session, where that is the credential, or what a ticket stands for.
    """

    user_id: int | None
    name: str | None
    plan_name: str
    limits: Limits
    can_publish: bool = False
    is_staff: bool = False
    key_prefix: str | None = None
    expires_at_us: int | None = None
    plan_claimed: bool = False
    overrides: dict[str, Any] = {}
    login: Login | None = None

    @property
    def expired(self) -> bool:
        """Whether the credential has ended."""
        return self.expires_at_us is not None and self.expires_at_us <= now_us()

    @property
    def delay_us(self) -> int:
        """How old everything must be that is shown, microseconds."""
        return self.limits.delay_seconds * 1_000_000

    def refuses(self, limit: str) -> bool:
        """Whether a limit that was hit refuses: one on trial is counted instead."""
        if limit not in self.limits.dry_run:
            return True
        trials.note(self.plan_name, limit)
        return False

    def objection(self, kind: DataType, symbol: str | None = None) -> str | None:
        """Why a data type, or a symbol's, may not be read; None: it may."""
        if kind not in self.limits.data_types and self.refuses("data_types"):
            return f"your plan does not include {kind.value}"
        if symbol is not None and not self.limits.covers(symbol) and self.refuses("symbols"):
            return f"your plan does not include {symbol}"
        return None
