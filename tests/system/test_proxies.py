"""Who is believed about where a visitor came from, on the shipped server: a proxy that is trusted, and nobody else."""

from __future__ import annotations

import http.client
import os
from collections.abc import Iterator

import pytest

from realtime.guesses import MOST_BAD
from tests.system.conftest import SERVE, Tickwire, run_server

NOBODYS = "tw_nobodyss_" + "x" * 43


@pytest.fixture(scope="module")
def behind_a_proxy(redis_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tickwire]:
    """A server whose visitors come by https through a proxy on this machine."""
    folder = tmp_path_factory.mktemp("proxied")
    yield from run_server(folder, redis_url, f"{folder.name}-{os.getpid()}", SERVE, TICKWIRE_HTTPS="true")


@pytest.fixture(scope="module")
def by_itself(redis_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tickwire]:
    """A server whose only proxy is elsewhere, whatever uvicorn's own variable says."""
    folder = tmp_path_factory.mktemp("unproxied")
    rules = {"TICKWIRE_TRUSTED_PROXIES": "192.0.2.0/24", "FORWARDED_ALLOW_IPS": "*"}
    yield from run_server(folder, redis_url, f"{folder.name}-{os.getpid()}", SERVE, **rules)


def said(address: str) -> dict[str, str]:
    return {"X-Forwarded-For": address, "X-Forwarded-Proto": "https"}


def guess(server: Tickwire, address: str) -> int:
    return server.get("/api/v1/me/", Authorization=f"Bearer {NOBODYS}", **said(address))[0]


async def refusal(server: Tickwire, address: str) -> str:
    """What a socket is told of a bad credential."""
    async with server.dial(additional_headers=said(address)) as client:
        return str((await client.ask("auth", token=NOBODYS))["name"])


async def test_a_trusted_proxy_is_believed_about_rest_and_sockets(behind_a_proxy: Tickwire) -> None:
    assert {guess(behind_a_proxy, "198.51.100.1") for _ in range(MOST_BAD)} == {401}
    assert guess(behind_a_proxy, "198.51.100.1") == 429
    assert guess(behind_a_proxy, "198.51.100.2") == 401
    assert await refusal(behind_a_proxy, "198.51.100.1") == "too_many_requests"
    assert await refusal(behind_a_proxy, "198.51.100.2") == "unauthorized"


async def test_nobody_else_is(by_itself: Tickwire) -> None:
    answers = [guess(by_itself, f"198.51.100.{n}") for n in range(MOST_BAD + 1)]
    assert answers == [401] * MOST_BAD + [429]
    assert await refusal(by_itself, "203.0.113.9") == "too_many_requests"


def test_a_visitor_cannot_choose_an_address_before_the_proxys_own_word(behind_a_proxy: Tickwire) -> None:
    """A proxy appends what it sees to whatever its visitor claims."""
    for n in range(MOST_BAD):
        guess(behind_a_proxy, f"203.0.113.{n}, 198.51.100.3")
    assert guess(behind_a_proxy, "198.51.100.3") == 429


def test_https_is_what_the_trusted_proxy_says(behind_a_proxy: Tickwire) -> None:
    status, headers = plainly(behind_a_proxy, "/", **said("198.51.100.4"))
    assert status == 200
    assert headers["strict-transport-security"] == "max-age=31536000"
    assert "; Secure" in headers["set-cookie"]


def test_who_comes_by_http_is_sent_to_https(behind_a_proxy: Tickwire) -> None:
    status, headers = plainly(behind_a_proxy, "/chart/")
    assert (status, headers["location"]) == (301, f"https://127.0.0.1:{behind_a_proxy.port}/chart/")


def test_nor_do_quick_answers_go_past_that(behind_a_proxy: Tickwire) -> None:
    path = "/api/v1/quotes/?symbols=AAPL"
    assert {plainly(behind_a_proxy, path, **said("198.51.100.5"))[0] for _ in range(3)} == {200}
    assert {plainly(behind_a_proxy, path)[0] for _ in range(3)} == {301}


@pytest.mark.parametrize("path", ["/health/live", "/health/ready"])
def test_health_answers_the_proxys_network_by_http(behind_a_proxy: Tickwire, path: str) -> None:
    assert plainly(behind_a_proxy, path)[0] == 200


def plainly(server: Tickwire, path: str, **headers: str) -> tuple[int, dict[str, str]]:
    """Status and headers of an answer, names in lower case; a redirect is not followed."""
    line = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    line.request("GET", path, headers=headers)
    answer = line.getresponse()
    line.close()
    return answer.status, {name.lower(): value for name, value in answer.getheaders()}
