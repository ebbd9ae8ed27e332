"""One of several processes that publish to the same topics: `python -m tests.faults.writer URL PREFIX NAME UPDATES TOPIC…`.

It says `ready`, begins when it is told anything, and says `done`. Each body is `{"w": its name, "n": a number that grows}`.
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Sequence

from marketdata.layout import Layout
from marketdata.store import Store, Update

BATCH = 50


def main(url: str, prefix: str, name: str, updates: str, *topics: str) -> None:
    """Publish so many updates, to the topics in turn, in batches of one step each."""
    store = Store(url, Layout(prefix))
    numbered = zip(range(int(updates)), itertools.cycle(topics), strict=False)
    print("ready", flush=True)  # noqa: T201
    sys.stdin.readline()
    while batch := [_update(name, n, topic) for n, topic in itertools.islice(numbered, BATCH)]:
        store.publish(batch)
    store.close()
    print("done", flush=True)  # noqa: T201


def _update(name: str, n: int, topic: str) -> Update:
    return Update(topic, b'{"w":"%b","n":%d}' % (name.encode(), n))


def command(url: str, prefix: str, name: str, updates: int, topics: Sequence[str]) -> list[str]:
    """What runs one."""
    return [sys.executable, "-m", "tests.faults.writer", url, prefix, name, str(updates), *topics]


if __name__ == "__main__":
    main(*sys.argv[1:])
