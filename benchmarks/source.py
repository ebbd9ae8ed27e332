"""The publishing process: a steady stream of trades into any bus, at a rate that may change, with the wall clock in each.

`python -m benchmarks.source KIND ADDRESS TOPICS`; each line of standard input is a new rate, updates a second; `0` is answered by
how many were published so far, as `{"published": n}`.
"""

from __future__ import annotations

import asyncio
import json
import os
import select
import socket
import sys
import time
from collections.abc import Callable
from typing import Any

BODY = b'{"symbol":"%b","ts":%d,"id":"143631060071","price":"274.84","size":"8","side":"buy"}'
MESSAGE = b'{"type":"update","topic":"%b","seq":%d,"data":%b}'
FIRST_SEQ = 1_000_000  # behind it all seqs of a run have as many digits
SLOW_PER_S = 1000  # up to this rate each update is published by itself, above it those of five milliseconds together
BATCH_S = 0.005

Topic = bytes
Publish = Callable[[list[Topic]], None]


def topics(count: int) -> list[Topic]:
    """The first topics of the benchmark."""
    return [b"trade.S%04d" % number for number in range(count)]


def body(topic: Topic) -> bytes:
    """One trade, now."""
    return BODY % (topic.partition(b".")[2], time.time_ns() // 1000)


def quote(symbol: str) -> dict[str, str | int]:
    """One quote, now: the fields of its body."""
    return {
        "symbol": symbol,
        "ts": time.time_ns() // 1000,
        "bid": "274.83",
        "bid_size": "400",
        "ask": "274.85",
        "ask_size": "300",
    }


def message(topic: Topic, seq: int) -> bytes:
    """One trade as Tickwire's clients get it; for systems that pass on what they are given."""
    return MESSAGE % (topic, seq, body(topic))


def to_tickwire(address: str) -> Publish:
    """Publish as feeds do: a batch is one call of `publish.lua`."""
    from marketdata.layout import Layout
    from marketdata.store import Store, Update

    url, _, prefix = address.partition("|")
    store = Store(url, Layout(prefix))
    return lambda batch: void(store.publish([Update(topic.decode(), body(topic)) for topic in batch]))


def to_channels(address: str) -> Publish:
    """Publish as the Channels documentation says, but without a change of threads per message."""
    kind, _, url = address.partition("|")
    layer = channel_layer(kind, url)
    loop = asyncio.new_event_loop()
    seq = Counter()

    async def send(batch: list[Topic]) -> None:
        for topic in batch:
            await layer.group_send(topic.decode(), {"type": "market.update", "text": message(topic, seq()).decode()})

    return lambda batch: loop.run_until_complete(send(batch))


def channel_layer(kind: str, url: str) -> Any:
    """One of the two layers of channels_redis; capacity such that a full channel does not drop."""
    from channels_redis.core import RedisChannelLayer
    from channels_redis.pubsub import RedisPubSubChannelLayer

    if kind == "core":
        return RedisChannelLayer(hosts=[url], capacity=10_000)
    return RedisPubSubChannelLayer(hosts=[url])


def to_redis(address: str) -> Publish:
    """PUBLISH, a batch in one write."""
    return to_stream(socket.AF_UNIX, address, b"", resp_publish)


def resp_publish(topic: Topic, text: bytes) -> bytes:
    """PUBLISH in Redis's protocol."""
    return b"*3\r\n$7\r\nPUBLISH\r\n$%d\r\n%b\r\n$%d\r\n%b\r\n" % (len(topic), topic, len(text), text)


def to_nats(address: str) -> Publish:
    """PUB, a batch in one write."""
    return to_stream(
        socket.AF_INET,
        address,
        b'CONNECT {"verbose":false}\r\n',
        lambda topic, text: b"PUB %b %d\r\n%b\r\n" % (topic, len(text), text),
    )


def to_mqtt(address: str) -> Publish:
    """PUBLISH with quality of service 0, a batch in one write."""
    connect = b"\x10\x12\x00\x04MQTT\x04\x02\x00\x00\x00\x06source"
    return to_stream(socket.AF_INET, address, connect, mqtt_publish)


def mqtt_publish(topic: Topic, text: bytes) -> bytes:
    """One PUBLISH packet."""
    rest = len(topic).to_bytes(2, "big") + topic + text
    return b"\x30" + mqtt_length(len(rest)) + rest


def mqtt_length(size: int) -> bytes:
    """MQTT's number of variable length."""
    out = bytearray()
    while True:
        size, low = divmod(size, 128)
        out.append(low | (0x80 if size else 0))
        if not size:
            return bytes(out)


def to_nchan(address: str) -> Publish:
    """POST, a batch pipelined into one write."""
    head = b"POST /pub HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: %d\r\n\r\n%b"
    return to_stream(socket.AF_INET, address, b"", lambda _, text: head % (len(text), text))


def to_stream(family: int, address: str, hello: bytes, encode: Callable[[Topic, bytes], bytes]) -> Publish:
    """Write into one connection; what comes back is read and thrown away."""
    sock = socket.socket(family, socket.SOCK_STREAM)
    sock.connect(address if family == socket.AF_UNIX else ("127.0.0.1", int(address)))
    if family == socket.AF_INET:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # or a batch waits 40 ms for the last one's delayed ACK
    sock.sendall(hello)
    seq = Counter()

    def publish(batch: list[Topic]) -> None:
        sock.sendall(b"".join(encode(topic, message(topic, seq())) for topic in batch))
        while select.select([sock], [], [], 0)[0] and sock.recv(1 << 16):
            pass

    return publish


class Counter:
    """Seqs, one after the other."""

    def __init__(self) -> None:
        self._last = FIRST_SEQ

    def __call__(self) -> int:
        self._last += 1
        return self._last


def void(_: object) -> None:
    """Throw a result away."""


KINDS: dict[str, Callable[[str], Publish]] = {
    "tickwire": to_tickwire,
    "channels": to_channels,
    "redis": to_redis,
    "nats": to_nats,
    "mqtt": to_mqtt,
    "nchan": to_nchan,
}


class Pacer:
    """Publishes in turn to all topics, as often as the rate says."""

    def __init__(self, publish: Publish, names: list[Topic]) -> None:
        self.publish = publish
        self.names = names
        self.published = 0
        self.set_rate(0)

    def set_rate(self, rate: float) -> None:
        """Go on at another rate from now on."""
        self.rate = rate
        self.pause_s = BATCH_S if rate > SLOW_PER_S else 1 / max(rate, 1)
        self.begun = time.perf_counter()
        self.due = 0

    def step(self) -> float:
        """Publish what is due. Returns the seconds until something is due again."""
        if not self.rate:
            return 60.0
        wanted = int((time.perf_counter() - self.begun) * self.rate) - self.due
        if wanted > 0:
            size, count = len(self.names), min(wanted, 2000)
            self.publish([self.names[(self.published + index) % size] for index in range(count)])
            self.published += count
            self.due += count
        next_at = self.begun + max(
            (self.due + 1) / self.rate, (time.perf_counter() - self.begun) // self.pause_s * self.pause_s + self.pause_s
        )
        return max(0.0, next_at - time.perf_counter())


def main(kind: str, address: str, count: int) -> None:
    """Publish until standard input ends."""
    pacer = Pacer(KINDS[kind](address), topics(count))
    print(json.dumps({"ready": True}), flush=True)
    wait_s = 60.0
    while True:
        if select.select([0], [], [], wait_s)[0]:
            text = os.read(0, 100)
            if not text:
                return
            pacer.set_rate(float(text.split()[-1]))
            if not pacer.rate:
                print(json.dumps({"published": pacer.published}), flush=True)
        wait_s = pacer.step()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
