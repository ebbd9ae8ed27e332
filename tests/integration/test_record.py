"""`manage.py record`: from the bus into a file, and back through the replay feed."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from marketdata.feeds import FeedSettings, make
from marketdata.layer import BusLayer
from marketdata.layout import Layout
from marketdata.management.commands.record import expand
from marketdata.models import Instrument
from marketdata.publisher import Publisher
from marketdata.recording import Recording, silently
from marketdata.store import Store
from marketdata.ticks import Quote, Tick, Trade

pytestmark = pytest.mark.django_db


@pytest.fixture
def publisher(redis_url: str, prefix: str, settings: Any) -> Publisher:
    """A publisher on the bus that `record` listens to."""
    settings.CHANNEL_LAYERS = {
        "default": {"BACKEND": "marketdata.layer.BusLayer", "CONFIG": {"url": redis_url, "prefix": prefix}},
    }
    return Publisher(Store(redis_url, Layout(prefix)))


@pytest.fixture(autouse=True)
def instruments() -> None:
    """AAPL and IBM are listed, OLD is not active."""
    for symbol in ("AAPL", "IBM"):
        Instrument.objects.create(symbol=symbol, kind="stock", venue="XNAS")
    Instrument.objects.create(symbol="OLD", kind="stock", active=False)


def ticks(number: int) -> list[Tick]:
    return [
        Trade(symbol="AAPL", ts=number, id=str(number), price="1.0", size="2"),
        Quote(symbol="IBM", ts=number, bid="1", bid_size="1", ask="2", ask_size="1"),
    ]


@contextmanager
def repeating(act: Callable[[int], object]) -> Iterator[None]:
    """Do something in the background, numbered from 1, until the block ends."""
    done = threading.Event()

    def repeat() -> None:
        number = 0
        while not done.wait(0.002):
            number += 1
            act(number)

    thread = threading.Thread(target=repeat)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


@contextmanager
def publishing(publisher: Publisher, interrupt_after: int = 0) -> Iterator[None]:
    """Publish round after round; send this process SIGINT after so many."""

    def publish(number: int) -> None:
        publisher.publish(ticks(number))
        if number == interrupt_after:
            os.kill(os.getpid(), signal.SIGINT)

    with repeating(publish):
        yield


def recorded(path: Path) -> list[Tick]:
    return [tick for _, tick in Recording(path).read(silently)]


def test_what_was_published_is_recorded_in_order(publisher: Publisher, tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl.gz"
    with publishing(publisher):
        call_command("record", out, topics="quote.*,trade.AAPL", count=50)
    found = recorded(out)
    assert found == [tick for number in range(found[0].ts, found[0].ts + 26) for tick in ticks(number) if tick in found]
    assert len(found) == 50


def test_topics_that_were_not_asked_for_are_not_recorded(publisher: Publisher, tmp_path: Path) -> None:
    with publishing(publisher):
        call_command("record", tmp_path / "out.jsonl", topics="trade.AAPL", count=5)
    assert {str(tick.topic) for tick in recorded(tmp_path / "out.jsonl")} == {"trade.AAPL"}


def test_a_recording_can_be_replayed_elsewhere(publisher: Publisher, tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    with publishing(publisher):
        call_command("record", out, topics="trade.AAPL", count=1)
    (listing,) = make("replay", FeedSettings(options={"path": str(out)})).listings()
    assert (listing.symbol, listing.kind, listing.venue) == ("AAPL", "stock", "XNAS")


def test_an_interrupt_finishes_the_file(publisher: Publisher, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out.jsonl.gz"
    with publishing(publisher, interrupt_after=50):
        call_command("record", out, seconds=30)
    assert f"{len(recorded(out))} updates in {out}\n" in capsys.readouterr().err
    assert recorded(out)


def test_updates_that_did_not_arrive_are_counted(
    publisher: Publisher, prefix: str, redis_url: str, capsys: Any, tmp_path: Path
) -> None:
    layer = BusLayer(redis_url, prefix)
    update = {"type": "market.update", "topic": "trade.AAPL", "epoch": "aaaaaa", "data": "{}"}
    with repeating(lambda number: layer.publish_many([("md.trade.AAPL", update | {"seq": number * 3})])):
        call_command("record", tmp_path / "out.jsonl", topics="trade.AAPL", count=3)
    assert "4 updates were missed" in capsys.readouterr().err


def test_recording_ends_after_the_given_time(publisher: Publisher, tmp_path: Path) -> None:
    call_command("record", tmp_path / "out.jsonl", seconds=0.2)
    assert recorded(tmp_path / "out.jsonl") == []


def test_an_existing_file_is_kept(tmp_path: Path) -> None:
    (tmp_path / "out.jsonl").write_text("precious")
    with pytest.raises(CommandError, match="exists"):
        call_command("record", tmp_path / "out.jsonl")
    assert (tmp_path / "out.jsonl").read_text() == "precious"


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match=r"nowhere/out.jsonl: No such file or directory"):
        call_command("record", tmp_path / "nowhere" / "out.jsonl")


def test_a_full_disk_is_named(publisher: Publisher) -> None:
    with publishing(publisher), pytest.raises(CommandError, match="/dev/full: No space left on device"):
        call_command("record", Path("/dev/full"), overwrite=True, seconds=30)


def test_without_a_bus_the_command_says_so_and_leaves_no_file(
    settings: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("marketdata.layer.CONFIRM_S", 0.1)
    config = {"url": f"unix://{tmp_path}/none.sock"}
    settings.CHANNEL_LAYERS = {"default": {"BACKEND": "marketdata.layer.BusLayer", "CONFIG": config}}
    with pytest.raises(CommandError, match="the bus did not confirm"):
        call_command("record", tmp_path / "out.jsonl")
    assert not (tmp_path / "out.jsonl").exists()


def test_a_star_stands_for_every_active_instrument() -> None:
    assert [str(topic) for topic in expand("quote.*", ["AAPL", "IBM"])] == ["quote.AAPL", "quote.IBM"]
    assert {str(topic) for topic in expand("kline.*.AAPL", ["AAPL", "IBM"])} > {"kline.1m.AAPL", "kline.1d.AAPL"}


@pytest.mark.parametrize("wrong", ["boat.AAPL", "quote", "quote.X*"])
def test_topics_that_do_not_exist_are_refused(wrong: str, tmp_path: Path) -> None:
    with pytest.raises(CommandError, match=r"^--topics: "):
        call_command("record", tmp_path / "out.jsonl", topics=wrong)
