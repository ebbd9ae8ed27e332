"""Every error, eviction and close: number, name, advice."""

from __future__ import annotations

from enum import IntEnum
from typing import Any

from marketdata.correlation import current


class Code(IntEnum):
    """Why a command was refused; the connection lives on."""

    INTERNAL = 100
    UNAUTHORIZED = 101
    UNKNOWN_TOPIC = 102
    PERMISSION_DENIED = 103
    UNKNOWN_OP = 104
    LIMIT_EXCEEDED = 106
    BAD_REQUEST = 107
    TOKEN_EXPIRED = 109
    TOO_MANY_REQUESTS = 111
    UNRECOVERABLE_POSITION = 112
    UNKNOWN_SYMBOL = 120
    UNSUPPORTED_TYPE = 121
    TOPIC_LIMIT_EXCEEDED = 123
    CONNECTION_LIMIT_EXCEEDED = 124
    INSUFFICIENT_PLAN = 125
    FEED_UNAVAILABLE = 126
    NOT_SUBSCRIBED = 127
    OVERLOADED = 128

    @property
    def label(self) -> str:
        """The name on the wire."""
        return self.name.lower()

    @property
    def temporary(self) -> bool:
        """True: the same command may succeed later."""
        return self in _TEMPORARY


_TEMPORARY = {
    Code.INTERNAL,
    Code.TOO_MANY_REQUESTS,
    Code.CONNECTION_LIMIT_EXCEEDED,
    Code.FEED_UNAVAILABLE,
    Code.OVERLOADED,
}


class Eviction(IntEnum):
    """Why the server ended a subscription. From 2500 on: subscribe again."""

    ADMIN = 2000
    ENTITLEMENT_REVOKED = 2001
    SYMBOL_DISABLED = 2002
    LIMIT_LOWERED = 2003
    INSUFFICIENT_STATE = 2500
    TOKEN_EXPIRED = 2501

    @property
    def label(self) -> str:
        """The name on the wire."""
        return self.name.lower()


class Close(IntEnum):
    """Why a connection ended. 4000 to 4499: reconnect. 4500 to 4999: do not."""

    GOING_AWAY = 1001
    NOT_UTF8 = 1007
    TOO_BIG = 1009
    INTERNAL = 1011
    RESTART = 1012
    OVERLOADED = 1013
    MAX_SESSION_AGE = 4000
    REBALANCE = 4001
    HEARTBEAT_TIMEOUT = 4003
    TOKEN_EXPIRED = 4004
    SLOW_CONSUMER = 4008
    INSUFFICIENT_STATE = 4010
    STATE_INVALIDATED = 4011
    RATE_LIMITED = 4013
    PROTOCOL = 4500
    UNAUTHORIZED = 4501
    AUTH_TIMEOUT = 4502
    DISABLED = 4503
    CONNECTION_LIMIT = 4504
    TAKEN_OVER = 4505
    TOO_MANY_ERRORS = 4507

    @property
    def label(self) -> str:
        """The reason in the close frame."""
        return self.name.lower()


class CodedError(Exception):
    """A refusal that the client is told about.

    Attributes:
        code: which refusal.
        message: a sentence for a person.
        details: what a program may want to know, for instance the limit that was hit.
        retry_after_ms: when the same command may succeed; None where waiting does not help.
    """

    def __init__(
        self, code: Code, message: str, *, retry_after_ms: int | None = None, details: dict[str, Any] | None = None
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.retry_after_ms = retry_after_ms
        self.details = details

    def as_dict(self) -> dict[str, Any]:
        """The fields that an error reply, a rejected topic and a REST error share."""
        fields: dict[str, Any] = {"code": int(self.code), "name": self.code.label, "message": self.message}
        if self.details:
            fields["details"] = self.details
        return fields


def internal(message: str) -> CodedError:
    """The refusal for what nobody foresaw. Its `correlation` finds the log line when somebody quotes it."""
    return CodedError(Code.INTERNAL, message, details={"correlation": current()})
