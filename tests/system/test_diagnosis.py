"""Diagnosis over REST, of three serving processes: taps, traces, top topics."""

from __future__ import annotations

import asyncio
import json
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest

from marketdata.store import now_us
from tests.own_redis import OwnRedis
from tests.system.conftest import SERVE, SYMBOLS, Tickwire, run_server
from tests.system.test_live_limits import Crowd, bearer

PLANT = f"""
from django.contrib.auth.models import Permission, User
from marketdata.models import Instrument
from realtime.keys import create_key
from realtime.models import Plan
for symbol in {SYMBOLS!r}:
    Instrument.objects.get_or_create(symbol=symbol, defaults=dict(name=symbol, kind="stock"))
Plan.objects.update(connections_per_user=50, requests_per_second=1000, request_burst=1000)
ada, viewer, operator = (User.objects.create_user(name, is_staff=name != "ada") for name in ("ada", "viewer", "operator"))
operator.user_permissions.add(Permission.objects.get(codename="tap"))
for user in (ada, viewer, operator):
    print(user, create_key(user, is_staff=user.is_staff)[1])
"""
TOPIC = "quote.AAPL"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tickwire]:
    folder = tmp_path_factory.mktemp("diagnosis")
    redis = OwnRedis(folder / "redis")
    redis.start()
    yield from run_server(folder, redis.url, "diagnosis", [*SERVE, "--workers", "3"], plant=PLANT)
    redis.kill()


@pytest.fixture
def keys(server: Tickwire) -> dict[str, str]:
    return dict(line.split() for line in server.planted.splitlines())


def ask(server: Tickwire, key: str, path: str, method: str = "GET", body: Any = None) -> tuple[int, Any]:
    headers = bearer(key) | ({"Content-Type": "application/json"} if body is not None else {})
    data = json.dumps(body).encode() if body is not None else None
    request = urllib.request.Request(f"{server.url}/api/v1/{path}", data, headers, method=method)
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, json.loads(answer.read() or b"null")
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read())


async def asked(server: Tickwire, key: str, path: str, method: str = "GET", body: Any = None) -> tuple[int, Any]:
    return await asyncio.to_thread(ask, server, key, path, method, body)


async def seen(server: Tickwire, key: str, tap: str, what: str, count: int) -> list[Any]:
    """Copies of a kind, as soon as there are so many."""
    found, after = [], "0-0"
    async with asyncio.timeout(10):
        while len(found) < count:
            _, answer = await asked(server, key, f"admin/taps/{tap}/?after={after}")
            found += [copy for copy in answer["copies"] if copy["what"] == what]
            after = answer["next"]
    return found


@asynccontextmanager
async def crowd(server: Tickwire, headers: dict[str, str]) -> AsyncIterator[Crowd]:
    """Clients on more than one process, who follow the topic."""
    async with AsyncExitStack() as stack:
        clients = Crowd(server, stack, headers)
        await clients.spread()
        for client in clients.clients:
            assert (await client.ask("subscribe", topics=[TOPIC]))["type"] == "subscribed"
        yield clients


def publish(server: Tickwire, bid: str = "1") -> int:
    return server.publish(TOPIC, {"symbol": "AAPL", "ts": now_us(), "bid": bid, "bid_size": "1", "ask": "2", "ask_size": "1"})[0]


async def test_a_connection_is_tapped_wherever_it_is_and_no_secret_is_shown(server: Tickwire, keys: dict[str, str]) -> None:
    async with crowd(server, bearer(keys["ada"])) as clients:
        _, own = await asked(server, keys["ada"], "me/connections/")
        for row in own["connections"]:
            status, tap = await asked(server, keys["operator"], "admin/taps/", "POST", {"session": row["session"], "for_s": 30})
            assert (status, tap["nodes"]) == (201, 1)
            for client in clients.clients:
                await client.ask("auth", token=keys["ada"])
            (command,) = await seen(server, keys["operator"], tap["id"], "command", 1)
            assert command["message"]["op"] == "auth"
            assert command["node"] == row["node"]
            _, everything = await asked(server, keys["operator"], f"admin/taps/{tap['id']}/")
            assert everything["open"]
            assert not {keys["ada"], row["session"]} & set(json.dumps(everything).split('"'))
            assert (await asked(server, keys["operator"], f"admin/taps/{tap['id']}/", "DELETE"))[0] == 204
            assert (await asked(server, keys["operator"], f"admin/taps/{tap['id']}/"))[0] == 404


async def test_a_topic_is_tapped_in_every_process_and_begins_with_what_was_kept(server: Tickwire, keys: dict[str, str]) -> None:
    seqs = [publish(server, str(n)) for n in range(3)]
    async with crowd(server, bearer(keys["ada"])) as clients:
        status, tap = await asked(server, keys["operator"], "admin/taps/", "POST", {"topic": TOPIC, "last": 2})
        assert (status, tap["of"]) == (201, TOPIC)
        assert tap["nodes"] >= len(clients.nodes)  # a process goes on with a topic for a while after its last follower
        seq = publish(server, "9")
        updates = await seen(server, keys["operator"], tap["id"], "update", tap["nodes"])
        assert {copy["node"] for copy in updates} >= clients.nodes
        assert {(copy["message"]["seq"], copy["message"]["data"]["bid"]) for copy in updates} == {(seq, "9")}
        stored = await seen(server, keys["operator"], tap["id"], "stored", 2)
        assert [copy["message"]["seq"] for copy in stored] == seqs[1:]


async def test_a_tap_is_in_the_audit_log_under_what_the_log_calls_the_connection(server: Tickwire, keys: dict[str, str]) -> None:
    async with crowd(server, bearer(keys["ada"])):
        _, own = await asked(server, keys["ada"], "me/connections/")
        session = own["connections"][0]["session"]
        _, tap = await asked(server, keys["operator"], "admin/taps/", "POST", {"session": session, "for_s": 5})
        program = (
            "from marketdata.models import JournalEntry as J; print(*vars(J.objects.filter(action='tap').latest('pk')).items())"
        )
        noted = await asyncio.to_thread(server.manage, "shell", "-v0", "-c", program)
        assert (
            f"('who', 'operator') ('address', '127.0.0.1') ('action', 'tap') ('kind', 'connection') ('name', '{tap['of']}')"
            in noted
        )
        assert session not in noted


@pytest.mark.parametrize(
    ("body", "status", "says"),
    [
        ({}, 400, "name a session or a topic"),
        ({"session": "x", "topic": TOPIC}, 400, "name a session or a topic"),
        ({"topic": "nonsense"}, 404, "nonsense"),
        ({"topic": TOPIC, "for_s": 61}, 400, "for_s"),
        ({"topic": TOPIC, "colour": 1}, 400, "colour"),
        ({"session": "nobodys"}, 404, "no such connection"),
        ({"topic": "quote.MSFT"}, 404, "nobody follows"),
    ],
)
def test_a_tap_of_nothing_is_refused(server: Tickwire, keys: dict[str, str], body: Any, status: int, says: str) -> None:
    found, answer = ask(server, keys["operator"], "admin/taps/", "POST", body)
    assert found == status
    assert says in answer["error"]["message"]


@pytest.mark.parametrize(
    ("method", "path"),
    [("POST", "admin/taps/"), ("GET", "admin/taps/x/"), ("DELETE", "admin/taps/x/"), ("POST", "admin/trace/")],
)
def test_looking_on_needs_a_permission_beside_being_staff(server: Tickwire, keys: dict[str, str], method: str, path: str) -> None:
    body = {} if method == "POST" else None
    assert ask(server, keys["ada"], path, method, body)[0] == 403
    assert ask(server, keys["viewer"], path, method, body)[0] == 403
    assert ask(server, keys["operator"], path, method, body)[0] in (400, 404)


async def test_the_next_update_is_traced_in_every_process_and_found_by_its_seq(server: Tickwire, keys: dict[str, str]) -> None:
    async with crowd(server, bearer(keys["ada"])) as clients:
        status, tracing = await asked(server, keys["operator"], "admin/trace/", "POST", {"topic": TOPIC})
        assert (status, tracing["nodes"]) == (202, len(clients.nodes))
        before = now_us()
        seq = publish(server)
        async with asyncio.timeout(10):
            traced: list[Any] = []
            while {row["node"] for row in traced if row["seq"] == seq} != clients.nodes:
                _, answer = await asked(server, keys["viewer"], f"admin/trace/samples/?topic={TOPIC}&asked=true")
                traced = answer["traced"]
        _, trace = await asked(server, keys["viewer"], f"admin/trace/?topic={TOPIC}&seq={seq}")
        hops = {hop["node"]: hop for hop in trace["nodes"]}
        for node in clients.nodes:
            times = [trace["event_us"], trace["published_us"], hops[node]["received_us"], hops[node]["written_us"]]
            assert before <= times[0]
            assert times == sorted(times)
            assert hops[node]["passed"]
        assert all(hop["passed"] is None for node, hop in hops.items() if node not in clients.nodes)


def test_an_update_that_is_not_kept_has_no_trace(server: Tickwire, keys: dict[str, str]) -> None:
    status, answer = ask(server, keys["viewer"], f"admin/trace/?topic={TOPIC}&seq=999999")
    assert (status, answer["error"]["code"]) == (404, 104)
    for query in ("topic=quote.AAPL", "topic=quote.AAPL&seq=0", "seq=1", "topic=quote.AAPL&seq=1&colour=red"):
        assert ask(server, keys["viewer"], f"admin/trace/?{query}")[0] == 400, query


async def test_samples_come_by_themselves(server: Tickwire, keys: dict[str, str]) -> None:
    async with crowd(server, bearer(keys["ada"])):
        async with asyncio.timeout(20):
            found: list[Any] = []
            while not found:
                publish(server)
                _, answer = await asked(server, keys["viewer"], f"admin/trace/samples/?topic={TOPIC}&asked=false")
                found = answer["traced"]
        assert all(row["written_us"] >= row["received_us"] for row in found)


async def test_topics_are_ranked_by_rate_and_bytes_over_all_processes(server: Tickwire, keys: dict[str, str]) -> None:
    async with crowd(server, bearer(keys["ada"])) as clients:

        async def go_on() -> None:
            while True:
                await asyncio.to_thread(publish, server)
                await asyncio.sleep(0.02)

        publishing = asyncio.create_task(go_on())
        try:
            async with asyncio.timeout(20):
                row: dict[str, Any] = {"rate": 0.0, "bytes": 0}
                while not (row["rate"] and row["bytes"]):
                    _, answer = await asked(server, keys["viewer"], "admin/topics/?by=rate&limit=1")
                    (row,) = answer["topics"]
        finally:
            publishing.cancel()
        assert (row["topic"], row["subscribers"], row["nodes"]) == (TOPIC, len(clients.clients), len(clients.nodes))
        assert row["rate"] < 60
        assert (await asked(server, keys["viewer"], "admin/topics/?by=colour"))[0] == 400
