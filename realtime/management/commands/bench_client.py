"""`manage.py bench_client`: put a server under load, and check everything that it sends."""

from __future__ import annotations

import asyncio
import signal
import sys
from argparse import ArgumentParser, ArgumentTypeError
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import msgspec
import uvloop
from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from realtime.client import Way
from realtime.codes import Close
from realtime.load import Asked, Load, Report, Spread, TopicsOf, allow_files, drawn
from realtime.remote import SOCKET_PATH, Remote, Trades, Unusable

UNABLE = 2  # exit code: nothing could be measured
SHORT = 0.9  # a rate below this part of the one asked for is worth a warning


class Command(BaseCommand):
    """Arguments in, a table out."""

    help = (
        "Open many connections to a server, check every number that they receive, and print what came of it. "
        "TICKWIRE_API_KEY says who connects. Exit code: 0 all is well, 1 updates are missing or connections did not come up, "
        "2 nothing could be measured."
    )
    requires_system_checks = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the options."""
        port = settings.TICKWIRE.site.port
        add = parser.add_argument
        add("--url", default=f"ws://127.0.0.1:{port}{SOCKET_PATH}", help="address of the socket (%(default)s)")
        add("--connections", type=_whole, default=5, metavar="N", help="how many in all (%(default)s)")
        add("--topics", metavar="A,B", help="topics that every connection follows")
        add("--topics-per-connection", type=_whole, default=10, metavar="N", help="without --topics: so many are drawn")
        add("--types", default="quote,trade", metavar="A,B", help="types that are drawn from, of all instruments (%(default)s)")
        add("--seed", type=int, default=1, help="another number, another draw (%(default)s)")
        add("--seconds", type=_number, default=10.0, metavar="S", help="how long to measure (%(default)s)")
        add("--connect-rate", type=_number, metavar="N", help="connections opened per second; otherwise as they come up")
        add("--max-rate", type=_number, metavar="N", help="updates per second that are asked for, of each latest topic")
        add("--publish", type=_number, metavar="N", help="post so many trades per second for the trade topics of --topics")
        add("--slow", type=_natural, default=0, metavar="N", help="connections that read slowly")
        add("--slow-bytes-per-s", type=_whole, default=10_000, metavar="N", help="how slowly (%(default)s)")
        add("--stalled", type=_natural, default=0, metavar="N", help="connections that stop reading")
        add("--storm", type=_natural, default=0, metavar="N", help="connections that vanish half-way and come back at once")
        add("--batch", action="store_true", help="ask for arrays of messages")
        add("--msgpack", action="store_true", help="ask for MessagePack")
        add("--compress", action="store_true", help="offer compression")
        add("--json", action="store_true", help="print the result as JSON")

    def handle(self, *args: Any, **options: Any) -> None:
        """Measure and print.

        Raises:
            CommandError: nothing could be measured.
        """
        try:
            report = _run(_load(options, say=self.stderr.write))
        except Unusable as error:
            raise _unable(f"--url {options['url']}: {error}") from None
        self.stdout.write(as_json(report) if options["json"] else "\n".join(table(report)))
        for warning in warnings(report):
            self.stderr.write(warning)
        if not report.sound:
            sys.exit(1)


def _unable(why: str) -> CommandError:
    """Nothing can be measured."""
    return CommandError(why, returncode=UNABLE)


# Arguments


def _at_least(low: float, kind: Callable[[str], float]) -> Callable[[str], Any]:
    def read(text: str) -> float:
        value = kind(text)
        if not low <= value < float("inf"):
            raise ArgumentTypeError(f"must be {low:g} or more")
        return value

    read.__name__ = kind.__name__  # argparse names it where the text is no number
    return read


_natural, _whole, _number = _at_least(0, int), _at_least(1, int), _at_least(0.001, float)


def _load(options: Mapping[str, Any], say: Callable[[str], object]) -> Load:
    """What the options ask for.

    Raises:
        CommandError: they contradict each other, or this machine's limits.
        Unusable: the address is none, or the server does not say what there is to follow, or takes no trades.
    """
    _check(options)
    remote = Remote.of(options["url"], settings.TICKWIRE.tools.api_key)
    named = _names(options["topics"] or "")
    trades = _trades(remote, named, options["publish"]) if options["publish"] else None
    way = Way(
        host=remote.netloc,
        path=remote.path,
        api_key=remote.api_key,
        wire="msgpack" if options["msgpack"] else "json",
        batch=options["batch"],
        compress=options["compress"],
        max_rate=options["max_rate"],
    )
    same = ("connections", "slow", "slow_bytes_per_s", "stalled", "storm", "seconds", "connect_rate")
    asked = Asked(topics_of=_topics(remote, named, options), **{name: options[name] for name in same})
    return Load(remote, way, asked, trades, say)


def _check(options: Mapping[str, Any]) -> None:
    connections, quick = options["connections"], options["connections"] - options["slow"] - options["stalled"]
    if quick < 0:
        raise _unable(f"--slow and --stalled: are among the --connections, of which there are {connections}")
    if options["storm"] > quick:
        raise _unable(f"--storm: only {quick} connections are neither slow nor stalled")
    if (missing := allow_files(connections)) > 0:
        raise _unable(f"--connections: this process may not open so many files; raise `ulimit -n` by {missing}, or ask for fewer")


def _topics(remote: Remote, named: list[str], options: Mapping[str, Any]) -> TopicsOf:
    if named:
        return lambda _: named
    pool = [f"{kind}.{symbol}" for symbol in remote.symbols() for kind in _names(options["types"])]
    if not pool:
        raise _unable("--topics: name some; there are no --types, or the server lists no instruments to draw from")
    return drawn(pool, options["topics_per_connection"], options["seed"])


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _trades(remote: Remote, named: list[str], rate: float) -> Trades:
    symbols = [name.removeprefix("trade.") for name in named if name.startswith("trade.")]
    if not symbols:
        raise _unable("--publish: needs trade topics in --topics, so that it is clear whose trades are made up")
    trades = Trades(remote, symbols, rate)
    trades.check()
    return trades


def _run(load: Load) -> Report:
    async def main() -> Report:
        stop, loop = asyncio.Event(), asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, stop.set)
        return await load.run(stop)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(main())


# Printing

_FIGURES = {
    "connections asked": "asked",
    "came up": "came_up",
    "live at the end": "live",
    "updates": "updates",
    "bytes": "received_bytes",
    "holes (must be 0)": "holes",
    "out of order (must be 0)": "out_of_order",
    "gaps announced": "gaps",
    "  updates in them": "gap_updates",
    "conflated": "conflated",
    "snapshots": "snapshots",
}
_NAMED = ("refused", "closed", "rejected", "notices", "evicted")
_FROM = {
    "publish": "from the making of our trades to their arrival",
    "event": "since `ts`, the venue's event time: what the feed took is in it",
}


def as_json(report: Report) -> str:
    """The report as JSON, with whether it is sound."""
    fields = msgspec.to_builtins(report) | {"sound": report.sound, "client_is_the_limit": report.client_is_the_limit}
    return msgspec.json.format(msgspec.json.encode(fields), indent=1).decode()


def table(report: Report) -> list[str]:
    """The report as lines for people: a column for each kind of reader, then what there is once."""
    tallies = report.readers.values()
    updates, received = sum(tally.updates for tally in tallies), sum(tally.received_bytes for tally in tallies)
    lines = [_cells("", report.readers)] if len(tallies) > 1 else []
    lines += [_cells(name, [_short(getattr(tally, figure)) for tally in tallies]) for name, figure in _FIGURES.items()]
    lines += [
        *_reasons(report),
        "",
        _line("measured", f"{report.seconds:.1f} s" + ("" if report.finished else ", interrupted")),
        _line("rate", f"{_short(updates / report.seconds)} updates/s, {_short(received / report.seconds)} bytes/s"),
        _line("handshake", f"{_spread(report.handshake_ms)}; {_short(report.handshakes_per_s)}/s"),
        _line("latency", f"{_spread(report.latency_ms)}; {_FROM[report.latency_from]}"),
    ]
    if report.storm is not None:
        storm = report.storm
        lines.append(_line("storm", f"{storm.back} of {storm.vanished} live again after {storm.seconds * 1000:.0f} ms"))
    if report.published is not None:
        lines.append(_line("published", f"{_short(report.published.accepted)} trades, {_short(report.published.per_s)}/s"))
    return [*lines, _line("this client", f"{report.client_cpu_percent:.0f} % of a core")]


def _reasons(report: Report) -> list[str]:
    """What happened under a name: refusals, closes, rejected topics, notices, evictions, and examples of what is wrong."""
    lines = []
    for kind, tally in report.readers.items():
        of = f" ({kind})" if len(report.readers) > 1 else ""
        for name in _NAMED:
            lines += [_line(name + of, f"{count} × {why}") for why, count in getattr(tally, name).most_common()]
        lines += [_line("wrong" + of, example) for example in tally.examples]
    published = report.published.refused if report.published else {}
    return lines + [_line("trades refused", f"{count} × {why}") for why, count in published.items()]


def _cells(name: str, values: Iterable[str]) -> str:
    return f"{name:<26}" + "".join(f"{value:>14}" for value in values)


def _line(name: str, text: str) -> str:
    return f"{name:<26}  {text}"


def _spread(spread: Spread | None) -> str:
    if spread is None:
        return "nothing to measure"
    return f"p50 {spread.p50:.1f} ms, p99 {spread.p99:.1f} ms, max {spread.max:.1f} ms"


def _short(value: float) -> str:
    return f"{value:,.0f}".replace(",", " ")


def warnings(report: Report) -> list[str]:
    """What must be known to read the figures rightly."""
    tallies = report.readers.values()
    found = []
    if report.client_is_the_limit:
        found.append("This client had no time left: the server may do more. Run several of them, on other cores or machines.")
    if report.latency_ms is not None and report.latency_ms.p50 < 0:
        found.append("Updates arrived before their `ts`: the clocks disagree, and latencies say nothing.")
    if not any(tally.updates for tally in tallies):
        found.append("No update came: is anything published to these topics? Try --publish.")
    if report.published is not None and report.published.per_s < SHORT * report.published.asked_per_s:
        found.append(f"Fewer trades were published than the {_short(report.published.asked_per_s)}/s that were asked for.")
    limit = f"{Close.CONNECTION_LIMIT} {Close.CONNECTION_LIMIT.label}"
    if any(why.startswith(limit) for tally in tallies for why in tally.refused):
        found.append("The plan allows fewer connections: show a key of a roomier one, see docs/load.md.")
    return found
