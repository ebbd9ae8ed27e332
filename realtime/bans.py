"""Who is shut out: users, and addresses or networks, until a time or for good."""

from __future__ import annotations

import ipaddress
import time
from threading import Lock

from django.db.models import Q
from django.utils import timezone

from marketdata.database import answering
from realtime.models import Ban
from realtime.places import Network, is_inside


class Bans:
    """The bans that are in force, as the database last said. Safe among threads.

    Attributes:
        version: grows when they are others than before.
    """

    def __init__(self) -> None:
        self.version = 0
        self._users: frozenset[int] = frozenset()
        self._networks: tuple[Network, ...] = ()
        self._read_at = float("-inf")
        self._lock = Lock()

    def covers(self, address: str, user_id: int | None) -> bool:
        """Whether somebody is shut out, from memory."""
        if user_id is not None and user_id in self._users:
            return True
        return bool(self._networks) and is_inside(address, self._networks)

    def is_older(self, age_s: float) -> bool:
        """Whether the database was asked longer ago than that, or never was."""
        return time.monotonic() - self._read_at >= age_s

    def refresh_if_older(self, age_s: float) -> None:
        """Ask the database, if that was not done for so long.

        Raises:
            DatabaseUnavailable: it does not answer.
        """
        if not self.is_older(age_s):
            return
        with self._lock, answering():
            now = timezone.now()
            rows = list(Ban.objects.filter(Q(until=None) | Q(until__gt=now)).values_list("user_id", "network"))
            users = frozenset(user for user, _ in rows if user is not None)
            networks = tuple(ipaddress.ip_network(network) for _, network in rows if network)
            if (users, networks) != (self._users, self._networks):
                self.version += 1
            self._users, self._networks, self._read_at = users, networks, time.monotonic()


bans = Bans()
