"""`manage.py feed` as a process: streams, follows the operator, waits for Redis, stops at once."""

from __future__ import annotations

import json
import signal
import subprocess
import time

import pytest

from marketdata.layout import Layout
from marketdata.store import Store
from project.redis_server import binary
from tests.integration.processes import Copy, migrate, until

INSTRUMENTS = "SELECT symbol FROM marketdata_instrument"


@pytest.fixture(scope="module")
def migrated(tmp_path_factory):
    return migrate(tmp_path_factory.mktemp("migrated"))


@pytest.fixture
def copy(tmp_path, migrated, redis_url, prefix):
    copy = Copy(tmp_path, migrated, redis_url, prefix)
    yield copy
    copy.close()


@pytest.fixture
def feed(copy):
    run = copy.manage("feed")
    until(lambda: copy.seq("quote.AAPL") and copy.seq("trade.TEST"))
    return run


def test_the_demo_streams_into_the_store_and_says_so(copy, feed):
    until(lambda: copy.seq("kline.1m.TEST") and copy.seq("depth.BTC-USDT"))
    status = until(lambda: (noted := copy.statuses().get("demo")) and noted.connected and noted)
    assert (status.kind, status.polled, status.connected, status.failures, status.lost) == ("demo", False, True, 0, 0)
    trade = json.loads(copy.latest("trade.TEST").body)
    assert int(trade["id"]) * 1_000_000 == trade["ts"]
    assert ("TEST",) in copy.sql(INSTRUMENTS)
    assert ("demo-cn",) in copy.sql("SELECT name FROM marketdata_feed")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_stops_soon_when_told_to(copy, feed, number):
    feed.process.send_signal(number)
    assert feed.process.wait(5) == 0


def test_it_follows_the_operator(copy, feed):
    copy.sql("""UPDATE marketdata_feed SET symbols = '["TEST"]' WHERE name = 'demo'""")
    until(lambda: quiet(copy, "quote.AAPL"))
    until(lambda: not quiet(copy, "trade.TEST"))
    copy.sql("UPDATE marketdata_feed SET enabled = 0 WHERE name = 'demo'")
    until(lambda: quiet(copy, "trade.TEST"))
    copy.sql("UPDATE marketdata_feed SET enabled = 1, symbols = '[]' WHERE name = 'demo'")
    until(lambda: not quiet(copy, "quote.AAPL"))


def quiet(copy, topic) -> bool:
    before = copy.seq(topic)
    time.sleep(1.2)
    return copy.seq(topic) == before


def test_an_option_that_the_feed_refuses_is_shown_and_mended_without_a_restart(copy, feed):
    copy.sql("""UPDATE marketdata_feed SET options = '{"sede": 1}' WHERE name = 'demo'""")
    status = until(lambda: (found := copy.statuses().get("demo")) and found.last_error and found)
    assert status.last_error.startswith("sede:")
    copy.sql("""UPDATE marketdata_feed SET options = '{"seed": 8}' WHERE name = 'demo'""")
    until(lambda: copy.statuses()["demo"].connected)


STANDBY = """INSERT INTO marketdata_feed (name, kind, enabled, symbols, options, updated_at, standby_for, hold_s)
    VALUES ('second', 'demo', 1, '["TEST"]', '{}', '2024-01-01 00:00:00', '%s', 1)"""


def test_a_standby_goes_on_where_the_primary_stopped(copy, feed):
    copy.sql(STANDBY % "demo")
    until(lambda: (noted := copy.statuses().get("second")) and noted.held)
    assert copy.statuses()["second"].active_symbols == 0
    copy.sql("UPDATE marketdata_feed SET enabled = 0 WHERE name = 'demo'")
    until(lambda: (noted := copy.statuses()["second"]).active_symbols and noted.ticks > 3)
    ids = [int(json.loads(update.body)["id"]) for update in copy.store.history("trade.TEST").updates]
    assert ids == list(range(ids[0], ids[0] + len(ids)))


def test_a_standby_of_nobody_is_shown_and_disturbs_nobody(copy, feed):
    copy.sql(STANDBY % "nobody")
    status = until(lambda: (noted := copy.statuses().get("second")) and noted.last_error and noted)
    assert status.last_error == "standby_for: there is no feed 'nobody'"
    assert copy.statuses()["demo"].healthy


def test_it_waits_for_redis_and_says_so_once(copy, tmp_path):
    socket = tmp_path / "late.sock"
    run = copy.manage("feed", TICKWIRE_REDIS_URL=f"unix://{socket}")
    run.read_until("waiting for Redis")
    server = subprocess.Popen([binary(), "--port", "0", "--unixsocket", str(socket), "--save", ""], stdout=subprocess.DEVNULL)
    try:
        store = Store(f"unix://{socket}", Layout(copy.env["TICKWIRE_PREFIX"]))
        until(socket.exists)
        until(lambda: store.latest(["quote.AAPL"])[0])
        assert run.output.count("waiting for Redis") <= 2
    finally:
        store.close()
        server.terminate()
        server.wait(5)


def test_it_stops_while_it_waits_for_redis(copy, tmp_path):
    run = copy.manage("feed", TICKWIRE_REDIS_URL=f"unix://{tmp_path}/none.sock")
    run.read_until("waiting for Redis")
    run.process.terminate()
    assert run.process.wait(5) == 0


def test_a_setting_that_names_no_kind_is_refused_by_name(copy):
    run = copy.manage("feed", TICKWIRE_FEEDS="demo,nonsense")
    assert run.end() != 0
    assert "nonsense" in run.output
    assert "Traceback" not in run.output


def test_options_of_a_feed_that_does_not_run_are_refused_by_name(copy):
    run = copy.manage("feed", TICKWIRE_FEED_OPTIONS='{"ccxt": {}}')
    assert run.end() != 0
    assert "TICKWIRE_FEED_OPTIONS" in run.output
    assert "ccxt" in run.output


def test_closed_bars_are_saved_and_the_bar_in_progress_survives_a_restart(copy, feed):
    until(lambda: json.loads(copy.latest("kline.1d.TEST").body)["trades"] >= 3)
    feed.process.kill()
    feed.process.wait()
    before = json.loads(copy.latest("kline.1d.TEST").body)
    copy.manage("feed")
    after = until(lambda: (day := json.loads(copy.latest("kline.1d.TEST").body))["ts"] > before["ts"] and day)
    if after["open_time"] == before["open_time"]:
        assert after["trades"] > before["trades"]
        assert after["open"] == before["open"]
