"""A connection's place among those of its owner or its address: what is counted, and what becomes of one too many."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

from realtime.codes import Close
from realtime.limits import Limits

if TYPE_CHECKING:
    from realtime.connection import Connection

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class Policy(StrEnum):
    """What becomes of one connection more than there may be."""

    REJECT = "r"
    TAKE_OVER = "t"
    TRIAL = "d"  # it is let in, and counted


ENDED = {
    Policy.TAKE_OVER: (Close.TAKEN_OVER, "taken_over", "a newer connection of yours took the place of this one"),
    Policy.REJECT: (Close.CONNECTION_LIMIT, "over_limit", "there are more connections than are allowed"),
}


class Lease(NamedTuple):
    """One connection among those of its holder.

    Attributes:
        key: the holder's, in Redis.
        member: when the connection was opened, its node, and a number: unlike any other.
        limit: most connections of the holder.
        policy: where there would be more.
        handshakes: most that the holder may begin in five minutes; 0: they are not counted.
    """

    connection: Connection
    key: str
    member: str
    limit: int
    policy: Policy
    handshakes: int = 0

    def ask(self, what: str) -> str:
        """What the script is asked: `+` admit, `=` renew, `~` renew unless it is too late, `-` release, `!` end what is over."""
        return f"{what} {self.limit} {self.handshakes} {self.policy} {self.member}"


class Refusal(NamedTuple):
    """Why a connection is not let in: with which code it is closed, a sentence for a person, when to try again."""

    close: Close
    text: str
    retry_after_ms: int | None = None


class AddressRules(NamedTuple):
    """What one address may have: an IPv4 address, or 64 bits of IPv6.

    Attributes:
        connections: at once.
        handshakes: begun in five minutes.
        uncounted: networks that are not counted.
        on_trial: nobody is refused, but counted.
    """

    connections: int
    handshakes: int
    uncounted: tuple[Network, ...] = ()
    on_trial: bool = False

    def counts(self, address: str) -> bool:
        """Whether an address is counted; one that is none, as of a Unix socket, is not."""
        return bool(self.connections) and _read(address) is not None and not is_inside(address, self.uncounted)


NO_RULES = AddressRules(0, 0)


def is_inside(address: str, networks: Sequence[Network]) -> bool:
    """Whether an address is in one of these networks."""
    found = _read(address)
    return found is not None and any(found.version == network.version and found in network for network in networks)


def _read(address: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """The address, as IPv4 where it is one in IPv6's clothes; None: it is none, as of a Unix socket."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return None
    return found.ipv4_mapped or found if isinstance(found, ipaddress.IPv6Address) else found


def policy_of(limits: Limits) -> Policy:
    """What becomes of one connection more than a plan allows."""
    if "connections" in limits.dry_run:
        return Policy.TRIAL
    return Policy.TAKE_OVER if limits.takes_over else Policy.REJECT
