"""A million messages leave the server's memory as it was."""

from __future__ import annotations

import pytest

from marketdata.store import Update
from tests.crowd import Crowd, Way
from tests.soak.conftest import Start, names, publishing, report

pytestmark = [pytest.mark.soak, pytest.mark.timeout(240)]

TOPICS, PER_S, PUBLISHED, WARM_UP_S = 100, 17_000, 1_000_000, 8.0
WAYS = [Way(batch=True), Way(batch=True, deflate=True, msgpack=True)]


def test_a_million_messages_leave_memory_flat(start: Start) -> None:
    server = start()
    server.store.publish([Update(name, b"{}") for name in names(TOPICS)])
    crowd = Crowd(server.port, server.planted, lambda _: names(TOPICS), WAYS)
    crowd.connect(len(WAYS))
    memory = []
    with publishing(server, TOPICS) as source:
        source.set_rate(PER_S)
        crowd.run(WARM_UP_S)
        warm = crowd.updates
        memory.append(server.resident_bytes())
        while crowd.updates - warm < PUBLISHED * len(WAYS):
            crowd.run(5.0)
            memory.append(server.resident_bytes())
        published = source.stop()
    crowd.until(lambda: crowd.updates >= published * len(WAYS))
    crowd.close()

    grown = memory[-1] - memory[0]
    report(
        "million messages", published=published, delivered=crowd.updates, warm_mib=memory[0] / 2**20, end_mib=memory[-1] / 2**20,
        grown_kib=grown // 1024, samples_kib=[(one - memory[0]) // 1024 for one in memory],
    )  # fmt: skip
    assert (crowd.faults, crowd.gaps, crowd.ended) == ([], [], [])
    assert grown < 4 << 20
