"""A real Prometheus scrapes a running installation: every metric of the table, every query of the dashboards."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from prometheus_client.parser import text_string_to_metric_families

from monitoring.metrics import METRICS
from realtime.codes import Close
from tests.own_redis import OwnRedis, free_port
from tests.system.conftest import ROOT, SERVE, Tickwire, run_server, wait_for

BOARDS = sorted((ROOT / "docker" / "grafana" / "dashboards").glob("*.json"))
WITHIN_S = 40.0
FOLLOWED = ["trade.TEST", "quote.BTC-USDT", "trade.BTC-USDT", "ticker.BTC-USDT"]
PLANT = "from realtime.models import Plan; Plan.objects.update(max_rate=None)"  # who follows each update, too
CELERY = {
    "worker": ["worker", "--pool", "threads", "--concurrency", "2", "--without-gossip", "--without-mingle"],
    "beat": ["beat"],
}
SILENT = {  # what a healthy installation on SQLite does not export
    "tickwire_database_pool_connections": "SQLite has no pool",
    "tickwire_task_failures_total": "no task raises",
    "tickwire_alerts_firing": "rules that were never evaluated have no result",
}


class Installation(NamedTuple):
    """Everything at once."""

    server: Tickwire
    prometheus: str

    def exported(self) -> set[str]:
        """Names as the table has them."""
        status, body = self.server.get("/metrics")
        assert status == 200
        families = list(text_string_to_metric_families(body.decode()))
        return {family.name + ("_total" if family.type == "counter" else "") for family in families if family.samples}

    def query(self, expression: str) -> list[Any]:
        asked = f"{self.prometheus}/api/v1/query?{urllib.parse.urlencode({'query': expression})}"
        with urllib.request.urlopen(asked, timeout=10) as answer:  # a query that is wrong is answered with 400
            found: list[Any] = json.load(answer)["data"]["result"]
        return found


@contextmanager
def process(server: Tickwire, *command: str) -> Iterator[None]:
    with server.log.open("ab") as log:
        child = subprocess.Popen(command, env=server.environ, stdout=log, stderr=log, cwd=ROOT)
    try:
        yield
    finally:
        child.send_signal(signal.SIGTERM)
        child.wait(30)


@contextmanager
def prometheus(server: Tickwire, folder: Path) -> Iterator[str]:
    """The shipped configuration, but for where and how often."""
    binary = shutil.which("prometheus")
    assert binary is not None, "please install: prometheus (`make test` does)"
    shipped = ROOT / "docker" / "prometheus"
    shutil.copytree(shipped, folder)
    config = (shipped / "prometheus.yml").read_text()
    changed = config.replace("_interval: 5s", "_interval: 1s").replace("web:8000", f"127.0.0.1:{server.port}")
    assert changed.count("_interval: 1s") == 2
    (folder / "prometheus.yml").write_text(changed)
    address = f"127.0.0.1:{free_port()}"
    options = {"config.file": folder / "prometheus.yml", "storage.tsdb.path": folder / "data", "web.listen-address": address}
    with process(server, binary, "--log.level=error", *(f"--{name}={value}" for name, value in options.items())):
        yield f"http://{address}"


async def provoke(server: Tickwire) -> None:
    """Clients that follow, ask for what there is not, and speak another protocol."""
    async with server.dial() as follower, server.dial(subprotocols=["nonsense"]) as stranger:
        async with asyncio.timeout(10):  # a serving process looks once a second which instruments there are
            while (reply := await follower.ask("subscribe", topics=FOLLOWED)).get("rejected"):
                await asyncio.sleep(0.5)
            assert reply["type"] == "subscribed", reply
        assert (await follower.ask("nonsense"))["type"] == "error"
        assert (await stranger.closed())[0] == Close.PROTOCOL
        until = asyncio.get_running_loop().time() + 2
        while asyncio.get_running_loop().time() < until:
            await follower.receive()


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """Two serving processes, Celery's worker and beat, the feed process with the demo, and Prometheus."""
    folder = tmp_path_factory.mktemp("prometheus")
    redis = OwnRedis(folder / "redis")
    redis.start()
    with ExitStack() as stack:
        stack.callback(redis.kill)
        settings = {"TICKWIRE_FEEDS": "demo"}
        servers = run_server(folder, redis.url, "prometheus", [*SERVE, "--workers", "2"], plant=PLANT, **settings)
        server = next(servers)
        stack.callback(next, servers, None)
        stack.enter_context(process(server, sys.executable, "manage.py", "feed"))
        for command in CELERY.values():
            celery = ["-m", "celery", "--quiet", "-A", "project", *command, "--loglevel", "WARNING"]
            stack.enter_context(process(server, sys.executable, *celery))
        address = stack.enter_context(prometheus(server, folder / "scraping"))
        wait_for(lambda: all(server.store.latest(FOLLOWED)), server, timeout=30)
        yield Installation(server, address)


@pytest.fixture
def busy(installation: Installation) -> Installation:
    """One that has clients, and had some trouble."""
    asyncio.run(provoke(installation.server))
    return installation


def test_every_metric_of_the_table_is_exported_and_no_other(busy: Installation) -> None:
    expected = set(METRICS) - set(SILENT)
    wait_for(lambda: expected <= busy.exported(), busy.server, WITHIN_S)
    assert {name for name in busy.exported() if name.startswith("tickwire_")} <= set(METRICS)


def test_what_counts_by_label_appears_with_its_first_event(busy: Installation) -> None:
    lines = busy.server.get("/metrics")[1].decode()
    closes = rf'closes_total\{{.*code="{int(Close.PROTOCOL)}"'
    for series in (closes, r'commands_total\{.*op="subscribe"', r'errors_total\{.*name="unknown_op"'):
        assert re.search(series, lines), series


def queries() -> list[tuple[str, str, str]]:
    """(dashboard, panel, query) of every panel and variable."""
    found = []
    for path in BOARDS:
        board = json.loads(path.read_text())
        for panel in board["panels"]:
            found += [(path.stem, panel["title"], target["expr"]) for target in panel["targets"]]
    return found


def ready_to_ask(query: str) -> str:
    """A query with the variables of the dashboard filled in."""
    return query.replace("$__rate_interval", "15s").replace("$process", ".*")


def test_there_are_four_dashboards_whose_queries_name_metrics_that_exist() -> None:
    assert [path.stem for path in BOARDS] == ["delivery", "feeds", "overview", "processes"]
    series = {f"{metric.name}{end}" for metric in METRICS.values() for end in ("", "_bucket", "_sum", "_count")}
    named = {name for _, _, query in queries() for name in re.findall(r"tickwire_\w+", query)}
    assert named - series == set()


def test_every_query_of_the_dashboards_has_a_result(busy: Installation) -> None:
    waiting = {(board, panel, query) for board, panel, query in queries() if not any(name in query for name in SILENT)}
    assert len(waiting) > 60
    until = time.monotonic() + WITHIN_S
    while waiting and time.monotonic() < until:
        waiting = {each for each in waiting if not busy.query(ready_to_ask(each[2]))}
        if waiting:
            asyncio.run(provoke(busy.server))
    assert waiting == set()


def test_queries_without_a_result_are_right_nevertheless(installation: Installation) -> None:
    silent = [query for _, _, query in queries() if any(name in query for name in SILENT)]
    assert silent
    for query in silent:
        assert isinstance(installation.query(ready_to_ask(query)), list)


def test_one_scrape_tells_of_all_processes(busy: Installation) -> None:
    wait_for(lambda: busy.query('tickwire_processes{role="web"} == 2'), busy.server, WITHIN_S)
    roles = {row["metric"]["role"] for row in busy.query("count by (role) (tickwire_uptime_seconds)")}
    assert roles == {"web", "feed", "worker", "beat"}
    assert len(busy.query("tickwire_connections")) == 2
