"""Topics on their way into the hub: their groups are joined, then their latest values are read; nothing in between is lost."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from marketdata.errors import StoreUnavailable
from marketdata.topics import Topic, redis_channel
from realtime.cohorts import Entry
from realtime.repairs import READ_AT_ONCE

if TYPE_CHECKING:
    from realtime.hub import Hub


class Joining:
    """Joins topics for one hub, each once, whoever waits for it."""

    def __init__(self, hub: Hub) -> None:
        self.hub = hub
        self._joining: dict[str, asyncio.Future[None]] = {}

    async def ensure(self, topics: Sequence[Topic], after: Mapping[str, int], most: int) -> None:
        """Follow topics on the bus and know their latest values; see `Hub.ensure`.

        Raises:
            StoreUnavailable: Redis did not answer; some of the missing topics may be ready nevertheless.
        """
        while missing := [topic for topic in topics if not self._is_live(str(topic))]:
            if fresh := [topic for topic in missing if str(topic) not in self.hub.entries]:
                with self.hub.joins.asking():
                    await self._join(fresh, after, most)
            for joined in {self._joining[str(topic)] for topic in missing if str(topic) in self._joining}:
                await asyncio.shield(joined)

    def _is_live(self, name: str) -> bool:
        entry = self.hub.entries.get(name)
        return entry is not None and entry.live

    async def _join(self, topics: list[Topic], after: Mapping[str, int], most: int) -> None:
        hub, done = self.hub, asyncio.get_running_loop().create_future()
        entries = [Entry(topic, redis_channel(hub.layout.prefix, topic.group).encode()) for topic in topics]
        for entry in entries:
            entry.idle_since = hub.time()
            hub.entries[entry.name] = entry
            self._joining[entry.name] = done
        try:
            await hub.bus.follow({entry.channel: hub.receiver(entry) for entry in entries})
            hub.counts["groups_joined"] += len(entries)
            await self._read_all(entries, after, most)
        except BaseException as error:
            lost = [entry for entry in entries if not entry.live]  # the others may have followers already
            for entry in lost:
                hub.entries.pop(entry.name, None)
            hub.spawn(hub.bus.unfollow([entry.channel for entry in lost]))
            failure = StoreUnavailable("the topics could not be joined")
            done.set_exception(error if isinstance(error, StoreUnavailable) else failure)
            done.exception()  # perhaps nobody waits for it
            raise
        finally:
            for entry in entries:
                self._joining.pop(entry.name, None)
        done.set_result(None)

    async def _read_all(self, entries: Sequence[Entry], after: Mapping[str, int], most: int) -> None:
        chunks = [entries[at : at + READ_AT_ONCE] for at in range(0, len(entries), READ_AT_ONCE)]
        done = await asyncio.gather(*(self._read(chunk, after, most) for chunk in chunks), return_exceptions=True)
        for error in filter(None, done):  # only now: none of them may still be reading
            raise error

    async def _read(self, entries: Sequence[Entry], after: Mapping[str, int], most: int) -> None:
        found = await self.hub.store.recall([(entry.name, after.get(entry.name)) for entry in entries], most)
        for entry, recalled in zip(entries, found, strict=True):
            if (latest := recalled.latest) is not None:
                entry.epoch, entry.seq, entry.body, entry.changed_us = latest.epoch, latest.seq, latest.body, latest.published_us
            entry.live = True
            if entry.name in after:
                self.hub.replays.joined(entry, after[entry.name], most, recalled)
            held, entry.held = entry.held, []
            for message in held:  # what came since the group was joined, if it is newer
                self.hub.deliver(entry, *message)
