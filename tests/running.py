"""A program under test together with all that it starts, so that leftovers are found."""

from __future__ import annotations

import os
import queue
import subprocess
import sys
import threading
import time
import uuid
from pathlib import Path

ROOT = Path(__file__).parents[1]
PATIENCE_S = 60.0  # with what must happen: a busy machine begins a process slowly, and waiting costs nothing where all is well


class Run:
    """A program in a session of its own; every process that descends from it bears its mark.

    Args:
        argv: its command line.
        cwd: the folder in which it starts.
        env: what its environment has besides ours.
    """

    def __init__(self, argv: list[str], cwd: Path = ROOT, env: dict[str, str] | None = None) -> None:
        self.output = ""
        self._mark = f"MARK={uuid.uuid4().hex}"
        self._lines: queue.Queue[str] = queue.Queue()  # ends with an empty one
        name, value = self._mark.split("=")
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
        self.process = subprocess.Popen(
            argv,
            cwd=cwd,
            env={**os.environ, "PATH": path, "PYTHONPATH": str(ROOT), **(env or {}), name: value},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        with self.process.stdout as output:
            for line in output:
                self._lines.put(line)
        self._lines.put("")

    def read_until(self, text: str, within_s: float = 30.0) -> None:
        """Read on to the next line with this text."""
        deadline = time.monotonic() + within_s
        line = ""
        while text not in line:
            line = self._next(deadline, text)
            assert line, f"ended without {text!r}:\n{self.output}"

    def _next(self, deadline: float, text: str) -> str:
        try:
            line = self._lines.get(timeout=max(0.0, deadline - time.monotonic()))
        except queue.Empty:
            raise AssertionError(f"{text!r} never came:\n{self.output}") from None
        self.output += line
        return line

    def end(self, within_s: float = 10.0) -> int:
        """Read on to the end; the exit code."""
        deadline = time.monotonic() + within_s
        while self._next(deadline, "the end"):
            pass
        return self.process.wait(within_s)

    def left(self) -> list[str]:
        """Command lines of the processes with our mark."""
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                if self._mark.encode() in (folder / "environ").read_bytes():
                    found.append((folder / "cmdline").read_text().replace("\0", " "))
            except (FileNotFoundError, ProcessLookupError, PermissionError):
                continue
        return [line for line in found if line]

    def vanishes(self, within_s: float = 10.0) -> bool:
        """True when soon no process of it is left."""
        deadline = time.monotonic() + within_s
        while self.left() and time.monotonic() < deadline:
            time.sleep(0.05)
        return not self.left()

    def close(self) -> None:
        """End it whatever its state; for fixtures."""
        self.process.kill()
        self.process.wait()
