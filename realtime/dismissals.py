"""Ends connections and drains processes wherever they are, and shuts users and addresses out; the audit log says who did it."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from django.contrib.auth.models import User
from django.utils import timezone

from marketdata.correlation import Correlations
from marketdata.journal import note
from realtime.census import Live
from realtime.guesses import network
from realtime.models import Ban
from realtime.orders import orders


def name_of(session: str) -> str:
    """What log lines and the audit log call a connection: whoever knew its session could resume it."""
    return Correlations(session).prefix


def find(session: str) -> Live | None:
    """The connection of that session, on whichever node.

    Raises:
        StoreUnavailable: Redis does not answer.
    """
    rows = orders().connections(session=session).rows
    return rows[0] if rows else None


def disconnect(live: Live) -> bool:
    """End a connection. False: it was gone already.

    Raises:
        StoreUnavailable: Redis does not answer.
    """
    ended = orders().disconnect(live.session)
    if ended:
        note("disconnect", "connection", name_of(live.session), before=_told(live))
    return ended


def drain(node: str) -> bool:
    """Have a serving process close all its connections, slowly. False: there is none of that name.

    Raises:
        StoreUnavailable: Redis does not answer.
    """
    began = orders().drain(node)
    if began:
        note("drain", "node", node)
    return began


def ban_user(name: str, for_s: int | None, reason: str) -> Ban:
    """Shut a user out, which ends the user's connections.

    Args:
        name: of the user.
        for_s: seconds; None: for good.
        reason: for other operators.

    Raises:
        User.DoesNotExist: there is none.
    """
    return Ban.objects.create(user=User.objects.get(username=name), until=_until(for_s), reason=reason)


def ban_address(address: str, for_s: int | None, reason: str) -> Ban:
    """Shut an address out, which ends the connections from there; arguments as of `ban_user`.

    Of IPv6 it is the network of 64 bits, as whatever is counted by address: its subscriber has all addresses in it.

    Raises:
        ValueError: it is none.
    """
    place = network(str(ipaddress.ip_address(address)))
    return Ban.objects.create(network=place, until=_until(for_s), reason=reason)


def _until(for_s: int | None) -> Any:
    return None if for_s is None else timezone.now() + timedelta(seconds=for_s)


def _told(live: Live) -> Mapping[str, Any]:
    return {
        "user": live.user,
        "key": live.key,
        "plan": live.plan,
        "address": live.address,
        "node": live.node,
        "client": live.client,
        "topics": live.topics,
        "slow": live.slow,
    }
