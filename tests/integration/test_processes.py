"""The processes of `make run`: what happens when one dies, and that none is ever left."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable, Iterator

import pytest

from tests.running import Run

SCRIPT = """
import json, os, sys
from project.processes import Processes
sys.exit(Processes(json.loads(sys.argv[1]), os.environ).run())
"""
DEAF = """exec python -c "import signal, time; signal.signal(15, signal.SIG_IGN); print('deaf', flush=True); time.sleep(60)" """
SLEEP = "exec sleep 60"


@pytest.fixture
def start() -> Iterator[Callable[..., Run]]:
    """Starts lines of a Procfile, and ends what a failed test leaves."""
    runs: list[Run] = []

    def begin(**lines: str) -> Run:
        runs.append(Run([sys.executable, "-c", SCRIPT, json.dumps(lines)]))
        return runs[-1]

    yield begin
    for run in runs:
        run.close()


def latest_pid(run: Run, name: str) -> int:
    return int(run.output.rsplit(f"{name} started (pid=", 1)[1].split(")")[0])


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_to_the_whole_group_stops_all(start, number):
    run = start(one=SLEEP, two=SLEEP)
    run.read_until("two started")
    os.killpg(run.process.pid, number)
    assert run.end() == 0
    assert run.left() == []


def test_interrupts_during_the_start_stop_all(start):
    run = start(**{f"p{n}": SLEEP for n in range(5)})
    run.read_until("p0 started")
    for _ in range(3):
        os.killpg(run.process.pid, signal.SIGINT)
    assert run.end() == 0
    assert run.left() == []


def test_a_process_deaf_to_sigterm_is_killed(start):
    run = start(one=DEAF)
    run.read_until("deaf")
    run.process.terminate()
    assert run.end() == 0
    assert run.left() == []


def test_children_that_a_process_leaves_behind_are_killed(start):
    run = start(one="sleep 61 & exec sleep 60")
    run.read_until("one started")
    run.process.terminate()
    assert run.end() == 0
    assert run.left() == []


def test_the_first_process_stops_last(start):
    run = start(base=SLEEP, user="trap 'sleep 0.5; exit 0' TERM; echo up; while :; do sleep 0.05; done")
    run.read_until("up")
    run.process.terminate()
    run.end()
    assert run.output.index("user stopped") < run.output.index("base stopped")


def test_a_process_that_lived_is_started_again(start):
    run = start(one=SLEEP, two="exec sleep 3.2")
    run.read_until("two started")
    first = latest_pid(run, "two")
    run.read_until("two    | died (rc=0)")
    run.read_until("two started")
    assert latest_pid(run, "two") != first


def test_a_process_that_fails_at_its_start_ends_the_whole_with_its_code(start):
    run = start(one=SLEEP, two="exit 7")
    assert run.end() == 7
    assert run.left() == []


def test_nothing_outlives_a_killed_run(start):
    run = start(one=SLEEP, two=SLEEP)
    run.read_until("two started")
    run.process.kill()
    assert run.vanishes()


def test_nothing_outlives_the_reader_of_the_log(tmp_path):
    (tmp_path / "start.py").write_text(SCRIPT)
    lines = json.dumps({"one": "while :; do echo line; sleep 0.05; done"})
    run = Run(["sh", "-c", f"{sys.executable} start.py '{lines}' | head -n 3"], cwd=tmp_path)
    run.end()
    assert run.vanishes()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_signal_to_make_alone_stops_all(tmp_path, number):
    (tmp_path / "start.py").write_text(SCRIPT)
    (tmp_path / "Makefile").write_text(f"run:\n\t@exec {sys.executable} start.py '{json.dumps({'one': SLEEP})}'\n")
    run = Run(["make", "-s", "run"], cwd=tmp_path)
    run.read_until("one started")
    run.process.send_signal(number)
    run.end()
    assert run.vanishes()


def test_a_line_of_json_is_passed_on_as_it_is(start):
    line = '{"message": "for programs"}'
    run = start(one=f"echo '{line}'; echo for people; exec sleep 60")
    run.read_until("for people")
    assert line in run.output.splitlines()
    assert run.output.splitlines()[-1].endswith("| for people")
