"""The principal, who is connecting and what the plan allows, and the refusals of those who are none."""

from __future__ import annotations

import msgspec

from marketdata.store import now_us
from marketdata.topics import DataType
from realtime.codes import Code, CodedError
from realtime.limits import Limits

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

    @property
    def expired(self) -> bool:
        """Whether the credential has ended."""
        return self.expires_at_us is not None and self.expires_at_us <= now_us()

    @property
    def data_types(self) -> frozenset[DataType]:
        """What may be read."""
        return self.limits.data_types
