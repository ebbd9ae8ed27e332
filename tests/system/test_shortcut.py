"""Latest values from the shipped server: the same whether Django was asked or not."""

from __future__ import annotations

import http.client

from tests.system.conftest import Tickwire

PATH = "/api/v1/snapshots/?topics=quote.AAPL,quote.MSFT,quote.NOPE"
OF_EACH_REQUEST = {"date", "x-request-id", "ratelimit-remaining", "ratelimit-reset"}


def answers(port: int, *shown: dict[str, str]) -> list[tuple[int, dict[str, str], bytes]]:
    """What one connection gets for requests with these headers."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    found = []
    for headers in shown:
        connection.request("GET", PATH, headers=headers)
        answer = connection.getresponse()
        kept = {name.lower(): text for name, text in answer.getheaders() if name.lower() not in OF_EACH_REQUEST}
        found.append((answer.status, kept, answer.read()))
    connection.close()
    return found


def test_latest_values_are_the_same_whoever_answers(tickwire: Tickwire) -> None:
    for symbol in ("AAPL", "MSFT"):
        tickwire.publish(f"quote.{symbol}", {"symbol": symbol, "bid": "1.10"})
    cookie = {"Cookie": "any=one"}  # with which Django answers
    through, first, second, third = answers(tickwire.port, cookie, {}, {}, {})
    assert through == first == second == third
    assert (first[0], first[2].count(b'"bid":"1.10"'), first[1]["content-length"]) == (200, 2, str(len(first[2])))
    known = {"If-None-Match": first[1]["etag"]}
    through, first, second = answers(tickwire.port, cookie | known, known, known)
    assert through == first == second
    assert (first[0], first[2]) == (304, b"")
