"""The processes of `make run`: started together, started again when one dies, stopped together.

Rules:
1. Each process has a keeper, a small process that starts it, passes its output on and ends it.
2. One that dies is started again; only one that never lived for EARLY_S ends the whole, since its fault would return.
3. The first line of the Procfile, which the others stand on, stops last.
4. Nothing outlives `make run`, whether that was interrupted, terminated, hung up or killed.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import IO, Any

from honcho.manager import Manager
from honcho.printer import Printer
from honcho.process import Process

from project.config import ROOT

EARLY_S = 3.0  # a process that dies sooner after its first start has a fault of its own
PAUSE_S = 1.0  # between a death and the next start
GRACE_S = 4.0  # from SIGTERM to SIGKILL; twice that is the longest stop
POLL_S = 0.2


class Kept(Process):
    """One line of the Procfile, in the hands of its keeper."""

    stopping: Event

    def run(self, events: Any = None, ignore_signals: bool = False) -> None:  # noqa: ARG002 -- honcho's signature
        """Keep the process alive until the whole stops; runs in the keeper."""
        self._events = events
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            # Ctrl-C reaches keepers, too; their process is told by them alone. No SIG_IGN, which it would inherit.
            signal.signal(number, lambda *_: None)
        settled = False
        while True:
            began = time.monotonic()
            returncode = self._live()
            settled = settled or time.monotonic() - began >= EARLY_S
            if self._over(0) or not settled:
                break
            self._send_message(f"died (rc={returncode}), will be started again\n")
            if self._over(PAUSE_S):
                break
        self._send_message({"returncode": returncode}, type="stop")

    def _live(self) -> int:
        """From one start to the end of the process and of all that it started."""
        child = self._child_ctor(self.cmd, env=self.env, cwd=self.cwd)
        output = threading.Thread(target=self._pass_on, args=(child.stdout,), daemon=True)
        output.start()
        self._send_message({"pid": child.pid}, type="start")
        while child.poll() is None and not self._over(POLL_S):
            pass
        _end(child)
        output.join(POLL_S)
        return int(child.returncode)

    def _over(self, wait_s: float) -> bool:
        """True when the whole stops or is no more."""
        parent = multiprocessing.parent_process()
        return self.stopping.wait(wait_s) or (parent is not None and not parent.is_alive())

    def _pass_on(self, output: IO[bytes]) -> None:
        for line in output:
            self._send_message(line)


def _end(child: subprocess.Popen[bytes]) -> None:
    if child.poll() is None:
        child.terminate()
        with suppress(subprocess.TimeoutExpired):
            child.wait(GRACE_S)
    with suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()


class Log(Printer):
    """The one log; when nobody can read it any more, the whole stops."""

    def write(self, message: Any) -> None:
        """Print a line with the name of its process; one of JSON as it is, for programs: it has the name in it."""
        self.prefix = not bytes(message.data if isinstance(message.data, bytes) else b"").startswith(b'{"')
        try:
            super().write(message)
        except RuntimeError:
            pass  # a signal handler's line in the middle of another
        except BrokenPipeError:
            self.output = Path(os.devnull).open("w")  # noqa: SIM115 -- until this process ends
            os.kill(os.getpid(), signal.SIGTERM)


class Processes(Manager):
    """All of them.

    Args:
        lines: name and shell command of each process, in the order of the Procfile.
        env: their environment.
    """

    _terminating: bool

    def __init__(self, lines: Mapping[str, str], env: Mapping[str, str]) -> None:
        super().__init__(Log(sys.stdout))
        self._process_ctor = Kept
        self._stops = {name: multiprocessing.Event() for name in lines}
        for name, command in lines.items():
            self.add_process(name, command, env=dict(env), cwd=str(ROOT)).stopping = self._stops[name]

    def run(self) -> int:
        """Start all, wait until all have ended.

        Returns:
            The exit code: 0 when asked to stop, else that of the process whose end ended the whole.
        """
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # as it is under nohup
            signal.signal(signal.SIGHUP, lambda *_: os.kill(os.getpid(), signal.SIGTERM))
        self.loop()
        asked = self.returncode in (128 + signal.SIGINT, 128 + signal.SIGTERM)
        return 0 if asked else int(self.returncode or 0)

    def terminate(self) -> None:
        """Stop all; honcho calls this on a signal and when a process has stopped."""
        if multiprocessing.parent_process() is None and not self._terminating:  # a keeper on its way up inherits the handler
            self._terminating = True
            threading.Thread(target=self._stop_in_order, daemon=True).start()

    def kill(self) -> None:
        """Nothing: the keepers do this."""

    def _start(self) -> None:
        super()._start()
        threading.Thread(target=self._follow_make, daemon=True).start()

    def _stop_in_order(self) -> None:
        base, *others = self._stops
        for name in others:
            self._stops[name].set()
        while any(self._processes[name].get("returncode") is None for name in others):
            time.sleep(POLL_S / 4)
        self._stops[base].set()

    def _follow_make(self) -> None:
        """make passes SIGTERM on, but interrupted alone it only waits for its children, and killed it tells nobody."""
        make = os.getppid()
        heard = _interrupt_is_heard(make)
        while os.getppid() == make and _interrupt_is_heard(make) == heard:
            time.sleep(POLL_S)
        if not self._terminating:
            os.kill(os.getpid(), signal.SIGTERM)


def _interrupt_is_heard(pid: int) -> bool | None:
    """Whether a make handles SIGINT (it drops its handler on the first); None for any other program."""
    try:
        status = dict(line.split(":\t", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
        caught = int(status["SigCgt"], 16)
    except (OSError, KeyError, ValueError):
        return None
    return bool(caught >> (signal.SIGINT - 1) & 1) if status["Name"] in ("make", "gmake") else None
