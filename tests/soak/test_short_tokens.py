"""Sockets that live by signed tokens of a minute: renewed in time, they go on for minutes without a reconnect."""

from __future__ import annotations

import asyncio
import time

import pytest

from tests.soak.conftest import Start, names, publishing, report
from tests.system.conftest import Client
from tests.unit.signing import SECRET, hs256

pytestmark = [pytest.mark.soak, pytest.mark.timeout(300)]

LIFE_S, MINUTES, CLIENTS, TOPICS = 60, 3.5, 20, 5


async def live(client: Client, until: float) -> tuple[int, int, int]:
    """Follow topics and renew when told to: (renewals, updates, holes)."""
    renewals, seen, holes = 0, dict.fromkeys(names(TOPICS), 0), 0
    updates = 0
    await client.ask("subscribe", topics=names(TOPICS))
    while time.time() < until:
        message = await client.receive()
        if message["type"] in ("snapshot", "update"):
            before, seen[message["topic"]] = seen[message["topic"]], message["seq"]
            holes += bool(before) and message["seq"] != before + 1
            updates += 1
        elif message["type"] == "notice":
            assert message["kind"] == "token_expiring", message
            renewals += 1
            token = hs256(exp=int(time.time()) + LIFE_S, plan="pro")
            await client.socket.send(f'{{"op":"auth","token":"{token}"}}')
        else:
            assert message["type"] in ("authenticated", "heartbeat", "subscribed"), message
    return renewals, updates, holes


async def test_tokens_of_a_minute_carry_sockets_over_minutes(start: Start) -> None:
    server = start(TICKWIRE_JWT_SECRET=SECRET)
    await asyncio.to_thread(
        server.manage, "shell", "-v0", "-c",
        "from django.contrib.auth.models import User; from realtime.models import Plan; User.objects.create_user('ada'); "
        "Plan.objects.filter(name='pro').update(connections_per_user=100)",
    )  # fmt: skip
    until = time.time() + MINUTES * 60
    token = hs256(exp=int(time.time()) + LIFE_S, plan="pro")

    async def one() -> tuple[int, int, int]:
        async with server.dial(additional_headers={"Authorization": f"Bearer {token}"}) as client:
            return await live(client, until)

    with publishing(server, TOPICS) as source:
        source.set_rate(100)
        found = await asyncio.gather(*(one() for _ in range(CLIENTS)))
    renewals, updates, holes = (sum(each[at] for each in found) for at in range(3))
    report("short tokens", clients=CLIENTS, minutes=MINUTES, renewals=renewals, updates=updates, holes=holes)
    assert min(each[0] for each in found) >= MINUTES * 60 // LIFE_S
    assert holes == 0
