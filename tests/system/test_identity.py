"""Tickets, signed tokens and the end of credentials, on the sockets of the shipped server."""

from __future__ import annotations

import json
import os
import time
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest
import websockets

from tests.system.conftest import SERVE, Client, Tickwire, run_server
from tests.unit.signing import SECRET, hs256

PROTOCOL = "tickwire.v1.json"
USERS = """
from django.contrib.auth.models import User
from realtime.keys import create_key
ada, bob = (User.objects.create_user(name) for name in ("ada", "bob"))
print(create_key(ada)[1])
"""


@pytest.fixture(scope="module")
def server(redis_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tickwire]:
    """A server that accepts tokens, and gives a tenth of a second of grace; `planted` is Ada's key."""
    folder = tmp_path_factory.mktemp("identity")
    rules = {"TICKWIRE_JWT_SECRET": SECRET, "TICKWIRE_TOKEN_GRACE_SECONDS": "0.1"}
    yield from run_server(folder, redis_url, f"{folder.name}-{os.getpid()}", SERVE, plant=USERS, **rules)


def ticket(server: Tickwire) -> str:
    request = urllib.request.Request(
        f"{server.url}/api/v1/auth/ticket/", method="POST", headers={"Authorization": f"Bearer {server.planted}"}
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        return str(json.load(answer)["ticket"])


def dial(server: Tickwire, credential: str) -> Any:
    return server.dial(subprotocols=[websockets.Subprotocol(PROTOCOL), websockets.Subprotocol(f"bearer.{credential}")])


async def refusal(server: Tickwire, credential: str) -> tuple[int, str]:
    async with dial(server, credential) as client:
        return await client.closed()


def ending(client: Any) -> bool:
    return client["type"] == "notice" and client["kind"] == "token_expiring"


async def test_a_ticket_opens_one_socket_and_is_never_echoed(server: Tickwire) -> None:
    once = ticket(server)
    async with dial(server, once) as client:
        assert client.socket.subprotocol == PROTOCOL
        assert (await client.receive())["user"] == "ada"
    assert await refusal(server, once) == (4501, "unauthorized")


async def test_a_ticket_alone_is_spoken_to_in_json(server: Tickwire) -> None:
    async with server.dial(subprotocols=[websockets.Subprotocol(f"bearer.{ticket(server)}")]) as client:
        assert client.socket.subprotocol is None
        assert (await client.receive())["user"] == "ada"


async def test_a_ticket_in_the_first_message_is_good_once(server: Tickwire) -> None:
    once = ticket(server)
    async with server.dial() as client, server.dial() as replay:
        assert (await client.ask("auth", token=once))["user"] == "ada"
        refused = await replay.ask("auth", token=once)
        assert (refused["code"], refused["message"]) == (101, (await replay.ask("auth", token="tk_nothing"))["message"])


@pytest.mark.parametrize("how", ["header", "subprotocol", "auth"])
async def test_a_signed_token_is_taken_everywhere(server: Tickwire, how: str) -> None:
    token = hs256(plan="pro")
    options = {"additional_headers": {"Authorization": f"Bearer {token}"}} if how == "header" else {}
    async with dial(server, token) if how == "subprotocol" else server.dial(**options) as client:
        first = await client.ask("auth", token=token) if how == "auth" else await client.receive()
        assert (first["user"], first["plan"], first["limits"]["topics"]) == ("ada", "pro", 2000)


async def test_an_expired_token_is_109_or_4501(server: Tickwire) -> None:
    expired = hs256(exp=int(time.time()) - 60)
    assert await refusal(server, expired) == (4501, "unauthorized")
    async with server.dial() as client:
        assert (await client.ask("auth", token=expired))["code"] == 109


async def renewed(client: Client, life_s: int) -> None:
    """Wait for the notice, and renew."""
    await client.until(ending)
    end = int(time.time()) + life_s
    assert (await client.ask("auth", token=hs256(exp=end)))["expires_at"] == end * 1_000_000


async def test_tokens_of_seconds_carry_a_socket_on_and_on(server: Tickwire) -> None:
    async with dial(server, hs256(exp=int(time.time()) + 2)) as client:
        for _ in range(3):
            await renewed(client, 2)
        assert (await client.ask("list"))["type"] == "subscriptions"


async def test_a_token_that_nobody_renews_ends_the_socket_with_4004(server: Tickwire) -> None:
    async with dial(server, hs256(exp=int(time.time()) + 2)) as client:
        assert (await client.until(lambda message: message.get("code") == 4004))["type"] == "notice"
        assert await client.closed() == (4004, "token_expired")


async def test_a_socket_is_not_handed_to_another_user(server: Tickwire) -> None:
    async with dial(server, hs256()) as client:
        assert (await client.ask("auth", token=hs256(sub="bob")))["code"] == 101
        assert (await client.ask("auth", token=server.planted))["user"] == "ada"


async def test_no_credential_is_in_the_servers_log(server: Tickwire) -> None:
    shown = [ticket(server), hs256(), hs256(exp=1)]
    for credential in shown:
        async with dial(server, credential) as client:
            await client.receive()
    log = server.log.read_text()
    assert [credential for credential in [*shown, server.planted] if credential in log] == []
