"""Which process has most room, and which have too many connections."""

from __future__ import annotations

from typing import Any

import pytest

from monitoring.management.commands.rebalance import excess
from monitoring.registry import Process, best


def process(name: str, connections: int = 0, **changes: Any) -> Process:
    fields: dict[str, Any] = {
        "role": "web", "host": "h", "pid": 1, "version": "1", "uptime_s": 1.0, "age_s": 0.1, "address": f"wss://{name}",
        "load": connections / 1000, "draining": False, "ready": True,
    }  # fmt: skip
    return Process(name=name, connections=connections, **(fields | changes))


def test_the_least_loaded_process_is_best() -> None:
    assert best([process("a", 20), process("b", 10), process("c", 30)]) == "wss://b"


@pytest.mark.parametrize("changes", [{"draining": True}, {"ready": False}, {"role": "worker"}, {"address": ""}])
def test_who_takes_no_clients_is_not_named(changes: dict[str, Any]) -> None:
    assert best([process("a", 20), process("b", 10, **changes)]) == "wss://a"
    assert best([process("b", 10, **changes)]) is None


def test_who_has_more_than_its_share_closes_the_excess() -> None:
    assert excess([process("a", 90), process("b", 10), process("c", 20)], 10) == {"a": 50}


def test_a_little_more_than_the_mean_is_no_excess() -> None:
    assert excess([process("a", 104), process("b", 96)], 10) == {}
    assert excess([process("a", 104), process("b", 96)], 0) == {"a": 4}


def test_processes_that_drain_or_serve_nobody_do_not_count() -> None:
    assert excess([process("a", 90), process("b", 90), process("c", 0, draining=True), process("d", 0, role="feed")], 10) == {}
    assert excess([], 10) == {}


def test_less_than_one_connection_is_no_excess() -> None:
    assert excess([process("a", 1), process("b", 0)], 10) == {}
