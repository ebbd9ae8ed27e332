"""This process as a serving node: bus, store, hub and keeper, made when first needed, ended with the event loop."""

from __future__ import annotations

import ipaddress
import logging
import os
import socket
from typing import Any, Self, cast

from channels.layers import get_channel_layer
from django.conf import settings

from marketdata.instruments import Instruments, instruments
from marketdata.last_known import last_known
from marketdata.layer import BusLayer
from marketdata.layout import Layout
from marketdata.loops import PerLoop
from marketdata.reads import AsyncReads
from marketdata.store import AsyncStore, now_us
from realtime.admissions import Admissions
from realtime.drain import Drain
from realtime.hub import Hub
from realtime.keeper import Keeper
from realtime.ladder import Ladder
from realtime.meter import Meter
from realtime.overload import Overload
from realtime.places import AddressRules
from realtime.sessions import Sessions
from realtime.standing import Standing
from realtime.steward import Steward
from realtime.warden import Warden

logger = logging.getLogger(__name__)

VERSION = "1.0.0"


class Node:
    """Everything that a serving process has one of.

    Attributes:
        name: host and process id.
        store: what commands read of it.
    """

    def __init__(
        self, hub: Hub, overload: Overload, admissions: Admissions, sessions: Sessions, store: AsyncReads, listed: Instruments
    ) -> None:
        serving = settings.TICKWIRE.serving
        self.name = f"{socket.gethostname()}-{os.getpid()}"
        self.hub = hub
        self.overload = overload
        self.admissions = admissions
        self.sessions = sessions
        self.store = store
        self.instruments = listed
        self.started_us = now_us()
        self.drain = Drain(hub)
        self.meter = Meter(serving.usage_s, serving.usage_days)
        self.warden = Warden(hub, admissions, sessions)
        self.steward = Steward(hub, self.name, self.warden, self.drain, serving.drain_s)
        self.keeper = Keeper(
            hub,
            listed,
            stale_after_s=settings.TICKWIRE.sources.stale_after_s,
            slow_notice_s=serving.slow_notice_s,
            slow_close_s=serving.slow_close_s,
            each_tick=overload.look,
            each_second=sessions.refresh,
            others=[admissions.task, self.warden.task, self.steward.task, self.meter.task],
        )
        self._stop_telling = last_known(hub.layout.prefix).follow(Standing(hub))

    @property
    def draining(self) -> bool:
        """Whether it takes no more connections."""
        return self.drain.begun

    @classmethod
    async def here(cls) -> Node:
        """The node of the running event loop; the first to ask makes it."""
        return await _nodes.here()

    @classmethod
    async def make(cls) -> Self:
        """Make a node from the settings."""
        serving, bus_settings = settings.TICKWIRE.serving, settings.TICKWIRE.bus
        layout, store, listed = Layout.from_settings(), AsyncStore.from_settings(), instruments()
        hub = Hub(
            await cast(BusLayer, get_channel_layer()).bus(),
            store,
            layout,
            floor_s=serving.flush_floor_ms / 1000,
            ceiling_s=serving.flush_ceiling_ms / 1000,
            outbox_bytes=serving.outbox_bytes,
            outbox_updates=serving.outbox_updates,
            linger_s=bus_settings.linger_s,
        )
        admissions = Admissions(hub, serving.connection_lease_s, _address_rules(serving))
        sessions = Sessions(hub, bus_settings.resume_ttl_s)
        overload = Overload(hub, Ladder(serving.overload_lag_ms * 1000, serving.most_memory_mb << 20))
        await listed.arefresh_if_older(2.0)
        node = cls(hub, overload, admissions, sessions, AsyncReads(store), listed)
        node.keeper.start()
        return node

    async def stop(self) -> None:
        """End the background work and give connections to Redis back."""
        self._stop_telling()
        await self.keeper.stop()
        await self.admissions.stop()
        await self.sessions.stop()
        await self.meter.stop()
        await self.hub.stop()
        await self.store.close()


def _address_rules(serving: Any) -> AddressRules:
    networks = tuple(ipaddress.ip_network(text) for text in serving.uncounted_addresses)
    return AddressRules(serving.address_connections, serving.address_handshakes, networks, serving.address_dry_run)


_nodes = PerLoop(Node.make, Node.stop)
