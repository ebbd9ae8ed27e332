"""Names of commands and requests: what they may be made of, and whom they follow."""

from __future__ import annotations

import asyncio
import contextvars
import logging
import re

import pytest
from asgiref.sync import sync_to_async

from marketdata import correlation
from marketdata.correlation import NONE, CorrelationFilter, Correlations, current, named

SESSION = "uJ3xq0aS9Zr0pVd2Qf1k7g"


def shown() -> str:
    """The name that a log record would carry now."""
    record = logging.makeLogRecord({})
    assert CorrelationFilter().filter(record)
    return str(record.__dict__["correlation"])


def test_nobodys_record_has_a_dash() -> None:
    assert contextvars.Context().run(shown) == NONE


def test_commands_of_a_connection_are_numbered_from_the_handshake_on() -> None:
    names = Correlations(SESSION)
    found = []
    for _ in range(3):
        names.begin_next()
        found.append(shown())
    assert found == [f"{names.prefix}-0", f"{names.prefix}-1", f"{names.prefix}-2"]


def test_the_prefix_shows_nothing_of_the_session_which_would_resume_it() -> None:
    prefix = Correlations(SESSION).prefix
    assert re.fullmatch("[0-9a-f]{8}", prefix)
    assert not any(SESSION[at : at + 4].lower() in prefix for at in range(len(SESSION)))
    assert prefix == Correlations(SESSION).prefix != Correlations(SESSION[:-1] + "h").prefix


async def test_what_a_command_awaits_spawns_and_hands_to_a_thread_has_its_name() -> None:
    async def spawned() -> str:
        return shown()

    correlation.begin("mine")
    assert [await spawned(), await asyncio.create_task(spawned()), await sync_to_async(shown)()] == ["mine"] * 3


async def test_commands_at_the_same_time_keep_their_names_apart() -> None:
    async def serve(session: str) -> bool:
        names = Correlations(session)
        names.begin_next()
        await asyncio.sleep(0)
        return current() == f"{names.prefix}-0"

    assert await asyncio.gather(*(asyncio.create_task(serve(str(number))) for number in range(20))) == [True] * 20


@pytest.mark.parametrize("asked", ["a", "3f0c-77_B.x:1", "x" * 64])
def test_a_decent_name_is_taken_over(asked: str) -> None:
    assert named(asked) == asked


@pytest.mark.parametrize("asked", [None, "", "x" * 65, "a b", "a\nINFO forged", "a[31m", "é", "%s", "a\n"])
def test_any_other_is_replaced(asked: str | None) -> None:
    assert re.fullmatch("[0-9a-f]{16}", named(asked))
