"""The parts of the benchmark that need no server: figures, frames, the parts of a run that are counted."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator
from dataclasses import replace
from functools import partial

import pytest

from benchmarks import figures, machine
from benchmarks.figures import Row, percentile, short
from benchmarks.load import UPDATE, Greeting, Load, _Client, frame
from benchmarks.rows.p3 import Deliveries
from benchmarks.source import Pacer, mqtt_length
from benchmarks.trial import Trial, best, undisturbed

ROWS = {"P1": Row(123.4, "×", "≥ 100", True, {"a": 1}), "P2": Row(None, "×", "≥ 4", False)}


def seen(updates_per_s: float, p99_ms: float | None = 5.0, lost: int = 0) -> Trial:
    return Trial(1.0, updates_per_s, 1.0, 1.0, 50.0, 1.0, 1.0, p99_ms, lost, 0, 50.0, 0.0)


@pytest.mark.parametrize(("percent", "expected"), [(0, 1), (50, 50), (99, 99), (100, 100)])
def test_a_percentile_is_the_nearest_rank(percent, expected):
    assert percentile([*range(100, 0, -1)], percent) == expected


def test_there_is_no_percentile_of_nothing():
    with pytest.raises(ValueError, match="no values"):
        percentile([], 50)


@pytest.mark.parametrize(
    ("value", "text"), [(None, "–"), (0.1834, "0.183"), (12.34, "12.3"), (4.0, "4"), (123.6, "124"), (1_102_333.3, "1 102 333")]
)
def test_figures_are_short(value, text):
    assert short(value) == text


def test_the_table_has_a_line_for_each_row():
    assert figures.table(ROWS).splitlines()[2:] == ["| P1 | 123 | × | ≥ 100 | yes |", "| P2 | – | × | ≥ 4 | no |"]


def test_the_document_has_rows_machine_and_versions(tmp_path):
    path = tmp_path / "results" / "latest.json"
    figures.write(path, figures.document(ROWS, {"cores": 2}, {"node": None}))
    found = json.loads(path.read_text())
    assert found["rows"]["P1"] == {"value": 123.4, "unit": "×", "goal": "≥ 100", "met": True, "detail": {"a": 1}}
    assert (found["machine"], found["versions"]) == ({"cores": 2}, {"node": None})


def test_the_best_trial_lost_nothing_and_was_in_time():
    trials = [seen(100), seen(200), seen(300, lost=1), seen(400, p99_ms=51), seen(500, p99_ms=None)]
    assert best(trials, 50) is trials[1]


def test_a_disturbed_trial_is_made_again_and_the_calmest_counts():
    def trials(*disturbed: float) -> Iterator[Trial]:
        return (replace(seen(index), disturbed_percent=percent) for index, percent in enumerate(disturbed, 1))

    for disturbed, calmest in [((1.0,), 1), ((50.0, 2.0), 2), ((50.0, 20.0, 30.0), 2)]:
        assert undisturbed(partial(next, trials(*disturbed))).updates_per_s == calmest


def test_deliveries_go_on_where_the_publisher_stopped():
    due = Deliveries([1, 10, 100])
    assert [due(2), due(2), due(3)] == [11, 101, 111]


def test_the_publisher_takes_topics_in_turn_at_its_rate():
    batches: list[list[bytes]] = []
    pacer = Pacer(batches.append, [b"a", b"b", b"c"])
    pacer.set_rate(1000)
    pacer.begun -= 0.0045
    pacer.step()
    assert (batches, pacer.published) == ([[b"a", b"b", b"c", b"a"]], 4)


@pytest.mark.parametrize(("size", "encoded"), [(0, b"\x00"), (127, b"\x7f"), (128, b"\x80\x01"), (16_384, b"\x80\x80\x01")])
def test_mqtt_lengths_are_those_of_its_standard(size, encoded):
    assert mqtt_length(size) == encoded


@pytest.mark.parametrize(("size", "head"), [(5, b"\x81\x85"), (300, b"\x81\xfe\x01\x2c")])
def test_a_clients_frame_is_masked(size, head):
    assert frame(b"x" * size) == head + bytes(4) + b"x" * size


def arrived(text: bytes, cut: int, greeting: Greeting, *, sampled: bool) -> int:
    """What a load counts of two connections that are sent the text in pieces; the first is looked at."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        load = Load(server.getsockname()[1], greeting)
        for number, whole in enumerate((True, sampled)):
            opened = load._open(number)
            opened.sampled = whole
            peer, _ = server.accept()
            opened.sock.setblocking(True)
            with peer:
                for at in range(0, len(text), cut):
                    peer.sendall(text[at : at + cut])
                    load._read(opened)
        counted = load.updates
        load.close()
    return counted


@pytest.mark.parametrize("even", [True, False])
@pytest.mark.parametrize("cut", [1, 7, len(UPDATE) - 1, len(UPDATE), 40])
def test_updates_are_counted_wherever_reads_cut_them(cut, even):
    text = (b"{" + UPDATE + b"}") * 3
    assert arrived(text, cut, Greeting(b"hello", even=even), sampled=not even) == 2 * 3


@pytest.mark.parametrize("more", [-1, 1, 16, 18])
def test_bytes_that_are_not_whole_updates_are_noticed(more):
    load = Load(0, Greeting(b"hello", even=True))
    size = len(UPDATE) + 2
    with socket.socket() as one, socket.socket() as other:
        for number, sock in enumerate((one, other)):
            client = load._clients[number] = _Client(number, sock)
            client.sampled, client.size, client.updates = number == 0, 3 * size, 3 * (number == 0)
        assert (load.updates, load.unclear) == (6, 0)
        client.size -= size
        assert (load.updates, load.unclear) == (5, 0)
        client.size += size + more
        assert load.unclear == 1


def test_a_process_has_used_cpu_and_memory():
    assert machine.cpu_s(os.getpid()) > 0
    assert machine.resident_bytes(os.getpid()) > 1 << 20
    assert os.getpid() in machine.family(os.getppid())
