"""REST about the running installation, answered by three serving processes together."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import AsyncExitStack
from typing import Any

import pytest

from tests.own_redis import OwnRedis
from tests.system.conftest import SERVE, SYMBOLS, Tickwire, run_server, wait_for
from tests.system.test_live_limits import Crowd, bearer

PROCESSES = 3
PLANT = f"""
from django.contrib.auth.models import User
from marketdata.models import Instrument
from realtime.keys import create_key
from realtime.models import Account, Plan
for symbol in {SYMBOLS!r}:
    Instrument.objects.get_or_create(symbol=symbol, defaults=dict(name=symbol, kind="stock"))
Plan.objects.update(connections_per_user=50)
ada, root = User.objects.create_user("ada"), User.objects.create_superuser("root")
viewer = User.objects.create_user("viewer", is_staff=True)
print("ada", create_key(ada)[1])
print("root", create_key(root, is_staff=True)[1])
print("viewer", create_key(viewer, is_staff=True)[1])
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tickwire]:
    folder = tmp_path_factory.mktemp("operations")
    redis = OwnRedis(folder / "redis")
    redis.start()
    yield from run_server(folder, redis.url, "operations", [*SERVE, "--workers", str(PROCESSES)], plant=PLANT)
    redis.kill()


@pytest.fixture
def keys(server: Tickwire) -> dict[str, str]:
    return dict(line.split() for line in server.planted.splitlines())


def ask(server: Tickwire, key: str, path: str, method: str = "GET") -> tuple[int, Any]:
    request = urllib.request.Request(f"{server.url}/api/v1/{path}", method=method, headers=bearer(key))
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, json.loads(answer.read() or b"null")
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read())


async def asked(*arguments: str | Tickwire) -> tuple[int, Any]:
    return await asyncio.to_thread(ask, *arguments)  # type: ignore[arg-type]


async def test_connections_of_all_processes_are_found_and_ended(server: Tickwire, keys: dict[str, str]) -> None:
    async with AsyncExitStack() as stack:
        hers, visitors = Crowd(server, stack, bearer(keys["ada"])), Crowd(server, stack, {"User-Agent": "a robot"})
        await asyncio.gather(hers.spread(), visitors.spread())
        for client in hers.clients:
            await client.ask("subscribe", topics=["quote.AAPL", "trade.AAPL"])
        status, own = await asked(server, keys["ada"], "me/connections/")
        assert (status, own["total"], own["silent"]) == (200, len(hers.clients), 0)
        assert {row["node"] for row in own["connections"]} == hers.nodes
        assert {(row["user"], row["plan"], row["topics"], row["address"], row["slow"]) for row in own["connections"]} == {
            ("ada", "free", 2, "127.0.0.1", False)
        }
        _, everybody = await asked(server, keys["root"], "admin/connections/?limit=1")
        assert (len(everybody["connections"]), everybody["total"]) == (1, len(hers.clients) + len(visitors.clients))
        for query, count in (
            ("user=ada", len(hers.clients)), ("search=AD", len(hers.clients)), ("plan=anonymous", len(visitors.clients)),
            ("slow=true", 0), ("address=127.0.0.0/8", everybody["total"]), ("address=10.0.0.0/8", 0), ("node=nowhere", 0),
        ):  # fmt: skip
            assert (await asked(server, keys["root"], f"admin/connections/?{query}"))[1]["total"] == count, query
        victim = own["connections"][0]["session"]
        assert (await asked(server, keys["root"], f"admin/connections/{victim}/", "DELETE"))[0] == 204
        assert (await asked(server, keys["root"], f"admin/connections/{victim}/", "DELETE"))[0] == 404
        done, others = await asyncio.wait(
            [asyncio.create_task(client.closed()) for client in hers.clients], return_when=asyncio.FIRST_COMPLETED
        )
        assert [task.result() for task in done] == [(4503, "disabled")]
        for task in others:
            task.cancel()
        _, topics = await asked(server, keys["root"], "admin/topics/")
        assert [(row["topic"], row["subscribers"]) for row in topics["topics"]] == [
            (topic, len(hers.clients) - 1) for topic in ("quote.AAPL", "trade.AAPL")
        ]


@pytest.mark.parametrize(
    ("query", "says"), [("slow=perhaps", "slow"), ("limit=0", "limit"), ("limit=1000", "limit"), ("colour=red", "colour")]
)
def test_a_question_that_makes_no_sense_is_refused_by_name(server: Tickwire, keys: dict[str, str], query: str, says: str) -> None:
    status, answer = ask(server, keys["root"], f"admin/connections/?{query}")
    assert (status, answer["error"]["code"]) == (400, 107)
    assert says in answer["error"]["message"]


@pytest.mark.parametrize(("method", "path"), [("DELETE", "admin/connections/x/"), ("POST", "admin/nodes/x/drain/")])
def test_acting_needs_a_permission_beside_being_staff(server: Tickwire, keys: dict[str, str], method: str, path: str) -> None:
    assert ask(server, keys["ada"], path, method)[0] == 403
    assert ask(server, keys["viewer"], path, method)[0] == 403
    assert ask(server, keys["root"], path, method)[0] == 404


def test_all_processes_are_listed_and_one_that_hangs_is_silent(server: Tickwire, keys: dict[str, str]) -> None:
    wait_for(lambda: len(nodes(server, keys["root"])) == PROCESSES, server)
    names = list(nodes(server, keys["root"]))
    assert not any(nodes(server, keys["root"]).values())
    answering = ask(server, keys["root"], "admin/stats/")[1]["node"]
    hanging = next(name for name in names if name != answering)
    pid = int(hanging.rpartition("-")[2])
    os.kill(pid, signal.SIGSTOP)
    try:  # a request may meet the one that hangs; those that the others answer tell of it
        wait_for(lambda: _silent(server, keys["root"]) == 1, server)
    finally:
        os.kill(pid, signal.SIGCONT)


def nodes(server: Tickwire, key: str) -> dict[str, bool]:
    """Serving processes that reported lately, and whether they drain."""
    return {node["name"]: node["draining"] for node in ask(server, key, "admin/nodes/")[1]["nodes"]}


def _silent(server: Tickwire, key: str) -> int | None:
    request = urllib.request.Request(f"{server.url}/api/v1/admin/connections/", headers=bearer(key))
    try:
        with urllib.request.urlopen(request, timeout=4) as answer:
            return int(json.load(answer)["silent"])
    except OSError:
        return None


async def test_a_process_that_is_drained_closes_its_clients_and_takes_no_more(server: Tickwire, keys: dict[str, str]) -> None:
    async with AsyncExitStack() as stack:
        found = Crowd(server, stack, {})
        await found.spread()
        drained = sorted(found.nodes)[0]
        status, answer = await asked(server, keys["root"], f"admin/nodes/{drained}/drain/", "POST")
        assert (status, answer) == (202, {"node": drained, "draining": True})
        await asyncio.to_thread(wait_for, lambda: nodes(server, keys["root"])[drained], server)
        welcomed: set[str] = set()
        refused = 0
        async with asyncio.timeout(30):
            while not refused or len(welcomed) < PROCESSES - 1:
                async with server.dial() as client:
                    first = await client.receive()
                    if first["type"] == "welcome":
                        welcomed.add(first["node"])
                    else:
                        refused += 1
                        assert await client.closed() == (1012, "restart")
        assert drained not in welcomed
