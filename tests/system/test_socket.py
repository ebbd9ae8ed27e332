"""The socket of the shipped server, spoken to by a client that Tickwire did not write."""

from __future__ import annotations

import asyncio
import json
import re
import time
from typing import Any

import msgspec
import pytest
import websockets
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory

from tests.system.conftest import Client, Tickwire

WELCOME = {"type", "session", "server", "node", "time", "heartbeat", "resume_ttl", "user", "plan", "limits"}


async def subscribed(client: Client, *topics: str, **fields: Any) -> Any:
    return await client.ask("subscribe", topics=list(topics), **fields)


async def test_the_first_message_is_a_welcome(tickwire: Tickwire) -> None:
    async with tickwire.dial() as client:
        welcome = await client.receive()
    assert welcome.keys() == WELCOME
    assert (welcome["type"], welcome["user"], welcome["plan"]) == ("welcome", None, "anonymous")
    assert welcome["limits"] == {"topics": 10, "max_rate": 2.0, "commands_per_second": 5.0, "max_message_bytes": 16384}
    assert abs(welcome["time"] / 1e6 - time.time()) < 60


async def test_whole_seconds_are_whole_numbers(tickwire: Tickwire) -> None:
    async with tickwire.dial() as client:
        assert '"heartbeat":10,' in await client.socket.recv()
        assert json.dumps((await client.ask("configure", heartbeat=30))["heartbeat"]) == "30"
        assert (await client.ask("configure", heartbeat=1.5))["heartbeat"] == 1.5


async def test_subscribing_gives_the_reply_then_a_snapshot_then_updates(tickwire: Tickwire) -> None:
    (before,) = tickwire.publish("trade.AAPL", {"n": 1})
    async with tickwire.dial() as client:
        await client.receive()
        reply = await subscribed(client, "trade.AAPL")
        snapshot = await client.receive()
        tickwire.publish("trade.AAPL", {"n": 2})
        update = await client.receive()
    (accepted,) = reply["accepted"]
    assert (reply["type"], reply["total"], reply["limit"], reply["rejected"]) == ("subscribed", 1, 10, [])
    assert accepted == {
        "topic": "trade.AAPL", "delivery": "every", "epoch": snapshot["epoch"], "seq": before, "max_rate": None,
    }  # fmt: skip
    assert (snapshot["type"], snapshot["seq"], snapshot["data"]) == ("snapshot", before, {"n": 1})
    assert update == {"type": "update", "topic": "trade.AAPL", "seq": before + 1, "data": {"n": 2}}


async def test_snapshot_false_begins_with_updates(tickwire: Tickwire) -> None:
    tickwire.publish("trade.AAPL", {"n": 1})
    async with tickwire.dial() as client:
        await client.receive()
        await subscribed(client, "trade.AAPL", snapshot=False)
        tickwire.publish("trade.AAPL", {"n": 2})
        assert (await client.receive())["type"] == "update"


async def test_good_topics_succeed_though_others_are_rejected(tickwire: Tickwire) -> None:
    topics = ["quote.AAPL", "nonsense", "quote.NOBODY", "kline.2m.AAPL", "book.AAPL", "depth.AAPL"]
    async with tickwire.dial() as client:
        reply = await subscribed(client, *topics)
    assert [accepted["topic"] for accepted in reply["accepted"]] == ["quote.AAPL"]
    assert [(refused["topic"], refused["code"], refused["name"]) for refused in reply["rejected"]] == [
        ("nonsense", 102, "unknown_topic"),
        ("quote.NOBODY", 120, "unknown_symbol"),
        ("kline.2m.AAPL", 121, "unsupported_type"),
        ("book.AAPL", 121, "unsupported_type"),
        ("depth.AAPL", 125, "insufficient_plan"),
    ]


async def test_the_plan_bounds_the_topics(tickwire: Tickwire) -> None:
    topics = [f"kline.{interval}.AAPL" for interval in ("1m", "5m", "15m", "30m", "1h", "4h", "1d")]
    topics += ["quote.AAPL", "trade.AAPL", "ticker.AAPL", "quote.MSFT"]
    async with tickwire.dial() as client:
        reply = await subscribed(client, *topics)
    assert reply["total"] == 10
    assert [(refused["topic"], refused["code"]) for refused in reply["rejected"]] == [("quote.MSFT", 123)]


async def test_subscribing_again_says_already(tickwire: Tickwire) -> None:
    async with tickwire.dial() as client:
        await subscribed(client, "quote.AAPL")
        reply = await subscribed(client, "quote.AAPL")
    assert (reply["accepted"][0]["already"], reply["total"]) == (True, 1)


async def test_subscribing_again_changes_the_rate_only_if_it_names_one(tickwire: Tickwire) -> None:
    async with tickwire.dial() as client:
        for asked, served in [({"max_rate": 1}, 1), ({}, 1), ({"max_rate": 1.5}, 1.5), ({"max_rate": None}, 1.5)]:
            (accepted,) = (await subscribed(client, "quote.AAPL", **asked))["accepted"]
            assert accepted["max_rate"] == served


async def test_list_update_unsubscribe(tickwire: Tickwire) -> None:
    async with tickwire.dial() as client:
        await subscribed(client, "quote.AAPL", "trade.AAPL", max_rate=1.5)
        listed = await client.ask("list")
        updated = await client.ask("update", topics=["quote.AAPL", "quote.MSFT"], max_rate=1)
        left = await client.ask("unsubscribe", topics=["quote.AAPL", "quote.MSFT"])
        rest = await client.ask("unsubscribe", all=True)
    assert {topic["topic"]: topic["max_rate"] for topic in listed["topics"]} == {"quote.AAPL": 1.5, "trade.AAPL": None}
    assert listed["limit"] == 10
    assert updated["topics"] == [{"topic": "quote.AAPL", "max_rate": 1.0}]
    assert [(refused["topic"], refused["code"]) for refused in updated["rejected"]] == [("quote.MSFT", 127)]
    assert (left["topics"], left["total"]) == (["quote.AAPL"], 1)
    assert (rest["topics"], rest["total"]) == (["trade.AAPL"], 0)


async def test_snapshot_and_history_read_what_was_published(tickwire: Tickwire) -> None:
    seqs = tickwire.publish("trade.MSFT", {"n": 1}, {"n": 2}, {"n": 3})
    async with tickwire.dial() as client:
        snapshots = await client.ask("snapshot", topics=["trade.MSFT", "depth.MSFT", "ticker.MSFT"])
        history = await client.ask("history", topic="trade.MSFT", from_seq=seqs[0], to_seq=seqs[1])
        newest = await client.ask("history", topic="trade.MSFT", limit=1)
        wrong = await client.ask("history", topic="trade.MSFT", from_seq=5, to_seq=2)
    assert (snapshots["snapshots"][0]["seq"], snapshots["snapshots"][0]["data"]) == (seqs[2], {"n": 3})
    assert snapshots["rejected"][0]["code"] == 125
    assert snapshots["snapshots"][1] == {"topic": "ticker.MSFT", "epoch": None, "seq": 0, "data": None}
    assert history["updates"] == [{"seq": seqs[0], "data": {"n": 1}}, {"seq": seqs[1], "data": {"n": 2}}]
    assert [update["data"] for update in newest["updates"]] == [{"n": 3}]
    assert wrong["code"] == 107


async def test_configure_answers_the_effective_values(tickwire: Tickwire) -> None:
    async with tickwire.dial() as client:
        reply = await client.ask("configure", batch=True, heartbeat=1, max_rate=100)
        assert {key: reply[key] for key in ("batch", "heartbeat", "max_rate")} == {
            "batch": True, "heartbeat": 1.0, "max_rate": 2.0,
        }  # fmt: skip
        (beat,) = await client.until(lambda message: isinstance(message, list) and message[0]["type"] == "heartbeat")
    assert beat.keys() == {"type", "n", "time", "sent", "conflated", "gaps", "queued", "lag_ms", "stale"}


async def test_a_batch_is_one_frame(tickwire: Tickwire) -> None:
    tickwire.publish("quote.AAPL", {"n": 1})
    tickwire.publish("quote.MSFT", {"n": 1})
    async with tickwire.dial("?batch=1") as client:
        assert (await client.receive())[0]["type"] == "welcome"
        await client.socket.send(json.dumps({"op": "subscribe", "topics": ["quote.AAPL", "quote.MSFT"]}))
        assert [message["type"] for message in await client.receive()] == ["subscribed", "snapshot", "snapshot"]


async def test_ping_pong(tickwire: Tickwire) -> None:
    async with tickwire.dial() as client:
        pong = await client.ask("ping", nonce="abc")
    assert (pong["type"], pong["nonce"]) == ("pong", "abc")


async def test_messagepack_speaks_the_same_objects_in_binary_frames(tickwire: Tickwire) -> None:
    tickwire.publish("quote.AAPL", {"bid": "1.10"})
    async with websockets.connect(tickwire.socket_url, subprotocols=["tickwire.v1.msgpack"]) as socket:  # type: ignore[list-item]
        assert socket.subprotocol == "tickwire.v1.msgpack"
        welcome = await socket.recv()
        assert isinstance(welcome, bytes)
        assert msgspec.msgpack.decode(welcome)["type"] == "welcome"
        await socket.send(msgspec.msgpack.encode({"op": "subscribe", "topics": ["quote.AAPL"]}))
        await socket.recv()
        assert msgspec.msgpack.decode(await socket.recv())["data"] == {"bid": "1.10"}  # type: ignore[arg-type]
        await socket.send("{}")
        assert msgspec.msgpack.decode(await socket.recv())["code"] == 107  # type: ignore[arg-type]


async def test_compression_is_negotiated_without_context_takeover(tickwire: Tickwire) -> None:
    body = {"bids": [[str(n), "1.00000000"] for n in range(20)]}
    async with tickwire.dial(compression="deflate") as client:
        offered = client.socket.response.headers["Sec-WebSocket-Extensions"]  # type: ignore[union-attr]
        assert "server_no_context_takeover" in offered
        await subscribed(client, "trade.AAPL")
        for _ in range(3):
            tickwire.publish("trade.AAPL", body)
        got = [await client.until(lambda message: message["type"] == "update") for _ in range(3)]
    assert [update["data"] for update in got] == [body] * 3


@pytest.mark.parametrize(("bits", "compressed"), [(9, False), (11, False), (12, True), (15, True)])
async def test_who_cannot_hold_the_window_of_shared_frames_is_served_uncompressed(
    tickwire: Tickwire, bits: int, compressed: bool
) -> None:
    offer = ClientPerMessageDeflateFactory(server_max_window_bits=bits)
    async with tickwire.dial(compression=None, extensions=[offer]) as client:
        assert bool(client.socket.protocol.extensions) is compressed
        assert (await client.receive())["type"] == "welcome"


async def test_the_subprotocol_is_json_when_none_is_offered(tickwire: Tickwire) -> None:
    async with websockets.connect(tickwire.socket_url) as socket:
        assert socket.subprotocol is None
        assert json.loads(await socket.recv())["type"] == "welcome"


@pytest.mark.parametrize(
    ("frame", "code"),
    [("nonsense", 107), ("[]", 107), ('{"op":"dance","id":1}', 104), ('{"op":"ping","x":1}', 107), (b"\x00", 107)],
)
async def test_a_bad_frame_gets_a_coded_error_and_the_connection_lives(tickwire: Tickwire, frame: Any, code: int) -> None:
    async with tickwire.dial() as client:
        await client.receive()
        await client.socket.send(frame)
        error = await client.receive()
        assert (error["type"], error["code"], error["temporary"]) == ("error", code, False)
        assert (await client.ask("ping"))["type"] == "pong"


async def test_too_many_topics_in_one_command_change_nothing(tickwire: Tickwire) -> None:
    async with tickwire.dial() as client:
        error = await subscribed(client, *(f"quote.S{n}" for n in range(201)))
        assert (error["code"], error["name"]) == (106, "limit_exceeded")
        assert (await client.ask("list"))["total"] == 0


@pytest.mark.parametrize("text", ["x" * 16_385, "é" * 8_193])
async def test_a_message_over_16_kib_ends_the_connection_with_1009(tickwire: Tickwire, text: str) -> None:
    async with tickwire.dial() as client:
        await client.receive()
        await client.socket.send(text)
        notice = await client.receive()
        assert (notice["type"], notice["kind"], notice["code"]) == ("notice", "limits", 1009)
        assert (await client.closed())[0] == 1009


async def test_a_message_of_16_kib_is_taken(tickwire: Tickwire) -> None:
    async with tickwire.dial() as client:
        await client.receive()
        await client.socket.send('{"op":"ping"}'.ljust(16_384))
        assert (await client.receive())["type"] == "pong"


async def test_text_that_is_not_utf_8_is_told_so_and_closed_with_1007(tickwire: Tickwire) -> None:
    async with tickwire.dial() as client:
        await client.receive()
        await client.socket.send(b"\xff", text=True)
        assert (await client.receive())["code"] == 1007
        assert await client.closed() == (1007, "not_utf8")


@pytest.mark.parametrize("path", ["/", "x", "/ws/v1/nothing"])
async def test_a_socket_at_a_path_where_there_is_none_is_refused_with_404(tickwire: Tickwire, path: str) -> None:
    url = tickwire.socket_url + path if not path.startswith("/ws") else f"ws://127.0.0.1:{tickwire.port}{path}"
    with pytest.raises(websockets.InvalidStatus) as refusal:
        await websockets.connect(url)
    assert refusal.value.response.status_code == 404
    assert not re.search("Traceback|handshake", tickwire.log.read_text())


async def test_too_many_commands_are_refused_with_a_time_to_wait_but_leaving_is_not(tickwire: Tickwire) -> None:
    async with tickwire.dial() as client:
        await subscribed(client, "quote.AAPL")
        for _ in range(30):
            answer = await client.ask("list")
        assert (answer["code"], answer["temporary"]) == (111, True)
        assert 0 < answer["retry_after_ms"] <= 1000
        assert (await client.ask("unsubscribe", all=True))["total"] == 0


async def test_a_bad_credential_is_closed_with_4501_and_never_served_as_anonymous(tickwire: Tickwire) -> None:
    async with tickwire.dial(additional_headers={"Authorization": "Bearer tw_nobody_nothing"}) as client:
        notice = await client.receive()
        assert (notice["type"], notice["code"]) == ("notice", 4501)
        assert await client.closed() == (4501, "unauthorized")


async def test_an_api_key_brings_its_users_plan_on_header_and_first_message(tickwire: Tickwire) -> None:
    key = tickwire.manage("issue_key", "bot", "--create", "--plan", "pro")
    async with tickwire.dial(additional_headers={"Authorization": f"Bearer {key}"}) as client:
        welcome = await client.receive()
        assert (welcome["user"], welcome["plan"], welcome["limits"]["topics"]) == ("bot", "pro", 2000)
        assert (await subscribed(client, "depth.AAPL"))["rejected"] == []
    async with tickwire.dial() as client:
        assert (await client.receive())["user"] is None
        assert (await client.ask("auth", token="tw_x_y"))["code"] == 101
        authenticated = await client.ask("auth", token=key)
        assert (authenticated["type"], authenticated["user"], authenticated["plan"]) == ("authenticated", "bot", "pro")
        assert (await subscribed(client, "depth.AAPL"))["rejected"] == []


async def test_who_authenticates_by_message_may_send_as_many_commands_as_by_header(tickwire: Tickwire) -> None:
    key = tickwire.manage("issue_key", "hasty", "--create", "--plan", "pro")
    async with tickwire.dial() as client:
        await client.ask("auth", token=key)
        for n in range(150):
            await client.socket.send(json.dumps({"op": "ping", "nonce": n}))
        assert [(await client.receive()).get("nonce") for _ in range(150)] == list(range(150))


async def test_renewing_refills_no_bucket(tickwire: Tickwire) -> None:
    key = tickwire.manage("issue_key", "thrifty", "--create", "--plan", "free")
    async with tickwire.dial() as client:
        answers = [(await client.ask("auth", token=key)).get("code") for _ in range(90)]
    assert 111 in answers


async def test_more_connections_than_the_plan_allows_are_closed_with_4504(tickwire: Tickwire) -> None:
    key = tickwire.manage("issue_key", "small", "--create", "--plan", "free")
    headers = {"Authorization": f"Bearer {key}"}
    async with tickwire.dial(additional_headers=headers) as one, tickwire.dial(additional_headers=headers) as two:
        assert (await one.receive())["type"] == (await two.receive())["type"] == "welcome"
        async with tickwire.dial(additional_headers=headers) as three:
            assert "at most 2 connections" in (await three.receive())["message"]
            assert await three.closed() == (4504, "connection_limit")
        async with tickwire.dial() as visitor:
            refusal = await visitor.ask("auth", token=key)
            assert (refusal["code"], refusal["details"]) == (124, {"limit": 2})
    async with tickwire.dial(additional_headers=headers) as again:
        assert (await again.receive())["type"] == "welcome"


async def test_updates_at_most_at_the_plans_rate_and_the_last_arrives(tickwire: Tickwire) -> None:
    tickwire.publish("quote.TEST", {"n": -1})
    async with tickwire.dial() as client:
        await subscribed(client, "quote.TEST")
        began = time.monotonic()
        for n in range(20):
            tickwire.publish("quote.TEST", {"n": n})
            await asyncio.sleep(0.05)
        seen: list[Any] = []
        while not seen or seen[-1]["data"]["n"] < 19:
            seen.append(await client.until(lambda message: message["type"] == "update"))
    assert len(seen) <= 2 + (time.monotonic() - began) * 2


async def test_a_client_that_errs_for_ever_is_closed_with_4507(tickwire: Tickwire) -> None:
    async with tickwire.dial() as client:
        for _ in range(120):
            await client.socket.send("nonsense")
        assert await client.closed() == (4507, "too_many_errors")


async def test_staff_read_statistics_and_nobody_else(tickwire: Tickwire) -> None:
    key = tickwire.manage("issue_key", "boss", "--create", "--staff")
    async with tickwire.dial() as client:
        await client.receive()
        status, body = tickwire.get("/api/v1/admin/stats/", Authorization=f"Bearer {key}")
    stats = json.loads(body)
    assert status == 200
    assert stats["counts"]["connections"] == 1
    assert stats["canary_age_s"] < 5
    assert tickwire.get("/api/v1/admin/stats/")[0] == 401
    assert json.loads(tickwire.get("/api/v1/admin/feeds/", Authorization=f"Bearer {key}")[1]) == {"feeds": []}


async def test_every_process_of_the_server_is_healthy(tickwire: Tickwire) -> None:
    for path in ("/health/live", "/health/ready", "/health/startup"):
        status, body = tickwire.get(path)
        assert (status, json.loads(body)["failed"]) == (200, {})


async def test_a_stopping_server_says_goodbye_with_1012(own_tickwire: Tickwire) -> None:
    async with own_tickwire.dial() as client:
        await client.receive()
        stopped = asyncio.create_task(asyncio.to_thread(own_tickwire.stop))
        notice = await client.until(lambda message: message["type"] == "notice")
        assert (notice["kind"], notice["code"]) == ("shutdown", 1012)
        assert notice["retry_after_ms"] > 0
        assert (await client.closed())[0] == 1012
        assert await stopped == 0
