"""A program that publishes, forks, and publishes from all of its processes at once: `forked_publishers.py URL PREFIX`.

Each process checks that the answers it gets are its own: the seqs of a topic that nobody else writes to are 1, 2, 3 …
"""

from __future__ import annotations

import os
import sys
import threading

from marketdata.layout import Layout
from marketdata.publisher import Publisher
from marketdata.store import Store
from marketdata.ticks import Trade

CHILDREN, BATCHES = 4, 200
SHARED = "SHARED"


def trade(symbol: str, number: int, writer: str) -> Trade:
    return Trade(symbol=symbol, ts=number, id=f"{writer}-{number}", price="1", size="1")


def publish(publisher: Publisher, own: str) -> None:
    """Two trades a batch: one to a topic of its own, one to everybody's."""
    for number in range(1, BATCHES + 1):
        seqs = publisher.publish([trade(own, number, own), trade(SHARED, number, own)])
        assert seqs[0] == number, f"{own}: an answer to somebody else: {seqs}"


def child(publisher: Publisher, own: str) -> int:
    """Publish in a new process. Returns its id."""
    pid = os.fork()
    if pid:
        return pid
    try:
        publish(publisher, own)
    except BaseException as error:
        os.write(2, f"{own}: {error!r}\n".encode())
        os._exit(1)
    os._exit(0)


def main(url: str, prefix: str) -> int:
    """Publish from one thread before, during and after the forks. Returns the exit code."""
    publisher = Publisher(Store(url, Layout(prefix, history=10_000)))
    publisher.publish([trade("BEFORE", 1, "PARENT")])
    writer = threading.Thread(target=publish, args=(publisher, "THREAD"))
    writer.start()
    pids = [child(publisher, f"CHILD{number}") for number in range(CHILDREN)]
    publish(publisher, "PARENT")
    writer.join()
    return max(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
